/*!
A list of attachments that live, from a file or standard input.

The CNI specification's list for GC (`[{"containerID", "ifname"}]`, or a configuration with it under
`cni.dev/valid-attachments`), or a line for each: `CONTAINER [IFNAME]`. A container without interface
stands for all of its interfaces.
*/

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

use ipam_core::identity::{Attachment, ContainerId, Holder, IfName};
use serde_json::Value;

use crate::Error;

const KEY: &str = "cni.dev/valid-attachments";
const FORM: &str = "a JSON list of {\"containerID\": \"...\", \"ifname\": \"...\"}, an object with it \
                    under \"cni.dev/valid-attachments\", or lines of CONTAINER [IFNAME]";

/// Attachments that live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidList {
    attachments: HashSet<Attachment>,
    /// Every container of the list.
    containers: HashSet<ContainerId>,
    /// Those that stand for all of their interfaces.
    whole: HashSet<ContainerId>,
    /// The network that the list is about, where it is a configuration.
    pub network: Option<String>,
}

impl ValidList {
    /// Whether the list has the holder.
    pub fn has(&self, holder: &Holder) -> bool {
        match holder {
            Holder::Attachment(attachment) => {
                self.attachments.contains(attachment) || self.whole.contains(&attachment.container)
            }
            Holder::Container(id) => self.containers.contains(id),
            Holder::Unknown => true,
        }
    }

    /// Reads a list.
    ///
    /// # Errors
    /// What is wrong with which entry.
    pub fn parse(text: &str) -> Result<Self, String> {
        if matches!(text.trim_start().as_bytes().first(), Some(b'[' | b'{')) {
            let value: Value =
                serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
            return Self::of_json(&value);
        }
        let mut list = Self::default();
        for (number, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (container, ifname) = match words.as_slice() {
                [] => continue,
                [container] => (*container, None),
                [container, ifname] => (*container, Some(*ifname)),
                _ => return Err(format!("has more than two words in line {}", number + 1)),
            };
            list.add(container, ifname)
                .map_err(|error| format!("has in line {} {error}", number + 1))?;
        }
        Ok(list)
    }

    fn of_json(value: &Value) -> Result<Self, String> {
        let mut list = Self::default();
        let entries = match value {
            Value::Array(entries) => entries,
            _ => {
                list.network = value.get("name").and_then(Value::as_str).map(str::to_owned);
                value.get(KEY).and_then(Value::as_array).ok_or_else(|| {
                    format!("has no list under {KEY:?}; without one nobody is meant")
                })?
            }
        };
        for (position, entry) in entries.iter().enumerate() {
            let string = |key: &str| entry.get(key).and_then(Value::as_str);
            let container = string("containerID")
                .ok_or_else(|| format!("has no \"containerID\" in entry {position}"))?;
            list.add(container, string("ifname"))
                .map_err(|error| format!("has in entry {position} {error}"))?;
        }
        Ok(list)
    }

    fn add(&mut self, container: &str, ifname: Option<&str>) -> Result<(), String> {
        let container = ContainerId::new(container)
            .map_err(|error| format!("a container ID {container:?} that {error}"))?;
        self.containers.insert(container.clone());
        match ifname {
            Some(ifname) => {
                let ifname = IfName::new(ifname)
                    .map_err(|error| format!("an interface {ifname:?} that {error}"))?;
                self.attachments.insert(Attachment { container, ifname });
            }
            None => {
                self.whole.insert(container);
            }
        }
        Ok(())
    }
}

/// Reads the list from a file, or from standard input if it is called `-`.
///
/// # Errors
/// If it cannot be read or is no list.
pub fn read(path: &Path) -> Result<ValidList, Error> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    let name = if path == Path::new("-") { "the list".into() } else { path.display().to_string() };
    read.map_err(|error| {
        Error::new(format!("{name} cannot be read: {error}"), format!("--valid needs {FORM}"))
    })?;
    ValidList::parse(&text)
        .map_err(|error| Error::new(format!("{name} {error}"), format!("--valid needs {FORM}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(id: &str, ifname: &str) -> Holder {
        Holder::Attachment(Attachment {
            container: ContainerId::new(id).unwrap(),
            ifname: IfName::new(ifname).unwrap(),
        })
    }

    #[test]
    fn lists_of_every_form_are_read() {
        for text in [
            r#"[{"containerID":"c1","ifname":"eth0"},{"containerID":"c2"}]"#,
            r#"{"name":"pods","cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"},{"containerID":"c2"}]}"#,
            "c1 eth0\n\n  c2\n",
        ] {
            let list = ValidList::parse(text).unwrap();
            assert!(list.has(&holder("c1", "eth0")) && !list.has(&holder("c1", "eth1")), "{text}");
            assert!(list.has(&holder("c2", "eth7")) && !list.has(&holder("c3", "eth0")), "{text}");
            assert!(list.has(&Holder::Container(ContainerId::new("c1").unwrap())));
            assert!(list.has(&Holder::Unknown));
        }
        assert!(!ValidList::parse("[]").unwrap().has(&holder("c1", "eth0")));
        for (text, says) in [
            ("{}", "no list under"),
            ("[{}]", "entry 0"),
            ("c1 eth0 x", "line 1"),
            ("c1\n-x", "line 2"),
            ("[", "no JSON"),
        ] {
            let error = ValidList::parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
