/*!
Addresses that are asked for, each to the IPAM plugin that has it.

A runtime asks the network, not one of its IPAM plugins, and each of them refuses an address that is none of its own. So
where several contribute, an address goes to the first one whose ranges have it; what no known range has goes to those
whose ranges are not known here, whose answer counts. Where one of several is to serve, those that cannot are passed
over.
*/

use cni::Error;
use ipam_core::addr::Addr;
use ipam_core::config::json::At;
use ipam_core::template::remove;
use serde_json::{Value, json};

use crate::config::{Policy, Section};
use crate::errors::wrong;

/// What each section is asked for; nothing for one that is passed over.
pub(crate) type Shares = Vec<Option<Vec<Addr>>>;

/// The addresses of CNI_ARGS, `args.cni.ips` and `runtimeConfig.ips` together; none where they cannot be read: then each
/// IPAM gets all of it as it came, and says itself what it thinks of it.
pub(crate) fn asked(config: &Value, args: &str) -> Vec<Addr> {
    let root = At::root(config);
    ipam_core::config::requested(&root, args).map(|(asked, _)| asked).unwrap_or_default()
}

/// Who is asked for what. `gives` tells whether a section may give an address, where that is known.
///
/// # Errors
/// Code 7: nobody may give one of them.
pub(crate) fn shares(
    policy: Policy,
    sections: &[Section],
    asked: &[Addr],
    gives: &dyn Fn(&Section, Addr) -> Option<bool>,
) -> Result<Shares, Error> {
    let shares: Shares = match policy {
        Policy::First => {
            let may = |section: &Section| asked.iter().all(|a| gives(section, *a) != Some(false));
            sections.iter().map(|section| may(section).then(|| asked.to_vec())).collect()
        }
        Policy::All => {
            let mut shares: Vec<Vec<Addr>> = vec![Vec::new(); sections.len()];
            for addr in asked {
                let answers: Vec<_> =
                    sections.iter().map(|section| gives(section, *addr)).collect();
                let owner = answers.iter().position(|answer| *answer == Some(true));
                for (i, share) in shares.iter_mut().enumerate() {
                    let unknown = answers.get(i).is_some_and(Option::is_none);
                    if owner == Some(i) || owner.is_none() && unknown {
                        share.push(*addr);
                    }
                }
            }
            shares.into_iter().map(Some).collect()
        }
    };
    for addr in asked {
        if !shares.iter().flatten().any(|share| share.contains(addr)) {
            let names: Vec<&str> = sections.iter().map(|section| section.name.as_str()).collect();
            return Err(wrong(
                format!("no listed IPAM gives {addr}, which is asked for: {}", names.join(", ")),
                "ask for an address of their ranges; with policy \"first\" for addresses of one of them",
            ));
        }
    }
    Ok(shares)
}

/// The configuration with nothing asked for but a share.
pub(crate) fn config(config: &Value, share: &[Addr]) -> Value {
    let mut config = config.clone();
    let Some(root) = config.as_object_mut() else { return config };
    for path in [&["runtimeConfig"][..], &["args", "cni"]] {
        let mut object = Some(&mut *root);
        for key in path {
            object = object.and_then(|object| {
                let name = object.keys().find(|name| name.eq_ignore_ascii_case(key))?.clone();
                object.get_mut(&name)?.as_object_mut()
            });
        }
        let Some(object) = object else { continue };
        let Some(name) = object.keys().find(|name| name.eq_ignore_ascii_case("ips")).cloned()
        else {
            continue;
        };
        let Some(Value::Array(ips)) = object.get(&name) else { continue };
        let kept: Vec<Value> = ips
            .iter()
            .filter(|ip| ip.as_str().is_some_and(|ip| is_in(ip, share)))
            .cloned()
            .collect();
        remove(object, "ips");
        if !kept.is_empty() {
            object.insert(name, json!(kept));
        }
    }
    config
}

/// CNI_ARGS with nothing asked for but a share.
pub(crate) fn args(args: &str, share: &[Addr]) -> String {
    let pairs = args.split(';').filter_map(|pair| {
        let Some(ips) = pair.strip_prefix("IP=") else { return Some(pair.to_owned()) };
        let kept: Vec<&str> = ips.split(',').filter(|ip| is_in(ip, share)).collect();
        (!kept.is_empty()).then(|| format!("IP={}", kept.join(",")))
    });
    pairs.collect::<Vec<_>>().join(";")
}

/// Whether a text with or without prefix length is one of these addresses.
fn is_in(text: &str, share: &[Addr]) -> bool {
    let address = text.split('/').next().unwrap_or_default();
    Addr::parse(address).is_some_and(|addr| share.contains(&addr))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(texts: &[&str]) -> Vec<Addr> {
        texts.iter().map(|text| Addr::parse(text).unwrap()).collect()
    }

    /// Sections that say which first characters their addresses have; `?` says nothing.
    fn sections(names: &[&str]) -> Vec<Section> {
        let section = |name: &&str| Section {
            kind: "x".to_owned(),
            name: (*name).to_owned(),
            value: Value::Null,
        };
        names.iter().map(section).collect()
    }

    fn share(policy: Policy, names: &[&str], asked: &[&str]) -> Result<Vec<String>, String> {
        let gives = |section: &Section, addr: Addr| {
            (section.name != "?").then(|| addr.to_string().starts_with(&section.name))
        };
        let shares = shares(policy, &sections(names), &addrs(asked), &gives);
        let text = |share: Option<Vec<Addr>>| {
            share.map_or_else(
                || "-".to_owned(),
                |share| share.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            )
        };
        shares.map(|shares| shares.into_iter().map(text).collect()).map_err(|e| e.message)
    }

    #[test]
    fn each_address_goes_to_who_has_it() {
        for (policy, names, asked, expected) in [
            (Policy::All, vec!["1", "f"], vec![], vec!["", ""]),
            (Policy::All, vec!["1", "f"], vec!["fd00::5"], vec!["", "fd00::5"]),
            (Policy::All, vec!["1", "f"], vec!["fd00::5", "10.0.0.5"], vec!["10.0.0.5", "fd00::5"]),
            (Policy::All, vec!["1", "1"], vec!["10.0.0.5"], vec!["10.0.0.5", ""]),
            (
                Policy::All,
                vec!["?", "1"],
                vec!["10.0.0.5", "20.0.0.5"],
                vec!["20.0.0.5", "10.0.0.5"],
            ),
            (Policy::First, vec!["1", "2"], vec![], vec!["", ""]),
            (Policy::First, vec!["1", "2"], vec!["20.0.0.5"], vec!["-", "20.0.0.5"]),
            (Policy::First, vec!["1", "?"], vec!["20.0.0.5"], vec!["-", "20.0.0.5"]),
        ] {
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(share(policy, &names, &asked), Ok(expected), "{names:?} {asked:?}");
        }
        let nobody = |policy, asked: &[&str]| share(policy, &["1", "f"], asked).unwrap_err();
        assert!(nobody(Policy::All, &["20.0.0.5"]).contains("no listed IPAM gives 20.0.0.5"));
        assert!(nobody(Policy::First, &["10.0.0.5", "fd00::5"]).contains("10.0.0.5"));
    }

    #[test]
    fn what_is_asked_elsewhere_is_left_out() {
        let whole = json!({
            "name": "n",
            "runtimeConfig": {"ips": ["10.0.0.5/24", "fd00::5"], "mac": "x"},
            "args": {"cni": {"ips": ["10.0.0.5"], "labels": []}, "other": 1},
        });
        assert_eq!(
            config(&whole, &addrs(&["fd00:0::5"])),
            json!({
                "name": "n",
                "runtimeConfig": {"ips": ["fd00::5"], "mac": "x"},
                "args": {"cni": {"labels": []}, "other": 1},
            })
        );
        assert_eq!(config(&json!({"name": "n"}), &[]), json!({"name": "n"}));
        for (before, after) in [
            (
                "IgnoreUnknown=1;IP=10.0.0.5,fd00::5;K8S_POD_NAME=p",
                "IgnoreUnknown=1;IP=fd00::5;K8S_POD_NAME=p",
            ),
            ("IP=10.0.0.5", ""),
            ("", ""),
            ("broken;A=B=C", "broken;A=B=C"),
        ] {
            assert_eq!(args(before, &addrs(&["fd00::5"])), after);
        }
    }
}
