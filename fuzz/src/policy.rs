//! A policy file says yes to what it names, and to nothing else.

use std::path::{Component, Path, PathBuf};

use ipam_core::config::json::At;
use ipam_core::rules::Rules;
use serde_json::Value;

/// The keys of paths in an ipam section, and the rules of the same names.
const PATHS: [&str; 4] = ["dataDir", "database", "resolvConf", "cfgDir"];

/// Nothing is a link.
fn resolve(path: &Path) -> Option<PathBuf> {
    path.is_absolute().then(|| path.to_path_buf())
}

/// Reads the input's first line as a policy file, and the rest as a network configuration.
pub fn policy(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (policy, net) = input.split_at(end);
    let read = Rules::parse("policy.json", policy);
    assert_eq!(read, Rules::parse("policy.json", policy), "the same file says two things");
    let rules = match read {
        Ok(rules) => rules,
        Err(error) => {
            assert!(error.message.contains("policy.json") && !error.expected.is_empty());
            return;
        }
    };
    let Ok(written) = serde_json::from_slice::<Value>(policy) else {
        panic!("rules that are no JSON");
    };
    assert!(written.is_object(), "rules that are no object");
    let Ok(net) = serde_json::from_slice::<Value>(net) else { return };
    let judged = rules.ipam(&net, &resolve);
    if let Err(error) = &judged {
        assert!(!error.message.is_empty() && !error.expected.is_empty());
    } else {
        for key in PATHS {
            assert!(is_inside(&written, &net, key), "{key} leads elsewhere");
        }
        assert!(named(&written, &net), "a network that is not named");
    }
    let _ = rules.vpp(&net, &resolve);
}

/// The texts of a rule; `None` if there is none.
fn texts<'a>(policy: &'a Value, rule: &str) -> Option<Vec<&'a str>> {
    Some(policy.get(rule)?.as_array()?.iter().filter_map(Value::as_str).collect())
}

/// Whether the value of a key, if there is one, is at or below an allowed place by its text.
fn is_inside(policy: &Value, net: &Value, key: &str) -> bool {
    let Some(allowed) = texts(policy, key) else { return true };
    let root = At::root(net);
    let Ok(Some(ipam)) = root.get("ipam") else { return true };
    let Ok(Some(at)) = ipam.get(key) else { return true };
    let text = at.value().as_str().unwrap_or_default();
    let plain = |path: &str| -> Vec<String> {
        let parts = Path::new(path).components();
        parts.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
    };
    let climbs = Path::new(text).components().any(|part| part == Component::ParentDir);
    text.is_empty() || !climbs && allowed.iter().any(|place| plain(text).starts_with(&plain(place)))
}

/// Whether the network's name, if there is one, is one of those that are allowed.
fn named(policy: &Value, net: &Value) -> bool {
    let Some(allowed) = texts(policy, "networks") else { return true };
    let root = At::root(net);
    let Ok(Some(at)) = root.get("name") else { return true };
    let name = at.value().as_str().unwrap_or_default();
    allowed.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *pattern,
    })
}
