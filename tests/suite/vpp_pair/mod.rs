/*!
Two nodes with a real VPP each, one configuration for both: pods reach each other, the host reaches pods, a VPP that
comes back has its pods again, and nothing is left in the end.

Skipped without `VPP_BIN` and `VPP_PLUGIN_PATH`: see `support::VppProgram`.
*/

mod leaving;
mod reaching;
mod restarting;
mod trouble;

use support::{VppPair, VppProgram, have, is_root, skip_unless};

/// The pair, if there can be one.
fn pair(test: &str) -> Option<VppPair> {
    let name = format!("vpp_pair::{test}");
    let program = VppProgram::find(&name)?;
    let needs = [
        (is_root(), "root"),
        (have("ping"), "ping (iputils-ping)"),
        (have("nsenter"), "nsenter (util-linux)"),
    ];
    skip_unless(&name, &needs).then(|| VppPair::start(&program))
}
