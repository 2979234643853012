//! The key `exclude`: addresses, CIDRs and ranges that are never handed out.

use super::ConfigError;
use super::json::{At, shown};
use crate::range::Exclude;

/// Reads the key `exclude` of a range or of the whole section: one text or a list of texts.
pub(super) fn read(section: &At<'_>) -> Result<Vec<Exclude>, ConfigError> {
    let Some(at) = section.get("exclude")? else { return Ok(Vec::new()) };
    if at.value().is_string() {
        return Ok(vec![one(&at)?]);
    }
    let list = at.value().is_array();
    if !list {
        return Err(at.mistyped("a string or a list of strings"));
    }
    at.list()?.map(|element| one(&element)).collect()
}

fn one(at: &At<'_>) -> Result<Exclude, ConfigError> {
    let text = at.string()?;
    Exclude::parse(text).ok_or_else(|| {
        at.wrong(
            format!("{at}: {:?} is no address, CIDR or range of addresses", shown(text)),
            "an address (10.1.2.3), a CIDR (10.1.2.64/28) or a range (10.1.2.10-10.1.2.19)",
        )
    })
}
