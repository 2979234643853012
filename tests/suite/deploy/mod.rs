//! What is deployed: the manifests of Kubernetes, the jobs of Nomad, the units of Podman, of `conf-examples`. They are
//! consistent in themselves, and what they start works with just the rights that they give.

mod container;
mod manifests;
mod nomad;
mod podman;
mod rollout;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value};
use support::{finish, have, program, repository};
use yaml_rust2::{Yaml, YamlLoader};

fn folder() -> PathBuf {
    repository().join("conf-examples/kubernetes")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The documents of a YAML text.
fn documents(text: &str) -> Vec<Value> {
    let all = YamlLoader::load_from_str(text).unwrap_or_else(|e| panic!("{e}:\n{text}"));
    all.iter().map(json).collect()
}

/// YAML as JSON has it.
fn json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Real(text) | Yaml::String(text) => Value::from(text.as_str()),
        Yaml::Integer(number) => Value::from(*number),
        Yaml::Boolean(value) => Value::from(*value),
        Yaml::Array(all) => all.iter().map(json).collect(),
        Yaml::Hash(all) => {
            let each = all.iter().map(|(key, value)| {
                (key.as_str().expect("keys are texts").to_owned(), json(value))
            });
            Value::Object(each.collect::<Map<_, _>>())
        }
        Yaml::Null => Value::Null,
        Yaml::Alias(_) | Yaml::BadValue => panic!("not used in manifests: {yaml:?}"),
    }
}

/// The elements of a list; none where there is no list.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text is missing: {value}"))
}

/// The names of what can be applied: the base, each overlay, the networks.
fn kustomizations() -> Vec<String> {
    let overlays = fs::read_dir(folder().join("overlays")).expect("there are overlays").flatten();
    let mut names: Vec<String> = overlays
        .map(|entry| format!("overlays/{}", entry.file_name().to_string_lossy()))
        .chain(["base".to_owned(), "networks".to_owned()])
        .collect();
    names.sort();
    names
}

/// What a directory comes to, as it is applied.
fn rendered(dir: &Path) -> Vec<Value> {
    let outcome = finish(Command::new(program("kubectl")).arg("kustomize").arg(dir), b"");
    assert_eq!(outcome.exit, Some(0), "{}: {}", dir.display(), outcome.stderr);
    assert!(!outcome.stderr.contains("deprecated"), "{}: {}", dir.display(), outcome.stderr);
    documents(&outcome.stdout)
}

/// Those of a kind.
fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

/// Whether there is a kubectl that renders. Debian 12 has none: its 1.20 knows neither components nor directories among
/// the resources. So a test without it is skipped also where nothing else may be.
fn can_render(test: &str) -> bool {
    let minor = || {
        let mut command = Command::new(program("kubectl"));
        let outcome = finish(command.args(["version", "--client", "--output", "json"]), b"");
        let version: Value = serde_json::from_str(&outcome.stdout).ok()?;
        let minor = version["clientVersion"]["minor"].as_str()?;
        minor.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().ok()
    };
    let can = have("kubectl") && minor().is_some_and(|minor| minor >= 21);
    if !can {
        // Written past the test harness, which would show it for failing tests only.
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: needs kubectl 1.21 or later");
    }
    can
}

#[test]
fn yaml_is_read_as_it_is_meant() {
    let text = "a: {b: [1, true, null, x: y]}\n---\n- |\n  two\n  lines\n";
    let expected = [
        serde_json::json!({"a": {"b": [1, true, null, {"x": "y"}]}}),
        serde_json::json!(["two\nlines\n"]),
    ];
    assert_eq!(documents(text), expected);
}
