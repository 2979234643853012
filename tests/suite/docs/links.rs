//! Links of the repository's own pages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use support::repository;

use super::pages_below;

/// All pages that people read first.
fn pages() -> Vec<PathBuf> {
    let mut pages = pages_below(&repository().join("docs"));
    pages.extend(pages_below(&repository().join("conf-examples")));
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        pages.push(repository().join(name));
    }
    pages
}

/// The text outside of blocks of code.
fn prose(page: &str) -> String {
    let mut inside = false;
    let mut prose = String::new();
    for line in page.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if !inside {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// The targets of a page's links and pictures.
fn targets(prose: &str) -> Vec<&str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to).collect()
}

/// What a heading can be linked to by, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn anchors(page: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(page).expect("a page can be read");
    prose(&text).lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

#[test]
fn anchors_are_githubs() {
    for (heading, expected) in [
        ("## What happens when", "what-happens-when"),
        ("### `node-local-macvlan.conflist`", "node-local-macvlanconflist"),
        ("## plat node ls, plat node show NODE", "plat-node-ls-plat-node-show-node"),
        ("## 2. Two nodes", "2-two-nodes"),
    ] {
        assert_eq!(anchor(heading), expected);
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page can be read");
        for target in targets(&prose(&text)) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, part) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => page.clone(),
                file => page.parent().expect("a page is in a folder").join(file),
            };
            let there = file.exists() && (part.is_empty() || anchors(&file).contains(part));
            if !there {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn every_source_that_an_explanation_names_is_there() {
    let folders = ["tests/", "ipam-core/", "plugins/"];
    let mut named = 0;
    for page in pages_below(&repository().join("docs/explanation")) {
        let text = fs::read_to_string(&page).expect("a page can be read");
        for path in prose(&text).split('`').skip(1).step_by(2) {
            if folders.iter().any(|folder| path.starts_with(folder)) {
                named += 1;
                assert!(repository().join(path).exists(), "{}: {path}", page.display());
            }
        }
    }
    assert!(named > 10, "the paths were not found");
}
