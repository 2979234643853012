//! `docs/operations/errors.md` against the code: every code of every plugin, every text of the libraries' errors.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use support::repository;

const PAGE: &str = "docs/operations/errors.md";
/// What the page leaves to VPP's own.
const OF_VPP: &str = "docs/vpp.md";
const PLUGINS: [&str; 5] = ["host-local", "node-local", "etcd-pool", "vpp", "chain"];

/// A file of the repository, with single blanks and without line ends.
fn flat(path: &str) -> String {
    read(path).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The codes by their names, as `Code::number` has them.
fn numbers() -> BTreeMap<String, u32> {
    let source = read("plugins/lib/cni/src/error.rs");
    let lines = source.lines().filter_map(|line| {
        let (name, number) = line.trim().strip_prefix("Self::")?.split_once(" => ")?;
        Some((name.to_owned(), number.strip_suffix(',')?.parse().ok()?))
    });
    lines.collect()
}

/// The page's sections by their codes.
fn sections() -> BTreeMap<u32, String> {
    let page = read(PAGE);
    let parts = page.split("\n## ").skip(1).filter_map(|part| {
        let (code, _) = part.split_once(':')?;
        Some((code.parse().ok()?, part.split_whitespace().collect::<Vec<_>>().join(" ")))
    });
    parts.collect()
}

/// All Rust text below a folder, without tests.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).expect("a folder can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_name().is_some_and(|name| name != "tests.rs")
        {
            let source = fs::read_to_string(&path).expect("a source can be read");
            text.push_str(source.split("#[cfg(test)]").next().unwrap_or_default());
        }
    }
    text
}

#[test]
fn every_code_has_a_section_that_names_its_plugins() {
    let (numbers, sections) = (numbers(), sections());
    assert!(numbers.len() >= 12, "the codes were not found: {numbers:?}");
    let mut codes: Vec<u32> = numbers.values().copied().collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(
        codes,
        sections.keys().copied().collect::<Vec<_>>(),
        "left: the code; right: {PAGE}"
    );
    let summary = read(PAGE);
    for code in codes {
        assert!(
            summary.contains(&format!("\n| [{code}](#{code}-")),
            "{code} is not in the summary"
        );
    }
    for plugin in PLUGINS {
        let source = sources(&repository().join("plugins").join(plugin).join("src"));
        for (name, code) in &numbers {
            let used = source.contains(&format!("Code::{name}"));
            let named = sections.get(code).is_some_and(|section| section.contains(plugin));
            assert!(!used || named, "{plugin} answers {code} ({name}), and {PAGE} does not say so");
        }
    }
}

/// The longest piece of an error's text that does not depend on anything.
fn fixed_piece(text: &str) -> String {
    let mut pieces = vec![String::new()];
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                pieces.push(String::new());
            }
            c if depth == 0 => pieces.last_mut().expect("there is one").push(c),
            _ => {}
        }
    }
    let trim = |piece: String| piece.trim_matches([' ', ':', '(', ')', ',']).to_owned();
    pieces.into_iter().map(trim).max_by_key(String::len).unwrap_or_default()
}

/// The texts that stand behind `before` in a source.
fn texts(source: &str, before: &str) -> Vec<String> {
    let behind = source.split(before).skip(1);
    let quoted = behind.filter_map(|rest| rest.trim_start().strip_prefix('"'));
    quoted.filter_map(|rest| rest.split_once('"')).map(|(text, _)| text.to_owned()).collect()
}

#[test]
fn every_text_of_an_error_is_told() {
    let page = flat(PAGE);
    let vpp = format!("{page} {}", flat(OF_VPP));
    for (source, before, least, told) in [
        ("ipam-core/stores/src/error.rs", "#[error(", 12, &page),
        ("ipam-core/pool/src/ops/trouble.rs", "#[error(", 15, &page),
        ("plugins/lib/vpp-api/src/error.rs", "#[error(", 6, &vpp),
        ("plugins/vpp/src/node/error.rs", "#[error(", 5, &vpp),
    ] {
        let texts = texts(&read(source), before);
        assert!(texts.len() >= least, "{source}: {texts:?}");
        for text in texts {
            let piece = fixed_piece(&text);
            // Shorter ones are but a word beside what somebody else says.
            assert!(piece.len() < 8 || told.contains(&piece), "{source}: {piece:?} is not told");
        }
    }
}

#[test]
fn fixed_pieces_are_the_longest() {
    for (text, piece) in [
        ("the lock {} is held by {holder}: not free within {} s", "not free within"),
        ("{addr} is {by}", "is"),
        ("{0}", ""),
        ("etcd did not answer in time", "etcd did not answer in time"),
    ] {
        assert_eq!(fixed_piece(text), piece);
    }
}
