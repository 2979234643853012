/*!
Reading JSON with the place of every value in mind.

Keys match without regard to case and `null` is as absent, as in the reference (it decodes with Go's
encoding/json). An error names the path of the value, what was found and what would be right.
*/

use std::fmt;

use serde_json::{Map, Value};

use super::ConfigError;

/// The longest piece of a wrong value that is repeated in an error.
const SHOWN: usize = 100;

/// A value and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    value: &'a Value,
    step: Step<'a>,
    parent: Option<&'a Self>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    /// The whole document.
    pub const fn root(value: &'a Value) -> Self {
        Self { value, step: Step::Root, parent: None }
    }

    /// A document that stands at `key` of another one.
    pub const fn standing_at(value: &'a Value, key: &'a str) -> Self {
        Self { value, step: Step::Key(key), parent: None }
    }

    /// The value itself.
    pub const fn value(&self) -> &'a Value {
        self.value
    }

    /// The value of a key of an object; absent and `null` are the same.
    ///
    /// # Errors
    /// If this is no object.
    pub fn get(&'a self, key: &'a str) -> Result<Option<Self>, ConfigError> {
        Ok(self.get_or_null(key)?.filter(|at| !at.value.is_null()))
    }

    /// The value of a key of an object, `null` included.
    ///
    /// # Errors
    /// If this is no object.
    pub(crate) fn get_or_null(&'a self, key: &'a str) -> Result<Option<Self>, ConfigError> {
        let object = self.object()?;
        Ok(lookup(object, key).map(|value| Self {
            value,
            step: Step::Key(key),
            parent: Some(self),
        }))
    }

    /// This as an object.
    ///
    /// # Errors
    /// If it is none.
    pub fn object(&self) -> Result<&'a Map<String, Value>, ConfigError> {
        self.value.as_object().ok_or_else(|| self.mistyped("an object"))
    }

    /// This as a text.
    ///
    /// # Errors
    /// If it is none.
    pub fn string(&self) -> Result<&'a str, ConfigError> {
        self.value.as_str().ok_or_else(|| self.mistyped("a string"))
    }

    /// This as true or false.
    ///
    /// # Errors
    /// If it is neither.
    pub fn boolean(&self) -> Result<bool, ConfigError> {
        self.value.as_bool().ok_or_else(|| self.mistyped("true or false"))
    }

    /// This as a whole number.
    ///
    /// # Errors
    /// If it is none, or does not fit 64 bits.
    pub fn integer(&self) -> Result<i64, ConfigError> {
        self.value.as_i64().ok_or_else(|| self.mistyped("a whole number"))
    }

    /// The elements of a list.
    ///
    /// # Errors
    /// If this is no list.
    pub fn list(&'a self) -> Result<impl Iterator<Item = At<'a>>, ConfigError> {
        let elements = self.value.as_array().ok_or_else(|| self.mistyped("a list"))?;
        Ok(elements.iter().enumerate().map(|(i, value)| Self {
            value,
            step: Step::Index(i),
            parent: Some(self),
        }))
    }

    /// A sentence for each key of this object that is in none of the lists.
    pub fn unknown_keys(&self, known: &[&[&str]]) -> Vec<String> {
        let is_known =
            |key: &str| known.iter().any(|keys| keys.iter().any(|k| k.eq_ignore_ascii_case(key)));
        let keys = self.value.as_object().into_iter().flat_map(Map::keys);
        keys.filter(|key| !is_known(key))
            .map(|key| format!("{self}.{}: unknown key, ignored", shown(key)))
            .collect()
    }

    /// An error about the type of this value.
    pub fn mistyped(&self, expected: &str) -> ConfigError {
        let found = self.found();
        ConfigError {
            message: format!("{self}: expected {expected}, found {found}"),
            path: self.to_string(),
            found,
            expected: expected.to_owned(),
        }
    }

    /// An error about this value: one sentence, and what would be right.
    pub fn wrong(&self, message: impl Into<String>, expected: impl Into<String>) -> ConfigError {
        ConfigError {
            message: message.into(),
            path: self.to_string(),
            found: self.found(),
            expected: expected.into(),
        }
    }

    fn found(&self) -> String {
        shown(&self.value.to_string())
    }
}

/// A text cut to a length that fits an error.
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}...", text.get(..cut).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A key as written, else without regard to case.
pub(crate) fn lookup<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(key).or_else(|| {
        object.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, value)| value)
    })
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Key(key) if self.parent.is_none_or(|p| matches!(p.step, Step::Root)) => {
                f.write_str(key)
            }
            Step::Key(key) => write!(f, ".{key}"),
            Step::Index(i) => write!(f, "[{i}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_name_the_value() {
        let document = json!({"ipam": {"Ranges": [[{"subnet": 5}]]}});
        let root = At::root(&document);
        let ipam = root.get("ipam").unwrap().unwrap();
        let ranges = ipam.get("ranges").unwrap().unwrap();
        let set = ranges.list().unwrap().next().unwrap();
        let range = set.list().unwrap().next().unwrap();
        let error = range.get("subnet").unwrap().unwrap().string().unwrap_err();
        assert_eq!(error.to_string(), "ipam.ranges[0][0].subnet: expected a string, found 5");
        assert_eq!(error.path, "ipam.ranges[0][0].subnet");
    }

    #[test]
    fn long_values_are_cut() {
        let document = json!("ä".repeat(300));
        let error = At::standing_at(&document, "x").integer().unwrap_err();
        assert!(error.to_string().len() < 300);
    }
}
