use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::names::Macs;

fn attachment(container: &str) -> Attachment {
    Attachment {
        container: ContainerId::new(container).unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    }
}

fn record(network: &str, container: &str) -> Record {
    let attachment = attachment(container);
    let Macs { pod, vpp, .. } = Macs::of(&attachment);
    let mut record = Beginning {
        network,
        attachment: &attachment,
        netns: Netns { path: "/run/netns/x".into(), device: 4, inode: 4_026_532_000 },
        socket: "/run/vpp/api.sock".into(),
        kind: Kind::Veth,
        pod_mac: pod,
        vpp_mac: vpp,
    }
    .record();
    for (address, gateway) in
        [("10.1.1.5/24", "10.1.1.1"), ("10.1.1.6/24", "10.1.1.1"), ("fd00:1::5/64", "fd00:1::1")]
    {
        let (address, gateway) = (address.parse().unwrap(), gateway.parse().unwrap());
        record.addresses.push(PodAddress { address, gateway });
    }
    for (destination, via) in [("0.0.0.0/0", "10.1.1.1"), ("10.9.0.0/16", "10.1.1.254")] {
        record.routes.push(PodRoute {
            destination: destination.parse().unwrap(),
            via: via.parse().unwrap(),
            mtu: Some(1400),
            advmss: None,
            metric: 0,
            table: None,
            scope: None,
        });
    }
    record.node = json!({"uplink": {"pci": "0000:00:04.0"}});
    record
}

/// A directory of a test's own below the system's temporary one, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("plat-record-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn records(&self) -> Records {
        Records::new(self.0.join("vpp"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn records_are_read_as_they_are_written() {
    let record = record("pods", "c1");
    assert_eq!(Record::parse(record.render().as_bytes()), Ok(record.clone()));
    assert_eq!(record.gateways().len(), 2);
    let next_hops: Vec<String> = record.next_hops().iter().map(ToString::to_string).collect();
    assert_eq!(next_hops, ["10.1.1.1", "fd00:1::1", "10.1.1.254"]);
    assert_eq!(record.pod(), "c1");
    assert!(record.holds(Path::new("/run/vpp/api.sock"), 0, "fd00:1::5".parse().unwrap()));
    assert!(!record.holds(Path::new("/run/vpp/api.sock"), 1, "fd00:1::5".parse().unwrap()));
    for text in ["", "{}", "[]", "null", &record.render().replace("\"c1\"", "\"../c1\"")] {
        assert!(Record::parse(text.as_bytes()).is_err(), "{text}");
    }
    // A record of before there were modes, and one with each.
    assert!(!record.render().contains("rxMode"));
    for mode in [RxMode::Polling, RxMode::Interrupt, RxMode::Adaptive] {
        let with = Record { rx_mode: Some(mode), ..record.clone() };
        assert!(with.render().contains(&format!("\"rxMode\": \"{}\"", mode.as_str())));
        assert_eq!(Record::parse(with.render().as_bytes()), Ok(with));
    }
    let newer = record.render().replace("\"format\": 1", "\"format\": 2");
    assert_eq!(Record::parse(newer.as_bytes()), Err("it has format 2, not 1".to_owned()));
}

#[test]
fn records_are_kept_for_each_network() {
    let place = Place::new("networks");
    let records = place.records();
    let mut tags = Vec::new();
    assert!(records.all().unwrap().is_empty() && records.pending().unwrap().is_empty());
    for (network, container) in [("a", "c1"), ("a", "c2"), ("b", "c1")] {
        let record = record(network, container);
        let tag = record.tag().unwrap();
        assert_eq!(records.read(tag).unwrap(), None);
        records.write(tag, &record).unwrap();
        records.write(tag, &record).unwrap();
        assert_eq!(records.read(tag).unwrap(), Some(record));
        tags.push(tag);
    }
    std::fs::write(records.path(tags[1]), "{").unwrap();
    std::fs::write(records.path(tags[0]).with_file_name("note.txt"), "{").unwrap();
    assert_eq!(records.networks().unwrap().len(), 2);
    assert_eq!(records.all().unwrap().len(), 3);
    let of_a = records.list(tags[0].network).unwrap();
    assert_eq!(of_a.iter().filter(|listed| listed.record.is_ok()).count(), 1);
    let error = records.read(tags[1]).unwrap_err().to_string();
    assert!(error.contains("is no record of an attachment: EOF while parsing"), "{error}");

    records.put_aside(tags[2]).unwrap();
    records.put_aside(tags[2]).unwrap();
    assert_eq!(records.read(tags[2]).unwrap(), None);
    let pending = records.pending().unwrap();
    assert_eq!(pending.iter().map(|listed| listed.tag).collect::<Vec<_>>(), [tags[2]]);
    assert!(records.read_pending(tags[2]).unwrap().is_some());
    records.remove_pending(tags[2]).unwrap();
    records.remove_pending(tags[2]).unwrap();
    records.remove(tags[0]).unwrap();
    records.remove(tags[0]).unwrap();
    assert_eq!((records.all().unwrap().len(), records.pending().unwrap().len()), (1, 0));
}

#[test]
fn files_are_for_their_owner_only() {
    use std::os::unix::fs::MetadataExt as _;
    let place = Place::new("modes");
    let records = place.records();
    let record = record("a", "c1");
    let tag = record.tag().unwrap();
    records.write(tag, &record).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    let path = records.path(tag);
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
}

#[test]
fn a_replay_waits_for_calls_and_calls_for_a_replay() {
    let place = Place::new("locks");
    let records = place.records();
    let network = record("a", "c1").tag().unwrap().network;
    let soon = || Instant::now() + Duration::from_millis(20);
    assert!(records.lock(network, soon()).is_err());
    let one = records.share(network, soon()).unwrap();
    let two = records.share(network, soon()).unwrap();
    assert!(matches!(records.lock(network, soon()), Err(RecordError::Busy { .. })));
    drop((one, two));
    let replay = records.lock(network, soon()).unwrap();
    assert!(matches!(records.share(network, soon()), Err(RecordError::Busy { .. })));
    drop(replay);
    records.share(network, soon()).unwrap();
}

/// Calls that follow one another without a pause keep no replay from its turn.
#[test]
fn nobody_gets_past_a_replay_that_waits() {
    let place = Place::new("gate");
    let records = place.records();
    let network = record("a", "c1").tag().unwrap().network;
    let later = Instant::now() + Duration::from_secs(60);
    let under_way = records.share(network, later).unwrap();
    std::thread::scope(|scope| {
        let replay = scope.spawn(|| records.lock(network, later).unwrap());
        // Once it waits, no further call gets in.
        let is_busy = || {
            let soon = Instant::now() + Duration::from_millis(5);
            matches!(records.share(network, soon), Err(RecordError::Busy { .. }))
        };
        while !is_busy() {
            assert!(Instant::now() < later);
        }
        drop(under_way);
        drop(replay.join().unwrap());
    });
    records.share(network, later).unwrap();
}
