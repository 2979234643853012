//! A file with routes: `{"routes": [{"dst": "10.1.2.0/24", "gw": "192.168.16.2", "node": "vm-002"}]}`.

use std::net::IpAddr;
use std::path::Path;

use ipam_core::config::ConfigError;
use ipam_core::config::json::{At, shown};
use ipnet::IpNet;
use serde_json::Value;

use super::{Me, Told};
use crate::config::{FileSource, known, node_name};
use crate::desired::Entry;

/// The largest file: a hundred thousand routes fit.
const LIMIT: u64 = 16 << 20;

/// The entries. A file that cannot be read tells nothing, and nothing is removed for it.
pub(super) fn tell(file: &FileSource, source: usize, me: &Me, told: &mut Told) {
    match read(&file.path, source, me) {
        Ok((mut entries, notes)) => {
            told.entries.append(&mut entries);
            told.complete &= notes.is_empty();
            told.notes
                .extend(notes.into_iter().map(|note| format!("{}: {note}", file.path.display())));
        }
        Err(why) => {
            told.complete = false;
            told.notes.push(why);
        }
    }
}

type Read = (Vec<Entry>, Vec<String>);

fn read(path: &Path, source: usize, me: &Me) -> Result<Read, String> {
    let shown_path = path.display();
    let failed = |error: std::io::Error| format!("{shown_path} cannot be read: {error}");
    let text = ipam_stores::read_regular(path, LIMIT).map_err(failed)?;
    let value: Value = serde_json::from_slice(&text).map_err(|error| {
        format!("{shown_path} is not JSON: line {}, column {}", error.line(), error.column())
    })?;
    parse(&value, source, me, &shown_path.to_string())
        .map_err(|error| format!("{shown_path}: {}", error.message))
}

/// The routes, and what is wrong with those that are none.
pub(super) fn parse(
    value: &Value,
    source: usize,
    me: &Me,
    file: &str,
) -> Result<Read, ConfigError> {
    let root = At::root(value);
    known(&root, &["routes"])?;
    let Some(list) = root.get("routes")? else {
        return Err(root.wrong("routes is missing", "\"routes\": a list of routes"));
    };
    let route = |at: At<'_>| {
        known(&at, &["dst", "gw", "node"])?;
        let text = |key: &str| -> Result<String, ConfigError> {
            let value = at
                .get(key)?
                .ok_or_else(|| at.wrong(format!("{at}: {key} is missing"), "\"dst\" and \"gw\""))?;
            Ok(value.string()?.to_owned())
        };
        let (dst, gw) = (text("dst")?, text("gw")?);
        let prefix: IpNet = dst.parse().map_err(|_| {
            at.wrong(
                format!("{at}.dst: {:?} is no network", shown(&dst)),
                "such as \"10.1.2.0/24\"",
            )
        })?;
        if prefix != prefix.trunc() {
            return Err(at.wrong(
                format!("{at}.dst: {prefix} has host bits set; {} would be right", prefix.trunc()),
                "a network",
            ));
        }
        let via: IpAddr = gw.parse().map_err(|_| {
            at.wrong(format!("{at}.gw: {:?} is no address", shown(&gw)), "such as \"192.168.16.2\"")
        })?;
        let node = node_name(&at)?;
        let own = node.as_ref().is_some_and(|node| *node == me.name);
        Ok(Entry {
            prefix,
            node: node.unwrap_or_else(|| via.to_string()),
            via: Some(via),
            own,
            borrowed: false,
            source,
            origin: file.to_owned(),
        })
    };
    let (mut entries, mut notes) = (Vec::new(), Vec::new());
    for read in list.list()?.map(route) {
        match read {
            Ok(entry) => entries.push(entry),
            Err(error) => notes.push(error.message),
        }
    }
    Ok((entries, notes))
}
