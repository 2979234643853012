/*!
What a kubelet with Multus really sent to an IPAM plugin, replayed call by call.

The recording was made while pods came and went, with retries, with configurations that Multus had
stripped to name and types, and with calls of several attachments mixed up by the recorder: what is
replayed is each call as it was received. It was thinned out, so that some attachments never see
their DEL.
*/

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde_json::{Value, json};
use support::{Call, Holdings, Scratch, binary, repository};

/// What identifies an attachment: network, container ID, interface name.
type Attachment = (String, String, String);

/// One recorded call, with the scratch place put for the recorded one.
struct Recorded {
    at: String,
    command: String,
    attachment: Attachment,
    netns: String,
    args: String,
    stdin: Value,
}

/// Every call to the IPAM plugin, in order.
fn recording(data_dir: &Path) -> Vec<Recorded> {
    let file = repository().join("tests/data/calls.jsonl");
    fs::read_to_string(file)
        .expect("the recording can be read")
        .replace("@DATADIR@", &data_dir.to_string_lossy())
        .replace("@PATH@", "/opt/cni/bin")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"))
        .filter(|call| call["role"] == "ipam")
        .map(|call| {
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            Recorded {
                at: text(&call["at"]),
                command: text(&call["command"]),
                attachment: (
                    text(&call["stdin"]["name"]),
                    text(&call["container_id"]),
                    text(&call["ifname"]),
                ),
                netns: text(&call["netns"]),
                args: text(&call["args"]),
                stdin: call["stdin"].clone(),
            }
        })
        .collect()
}

/// The addresses that an ADD asks for, from each place that can ask.
fn requested(call: &Recorded) -> Vec<IpAddr> {
    let from_args = call.args.split(';').filter_map(|pair| pair.strip_prefix("IP="));
    let from_args = from_args.flat_map(|ips| ips.split(','));
    let in_config = ["/runtimeConfig/ips", "/args/cni/ips"];
    let in_config = in_config.iter().filter_map(|place| call.stdin.pointer(place)?.as_array());
    let in_config = in_config.flatten().filter_map(Value::as_str);
    from_args
        .chain(in_config)
        .map(|ip| ip.split('/').next().unwrap_or(ip).parse().expect("an address was asked for"))
        .collect()
}

/// Whether an address lies in one of the subnets of a configuration.
fn in_ranges(config: &Value, address: IpAddr) -> bool {
    let sets = config["ipam"]["ranges"].as_array().into_iter().flatten();
    sets.filter_map(Value::as_array).flatten().any(|range| {
        let (base, length) =
            range["subnet"].as_str().and_then(|s| s.split_once('/')).expect("a range has a subnet");
        let length: u32 = length.parse().expect("a prefix length");
        match (base.parse().expect("a subnet has an address"), address) {
            (IpAddr::V4(base), IpAddr::V4(a)) => {
                (u32::from(base) ^ u32::from(a)).leading_zeros() >= length
            }
            (IpAddr::V6(base), IpAddr::V6(a)) => {
                (u128::from(base) ^ u128::from(a)).leading_zeros() >= length
            }
            _ => false,
        }
    })
}

/// Replays the recording against `plugin`, whose type is put for host-local's.
fn replay(plugin: &str) {
    let scratch = Scratch::new("captures");
    let data_dir = scratch.path().join("networks");
    let run = scratch.path().join("run");
    let binary = binary(plugin);
    let call_of = |attachment: &Attachment, command: &str| {
        let (_, id, ifname) = attachment;
        Call::new(&binary, command)
            .id(id)
            .env("CNI_IFNAME", ifname)
            .env("NODE_INDEX", "4")
            .state_in(scratch.path())
    };
    let holds = |attachment: &Attachment| {
        let (network, id, ifname) = attachment;
        Holdings::new(network, &data_dir, &run).held_by(id, ifname)
    };

    // What each attachment should hold, from the answers to ADD.
    let mut held: BTreeMap<Attachment, Vec<IpAddr>> = BTreeMap::new();
    let (mut added, mut refused, mut deleted, mut stripped, mut freed_stripped) = (0, 0, 0, 0, 0);
    for mut recorded in recording(&data_dir) {
        recorded.stdin["ipam"]["type"] = json!(plugin);
        let attachment = &recorded.attachment;
        let what = format!("{} of {attachment:?} at {}", recorded.command, recorded.at);
        let outcome = call_of(attachment, &recorded.command)
            .env("CNI_NETNS", &recorded.netns)
            .env("CNI_ARGS", &recorded.args)
            .config(&recorded.stdin)
            .run();
        match recorded.command.as_str() {
            "ADD" => {
                let requested = requested(&recorded);
                let foreign: Vec<&IpAddr> =
                    requested.iter().filter(|a| !in_ranges(&recorded.stdin, **a)).collect();
                if foreign.is_empty() {
                    assert_eq!(outcome.exit, Some(0), "{what}: {outcome:?}");
                    let mut got: Vec<IpAddr> = outcome
                        .addresses()
                        .iter()
                        .map(|a| a.parse().expect("an address is answered"))
                        .collect();
                    got.sort();
                    for address in &got {
                        assert!(in_ranges(&recorded.stdin, *address), "{what}: {address}");
                        let other = held.iter().find(|(_, theirs)| theirs.contains(address));
                        assert!(other.is_none(), "{what}: {address} is held by {other:?}");
                    }
                    for address in &requested {
                        assert!(got.contains(address), "{what}: {address} not in {got:?}");
                    }
                    let sets = recorded.stdin["ipam"]["ranges"].as_array().map_or(0, Vec::len);
                    assert_eq!(got.len(), sets, "{what}: {got:?}");
                    assert!(held.insert(attachment.clone(), got).is_none(), "{what}: twice");
                    added += 1;
                } else {
                    // The recorder mixed up two attachments: an address of another network.
                    let (code, text) = outcome.error();
                    assert_eq!(code, 7, "{what}: {text}");
                    for address in &foreign {
                        let named = text.contains(&address.to_string());
                        assert!(named, "{what}: {address} is not named: {text}");
                    }
                    refused += 1;
                }
            }
            "DEL" => {
                assert_eq!(outcome.exit, Some(0), "{what}: {outcome:?}");
                assert_eq!(outcome.stdout, "", "{what}");
                let had = held.remove(attachment).is_some();
                deleted += 1;
                if recorded.stdin["ipam"].get("dataDir").is_none() {
                    stripped += 1;
                    freed_stripped += usize::from(had);
                }
            }
            other => panic!("{other} was not recorded"),
        }
        let now = holds(attachment);
        let should = held.get(attachment).cloned().unwrap_or_default();
        assert_eq!(now, should, "after {what}");
        // Nobody else's, whatever addresses prevResult names.
        for (other, theirs) in &held {
            assert_eq!(holds(other), *theirs, "{other:?} after {what}");
        }
    }
    assert_eq!((added, refused), (21, 2), "ADDs that succeeded and that failed");
    assert_eq!((deleted, stripped), (85, 20), "DELs, and those without a place");
    assert!(freed_stripped >= 1, "no stripped DEL had anything to free");
    assert!(held.len() >= 10, "the recording leaves attachments without DEL: {held:?}");

    // What the recording left is deleted in the poorest way that Multus has, twice.
    for attachment in held.keys().chain(held.keys()) {
        let (network, ..) = attachment;
        let config = json!({"cniVersion": "1.0.0", "name": network, "ipam": {"type": plugin}});
        let outcome = call_of(attachment, "DEL").env("CNI_NETNS", "").config(&config).run();
        assert_eq!(outcome.exit, Some(0), "DEL of {attachment:?}: {outcome:?}");
    }
    for network in ["kubenet", "storage", "nocap"] {
        let left = Holdings::new(network, &data_dir, &run).reservations();
        assert!(left.is_empty(), "{network}: {left:?}");
    }
}

#[test]
fn a_kubelet_with_multus_and_host_local() {
    replay("host-local");
}

#[test]
fn a_kubelet_with_multus_and_node_local() {
    replay("node-local");
}
