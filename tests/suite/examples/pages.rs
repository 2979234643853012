//! The pages of docs/scenarios: their configurations are the files of conf-examples/scenarios, which are fine, and
//! what they link to is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{binary, repository};

fn pages() -> Vec<(PathBuf, String)> {
    let dir = repository().join("docs/scenarios");
    let entries = fs::read_dir(&dir).expect("there are pages").flatten();
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    pages.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a page can be read");
        (path, text)
    };
    pages.into_iter().map(read).collect()
}

/// The files of the folder, relative to the repository.
fn files() -> BTreeSet<String> {
    fn visit(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).expect("a folder can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                visit(&path, found);
            } else {
                let name = path.strip_prefix(repository()).expect("below the repository");
                found.insert(name.display().to_string());
            }
        }
    }
    let mut found = BTreeSet::new();
    visit(&repository().join("conf-examples/scenarios"), &mut found);
    found
}

#[test]
fn configurations_of_pages_are_files() {
    let mut count = 0;
    for (page, text) in pages() {
        let page = page.display();
        for (at, _) in text.match_indices("```json\n") {
            let (before, block) = text.split_at(at);
            let block = block.trim_start_matches("```json\n");
            let (block, _) = block.split_once("```").unwrap_or_else(|| panic!("{page}: no end"));
            let (_, name) = before.rsplit_once("`conf-examples/").unwrap_or_else(|| {
                panic!("{page}: no file is named before\n{block}");
            });
            let (name, between) = name.split_once('`').expect("the name has an end");
            assert!(!between.contains("```"), "{page}: no file is named before\n{block}");
            let file = repository().join("conf-examples").join(name);
            let content =
                fs::read_to_string(&file).unwrap_or_else(|e| panic!("{page}: {name}: {e}"));
            assert_eq!(block, content, "{page}: {name}");
            count += 1;
        }
    }
    assert!(count >= 8, "{count} configurations");
}

#[test]
fn each_file_is_on_a_page_and_each_link_leads_somewhere() {
    let pages = pages();
    assert_eq!(pages.len(), 7, "six scenarios, and what they have in common");
    for file in files() {
        let named = pages.iter().any(|(_, text)| text.contains(&format!("{file})")));
        assert!(named, "{file} is on no page");
    }
    for (page, text) in &pages {
        for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
            let target = rest.split(')').next().unwrap_or_default();
            let target = target.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                let path = page.parent().expect("a page is in a folder").join(target);
                assert!(path.exists(), "{}: {target}", page.display());
            }
        }
    }
}

#[test]
fn the_networks_of_scenarios_are_fine() {
    for file in files().iter().filter(|file| file.ends_with(".conflist")) {
        let output = Command::new(binary("plat"))
            .args(["conf", "validate", file])
            .current_dir(repository())
            .env("NODE_INDEX", "1")
            .env_remove("PLAT_ETCD_CONFIG")
            .output()
            .expect("plat can be started");
        let said = [output.stdout, output.stderr].concat();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&said));
    }
}
