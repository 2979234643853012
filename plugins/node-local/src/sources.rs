//! Reads the sources of the node's index; which of them counts is decided in `ipam_core::node`.

use std::io;
use std::path::Path;

use cni::{Call, Code, Error};
use ipam_core::config::json::At;
use ipam_core::node::{IndexSources, NodeError, NodeIdentity};

use crate::{index, template_dir, text};

/// The largest index file; a real one has a few digits.
const LIMIT: usize = 4096;

/// Finds out which node this is. A source is read only when those before it say nothing: one that does
/// not count must not be able to fail.
pub(crate) fn find(ipam: &At<'_>, call: &Call) -> Result<NodeIdentity, Error> {
    let uname = rustix::system::uname();
    let mut sources = IndexSources {
        configured: index(ipam)?,
        host_name: uname.nodename().to_string_lossy().into_owned(),
        pattern: text(ipam, "hostname")?,
        ..IndexSources::default()
    };
    if sources.configured.is_none() {
        sources.file = read(&template_dir(ipam)?.join("index"))?;
    }
    if sources.configured.is_none() && sources.file.is_none() {
        let environment = call.environment.value("NODE_INDEX");
        sources.environment = Some(environment.to_owned()).filter(|text| !text.is_empty());
    }
    let unknown = match sources.clone().resolve() {
        Err(unknown @ NodeError::Unknown { .. }) => unknown,
        other => return other.map_err(|error| node_error(&error)),
    };
    let state = match call.environment.value("PLAT_STATE_DIR") {
        "" => "/var/lib/plat",
        path => path,
    };
    sources.registered = read(&Path::new(state).join("node-index"))?;
    if sources.registered.is_none() {
        return Err(node_error(&unknown));
    }
    sources.resolve().map_err(|error| node_error(&error))
}

fn node_error(error: &NodeError) -> Error {
    Error::new(Code::InvalidConfig, error.to_string()).with_details(error.advice())
}

/// A small file with its path; `None` if there is none.
fn read(path: &Path) -> Result<Option<(String, String)>, Error> {
    match std::fs::read(path) {
        Ok(content) => {
            let content = content.get(..LIMIT).unwrap_or(&content);
            let content = String::from_utf8_lossy(content).into_owned();
            Ok(Some((path.display().to_string(), content)))
        }
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(Error::new(
            Code::Io,
            format!("the index file {} cannot be read: {error}", path.display()),
        )
        .with_details("it must hold the node's index as a decimal number, or not be there")),
    }
}
