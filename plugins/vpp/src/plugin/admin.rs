//! The administrator's policy file: what a configuration may say of VPP.

use std::path::PathBuf;

use cni::{Call, Error};
use host_local::admin::{self, Standing};
use ipam_core::config::json::At;
use ipam_core::rules::PathKey;

/// Whether an ADD of this configuration is allowed.
///
/// # Errors
/// What is not, or that the policy file cannot be understood.
pub(super) fn check(call: &Call) -> Result<(), Error> {
    let Some(rules) = admin::rules(call)? else { return Ok(()) };
    rules.vpp(&call.config, &admin::resolve).map_err(|e| host_local::config_error(&e))
}

/// The socket that the configuration of a DEL or a GC names, as far as it may be followed. Attachments that have a
/// record have their socket in there.
pub(super) fn socket(call: &Call, socket: Option<PathBuf>) -> Option<PathBuf> {
    let socket = socket?;
    let why = match admin::standing(&call.environment) {
        Standing::Free => return Some(socket),
        Standing::Ruled(rules) => {
            let root = At::root(&call.config);
            match rules.path(&root, "socket", PathKey::Socket, &admin::resolve) {
                Ok(()) => return Some(socket),
                Err(error) => error.message,
            }
        }
        Standing::Unclear(error) => error.message,
    };
    call.warn(&format!("the socket of the configuration is left alone: {why}"));
    None
}
