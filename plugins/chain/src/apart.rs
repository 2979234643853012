/*!
Keeps apart what the IPAM plugins of a chain hold for one attachment.

All of them get the same network name, container ID and interface name, so two of one type would take each other's
addresses for their own. A database knows instances: the second and each further one of a type gets `instance`, its
number, unless it has one of its own. A directory knows only what the reference knows, so a second IPAM of one
`dataDir` gets a directory in it, whose name begins with a dot and so is no network's. Where neither helps, the list is
wrong.

An IPAM's number is its position among those of its type: whoever appends to a chain changes nothing for those before.
*/

use cni::Error;
use ipam_core::config::json::At;
use ipam_core::template::remove;
use ipam_stores::DEFAULT_DATA_DIR;
use serde_json::{Value, json};

use crate::NAME;
use crate::config::{Section, value};
use crate::errors::{config_error, wrong};

/// The name of a pool's space, where none is given.
const DEFAULT_SPACE: &str = "default";

/// What a section's holdings are kept by.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Keeper {
    /// Rows of the instances of a type.
    Database(String),
    /// A directory.
    Directory(String),
    /// A pool, by space and name.
    Pool(String, String),
    /// A chain, and so those that it lists.
    Chain,
    /// Nothing that could be mixed up: it holds nothing.
    Nothing,
    /// An unknown plugin, by its type.
    Unknown(String),
}

/// The sections as their plugins are to get them. `outer` is the instance of the chain itself; empty for the outermost.
///
/// # Errors
/// Code 7: two of them cannot be kept apart.
pub(crate) fn apart(sections: &[Section], outer: &str) -> Result<Vec<Section>, Error> {
    let mut before: Vec<(Keeper, String)> = Vec::new();
    let mut made = Vec::with_capacity(sections.len());
    for section in sections {
        let keeper = keeper(section)?;
        let earlier = before.iter().filter(|(other, _)| *other == keeper).count();
        let given = ipam_core::config::instance(&At::standing_at(&section.value, &section.name))
            .map_err(|e| config_error(&e))?;
        let label = match (given, earlier) {
            (Some(given), _) if outer.is_empty() => given,
            (Some(given), _) => format!("{outer}.{given}"),
            (None, 0) if keeper != Keeper::Chain => outer.to_owned(),
            (None, earlier) => {
                let number = if keeper == Keeper::Chain {
                    format!("c{earlier}")
                } else {
                    earlier.to_string()
                };
                if outer.is_empty() { number } else { format!("{outer}.{number}") }
            }
        };
        let same = before.iter().position(|entry| *entry == (keeper.clone(), label.clone()));
        let other = same.or_else(|| {
            let single = matches!(keeper, Keeper::Pool(..) | Keeper::Unknown(_));
            before.iter().position(|(other, _)| single && *other == keeper)
        });
        if let Some(other) = other.filter(|_| keeper != Keeper::Nothing) {
            let other = sections.get(other).map_or("another", |section| section.name.as_str());
            return Err(conflict(&keeper, other, &section.name, &label));
        }
        made.push(Section { value: labelled(section, &keeper, &label), ..section.clone() });
        before.push((keeper, label));
    }
    Ok(made)
}

fn keeper(section: &Section) -> Result<Keeper, Error> {
    let at = At::standing_at(&section.value, &section.name);
    let text = |key: &str| -> Result<Option<String>, Error> {
        let value = at.get(key).map_err(|e| config_error(&e))?;
        let text = value.map(|at| at.string().map(str::to_owned)).transpose();
        Ok(text.map_err(|e| config_error(&e))?.filter(|text| !text.is_empty()))
    };
    Ok(match section.kind.as_str() {
        kind @ ("host-local" | "node-local") => {
            let default = if kind == "node-local" { "sqlite" } else { "dir" };
            if text("store")?.as_deref().unwrap_or(default) == "sqlite" {
                Keeper::Database(kind.to_owned())
            } else {
                let dir = text("dataDir")?.unwrap_or_else(|| DEFAULT_DATA_DIR.to_owned());
                Keeper::Directory(dir.trim_end_matches('/').to_owned())
            }
        }
        "etcd-pool" => {
            let pool = match section.value.as_object().and_then(|object| value(object, "pool")) {
                Some(Value::Object(object)) => value(object, "name").and_then(Value::as_str),
                Some(Value::String(name)) => Some(name.as_str()),
                _ => None,
            };
            let space = text("space")?.unwrap_or_else(|| DEFAULT_SPACE.to_owned());
            Keeper::Pool(space, pool.unwrap_or_default().to_owned())
        }
        "static" => Keeper::Nothing,
        NAME => Keeper::Chain,
        kind => Keeper::Unknown(kind.to_owned()),
    })
}

fn labelled(section: &Section, keeper: &Keeper, label: &str) -> Value {
    let Value::Object(mut object) = section.value.clone() else { return section.value.clone() };
    match keeper {
        Keeper::Database(_) | Keeper::Chain if !label.is_empty() => {
            remove(&mut object, "instance");
            object.insert("instance".to_owned(), json!(label));
        }
        Keeper::Directory(dir) if !label.is_empty() => {
            remove(&mut object, "dataDir");
            remove(&mut object, "instance");
            object.insert("dataDir".to_owned(), json!(format!("{dir}/.{label}")));
        }
        _ => {}
    }
    Value::Object(object)
}

fn conflict(keeper: &Keeper, one: &str, other: &str, label: &str) -> Error {
    match keeper {
        Keeper::Pool(space, pool) => wrong(
            format!("{one} and {other} are both pool {pool:?} of space {space:?}"),
            "list a pool once; \"families\" says which addresses it gives, by default one of each that it has",
        ),
        Keeper::Unknown(kind) => wrong(
            format!(
                "{one} and {other}: what two IPAM plugins of type {kind:?} hold cannot be told apart"
            ),
            "list it once, or use host-local, node-local or etcd-pool",
        ),
        _ => wrong(
            format!("{one} and {other} are both instance {label:?}"),
            "an \"instance\" of its own for each, or none: then each gets its number",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(values: &[Value]) -> Vec<Section> {
        let numbered = values.iter().enumerate();
        numbered
            .map(|(i, value)| Section {
                kind: value["type"].as_str().unwrap().to_owned(),
                name: format!("ipams[{i}]"),
                value: value.clone(),
            })
            .collect()
    }

    fn made(values: &[Value], outer: &str) -> Vec<Value> {
        apart(&sections(values), outer).unwrap().into_iter().map(|section| section.value).collect()
    }

    #[test]
    fn the_first_of_a_type_stays_as_it_is() {
        let mixed = [
            json!({"type": "host-local", "dataDir": "/d"}),
            json!({"type": "node-local", "dataDir": "/d"}),
            json!({"type": "etcd-pool", "pool": "a"}),
            json!({"type": "etcd-pool", "pool": {"name": "b"}}),
            json!({"type": "etcd-pool", "pool": "a", "space": "s"}),
            json!({"type": "static"}),
            json!({"type": "static"}),
            json!({"type": "dhcp"}),
            json!({"type": "whereabouts"}),
            json!({"type": "host-local"}),
        ];
        assert_eq!(made(&mixed, ""), mixed);
    }

    #[test]
    fn the_next_of_a_type_is_kept_apart() {
        let node_local = |instance: Option<&str>| match instance {
            None => json!({"type": "node-local"}),
            Some(instance) => json!({"type": "node-local", "instance": instance}),
        };
        let host_local = |dir: &str| json!({"type": "host-local", "dataDir": dir});
        for (values, outer, expected) in [
            (
                vec![node_local(None), node_local(None), node_local(None)],
                "",
                vec![node_local(None), node_local(Some("1")), node_local(Some("2"))],
            ),
            (
                vec![node_local(Some("v6")), node_local(None)],
                "",
                vec![node_local(Some("v6")), node_local(Some("1"))],
            ),
            (
                vec![node_local(None), node_local(None)],
                "c0",
                vec![node_local(Some("c0")), node_local(Some("c0.1"))],
            ),
            (
                vec![
                    json!({"type": "host-local"}),
                    json!({"type": "host-local"}),
                    host_local("/d/"),
                ],
                "",
                vec![
                    json!({"type": "host-local"}),
                    host_local("/var/lib/cni/networks/.1"),
                    host_local("/d/"),
                ],
            ),
            (
                vec![
                    host_local("/d"),
                    json!({"type": "node-local", "store": "dir", "dataDir": "/d/"}),
                ],
                "",
                vec![
                    host_local("/d"),
                    json!({"type": "node-local", "store": "dir", "dataDir": "/d/.1"}),
                ],
            ),
            (
                vec![json!({"type": "host-local", "dataDir": "/d", "instance": "v6"})],
                "",
                vec![host_local("/d/.v6")],
            ),
            (
                vec![json!({"type": "chain"}), json!({"type": "chain"})],
                "",
                vec![
                    json!({"type": "chain", "instance": "c0"}),
                    json!({"type": "chain", "instance": "c1"}),
                ],
            ),
        ] {
            assert_eq!(made(&values, outer), expected, "{values:?}");
        }
    }

    #[test]
    fn what_cannot_be_kept_apart_is_refused() {
        for (values, message) in [
            (
                [json!({"type": "dhcp"}), json!({"type": "dhcp"})],
                "ipams[0] and ipams[1]: what two IPAM plugins of type \"dhcp\" hold cannot be told apart",
            ),
            (
                [
                    json!({"type": "etcd-pool", "pool": "a"}),
                    json!({"type": "etcd-pool", "pool": {"name": "a"}}),
                ],
                "ipams[0] and ipams[1] are both pool \"a\" of space \"default\"",
            ),
            (
                [
                    json!({"type": "node-local", "instance": "x"}),
                    json!({"type": "node-local", "instance": "x"}),
                ],
                "ipams[0] and ipams[1] are both instance \"x\"",
            ),
            (
                [json!({"type": "node-local", "instance": "x y"}), json!({"type": "static"})],
                "ipams[0].instance: \"x y\" is no instance",
            ),
        ] {
            let error = apart(&sections(&values), "").unwrap_err();
            assert_eq!((error.code.number(), error.message.as_str()), (7, message));
        }
    }
}
