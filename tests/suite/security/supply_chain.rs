/*!
What is compiled in: licences, sources, crates that must not be there, and crates that are there twice.

`deny.toml` has the rules, for `cargo deny`; here they are kept without that tool, which takes longer to compile than all of
Plat.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::Value;
use support::repository;

/// The texts in quotes of a list in deny.toml.
fn texts(list: &str) -> Vec<&str> {
    list.split('"').skip(1).step_by(2).collect()
}

/// A list of deny.toml: from its key to the closing bracket.
fn list<'a>(rules: &'a str, section: &str, key: &str) -> &'a str {
    let (_, rest) = rules.split_once(&format!("\n[{section}]\n")).expect("the section is there");
    let rest = rest.split("\n[").next().expect("something");
    let (_, rest) = rest.split_once(&format!("\n{key} = [")).expect("the list is there");
    rest.split(']').next().expect("something")
}

/// Whether an expression of licences (SPDX, annex D; a slash of old is an OR) can be met by those that are allowed.
fn is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut at = 0;
    let met = either(&words, &mut at, allowed);
    met && at == words.len()
}

fn either(words: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let mut met = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= both(words, at, allowed);
    }
    met
}

fn both(words: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let mut met = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at, allowed);
    }
    met
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let met = either(words, at, allowed);
        *at += 1;
        return met;
    }
    let mut licence = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        licence = format!("{licence} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    allowed.contains(licence.as_str())
}

#[test]
fn expressions_are_met_as_they_are_meant() {
    let allowed = BTreeSet::from(["MIT", "Apache-2.0 WITH LLVM-exception"]);
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("MIT AND (GPL-3.0 OR MIT)", true),
        ("(MIT OR GPL-3.0) AND GPL-3.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("", false),
        ("MIT OR", true),
        ("MIT MIT", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), met, "{expression}");
    }
}

#[test]
fn dependencies_keep_the_rules() {
    let rules = fs::read_to_string(repository().join("deny.toml")).expect("deny.toml is there");
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // All that this platform needs was just compiled: nothing is fetched.
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--filter-platform",
            &platform,
        ])
        .current_dir(repository())
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let text = |package: &Value, key: &str| package[key].as_str().unwrap_or_default().to_owned();
    let allowed: BTreeSet<&str> = texts(list(&rules, "licenses", "allow")).into_iter().collect();
    let entries = |key: &str| -> Vec<(String, String)> {
        let lines = list(&rules, "bans", key).lines().filter(|line| line.contains("crate ="));
        lines
            .map(|line| match texts(line).as_slice() {
                [name, reason] => ((*name).to_owned(), (*reason).to_owned()),
                _ => panic!("no crate and reason in {line:?}"),
            })
            .collect()
    };
    let banned = entries("deny");
    let (mut wrong, mut sources) = (Vec::new(), BTreeSet::new());
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 50, "{} packages", packages.len());
    for package in packages {
        let (name, version) = (text(package, "name"), text(package, "version"));
        if package["source"].is_null() {
            let ours =
                text(package, "manifest_path").starts_with(repository().to_str().expect("UTF-8"));
            wrong.extend((!ours).then(|| format!("{name} is a path outside the repository")));
            continue;
        }
        let (source, licence) = (text(package, "source"), text(package, "license"));
        // Cargo's own registry: no configuration here names another one.
        if !source.starts_with("registry+") {
            wrong.push(format!("{name} {version} comes from {source}"));
        }
        sources.insert(source);
        if !is_allowed(&licence, &allowed) {
            wrong.push(format!("{name} {version}: the licence {licence:?} is not in deny.toml"));
        }
        if let Some((_, why)) = banned.iter().find(|(banned, _)| *banned == name) {
            wrong.push(format!("{name} must not be there: {why}"));
        }
        versions.entry(name).or_default().insert(version);
    }
    let skipped: BTreeMap<String, String> = entries("skip").into_iter().collect();
    for (name, versions) in &versions {
        let without_reason: Vec<&String> = versions
            .iter()
            .filter(|version| !skipped.contains_key(&format!("{name}@{version}")))
            .collect();
        if without_reason.len() > 1 {
            wrong.push(format!(
                "{name} is there as {without_reason:?}, without a reason in deny.toml"
            ));
        }
    }
    for entry in skipped.keys() {
        let (name, version) = entry.split_once('@').expect("a version");
        if !versions.get(name).is_some_and(|all| all.len() > 1 && all.contains(version)) {
            wrong.push(format!("deny.toml has a reason for {entry}, which is not there twice"));
        }
    }
    if sources.len() > 1 {
        wrong.push(format!("there is more than one registry: {sources:?}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
