//! The documents with their commands and schemas.

use std::fmt::Write as _;

use serde_json::Value;

use crate::reference::ROOTS;

/// A document that a command prints.
#[derive(Debug)]
pub(crate) struct Published {
    /// What it is called: its file in docs/reference/schemas without the ending.
    pub(crate) name: &'static str,
    /// The commands that print it with `--json`, without `plat`.
    pub(crate) commands: &'static [&'static str],
    /// Its schema, a JSON document; made from its type by a test.
    pub(crate) schema: &'static str,
}

/// An entry: its name, and its commands.
macro_rules! published {
    ($($name:literal: $($command:literal),+;)+) => {
        &[$(Published {
            name: $name,
            commands: &[$($command),+],
            schema: include_str!(concat!("../../../../docs/reference/schemas/", $name, ".json")),
        }),+]
    };
}

/// All documents.
pub(crate) const DOCUMENTS: &[Published] = published! {
    "status": "plat status";
    "status-cluster": "plat status --cluster";
    "ls": "plat ls";
    "who": "plat who";
    "who-cluster": "plat who --cluster";
    "explain": "plat explain";
    "history": "plat history";
    "map": "plat map";
    "map-cluster": "plat map --cluster";
    "watch": "plat watch";
    "block-ls": "plat block ls";
    "check": "plat check";
    "check-cluster": "plat check --cluster";
    "gc": "plat gc";
    "release": "plat release";
    "import": "plat import";
    "import-cluster": "plat import --to-pool";
    "export": "plat export --to dir";
    "export-json": "plat export --to json";
    "render": "plat render";
    "render-nodes": "plat render --node NODES", "plat render --all";
    "conf-validate": "plat conf validate";
    "pool-ls": "plat pool ls";
    "pool-show": "plat pool show";
    "pool-change": "plat pool create", "plat pool edit", "plat pool rm";
    "pool-refusal": "plat pool edit", "plat pool rm";
    "pool-reserve": "plat pool reserve", "plat pool unreserve";
    "node-ls": "plat node ls";
    "node-show": "plat node show";
    "node-show-cluster": "plat node show NODE";
    "node-remove": "plat node remove";
    "node-keep": "plat node remove --cancel";
    "node-adopt": "plat node adopt";
    "node-anew": "plat node adopt --anew";
    "node-repin": "plat node repin";
    "vpp-preflight": "plat vpp preflight";
    "vpp-nics": "plat vpp nics";
    "vpp-startup-conf": "plat vpp startup-conf";
    "vpp-show": "plat vpp show";
    "vpp-check": "plat vpp check";
    "vpp-trace": "plat vpp trace";
    "agent-status": "plat agent status", "/status of plat-agent";
    "agent-report": "plat-agent --once", "plat-agent --dry-run", "plat-agent --cleanup";
    "agent-gc": "plat-agent --gc";
    "install": "plat install";
    "uninstall": "plat uninstall";
    "schemas": "plat schema";
    "man": "plat man";
};

/// The document of this name.
pub(crate) fn named(name: &str) -> Option<&'static Published> {
    DOCUMENTS.iter().find(|document| document.name == name)
}

impl Published {
    /// The schema as a value; `null` if it is none.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(self.schema).unwrap_or_default()
    }
}

/// The tables of the documentation: for each document its commands and its fields.
pub(crate) fn markdown() -> String {
    let mut text = String::new();
    for document in DOCUMENTS {
        let name = document.name;
        let schema = document.value();
        let commands: Vec<String> =
            document.commands.iter().map(|command| format!("`{command}`")).collect();
        // Writing into a text does not fail.
        let _ = write!(
            text,
            "## {name}\n\n{} Printed by {}; [schema](schemas/{name}.json).\n\n| field | type | what |\n|---|---|---|\n",
            said(&schema),
            commands.join(", ")
        );
        rows(&mut text, &schema, &schema, "");
        text.push('\n');
    }
    text.push_str("## Configurations\n\n");
    for section in ROOTS {
        let name = section.name;
        let _ = writeln!(
            text,
            "- {name}: [keys](configuration.md#{name}), [schema](schemas/configuration/{name}.json)"
        );
    }
    text
}

/// How deep the tables go: the fields of a document, and of what is in it.
const DEPTH: usize = 1;

/// A row for each field of an object, and for each of the objects in it.
fn rows(text: &mut String, object: &Value, root: &Value, before: &str) {
    let fields = object.get("properties").and_then(Value::as_object).into_iter().flatten();
    let mut fields: Vec<(&String, &Value)> = fields.collect();
    // Properties are sorted by name; what is required has the order of its type.
    let required = object.get("required").and_then(Value::as_array);
    fields.sort_by_key(|(name, _)| {
        let mut names = required.into_iter().flatten();
        names.position(|it| it.as_str() == Some(name.as_str())).unwrap_or(usize::MAX)
    });
    for (name, field) in fields {
        let place = format!("{before}{name}");
        let (kind, inner) = kind(field, root);
        let _ = writeln!(text, "| `{place}` | {kind} | {} |", said(field));
        if let Some(inner) = inner
            && place.matches('.').count() < DEPTH
        {
            let list = if kind.starts_with("list") { "[]" } else { "" };
            rows(text, inner, root, &format!("{place}{list}."));
        }
    }
}

fn said(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

/// What a value may be, for people, and the object that it is or has in it.
fn kind<'a>(schema: &'a Value, root: &'a Value) -> (String, Option<&'a Value>) {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let found = name.strip_prefix("#/$defs/").and_then(|name| root.get("$defs")?.get(name));
        let Some(found) = found else { return ("any".to_owned(), None) };
        return kind(found, root);
    }
    if let Some(list) =
        schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array)
    {
        let all: Vec<(String, Option<&Value>)> = list.iter().map(|one| kind(one, root)).collect();
        let mut words: Vec<&str> = all.iter().map(|(word, _)| word.as_str()).collect();
        words.dedup();
        return (words.join(" or "), all.iter().find_map(|(_, inner)| *inner));
    }
    let words: Vec<&str> = match schema.get("type") {
        Some(Value::String(word)) => vec![word],
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
        _ if schema.get("const").is_some() => vec!["string"],
        _ => vec!["any"],
    };
    let item = schema.get("items").map(|items| kind(items, root));
    let words: Vec<String> = words
        .into_iter()
        .map(|word| match (word, &item) {
            ("array", Some((of, _))) => format!("list of {of}"),
            ("array", None) => "list".to_owned(),
            (word, _) => word.to_owned(),
        })
        .collect();
    let inner = if schema.get("properties").is_some() { Some(schema) } else { None };
    (words.join(" or "), inner.or_else(|| item.and_then(|(_, inner)| inner)))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
