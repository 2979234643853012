//! ARCHITECTURE.md against the manifests: every package has a room, and uses what the page says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use support::repository;

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The lines of a section of a manifest.
fn section<'a>(manifest: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let within = move |line: &&str| line.trim() != format!("[{name}]");
    let lines = manifest.lines().skip_while(within).skip(1);
    lines.take_while(|line| !line.starts_with('['))
}

/// The value of a key that is a text.
fn text<'a>(lines: impl Iterator<Item = &'a str>, key: &str) -> Option<&'a str> {
    let mut values = lines.filter_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='));
    values.next().map(|value| value.trim().trim_matches('"'))
}

/// The words between backquotes.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The directories of the workspace, without the tests.
fn members(workspace: &str) -> Vec<&str> {
    let list = workspace.split_once("members = [").and_then(|(_, rest)| rest.split_once(']'));
    let (list, _) = list.expect("a list of members");
    list.split('"').skip(1).step_by(2).filter(|member| !member.starts_with("tests")).collect()
}

#[test]
fn every_package_has_a_room() {
    let page = read("ARCHITECTURE.md");
    for member in members(&read("Cargo.toml")) {
        assert!(page.contains(&format!("| `{member}/` |")), "{member} has no row");
    }
}

#[test]
fn packages_use_what_is_written() {
    let (page, workspace) = (read("ARCHITECTURE.md"), read("Cargo.toml"));
    let members = members(&workspace);
    // The name that others use for what lies in a directory.
    let ours: BTreeMap<&str, &str> = section(&workspace, "workspace.dependencies")
        .filter_map(|line| {
            let (name, rest) = line.split_once(" = { path = \"")?;
            Some((rest.split_once('"')?.0, name))
        })
        .collect();
    let names: BTreeSet<&str> = ours.values().copied().collect();
    let mut wanted = BTreeMap::new();
    for member in &members {
        let manifest = read(&format!("{member}/Cargo.toml"));
        let own = text(section(&manifest, "package"), "name").expect("a name");
        let name = ours.get(member).copied().unwrap_or(own).to_owned();
        let uses: BTreeSet<String> = section(&manifest, "dependencies")
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|dependency| names.contains(dependency))
            .map(str::to_owned)
            .collect();
        wanted.insert(name, uses);
    }
    let programs: BTreeSet<String> =
        ["host-local", "node-local", "etcd-pool", "vpp", "chain", "plat"]
            .into_iter()
            .chain(["plat-agent"])
            .map(str::to_owned)
            .collect();
    let (_, table) = page.split_once("| package | uses of ours |").expect("a table");
    let mut said = BTreeMap::new();
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [packages, uses] = cells[..] else { panic!("{row}") };
        for package in quoted(packages) {
            let mut uses = quoted(uses);
            if row.contains("every program") {
                uses.extend(programs.clone());
            }
            said.insert(package, uses);
        }
    }
    assert_eq!(said, wanted);
}
