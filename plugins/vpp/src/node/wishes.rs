/*!
Which network wants which routes of a VPP.

All networks share one FIB source, whose routes do not say whose they are. So each network writes down what
it wants before it makes it; another one leaves that alone when it sweeps, and notices when the two want
different ways to one destination. Of a network that is no more the note stays until the node is booted.
*/

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use vpp_api::Prefix;

use super::error::{Context as _, NodeError};
use super::lock;
use crate::names::NetworkHash;

/// The longest note that is read: 16 MiB, more than 262,144 routes take.
const LONGEST: u64 = 16 << 20;

/// What a network wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    network: String,
    table: u32,
    /// Next hops by destination, such as `10.1.4.0/24`.
    routes: BTreeMap<String, IpAddr>,
}

/// Destinations that other networks want: the next hop, and whose it is.
pub(super) type Others = BTreeMap<Prefix, (IpAddr, String)>;

fn path(directory: &Path, network: &str) -> PathBuf {
    directory.join(format!("{}.json", NetworkHash::of(network)))
}

/// What other networks want in a table. A note that cannot be read counts as none: its network writes
/// it again.
pub(super) fn of_others(directory: &Path, network: &str, table: u32) -> Result<Others, NodeError> {
    let mut others = Others::new();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(others),
        Err(error) => return Err(error).context("list", directory),
    };
    let own = path(directory, network);
    for entry in entries {
        let file = entry.context("list", directory)?.path();
        if file == own || file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let Some(note) = read(&file)? else { continue };
        if note.table != table || note.network == network {
            continue;
        }
        for (destination, via) in note.routes {
            let Ok(net) = destination.parse::<IpNet>() else { continue };
            if let Ok(prefix) = Prefix::new(net.addr(), net.prefix_len()) {
                others.insert(prefix.masked(), (via, note.network.clone()));
            }
        }
    }
    Ok(others)
}

fn read(file: &Path) -> Result<Option<Note>, NodeError> {
    let text = match fs::metadata(file) {
        Ok(meta) if meta.len() > LONGEST => return Ok(None),
        Ok(_) => fs::read(file),
        Err(error) => Err(error),
    };
    match text {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("read", file),
    }
}

/// Writes down what a network wants, if that is news. Whoever calls this holds the lock.
pub(super) fn write(
    directory: &Path,
    network: &str,
    table: u32,
    routes: impl Iterator<Item = (Prefix, IpAddr)>,
) -> Result<(), NodeError> {
    let file = path(directory, network);
    let routes = routes.map(|(prefix, via)| (prefix.to_string(), via)).collect();
    let note = Note { network: network.to_owned(), table, routes };
    let before = read(&file)?;
    if before.as_ref() == Some(&note) || (before.is_none() && note.routes.is_empty()) {
        return Ok(());
    }
    lock::make(directory)?;
    let text = serde_json::to_vec(&note).map_err(io::Error::from).context("write", &file)?;
    let new = file.with_extension("new");
    fs::write(&new, text).context("write", &new)?;
    fs::rename(&new, &file).context("rename", &new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_knows_what_others_want() {
        let scratch = std::env::temp_dir().join(format!("plat-wishes-{}", std::process::id()));
        let _ = fs::remove_dir_all(&scratch);
        let prefix = |text: &str| {
            let net: IpNet = text.parse().unwrap();
            Prefix::new(net.addr(), net.prefix_len()).unwrap()
        };
        let route = |text: &str, via: &str| (prefix(text), via.parse().unwrap());
        assert!(of_others(&scratch, "a", 0).unwrap().is_empty());
        write(&scratch, "none", 0, [].into_iter()).unwrap();
        assert!(!scratch.exists(), "nothing is wanted, and nothing was");
        write(&scratch, "a", 0, [route("10.1.2.0/24", "192.0.2.2")].into_iter()).unwrap();
        write(&scratch, "b", 0, [route("fd00::/64", "fe80::1")].into_iter()).unwrap();
        write(&scratch, "c", 5, [route("10.9.0.0/16", "192.0.2.9")].into_iter()).unwrap();
        fs::write(scratch.join("bad.json"), "{").unwrap();
        let others = of_others(&scratch, "b", 0).unwrap();
        let expected = [(prefix("10.1.2.0/24"), ("192.0.2.2".parse().unwrap(), "a".to_owned()))];
        assert_eq!(others, BTreeMap::from(expected));
        write(&scratch, "a", 0, [].into_iter()).unwrap();
        assert!(of_others(&scratch, "b", 0).unwrap().is_empty());
        fs::remove_dir_all(&scratch).unwrap();
    }
}
