/*!
Shared memory, for an application in the pod that speaks memif.

Each attachment has a directory of its own with one socket in it, so that a pod can be given its directory and
no other's. What the application makes of the addresses is its own business; it has to use the Ethernet address
of the result.
*/

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use vpp_api::types::{MemifMode, MemifRole};
use vpp_api::{Client, IfIndex, Memif};

use crate::config::{MemifConfig, Mode, Role};
use crate::errors::Problem;
use crate::names::AttachmentHash;
use crate::record::{Record, RecordError};

/// The name of the socket in its directory.
const SOCKET: &str = "memif.sock";

/// The socket of an attachment.
pub(crate) fn socket(config: &MemifConfig, hash: AttachmentHash) -> PathBuf {
    config.directory.join(hash.to_string()).join(SOCKET)
}

/// Makes VPP's interface, and the directory of its socket.
pub(super) fn create(vpp: &mut Client, record: &Record) -> Result<IfIndex, Problem> {
    let path = record.memif_socket.clone().unwrap_or_default();
    if let Some(directory) = path.parent() {
        make(directory)?;
    }
    let path = path.to_string_lossy();
    let [.., a, b, c, d] = crate::names::hash64(&[&path]).to_be_bytes();
    let socket = vpp.memif_socket(&path, u32::from_be_bytes([a, b, c, d]))?;
    let wanted = Memif {
        socket_id: socket.id,
        id: 0,
        role: match record.memif.role {
            Role::Server => MemifRole::MASTER,
            Role::Client => MemifRole::SLAVE,
        },
        mode: match record.memif.mode {
            Mode::Ethernet => MemifMode::ETHERNET,
            Mode::Ip => MemifMode::IP,
        },
        mac: record.vpp_mac,
        ring: record.memif.ring,
        queues: record.memif.queues,
    };
    let made = vpp.create_memif(&wanted);
    if made.is_err() && !socket.existed {
        // Of an error that comes now nobody wants to know.
        let _ = vpp.forget_memif_socket(socket.id);
    }
    Ok(made?)
}

fn make(directory: &Path) -> Result<(), RecordError> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
    made.map_err(|source| RecordError::Io { what: "make", path: directory.to_owned(), source })
}
