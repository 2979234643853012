/*!
One configuration for all nodes: what this one makes of it.

Placeholders are filled in everywhere in `main`, and in the sections of IPAM plugins that know nothing of nodes.
node-local fills in its own: it has to see them, to know where the next node's range begins. What only the runtime has
written is nobody's template.
*/

use cni::{Call, Error};
use ipam_core::config::json::At;
use ipam_core::node::NodeIdentity;
use ipam_core::template::{fill_known, has_known};
use node_local::Surroundings;
use serde_json::{Map, Value, json};

use crate::NAME;
use crate::config::{Section, listed, value};
use crate::errors::wrong;

/// The keys that tell which node this is; as in node-local's section.
const IDENTITY_KEYS: [&str; 3] = ["index", "hostname", "cfgDir"];

/// A configuration to be filled in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template {
    /// The main plugin's.
    pub(crate) main: Value,
    /// The IPAM plugins' sections.
    pub(crate) sections: Vec<Section>,
}

impl Template {
    /// Whether there is anything to fill in.
    fn needs_node(&self) -> bool {
        has_known(&self.main) || self.sections.iter().any(|section| section_needs(&section.value))
    }

    /// What this node makes of it. Only what has placeholders needs a node that knows its index.
    ///
    /// # Errors
    /// The node's index is not known, or a section cannot be filled in so that each node has addresses of its own.
    pub(crate) fn render(&self, call: &Call) -> Result<Self, Error> {
        let identity = identity(&call.config, &self.sections);
        let mut rendered = self.clone();
        if self.needs_node() {
            let net = json!({"ipam": identity});
            let found = node_local::find(&net, &Surroundings::of(call));
            let node = found.map_err(|problem| problem.error)?;
            rendered = self.fill(&node)?;
        }
        for section in &mut rendered.sections {
            pass_identity(&mut section.value, &identity);
        }
        Ok(rendered)
    }

    fn fill(&self, node: &NodeIdentity) -> Result<Self, Error> {
        let mut sections = self.sections.clone();
        for section in &mut sections {
            section.value = fill_section(&section.name, &section.value, node)?;
        }
        Ok(Self { main: fill_known(&self.main, node), sections })
    }
}

/// What tells which node this is: at the top of the configuration, else in the first node-local section that says it.
fn identity(config: &Value, sections: &[Section]) -> Value {
    let of = |object: Option<&Map<String, Value>>| -> Map<String, Value> {
        let object = object.into_iter();
        let pairs = object.flat_map(|object| {
            IDENTITY_KEYS
                .iter()
                .filter_map(|key| Some(((*key).to_owned(), value(object, key)?.clone())))
        });
        pairs.collect()
    };
    let top = of(config.as_object());
    if !top.is_empty() {
        return Value::Object(top);
    }
    let own = sections.iter().flat_map(|section| node_locals(&section.value));
    Value::Object(
        own.map(|section| of(Some(section))).find(|own| !own.is_empty()).unwrap_or_default(),
    )
}

/// The node-local sections in a section, itself included.
fn node_locals(section: &Value) -> Vec<&Map<String, Value>> {
    match kind(section) {
        "node-local" => section.as_object().into_iter().collect(),
        NAME => listed(section).into_iter().flatten().flat_map(node_locals).collect(),
        _ => Vec::new(),
    }
}

fn kind(section: &Value) -> &str {
    let kind = section.as_object().and_then(|object| value(object, "type"));
    kind.and_then(Value::as_str).unwrap_or_default()
}

fn section_needs(section: &Value) -> bool {
    match kind(section) {
        "node-local" => false,
        NAME => listed(section).into_iter().flatten().any(section_needs),
        _ => has_known(section),
    }
}

/// Tells node-local sections which node this is, where they do not say it themselves: they must not find another.
fn pass_identity(section: &mut Value, identity: &Value) {
    let (kind, Some(object)) = (kind(section).to_owned(), section.as_object_mut()) else { return };
    match kind.as_str() {
        "node-local" => {
            let own = IDENTITY_KEYS[..2].iter().any(|key| value(object, key).is_some());
            for (key, given) in identity.as_object().into_iter().flatten() {
                if value(object, key).is_none() && !(own && key != "cfgDir") {
                    object.insert(key.clone(), given.clone());
                }
            }
        }
        NAME => {
            for key in ["ipams", "ipam"] {
                if let Some(Value::Array(sections)) = object.get_mut(key) {
                    sections.iter_mut().for_each(|section| pass_identity(section, identity));
                }
            }
        }
        _ => {}
    }
}

fn fill_section(name: &str, section: &Value, node: &NodeIdentity) -> Result<Value, Error> {
    match kind(section) {
        "node-local" => return Ok(section.clone()),
        NAME => {
            let Value::Object(mut object) = section.clone() else { return Ok(section.clone()) };
            for key in ["ipams", "ipam"] {
                if let Some(Value::Array(sections)) = object.get_mut(key) {
                    for (i, section) in sections.iter_mut().enumerate() {
                        *section = fill_section(&format!("{name}.{key}[{i}]"), section, node)?;
                    }
                }
            }
            return Ok(Value::Object(object));
        }
        _ => {}
    }
    let filled = fill_known(section, node);
    let on = |index: u32| fill_known(section, &NodeIdentity { index, ..node.clone() });
    // One octet tells 256 nodes apart.
    if let Some(before) = node.index.checked_sub(256)
        && on(before) == filled
        && on(node.index ^ 1) != filled
    {
        return Err(wrong(
            format!("{name}: index {} gives what index {before} has ({node})", node.index),
            "both {i/256} and {i%256} in an address, or node-local with \"carve\"",
        ));
    }
    if let Some(start) = open_end(section) {
        return Err(wrong(
            format!("{name}: {start} depends on the node, and where it ends is not said"),
            "a \"rangeEnd\", or node-local, which ends a range before the next node's begins",
        ));
    }
    Ok(filled)
}

/// A `rangeStart` of this node's in a subnet that all nodes have, without an end: it would run into the next node's.
fn open_end(section: &Value) -> Option<&str> {
    match section {
        Value::Array(elements) => elements.iter().find_map(open_end),
        Value::Object(object) => {
            let start = value(object, "rangeStart").filter(|start| has_known(start));
            let own = value(object, "subnet").is_some_and(has_known);
            let ends = value(object, "rangeEnd").is_some_and(|end| end.as_str() != Some(""));
            if let Some(start) = start.and_then(Value::as_str).filter(|_| !own && !ends) {
                return Some(start);
            }
            object.values().find_map(open_end)
        }
        _ => None,
    }
}

/// The keys of a configuration that are the runtime's: what a delegate gets as it came.
pub(crate) fn runtime_keys(config: &Value) -> Map<String, Value> {
    const KEYS: [&str; 6] =
        ["cniVersion", "name", "runtimeConfig", "args", "prevResult", "capabilities"];
    let object = config.as_object().into_iter().flatten();
    let ours = |key: &str| {
        KEYS.iter().any(|known| known.eq_ignore_ascii_case(key)) || key.starts_with("cni.dev/")
    };
    let pairs = object.filter(|(key, _)| ours(key));
    pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What is odd at the top of a configuration: keys that nobody reads.
pub(crate) fn unknown_keys(config: &Value) -> Vec<String> {
    const KNOWN: &[&str] = &[
        "type",
        "main",
        "ipam",
        "ipams",
        "policy",
        "cniVersion",
        "cniVersions",
        "name",
        "runtimeConfig",
        "args",
        "prevResult",
        "capabilities",
        "disableCheck",
        "disableGC",
    ];
    let root = At::root(config);
    let mut warnings = root.unknown_keys(&[KNOWN, &IDENTITY_KEYS]);
    warnings.retain(|warning| !warning.starts_with(".cni.dev/"));
    let tidy = |warning: String| warning.trim_start_matches('.').to_owned();
    warnings.into_iter().map(tidy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(index: u32) -> NodeIdentity {
        NodeIdentity { index, name: "vm".to_owned(), source: "a test".to_owned() }
    }

    fn section(value: Value) -> Section {
        Section { kind: kind(&value).to_owned(), name: "ipams[0]".to_owned(), value }
    }

    fn filled(section_value: Value, index: u32) -> Result<Value, String> {
        let template = Template { main: json!({}), sections: vec![section(section_value)] };
        let filled = template.fill(&node(index)).map_err(|e| e.message)?;
        Ok(filled.sections.into_iter().next().unwrap().value)
    }

    #[test]
    fn everything_but_node_locals_own_is_filled_in() {
        let template = Template {
            main: json!({"bridge": "br{i}", "uplink": {"address": ["192.168.16.{i}/24"]}, "peers": "10.1.{peer}.0/24", "x": "%.x"}),
            sections: vec![section(json!({"type": "node-local", "subnet": "10.1.{i}.0/24"}))],
        };
        assert!(template.needs_node());
        let filled = template.fill(&node(4)).unwrap();
        assert_eq!(
            filled.main,
            json!({"bridge": "br4", "uplink": {"address": ["192.168.16.4/24"]}, "peers": "10.1.{peer}.0/24", "x": "%.x"})
        );
        assert_eq!(filled.sections, template.sections);
        let own = Template { main: json!({"bridge": "br0"}), ..template };
        assert!(!own.needs_node(), "node-local asks for itself");
        let nested = json!({"type": "chain", "ipams": [
            {"type": "host-local", "subnet": "10.1.{i}.0/24"}, {"type": "node-local", "subnet": "fd00:{i}::/64"},
        ]});
        assert_eq!(
            self::filled(nested, 7).unwrap(),
            json!({"type": "chain", "ipams": [
                {"type": "host-local", "subnet": "10.1.7.0/24"}, {"type": "node-local", "subnet": "fd00:{i}::/64"},
            ]})
        );
    }

    #[test]
    fn ranges_that_would_be_shared_are_refused() {
        let start = json!({"type": "host-local", "ranges": [[{"subnet": "15.0.0.0/16", "rangeStart": "15.0.{i}.0"}]]});
        assert!(filled(start.clone(), 4).unwrap_err().contains("15.0.{i}.0 depends on the node"));
        let mut ended = start;
        ended["ranges"][0][0]["rangeEnd"] = json!("15.0.{i}.255");
        assert!(filled(ended, 4).is_ok());
        let wrapped = json!({"type": "host-local", "subnet": "10.1.{i%256}.0/24"});
        assert!(filled(wrapped.clone(), 255).is_ok());
        assert!(filled(wrapped, 300).unwrap_err().contains("index 300 gives what index 44 has"));
        let both = json!({"type": "host-local", "subnet": "10.{i/256}.{i%256}.0/24"});
        assert_eq!(filled(both, 300).unwrap()["subnet"], "10.1.44.0/24");
    }

    #[test]
    fn all_parts_know_the_same_node() {
        let sections = [section(json!({"type": "node-local", "index": 9}))];
        assert_eq!(
            identity(&json!({"index": 4, "hostname": "x"}), &sections),
            json!({"index": 4, "hostname": "x"})
        );
        assert_eq!(identity(&json!({}), &sections), json!({"index": 9}));
        assert_eq!(identity(&json!({}), &[]), json!({}));
        for (own, identity, expected) in [
            (
                json!({"type": "node-local"}),
                json!({"index": 4}),
                json!({"type": "node-local", "index": 4}),
            ),
            (
                json!({"type": "node-local", "index": 9}),
                json!({"hostname": "x"}),
                json!({"type": "node-local", "index": 9}),
            ),
            (
                json!({"type": "node-local", "index": 9}),
                json!({"cfgDir": "/c"}),
                json!({"type": "node-local", "index": 9, "cfgDir": "/c"}),
            ),
            (json!({"type": "host-local"}), json!({"index": 4}), json!({"type": "host-local"})),
            (
                json!({"type": "chain", "ipams": [{"type": "node-local"}]}),
                json!({"index": 4}),
                json!({"type": "chain", "ipams": [{"type": "node-local", "index": 4}]}),
            ),
        ] {
            let mut section = own.clone();
            pass_identity(&mut section, &identity);
            assert_eq!(section, expected, "{own} {identity}");
        }
    }

    #[test]
    fn the_runtimes_keys_are_passed_on_and_others_are_odd() {
        let config = json!({
            "cniVersion": "1.1.0", "name": "n", "type": "chain", "main": {}, "ipams": [], "args": {"cni": {}},
            "cni.dev/valid-attachments": [], "runtimeConfig": {}, "ipMasq": true,
        });
        let keys: Vec<String> = runtime_keys(&config).into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            ["args", "cni.dev/valid-attachments", "cniVersion", "name", "runtimeConfig"]
        );
        assert_eq!(unknown_keys(&config), ["ipMasq: unknown key, ignored"]);
    }
}
