//! Whether a value is what a JSON Schema describes: of draft 2020-12 what the schemas here are made of.

use serde_json::Value;

/// What is meant by fields of an object that a schema does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// What the schema says of them.
    AsSaid,
    /// They are refused, whatever it says: a field that is printed must be described.
    Refused,
}

/// What says nothing about values.
const REMARKS: [&str; 6] = ["$comment", "$defs", "$id", "$schema", "description", "title"];

/// Compares a value with a schema.
///
/// # Errors
/// Where it is not as described.
///
/// # Panics
/// If the schema has a keyword that is not understood here.
pub fn fits(value: &Value, schema: &Value, others: Others) -> Result<(), String> {
    Judge { root: schema, others }.fits(value, schema, "")
}

struct Judge<'a> {
    root: &'a Value,
    others: Others,
}

impl Judge<'_> {
    fn fits(&self, value: &Value, schema: &Value, place: &str) -> Result<(), String> {
        let keywords = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Object(keywords) => keywords,
            other => panic!("{place}: {other} is no schema"),
        };
        for (keyword, said) in keywords {
            let right = match keyword.as_str() {
                word if REMARKS.contains(&word) => true,
                "$ref" => {
                    let name = said.as_str().and_then(|text| text.strip_prefix("#/$defs/"));
                    let found = name.and_then(|name| self.root["$defs"].get(name));
                    let found = found.unwrap_or_else(|| panic!("{place}: {said} leads nowhere"));
                    self.fits(value, found, place)?;
                    true
                }
                "anyOf" | "oneOf" => {
                    let all: Vec<_> =
                        list(said).iter().map(|one| self.fits(value, one, place)).collect();
                    let right = all.iter().filter(|one| one.is_ok()).count();
                    if right == 0 || keyword == "oneOf" && right > 1 {
                        return Err(format!("{place}: {value} is {right} of {all:?}"));
                    }
                    true
                }
                "enum" => list(said).contains(value),
                "const" => said == value,
                "type" => match said {
                    Value::Array(types) => types.iter().any(|one| is(value, one)),
                    one => is(value, one),
                },
                "minimum" => value.as_f64().is_none_or(|number| Some(number) >= said.as_f64()),
                "maximum" => value.as_f64().is_none_or(|number| Some(number) <= said.as_f64()),
                "minItems" => value.as_array().is_none_or(|all| all.len() as u64 >= size(said)),
                "maxItems" => value.as_array().is_none_or(|all| all.len() as u64 <= size(said)),
                "items" => {
                    for (position, element) in value.as_array().into_iter().flatten().enumerate() {
                        self.fits(element, said, &format!("{place}[{position}]"))?;
                    }
                    true
                }
                "required" => {
                    let Some(object) = value.as_object() else { continue };
                    let missing = list(said)
                        .iter()
                        .find(|name| !object.contains_key(name.as_str().expect("a name")));
                    if let Some(name) = missing {
                        return Err(format!("{place}: {name} is missing"));
                    }
                    true
                }
                // Both are looked at together.
                "properties" => {
                    self.fields(value, schema, place)?;
                    true
                }
                "additionalProperties" => {
                    if !keywords.contains_key("properties") {
                        self.fields(value, schema, place)?;
                    }
                    true
                }
                other => panic!("{place}: the keyword {other} is not understood here"),
            };
            if !right {
                return Err(format!("{place}: {value} is not what {keyword} {said} says"));
            }
        }
        Ok(())
    }

    fn fields(&self, value: &Value, schema: &Value, place: &str) -> Result<(), String> {
        for (name, value) in value.as_object().into_iter().flatten() {
            let place = format!("{place}.{name}");
            let known = schema.get("properties").and_then(|all| all.get(name));
            match (known, schema.get("additionalProperties")) {
                (Some(known), _) => self.fits(value, known, &place)?,
                (None, Some(Value::Bool(false))) => return Err(format!("{place}: unknown")),
                (None, Some(all @ Value::Object(_))) => self.fits(value, all, &place)?,
                (None, _) if self.others == Others::Refused => {
                    return Err(format!("{place}: not described"));
                }
                (None, _) => {}
            }
        }
        Ok(())
    }
}

fn list(said: &Value) -> &[Value] {
    said.as_array().expect("a list")
}

fn size(said: &Value) -> u64 {
    said.as_u64().expect("a number")
}

fn is(value: &Value, kind: &Value) -> bool {
    match kind.as_str().expect("a type") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}
