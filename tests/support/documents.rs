//! What is printed with `--json` is as its schema says.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::binary;
use crate::schema::{Others, fits};

/// The schemas of a command's documents, by their names.
type Schemas = Vec<(String, Value)>;

/// What prints schemas, which are nobody's documents.
const OF_SCHEMAS: [&str; 1] = ["conf keys"];

/// Holds what `plat` or `plat-agent` has printed against the schemas of its documents, if it is one of them, by its first
/// word or a later one, and was asked for `--json`. A field that is not described is a mistake, as one that is missing.
///
/// # Panics
/// If it is not as any of them says, or the command has none.
#[track_caller]
pub fn documented<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>, printed: &str) {
    let words: Vec<String> =
        words.into_iter().map(|word| word.as_ref().to_string_lossy().into_owned()).collect();
    let asked = words.iter().any(|word| word == "--json");
    let ours = words.iter().any(|word| is(word, "plat") || is(word, "plat-agent"));
    if !asked || !ours || printed.trim().is_empty() {
        return;
    }
    let Some((command, schemas)) = candidates(&words) else {
        panic!("{words:?} prints a document, and `plat schema` has none of it:\n{printed}")
    };
    for document in serde_json::Deserializer::from_str(printed).into_iter::<Value>() {
        let document = document.unwrap_or_else(|error| panic!("{command}: {error}:\n{printed}"));
        let wrong: Vec<String> = schemas
            .iter()
            .map_while(|(name, schema)| {
                let wrong = fits(&document, schema, Others::Refused).err()?;
                Some(format!("{name}: {wrong}"))
            })
            .collect();
        assert!(
            wrong.len() < schemas.len() || schemas.is_empty(),
            "{command} prints what is not described:\n{}\n{document:#}",
            wrong.join("\n")
        );
    }
}

/// Whether a word is a program, with or without its path. What a container is given of the host, `DIR:/etc/plat`, is none.
fn is(word: &str, program: &str) -> bool {
    !word.contains(':') && Path::new(word).file_name() == Some(OsStr::new(program))
}

/// The command that these words are, and its schemas.
fn candidates(words: &[String]) -> Option<(String, &'static Schemas)> {
    static NONE: Schemas = Vec::new();
    let all = all();
    if words.iter().any(|word| is(word, "plat-agent")) {
        return Some(("plat-agent".to_owned(), all.get("plat-agent")?));
    }
    // Options with their values may stand before the command, and none of these is one.
    (0..words.len()).find_map(|first| {
        let rest = words.get(first..)?;
        let two = rest.iter().take(2).cloned().collect::<Vec<_>>().join(" ");
        let one = rest.first()?.clone();
        if OF_SCHEMAS.contains(&two.as_str()) {
            return Some((two, &NONE));
        }
        [two, one].into_iter().find_map(|name| {
            let schemas = all.get(&name)?;
            // With a name it prints that schema.
            let is_schema = name == "schema" && rest.get(1).is_some_and(|it| !it.starts_with('-'));
            Some((name, if is_schema { &NONE } else { schemas }))
        })
    })
}

/// All schemas, by the words of their commands without options.
fn all() -> &'static BTreeMap<String, Schemas> {
    static ALL: OnceLock<BTreeMap<String, Schemas>> = OnceLock::new();
    ALL.get_or_init(|| {
        let output = Command::new(binary("plat")).args(["schema", "--json"]).output();
        let output = output.expect("plat can be run");
        let told: Value = serde_json::from_slice(&output.stdout).expect("a document");
        let mut all: BTreeMap<String, Schemas> = BTreeMap::new();
        for document in told["documents"].as_array().expect("a list") {
            let name = document["name"].as_str().expect("a name");
            for command in document["commands"].as_array().expect("a list") {
                let words = command.as_str().expect("a command").split(' ');
                let words: Vec<&str> = words
                    .filter(|word| *word != "plat")
                    .take_while(|word| !word.starts_with("--") && word.to_lowercase() == **word)
                    .collect();
                let schemas = all.entry(words.join(" ")).or_default();
                if !schemas.iter().any(|(known, _)| known == name) {
                    schemas.push((name.to_owned(), document["schema"].clone()));
                }
            }
        }
        all
    })
}
