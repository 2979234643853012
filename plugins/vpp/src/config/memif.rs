//! Options of memifs.

use std::path::PathBuf;

use ipam_core::config::ConfigError;
use ipam_core::config::json::At;
use serde::{Deserialize, Serialize};

use super::{number, path, ring};

/// Below this each attachment gets a directory with its socket, unless `memif.directory` says otherwise.
const DEFAULT_DIRECTORY: &str = "/run/plat/memif";
/// What a socket's path has behind the directory: a slash, 16 digits, a slash and `memif.sock`.
const BEHIND: usize = 28;

/// Which end of a memif VPP is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// VPP listens on the socket (VPP: master).
    #[default]
    Server,
    /// VPP connects to it (VPP: slave).
    Client,
}

/// What a memif carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Ethernet frames.
    #[default]
    Ethernet,
    /// IP packets.
    Ip,
}

/// Options of memifs (`memif` of the configuration).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemifConfig {
    /// Below this each attachment gets a directory with its socket.
    pub directory: PathBuf,
    /// Which end VPP is.
    pub role: Role,
    /// What it carries.
    pub mode: Mode,
    /// Entries of a ring; 0: 1024.
    pub ring: u32,
    /// Queues in each direction.
    pub queues: u8,
}

impl Default for MemifConfig {
    fn default() -> Self {
        Self {
            directory: PathBuf::from(DEFAULT_DIRECTORY),
            role: Role::default(),
            mode: Mode::default(),
            ring: 0,
            queues: 1,
        }
    }
}

impl MemifConfig {
    pub(super) fn parse(at: &At<'_>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        if let Some(at) = at.get("directory")? {
            config.directory = path(&at)?;
            if config.directory.as_os_str().len() + BEHIND > super::LONGEST_SOCKET {
                let most = super::LONGEST_SOCKET - BEHIND;
                let message = format!("{at}: the path is too long for sockets below it");
                return Err(at.wrong(message, format!("a path of at most {most} bytes")));
            }
        }
        if let Some(at) = at.get("role")? {
            config.role = match at.string()? {
                "server" | "master" => Role::Server,
                "client" | "slave" => Role::Client,
                _ => {
                    let message = format!("{at}: there is no such role");
                    return Err(at.wrong(message, "server or client: which of them VPP is"));
                }
            };
        }
        if let Some(at) = at.get("mode")? {
            config.mode = match at.string()? {
                "ethernet" => Mode::Ethernet,
                "ip" => Mode::Ip,
                _ => {
                    let message = format!("{at}: there is no such mode");
                    return Err(at.wrong(message, "ethernet or ip"));
                }
            };
        }
        if let Some(at) = at.get("ring")? {
            config.ring = ring(&at, 16384)?;
        }
        if let Some(at) = at.get("queues")? {
            config.queues = u8::try_from(number(&at, 1, 64)?).unwrap_or(1);
        }
        Ok(config)
    }
}
