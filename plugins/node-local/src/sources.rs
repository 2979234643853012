//! Reads the sources of the node's index; which of them counts is decided in `ipam_core::node`.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use cni::{Call, Code, Error};
use ipam_core::config::json::At;
use ipam_core::node::{IndexSources, NodeError, NodeIdentity};
use ipam_stores::open_regular;
use serde_json::Value;

use crate::{Problem, index, section, template_dir, text};

/// The largest index file; a real one has a few digits.
const LIMIT: u64 = 4096;

/// The path of the configuration's own index, as errors name it.
const CONFIGURED: &str = "ipam.index";

/// What a node tells of itself, beside its files.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// What absolute paths are taken below; `/` on the node itself.
    pub root: PathBuf,
    /// The host name.
    pub host_name: String,
    /// The environment variable NODE_INDEX, where it is set.
    pub environment: Option<String>,
    /// Where Plat keeps what must survive a reboot, before `root` is applied.
    pub state_dir: PathBuf,
}

impl Surroundings {
    /// Those of a call.
    pub fn of(call: &Call) -> Self {
        let environment = call.environment.value("NODE_INDEX");
        Self {
            root: PathBuf::from("/"),
            host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            environment: Some(environment.to_owned()).filter(|text| !text.is_empty()),
            state_dir: match call.environment.value("PLAT_STATE_DIR") {
                "" => PathBuf::from("/var/lib/plat"),
                path => PathBuf::from(path),
            },
        }
    }

    /// A path below the root.
    pub fn at(&self, path: &Path) -> PathBuf {
        path.strip_prefix("/").map_or_else(|_| path.to_path_buf(), |below| self.root.join(below))
    }
}

/// The file in which plat-agent registers an index, below the state directory.
pub fn registered_file(around: &Surroundings) -> PathBuf {
    around.state_dir.join("node-index")
}

/// Finds out which node this is. A source is read only when those before it say nothing: one that does
/// not count must not be able to fail.
///
/// # Errors
/// Why the index is not known.
pub fn find(net: &Value, around: &Surroundings) -> Result<NodeIdentity, Problem> {
    look(net, around)?.map_err(|unknown| node_error(&unknown))
}

/// The same for who can do without: `None` where no source tells an index.
///
/// # Errors
/// If a source has something that is none.
pub fn preferred(net: &Value, around: &Surroundings) -> Result<Option<NodeIdentity>, Problem> {
    Ok(look(net, around)?.ok())
}

/// What the sources say, or that none of them does.
fn look(net: &Value, around: &Surroundings) -> Result<Result<NodeIdentity, NodeError>, Problem> {
    let root = At::root(net);
    let ipam = section(&root)?;
    let mut sources = IndexSources {
        configured: index(&ipam)?,
        host_name: around.host_name.clone(),
        pattern: text(&ipam, "hostname")?,
        ..IndexSources::default()
    };
    if sources.configured.is_none() {
        sources.file = read_index(&around.at(&template_dir(&ipam)?.join("index")))?;
    }
    if sources.configured.is_none() && sources.file.is_none() {
        sources.environment.clone_from(&around.environment);
    }
    let unknown = match sources.clone().resolve() {
        Err(unknown @ NodeError::Unknown { .. }) => unknown,
        Ok(found) => return Ok(Ok(found)),
        Err(error) => return Err(node_error(&error)),
    };
    sources.registered = read_index(&around.at(&registered_file(around)))?;
    if sources.registered.is_none() {
        return Ok(Err(unknown));
    }
    sources.resolve().map(Ok).map_err(|error| node_error(&error))
}

fn node_error(error: &NodeError) -> Problem {
    let answer = Error::new(Code::InvalidConfig, error.to_string()).with_details(error.advice());
    match error {
        NodeError::NoIndex { origin, text } if origin == CONFIGURED => {
            Problem::about(answer, CONFIGURED, text, error.advice())
        }
        NodeError::Pattern { pattern, .. } => {
            Problem::about(answer, "ipam.hostname", pattern, error.advice())
        }
        _ => answer.into(),
    }
}

/// A small file with its path; `None` if there is none.
///
/// # Errors
/// If it is there and cannot be read.
pub fn read_index(path: &Path) -> Result<Option<(String, String)>, Error> {
    let read = || -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        open_regular(path)?.take(LIMIT).read_to_end(&mut content)?;
        Ok(content)
    };
    match read() {
        Ok(content) => {
            let content = String::from_utf8_lossy(&content).into_owned();
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
