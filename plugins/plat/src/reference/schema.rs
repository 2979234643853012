//! The description as a JSON Schema (draft 2020-12).

use serde_json::{Map, Value, json};

use super::{Kind, Others, Section, within};

/// The schema of a configuration. Keys are taken as they are written here, though plugins do not regard their case.
pub(crate) fn schema(root: &'static Section) -> Value {
    let mut all = within(root).into_iter();
    let mut document = all.next().map(object).unwrap_or_default();
    let definitions: Map<String, Value> =
        all.map(|section| (defined(section), Value::Object(object(section)))).collect();
    document.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    document.insert("$id".to_owned(), json!(format!("urn:plat:configuration:{}", root.name)));
    document.insert("title".to_owned(), json!(root.name));
    if !definitions.is_empty() {
        document.insert("$defs".to_owned(), Value::Object(definitions));
    }
    Value::Object(document)
}

/// A section's name as a part of a reference, where a space would have to be written as something else.
fn defined(section: &Section) -> String {
    section.name.replace(' ', "-")
}

fn object(section: &'static Section) -> Map<String, Value> {
    let properties: Map<String, Value> = section
        .keys
        .iter()
        .map(|key| {
            let mut value = kind(&key.kind);
            let mut said = key.what.to_owned();
            if !key.default.is_empty() {
                said = format!("{said}. Without it: {}", key.default);
            }
            if let Some(members) = value.as_object_mut() {
                members.insert("description".to_owned(), json!(said));
            }
            (key.name.to_owned(), value)
        })
        .collect();
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("object"));
    object.insert("description".to_owned(), json!(section.about));
    object.insert("properties".to_owned(), Value::Object(properties));
    if section.others == Others::Refused {
        object.insert("additionalProperties".to_owned(), json!(false));
    }
    object
}

fn kind(of: &'static Kind) -> Value {
    match of {
        Kind::Text(form) => json!({"type": "string", "$comment": form}),
        Kind::Words(words) => json!({"enum": words}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Number(first, last) => {
            json!({"type": "integer", "minimum": first, "maximum": last})
        }
        Kind::List(element) => json!({"type": "array", "items": kind(element)}),
        Kind::OneOrList(element) => {
            json!({"anyOf": [kind(element), {"type": "array", "items": kind(element)}]})
        }
        Kind::Either(kinds) => {
            json!({"anyOf": kinds.iter().map(kind).collect::<Vec<_>>()})
        }
        Kind::Object(section) => json!({"$ref": format!("#/$defs/{}", defined(section))}),
        Kind::Named(element) => json!({"type": "object", "additionalProperties": kind(element)}),
        Kind::Any => json!({}),
    }
}
