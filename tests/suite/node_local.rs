//! node-local: one configuration for all nodes, and what each node makes of it.
//!
//! Template files and network definitions in `data/node-local` are those that xcluster's script of the
//! same name was used with, in its three generations: `.x` for the index, the same with two address
//! families, `%` for the index.

mod following;
mod host_names;
mod identity;
mod merging;
mod neighbours;
mod networks;
mod pinning;
mod rendering;
mod repeating;
mod templates;
mod without_knowing;

use std::fs;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use serde_json::{Value, json};
use support::{Outcome, Workbench, is_root, repository, skip_unless};

/// The generations of template files.
const GENERATIONS: [&str; 3] = ["x-0.3.1", "x-0.4.0", "percent-0.4.0"];

/// Where the template files and network definitions are.
fn data() -> PathBuf {
    repository().join("tests/data/node-local")
}

/// A template file of a generation.
fn template(generation: &str, name: &str) -> String {
    let path = data().join("templates").join(generation).join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Whether a generation's templates have IPv6 ranges.
fn is_dual_stack(generation: &str) -> bool {
    generation != "x-0.3.1"
}

/// An IPv6 address with an IPv4 address at its end, in the spelling that results have.
fn tail(prefix: &str, v4: &str) -> String {
    let text = format!("{prefix}{v4}");
    text.parse::<Ipv6Addr>().unwrap_or_else(|e| panic!("{text}: {e}")).to_string()
}

/// What a result says about addresses: each with prefix length and gateway.
fn ips(outcome: &Outcome) -> Vec<(String, String)> {
    let result = outcome.ok();
    let ips = result["ips"].as_array().unwrap_or_else(|| panic!("no ips in {result}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ips.iter().map(|ip| (text(&ip["address"]), text(&ip["gateway"]))).collect()
}

/// The whole of a CNI error: code, message and details in one text.
fn error(outcome: &Outcome) -> (u64, String) {
    let (code, message) = outcome.error();
    let details = outcome.json()["details"].as_str().unwrap_or_default().to_owned();
    (code, format!("{message}\n{details}"))
}

/// Asserts that a call is refused with this code, and that its error names all of this.
fn assert_refused(outcome: &Outcome, code: u64, names: &[&str]) {
    let (found, text) = error(outcome);
    assert_eq!(found, code, "{text}");
    for name in names {
        assert!(text.contains(name), "{name:?} is not in {text:?}");
    }
}

/// Asserts that nothing was written anywhere, not even a directory.
fn assert_untouched(bench: &Workbench) {
    for place in [bench.data(), bench.state(), bench.run_dir()] {
        assert!(!place.exists(), "{} was made", place.display());
    }
}

/// A configuration with ranges of the node's own, in both families.
fn dual_stack(bench: &Workbench) -> Value {
    bench.config(json!({"carve": [
        {"pool": "10.1.0.0/16", "prefix": 24},
        {"pool": "fd00:10:1::/48", "prefix": 64},
    ]}))
}

/// Whether a test can give hosts a name.
fn can_name_hosts(test: &str) -> bool {
    skip_unless(test, &[(is_root(), "root, to make UTS namespaces")])
}
