//! Template files: what a node knows of a network whose definition is the same everywhere.

use std::io;
use std::path::{Path, PathBuf};

use cni::{Code, Error};
use host_local::config_error;
use ipam_core::config::json::At;
use ipam_core::template;
use ipam_stores::read_regular;
use serde_json::Value;

use crate::{Problem, Surroundings, section, template_dir, text};

/// The largest template file.
const LIMIT: u64 = 1024 * 1024;

/// An ipam section that has its ranges, not yet rendered.
#[derive(Clone, Debug)]
pub struct Supplied {
    /// The section.
    pub ipam: Value,
    /// The file that supplied the ranges, if one did.
    pub file: Option<PathBuf>,
    /// What is odd in that file, a sentence each.
    pub warnings: Vec<String>,
}

impl Supplied {
    /// Where the ranges come from, to be put behind the node in an error.
    pub fn origin(&self) -> String {
        self.file.as_ref().map_or_else(String::new, |file| format!(", template {}", file.display()))
    }
}

/// The ipam section with its ranges: its own, else those of the file that `cfg` names, else those of the
/// file `default`.
///
/// # Errors
/// If there are both, or the file has none or cannot be read.
pub fn supply(net: &Value, around: &Surroundings) -> Result<Supplied, Problem> {
    let root = At::root(net);
    let ipam = &section(&root)?;
    let cfg = text(ipam, "cfg")?;
    let own = template::has_ranges(ipam.value());
    let runtime = net
        .get("runtimeConfig")
        .and_then(|runtime| runtime.get("ipRanges"))
        .is_some_and(|ranges| !ranges.is_null());
    let name = match cfg {
        Some(name) if own => {
            let wrong = ipam.wrong(
                format!("{ipam}: both cfg ({name:?}) and ranges are given"),
                "ranges of the configuration, or a template by cfg",
            );
            return Err(wrong.into());
        }
        Some(name) => name,
        None if own || runtime => {
            return Ok(Supplied { ipam: ipam.value().clone(), file: None, warnings: Vec::new() });
        }
        None => "default".to_owned(),
    };
    if !is_file_name(&name) {
        const EXPECTED: &str = "a plain file name of letters, digits, '_', '.' and '-', not beginning with '.', and not \
             \"index\", which is the node's index file";
        let message = format!("ipam.cfg: {name:?} is no name of a template");
        let error = Error::new(Code::InvalidConfig, message.as_str()).with_details(EXPECTED);
        return Err(Problem::about(error, "ipam.cfg", &name, EXPECTED));
    }
    let file = around.at(&template_dir(ipam)?.join(&name));
    let template = read(&file)?;
    let section = template::merge(ipam.value(), &template).map_err(|e| {
        let mut error = config_error(&e);
        error.message = format!("{}: {}", file.display(), error.message);
        error
    })?;
    if !template::has_ranges(&section) {
        return Err(Error::new(
            Code::InvalidConfig,
            format!("{}: the template has no ranges", file.display()),
        )
        .with_details("\"ipam\": {\"ranges\": [[{\"subnet\": \"10.1.{i}.0/24\"}]]}, or \"carve\"")
        .into());
    }
    let warnings = template::unused_keys(&template)
        .into_iter()
        .map(|warning| format!("{}: {warning}", file.display()))
        .collect();
    Ok(Supplied { ipam: section, file: Some(file), warnings })
}

/// Whether a text is a plain file name, so that no configuration reaches other files of the node.
fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && name != "index"
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn read(path: &Path) -> Result<Value, Error> {
    let failed = |error: &io::Error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        let code = match error.kind() {
            io::ErrorKind::NotFound => Code::InvalidConfig,
            // Longer than any template.
            io::ErrorKind::InvalidData => Code::Decode,
            _ => Code::Io,
        };
        let message = if missing {
            format!("the template {} does not exist", path.display())
        } else {
            format!("the template {} cannot be read: {error}", path.display())
        };
        Error::new(code, message).with_details(
            "the configuration has no ranges of its own, so they must come from this file: give \
             \"ranges\" or \"carve\" in ipam, name another file by \"cfg\", or create it",
        )
    };
    let text = read_regular(path, LIMIT).map_err(|e| failed(&e))?;
    serde_json::from_slice(&text).map_err(|error| {
        Error::new(Code::Decode, format!("the template {} is no JSON: {error}", path.display()))
            .with_details("a network configuration with an \"ipam\" section, or such a section")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_have_plain_names() {
        for name in ["default", "ipvlan", "a.b_c-D", "9", "index2"] {
            assert!(is_file_name(name), "{name}");
        }
        for name in ["", "index", ".", "..", ".hidden", "a/b", "../../../evil", "a b", "ä", "a\0"]
        {
            assert!(!is_file_name(name), "{name}");
        }
    }
}
