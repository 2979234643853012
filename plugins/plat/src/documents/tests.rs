//! The schemas are those of the types, and the files are the schemas.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value, json};

use super::*;
use crate::commands::{
    check, conf, export, gc, import, install, man, release, render, schema, uninstall,
};
use crate::documents::{addresses, cluster, mending, node, pool, status, vpp};
use crate::portable;

/// With this variable, files that differ are written: see CONTRIBUTING.md.
const WRITE: &str = "PLAT_WRITE_SCHEMAS";

fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().for_serialize()
}

fn of<T: JsonSchema>() -> Schema {
    settings().into_generator().into_root_schema_for::<T>()
}

/// The schema of each document, from its type.
fn made() -> Vec<(&'static str, Schema)> {
    let [agent_status, agent_report, agent_gc] = plat_agent::schemas(&settings());
    vec![
        ("status", of::<status::Status>()),
        ("status-cluster", of::<cluster::ClusterStatus<'_>>()),
        ("ls", of::<addresses::Allocations<'_>>()),
        ("who", of::<addresses::Answers<'_>>()),
        ("who-cluster", of::<cluster::ClusterAnswers<'_>>()),
        ("explain", of::<cluster::Explanation<'_>>()),
        ("history", of::<addresses::History<'_>>()),
        ("map", of::<addresses::Map<'_>>()),
        ("map-cluster", of::<cluster::ClusterMap<'_>>()),
        ("watch", of::<cluster::Change<'_>>()),
        ("block-ls", of::<cluster::Blocks<'_>>()),
        ("check", of::<check::Document<'_>>()),
        ("check-cluster", of::<mending::ClusterCheck<'_>>()),
        ("gc", of::<gc::Document>()),
        ("release", of::<release::Document>()),
        ("import", of::<import::Document>()),
        ("import-cluster", of::<mending::ClusterImport<'_>>()),
        ("export", of::<export::Document>()),
        ("export-json", of::<portable::Document>()),
        ("render", of::<render::OneJson<'_>>()),
        ("render-nodes", of::<render::TableJson<'_>>()),
        ("conf-validate", of::<conf::DocumentJson<'_>>()),
        ("pool-ls", of::<pool::Pools<'_>>()),
        ("pool-show", of::<pool::ShownPool<'_>>()),
        ("pool-change", of::<pool::ChangedPool<'_>>()),
        ("pool-refusal", of::<pool::Refusal<'_>>()),
        ("pool-reserve", of::<pool::Reservation<'_>>()),
        ("node-ls", of::<node::Nodes<'_>>()),
        ("node-show", of::<node::OwnNode<'_>>()),
        ("node-show-cluster", of::<node::ShownNode<'_>>()),
        ("node-remove", of::<node::RemovedNode<'_>>()),
        ("node-keep", of::<node::KeptNode>()),
        ("node-adopt", of::<node::Adopted<'_>>()),
        ("node-anew", of::<node::Anew<'_>>()),
        ("node-repin", of::<node::Repinned<'_>>()),
        ("vpp-preflight", of::<vpp::Preflight>()),
        ("vpp-nics", of::<vpp::Nics>()),
        ("vpp-startup-conf", of::<vpp::StartupConf>()),
        ("vpp-show", of::<vpp::Shown>()),
        ("vpp-check", of::<vpp::Checked>()),
        ("vpp-trace", of::<vpp::Trace>()),
        ("agent-status", agent_status),
        ("agent-report", agent_report),
        ("agent-gc", agent_gc),
        ("install", of::<install::Document>()),
        ("uninstall", of::<uninstall::Document>()),
        ("schemas", of::<schema::Schemas>()),
        ("man", of::<man::Pages>()),
    ]
}

/// The schema as it is published.
fn published(name: &str, schema: Schema) -> Value {
    let Value::Object(made) = schema.to_value() else { panic!("{name} is no object") };
    let mut document = Map::new();
    document.insert("$id".to_owned(), json!(format!("urn:plat:document:{name}")));
    document.extend(made);
    let printed = DOCUMENTS.iter().find(|document| document.name == name).unwrap();
    document.insert("title".to_owned(), json!(printed.commands.join(", ")));
    let mut document = Value::Object(document);
    tidy(&mut document);
    document
}

/// Descriptions in one line, no widths of numbers that are Rust's and nobody else's, and no `null` for what is absent
/// then.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let text = members.get("description").and_then(Value::as_str).unwrap_or_default();
            if text.contains("absent") && !text.contains("`null`") {
                never_null(members);
            }
            if let Some(Value::String(text)) = members.get_mut("description") {
                *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            }
            if members.get("format").is_some_and(Value::is_string) {
                members.remove("format");
            }
            members.values_mut().for_each(tidy);
        }
        Value::Array(list) => list.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// Takes `null` out of what a value may be.
fn never_null(members: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|word| word != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            members.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(any)) = members.get_mut("anyOf") {
        any.retain(|one| one.get("type") != Some(&json!("null")));
        if let [Value::Object(one)] = any.as_slice() {
            let one = one.clone();
            members.remove("anyOf");
            members.extend(one);
        }
    }
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares a file, or writes it.
fn hold(file: &str, text: &str) {
    let path = repository().join("docs/reference").join(file);
    let written = fs::read_to_string(&path).unwrap_or_default();
    if written == text {
        return;
    }
    assert!(
        std::env::var_os(WRITE).is_some(),
        "docs/reference/{file} is not what the types say: {WRITE}=1 cargo test -p plat documents"
    );
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
}

/// For people, and small: programs have them built in.
fn pretty(value: &Value) -> String {
    let mut text = Vec::new();
    let formatter = PrettyFormatter::with_indent(b" ");
    value.serialize(&mut Serializer::with_formatter(&mut text, formatter)).unwrap();
    text.push(b'\n');
    String::from_utf8(text).unwrap()
}

#[test]
fn the_files_are_what_the_types_say() {
    let names: Vec<&str> = DOCUMENTS.iter().map(|document| document.name).collect();
    let made = made();
    assert_eq!(names, made.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    let mut files: BTreeSet<String> = BTreeSet::new();
    for (name, schema) in made {
        let file = format!("schemas/{name}.json");
        hold(&file, &pretty(&published(name, schema)));
        files.insert(file);
    }
    for section in ROOTS {
        let file = format!("schemas/configuration/{}.json", section.name);
        hold(&file, &pretty(&crate::reference::schema(section)));
        files.insert(file);
    }
    // Nothing is left of what is not printed any more.
    for dir in ["schemas", "schemas/configuration"] {
        for entry in fs::read_dir(repository().join("docs/reference").join(dir)).unwrap() {
            let entry = entry.unwrap();
            let file = format!("{dir}/{}", entry.file_name().to_str().unwrap());
            assert!(entry.path().is_dir() || files.contains(&file), "{file}");
        }
    }
}

/// Each object's fields, with the place of each.
fn each_field(value: &Value, place: &str, see: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(members) => {
            for (name, field) in
                members.get("properties").and_then(Value::as_object).into_iter().flatten()
            {
                see(&format!("{place}.{name}"), field);
            }
            members
                .iter()
                .for_each(|(name, value)| each_field(value, &format!("{place}/{name}"), see));
        }
        Value::Array(list) => list.iter().for_each(|value| each_field(value, place, see)),
        _ => {}
    }
}

#[test]
fn every_field_is_described_and_others_may_come() {
    for (name, schema) in made() {
        let schema = published(name, schema);
        assert!(!said(&schema).is_empty(), "{name} has no description");
        assert!(!schema.to_string().contains("additionalProperties\":false"), "{name}");
        each_field(&schema, name, &mut |place, field| {
            let text = said(field);
            assert!(text.ends_with(['.', ')']), "{place}: {text:?} is no description");
        });
    }
}

#[test]
fn no_row_breaks_its_table() {
    let text = markdown();
    for row in text.lines().filter(|line| line.starts_with('|')) {
        assert_eq!(row.matches('|').count(), 4, "{row}");
    }
}
