//! The VPP whose attachments are put back after a restart.

use std::path::PathBuf;

use ipam_core::config::ConfigError;
use ipam_core::config::json::At;

use super::routes::{SinkSpec, VPP_SOCKET};
use super::{known, path};

/// The section `vpp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VppSpec {
    socket: Option<PathBuf>,
    replay: bool,
}

impl VppSpec {
    /// Reads it. Without it, attachments are put back where routes go into VPP.
    pub(super) fn parse(root: &At<'_>) -> Result<Self, ConfigError> {
        let Some(at) = root.get("vpp")? else { return Ok(Self { socket: None, replay: true }) };
        known(&at, &["socket", "replay"])?;
        let socket = at.get("socket")?.map(|at| path(&at)).transpose()?;
        let socket = Some(socket.unwrap_or_else(|| PathBuf::from(VPP_SOCKET)));
        Ok(Self { socket, replay: at.get("replay")?.map_or(Ok(true), |at| at.boolean())? })
    }

    /// The sockets, each once: its own, and those that routes go to.
    pub(super) fn sockets(&self, sinks: &[SinkSpec]) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = Vec::new();
        if !self.replay {
            return all;
        }
        let of_sinks = sinks.iter().filter_map(|sink| match sink {
            SinkSpec::Vpp(vpp) => Some(&vpp.socket),
            SinkSpec::Kernel(_) => None,
        });
        for socket in self.socket.iter().chain(of_sinks) {
            if !all.contains(socket) {
                all.push(socket.clone());
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::ConfigSpec;

    fn sockets(config: &Value) -> Result<Vec<String>, String> {
        let spec = ConfigSpec::parse(config).map_err(|error| error.message)?;
        let config = spec.on(None, "vm").map_err(|error| error.message)?;
        Ok(config.vpps.iter().map(|path| path.display().to_string()).collect())
    }

    #[test]
    fn which_vpps_are_kept() {
        let sink =
            json!({"sinks": [{"type": "vpp"}, {"type": "vpp", "table": 1}, {"type": "kernel"}]});
        let default = "/run/vpp/api.sock";
        for (config, expected) in [
            (json!({}), vec![]),
            (json!({"routes": {"sinks": [{"type": "kernel"}]}}), vec![]),
            (json!({"routes": sink}), vec![default]),
            (json!({"routes": sink, "vpp": {"replay": false}}), vec![]),
            (json!({"vpp": {}}), vec![default]),
            (json!({"vpp": {"socket": "/a"}}), vec!["/a"]),
            (json!({"routes": sink, "vpp": {"socket": "/a"}}), vec!["/a", default]),
            (json!({"routes": sink, "vpp": {"replay": true}}), vec![default]),
        ] {
            assert_eq!(sockets(&config).unwrap(), expected, "{config}");
        }
        for (config, message) in [
            (json!({"vpp": true}), "vpp: expected an object, found true"),
            (json!({"vpp": {"sockets": "/a"}}), "vpp: unknown key \"sockets\""),
            (json!({"vpp": {"socket": "a"}}), "vpp.socket: \"a\" is no absolute path"),
            (json!({"vpp": {"replay": 1}}), "vpp.replay: expected true or false, found 1"),
        ] {
            assert_eq!(sockets(&config).unwrap_err(), message, "{config}");
        }
    }
}
