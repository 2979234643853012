//! Reads the sources of the node's index; which of them counts is decided in `ipam_core::node`.

use std::io;
use std::path::Path;

use cni::{Call, Code, Error};
use ipam_core::config::json::At;
use ipam_core::node::{IndexSources, NodeIdentity};

use crate::{TEMPLATE_DIR, index, text};

/// The largest index file; a real one has a few digits.
const LIMIT: usize = 4096;

/// Finds out which node this is.
pub(crate) fn find(ipam: &At<'_>, call: &Call) -> Result<NodeIdentity, Error> {
    let dir = text(ipam, "cfgDir")?.unwrap_or_else(|| TEMPLATE_DIR.to_owned());
    let environment = call.environment.value("NODE_INDEX");
    let state = match call.environment.value("PLAT_STATE_DIR") {
        "" => "/var/lib/plat",
        path => path,
    };
    let uname = rustix::system::uname();
    let sources = IndexSources {
        configured: index(ipam)?,
        file: read(&Path::new(&dir).join("index"))?,
        environment: Some(environment.to_owned()).filter(|text| !text.is_empty()),
        host_name: uname.nodename().to_string_lossy().into_owned(),
        pattern: text(ipam, "hostname")?,
        registered: read(&Path::new(state).join("node-index"))?,
    };
    sources.resolve().map_err(|error| {
        Error::new(Code::InvalidConfig, error.to_string()).with_details(error.advice())
    })
}

/// A small file with its path; `None` if there is none.
fn read(path: &Path) -> Result<Option<(String, String)>, Error> {
    match std::fs::read(path) {
        Ok(content) => {
            let content = content.get(..LIMIT).unwrap_or(&content);
            let content = String::from_utf8_lossy(content).into_owned();
            Ok(Some((path.display().to_string(), content)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::new(
            Code::Io,
            format!("the index file {} cannot be read: {error}", path.display()),
        )
        .with_details("it must hold the node's index as a decimal number, or not be there")),
    }
}
