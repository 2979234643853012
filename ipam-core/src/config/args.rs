/*!
CNI_ARGS: `KEY=VALUE` pairs joined by `;`.

Rules and texts are the reference's, with two differences: `IP` may hold several addresses separated by
commas, as Multus sends them for dual stack, and Kubernetes' `K8S_POD_*` are kept as owner metadata.
Keys are case-sensitive and the last of duplicate keys wins (Multus sends most of them twice).
*/

use super::ConfigError;
use super::json::shown;
use crate::addr::{Addr, Cidr};

/// How many unknown keys an error names.
const NAMED: usize = 16;

/// Who the runtime says it is attaching; for people and for sticky addresses, never identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The pod's namespace (`K8S_POD_NAMESPACE`).
    pub namespace: Option<String>,
    /// The pod's name (`K8S_POD_NAME`).
    pub name: Option<String>,
    /// The pod's UID (`K8S_POD_UID`).
    pub uid: Option<String>,
}

/// What CNI_ARGS say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// The requested addresses (`IP`), in order.
    pub ips: Vec<Addr>,
    /// The pod, where the runtime is Kubernetes'.
    pub owner: Owner,
}

impl Args {
    /// Reads CNI_ARGS.
    ///
    /// # Errors
    /// A pair without exactly one `=`, a value that cannot be read, or keys that are unknown where
    /// `IgnoreUnknown` is not true.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut args = Self::default();
        let mut ignore_unknown = false;
        let mut unknown: Vec<&str> = Vec::new();
        if text.is_empty() {
            return Ok(args);
        }
        for pair in text.split(';') {
            let (key, value) = match pair.split_once('=') {
                Some((key, value)) if !value.contains('=') => (key, value),
                _ => {
                    return Err(wrong(
                        format!("ARGS: invalid pair {:?}", shown(pair)),
                        pair,
                        "pairs KEY=VALUE joined by ';'",
                    ));
                }
            };
            let unreadable = |why: String, expected: &str| {
                wrong(
                    format!("ARGS: error parsing value of pair {:?}: {why}", shown(pair)),
                    pair,
                    expected,
                )
            };
            match key {
                "IP" => {
                    args.ips = requested(value).map_err(|ip| {
                        unreadable(
                            format!("invalid IP address {}", shown(ip)),
                            "IP=ADDRESS[/PREFIX], several separated by commas",
                        )
                    })?;
                }
                "IgnoreUnknown" => {
                    ignore_unknown = boolean(value).ok_or_else(|| {
                        unreadable(
                            format!("boolean unmarshal error: invalid input {}", shown(value)),
                            "IgnoreUnknown=1, 0, true or false",
                        )
                    })?;
                }
                _ => {
                    unknown.push(pair);
                    let value = || Some(value.to_owned()).filter(|value| !value.is_empty());
                    match key {
                        "K8S_POD_NAMESPACE" => args.owner.namespace = value(),
                        "K8S_POD_NAME" => args.owner.name = value(),
                        "K8S_POD_UID" => args.owner.uid = value(),
                        _ => {}
                    }
                }
            }
        }
        if ignore_unknown || unknown.is_empty() {
            return Ok(args);
        }
        let mut list: Vec<String> =
            unknown.iter().take(NAMED).map(|pair| format!("{:?}", shown(pair))).collect();
        if unknown.len() > NAMED {
            list.push(format!("and {} more", unknown.len() - NAMED));
        }
        Err(wrong(
            format!("ARGS: unknown args [{}]", list.join(" ")),
            &list.join(" "),
            "IP and IgnoreUnknown; other keys need IgnoreUnknown=1",
        ))
    }
}

/// Addresses separated by commas, each with or without prefix length; the first bad one as an error.
fn requested(text: &str) -> Result<Vec<Addr>, &str> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(|ip| address(ip).ok_or(ip)).collect()
}

/// `ADDRESS` or `ADDRESS/PREFIX`; the prefix length must be one and is dropped.
pub(super) fn address(text: &str) -> Option<Addr> {
    if text.contains('/') { Cidr::parse(text).map(Cidr::addr) } else { Addr::parse(text) }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

fn wrong(message: String, found: &str, expected: &str) -> ConfigError {
    ConfigError {
        message,
        path: "CNI_ARGS".to_owned(),
        found: shown(found),
        expected: expected.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ips(text: &str) -> Vec<String> {
        Args::parse(text).unwrap().ips.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_are_requested_by_ip() {
        for (text, expected) in [
            ("", vec![]),
            ("IP=", vec![]),
            ("IP=10.1.2.11/24", vec!["10.1.2.11"]),
            ("IP=10.1.2.5;IP=10.1.2.6", vec!["10.1.2.6"]),
            ("IP=172.30.1.51/24,fd30:1::51/64", vec!["172.30.1.51", "fd30:1::51"]),
            ("IgnoreUnknown=true;A=1;IP=10.1.2.5;IgnoreUnknown=1;A=1", vec!["10.1.2.5"]),
        ] {
            assert_eq!(ips(text), expected, "{text}");
        }
    }

    #[test]
    fn errors_have_the_references_texts() {
        for (text, message) in [
            (";", r#"ARGS: invalid pair """#),
            ("IP=10.1.2.5;", r#"ARGS: invalid pair """#),
            ("IP", r#"ARGS: invalid pair "IP""#),
            ("IP=a=b", r#"ARGS: invalid pair "IP=a=b""#),
            ("IP=x", r#"ARGS: error parsing value of pair "IP=x": invalid IP address x"#),
            (
                "IP=10.1.2.5,",
                r#"ARGS: error parsing value of pair "IP=10.1.2.5,": invalid IP address "#,
            ),
            (
                "IP=10.1.2.5/40",
                r#"ARGS: error parsing value of pair "IP=10.1.2.5/40": invalid IP address 10.1.2.5/40"#,
            ),
            (
                "IgnoreUnknown=yes",
                r#"ARGS: error parsing value of pair "IgnoreUnknown=yes": boolean unmarshal error: invalid input yes"#,
            ),
            ("A=1;B=2", r#"ARGS: unknown args ["A=1" "B=2"]"#),
            ("ip=10.1.2.5", r#"ARGS: unknown args ["ip=10.1.2.5"]"#),
            ("K8S_POD_NAME=x", r#"ARGS: unknown args ["K8S_POD_NAME=x"]"#),
        ] {
            assert_eq!(Args::parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn the_pod_is_remembered() {
        let args =
            Args::parse("K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_UID=;IgnoreUnknown=TRUE");
        let owner = Owner { namespace: Some("a".into()), name: Some("b".into()), uid: None };
        assert_eq!(args.unwrap().owner, owner);
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in "\\PC{0,200}") {
            let _ = Args::parse(&text);
        }
    }
}
