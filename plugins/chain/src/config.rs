/*!
What a chain is made of.

The list of IPAM plugins is `ipams`, with `policy` beside it: in the ipam section where chain is an IPAM, at the top
where it is the whole network. A runtime reads `ipam` as an object with a `type`, so a list cannot stand there in a
file that it loads; callers that do not look get the list accepted under that name, too.
*/

use cni::Error;
use ipam_core::config::ConfigError;
use ipam_core::config::json::{At, shown};
use serde_json::{Map, Value};

use crate::NAME;
use crate::errors::config_error;

/// The most IPAM plugins in one chain.
const MOST: usize = 16;

/// The keys of a chain's ipam section.
const KEYS: &[&str] = &["type", "policy", "ipams", "ipam", "instance"];

/// What the listed IPAM plugins are to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Each of them contributes.
    #[default]
    All,
    /// The next one only when one is full or away.
    First,
}

impl Policy {
    fn read(at: &At<'_>) -> Result<Self, ConfigError> {
        let Some(policy) = at.get("policy")? else { return Ok(Self::All) };
        match policy.string()? {
            "all" => Ok(Self::All),
            "first" => Ok(Self::First),
            text => Err(policy.wrong(
                format!("{policy}: {:?} is no policy", shown(text)),
                "\"all\": each IPAM contributes, or \"first\": the next one only when one is full or away",
            )),
        }
    }

    /// The word in a configuration.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::First => "first",
        }
    }
}

/// One listed IPAM plugin, with its ipam section.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Section {
    /// Its type.
    pub(crate) kind: String,
    /// Where it stands and what it is, for people: `ipams[0] (node-local)`.
    pub(crate) name: String,
    /// The section.
    pub(crate) value: Value,
}

impl Section {
    /// A section whose place is not known any more.
    pub(crate) fn recorded(value: &Value) -> Option<Self> {
        let kind = At::root(value).get("type").ok()??.value().as_str()?.to_owned();
        Some(Self { name: kind.clone(), kind, value: value.clone() })
    }
}

/// A list of IPAM plugins.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Listing {
    /// What they are to each other.
    pub(crate) policy: Policy,
    /// The plugins, in order.
    pub(crate) sections: Vec<Section>,
    /// What tells this chain from others of the attachment; empty for the outermost.
    pub(crate) instance: String,
    /// What is odd but not wrong, a sentence each.
    pub(crate) warnings: Vec<String>,
}

impl Listing {
    /// The list of a configuration whose `ipam.type` is chain.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn of_ipam(config: &Value) -> Result<Self, Error> {
        let root = At::root(config);
        let read = || {
            let ipam = root.get("ipam")?.ok_or_else(|| {
                root.wrong(
                    "IPAM config missing 'ipam' key",
                    "\"ipam\": {\"type\": \"chain\", \"ipams\": [..]}",
                )
            })?;
            let mut listing = Self::read(&ipam)?;
            listing.warnings = ipam.unknown_keys(&[KEYS]);
            listing.instance = ipam_core::config::instance(&ipam)?.unwrap_or_default();
            Ok(listing)
        };
        read().map_err(|e| config_error(&e))
    }

    /// The list of a top-level chain; `None` if the network has no addresses to give.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn of_top(config: &Value) -> Result<Option<Self>, Error> {
        let root = At::root(config);
        let read = || {
            let (list, ipam) = (root.get("ipams")?, root.get("ipam")?);
            let Some(ipam) = ipam else {
                return list.map(|_| Self::read(&root)).transpose();
            };
            if let Some(list) = list {
                return Err(list.wrong(
                    format!("{list}: there is \"ipam\", too"),
                    "one of the two: \"ipam\" is an object, \"ipams\" a list",
                ));
            }
            if ipam.value().is_array() {
                return Self::read(&root).map(Some);
            }
            match ipam.get("type")?.map(|at| at.string()).transpose()? {
                // What is left of it by a caller that drops what it does not know.
                None if ipam.object()?.is_empty() => Ok(None),
                Some(NAME) => {
                    let mut listing = Self::read(&ipam)?;
                    listing.warnings = ipam.unknown_keys(&[KEYS]);
                    Ok(Some(listing))
                }
                _ => {
                    let policy = Policy::read(&root)?;
                    Ok(Some(Self { policy, sections: vec![section(&ipam)?], ..Self::default() }))
                }
            }
        };
        read().map_err(|e| config_error(&e))
    }

    /// `policy` and `ipams` of an object.
    fn read(at: &At<'_>) -> Result<Self, ConfigError> {
        const EXPECTED: &str = "a list of ipam sections, such as [{\"type\": \"node-local\", ..}, {\"type\": \"etcd-pool\", ..}]";
        let policy = Policy::read(at)?;
        let list = match at.get("ipams")? {
            None => at.get("ipam")?,
            list => list,
        };
        let list =
            list.ok_or_else(|| at.wrong(format!("{}ipams is missing", prefix(at)), EXPECTED))?;
        let sections = list.list()?.map(|at| section(&at)).collect::<Result<Vec<_>, _>>()?;
        if sections.is_empty() || sections.len() > MOST {
            let message = format!("{list}: {} IPAM plugins are listed", sections.len());
            return Err(list.wrong(message, format!("from 1 to {MOST} of them")));
        }
        Ok(Self { policy, sections, ..Self::default() })
    }

    /// What can be read of either form, for DEL and GC: an address must not leak because something else is wrong.
    pub(crate) fn lenient(config: &Value) -> Self {
        let root = At::root(config);
        let ipam = root.get("ipam").ok().flatten();
        let inner = ipam.as_ref().and_then(|ipam| ipam.get("ipams").ok().flatten());
        let outer = root.get("ipams").ok().flatten();
        let own = ipam.as_ref().and_then(|ipam| ipam.get("ipam").ok().flatten());
        let list = [inner, outer, own, ipam]
            .into_iter()
            .flatten()
            .find(|at| at.value().is_array())
            .and_then(|at| at.value().as_array().cloned());
        let values =
            list.unwrap_or_else(|| ipam.map(|at| at.value().clone()).into_iter().collect());
        let chain = |section: &Section| section.kind == NAME && listed(&section.value).is_none();
        let mut sections: Vec<Section> =
            values.iter().take(MOST).filter_map(Section::recorded).collect();
        sections.retain(|section| !chain(section));
        let instance = ipam.and_then(|ipam| ipam_core::config::instance(&ipam).ok().flatten());
        Self { sections, instance: instance.unwrap_or_default(), ..Self::default() }
    }
}

/// The list of a chain's section.
pub(crate) fn listed(section: &Value) -> Option<&Vec<Value>> {
    let object = section.as_object()?;
    ["ipams", "ipam"].iter().find_map(|key| value(object, key)?.as_array())
}

/// A value by its key, however the key's letters are cased.
pub(crate) fn value<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object
        .get(key)
        .or_else(|| object.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v))
        .filter(|value| !value.is_null())
}

fn prefix(at: &At<'_>) -> String {
    let path = at.to_string();
    if path.is_empty() { path } else { format!("{path}.") }
}

fn section(at: &At<'_>) -> Result<Section, ConfigError> {
    const EXPECTED: &str = "an object with the \"type\" of an IPAM plugin";
    at.object()?;
    let kind = match at.get("type")? {
        Some(kind) => kind.string()?.to_owned(),
        None => String::new(),
    };
    if kind.is_empty() {
        return Err(at.wrong(format!("{at}: type is missing"), EXPECTED));
    }
    Ok(Section { name: format!("{at} ({})", shown(&kind)), kind, value: at.value().clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kinds(listing: &Listing) -> Vec<&str> {
        listing.sections.iter().map(|section| section.kind.as_str()).collect()
    }

    #[test]
    fn both_forms_name_the_same_list() {
        let list = json!([{"type": "a"}, {"type": "b"}]);
        let inner =
            json!({"type": "bridge", "ipam": {"type": "chain", "policy": "first", "ipams": list}});
        let listing = Listing::of_ipam(&inner).unwrap();
        assert_eq!((listing.policy, kinds(&listing)), (Policy::First, vec!["a", "b"]));
        assert_eq!(listing.sections[1].name, "ipam.ipams[1] (b)");
        assert!(listing.warnings.is_empty());
        for (top, expected) in [
            (json!({"ipams": list}), vec!["a", "b"]),
            (json!({"ipam": list}), vec!["a", "b"]),
            (json!({"ipam": {"type": "chain", "ipams": list}}), vec!["a", "b"]),
            (json!({"ipam": {"type": "c"}}), vec!["c"]),
        ] {
            let listing = Listing::of_top(&top).unwrap().unwrap();
            assert_eq!(kinds(&listing), expected, "{top}");
            assert_eq!(kinds(&Listing::lenient(&top)), expected, "{top}");
        }
        assert_eq!(kinds(&Listing::lenient(&inner)), ["a", "b"]);
        for none in [json!({}), json!({"ipam": {}}), json!({"ipam": null})] {
            assert_eq!(Listing::of_top(&none).unwrap(), None);
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (ipam, message) in [
            (json!(null), "IPAM config missing 'ipam' key"),
            (json!({}), "ipam.ipams is missing"),
            (json!({"ipams": {}}), "ipam.ipams: expected a list, found {}"),
            (json!({"ipams": []}), "ipam.ipams: 0 IPAM plugins are listed"),
            (json!({"ipams": [{"type": "x"}, {}]}), "ipam.ipams[1]: type is missing"),
            (json!({"ipams": [{"type": 5}]}), "ipam.ipams[0].type: expected a string, found 5"),
            (
                json!({"ipams": [{"type": "x"}], "policy": "some"}),
                "ipam.policy: \"some\" is no policy",
            ),
            (
                json!({"ipams": [{"type": "x"}], "instance": "a/b"}),
                "ipam.instance: \"a/b\" is no instance",
            ),
        ] {
            let error = Listing::of_ipam(&json!({"ipam": ipam})).unwrap_err();
            assert_eq!((error.code.number(), error.message.as_str()), (7, message));
        }
        let both = json!({"ipam": {"type": "a"}, "ipams": [{"type": "a"}]});
        assert!(Listing::of_top(&both).unwrap_err().message.contains("too"));
    }

    #[test]
    fn what_is_left_of_a_configuration_is_enough() {
        for (config, expected) in [
            (json!({}), vec![]),
            (json!({"ipam": {"type": "chain"}}), vec![]),
            (json!({"type": "chain", "ipam": {}}), vec![]),
            (json!({"ipam": 5, "ipams": "x"}), vec![]),
            (
                json!({"ipam": {"type": "chain", "ipams": [5, {}, {"type": "a"}], "policy": 7}}),
                vec!["a"],
            ),
        ] {
            assert_eq!(kinds(&Listing::lenient(&config)), expected, "{config}");
        }
    }
}
