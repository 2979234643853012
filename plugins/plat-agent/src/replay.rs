/*!
VPP put back after a restart.

VPP forgets everything when it ends, and pods do not notice. What is recorded of each attachment, and what is in
the pods, is enough to make VPP's side again: `vpp_plugin::replay` does that, and this keeps looking whether it has
to be done. There is one thread for each VPP, so that the routes of others do not wait for a replay. It hears of
changes by VPP's own events, and looks at everything when the connection is new, when something that belongs to a
pod or the node has changed, and every so often.

| room | what is in it |
|---|---|
| `keeper` | the thread |
| `changes` | what has happened to interfaces: pure |
| `life` | whether it is still the same VPP |
| `report` | what was found and done, for people and programs |
*/

mod changes;
mod keeper;
mod life;
mod report;

use std::path::Path;
use std::time::{Duration, Instant};

use vpp_api::{Client, Options};
use vpp_plugin::record::Records;
use vpp_plugin::replay::{self, Place};

use crate::engine::Mode;

pub(crate) use keeper::{Keeper, Word};
pub(crate) use report::table;
pub use report::{Counts, Last, PodRow, PodStatus, VppReport, VppState};

/// The name under which VPP knows this program.
const NAME: &str = "plat-agent-replay";
/// How long VPP may take for one answer, of many ends of veth pairs also.
const TIMEOUT: Duration = Duration::from_secs(30);
/// What one replay may take, and for each attachment besides: many times what it takes.
const BASE: Duration = Duration::from_secs(30);
const FOR_EACH: Duration = Duration::from_millis(300);

/// Looks at all attachments of a VPP, and puts back what is missing where `mode` says so. What was put back is
/// looked at once more.
///
/// # Errors
/// Why nothing is known, in a sentence: VPP is away, or the records cannot be listed.
fn look(vpp: &mut Client, run_dir: &Path, mode: Mode) -> Result<replay::Report, String> {
    let records = Records::new(run_dir.join("vpp"));
    let count = records.all().map_or(0, |all| all.len());
    let time = BASE + FOR_EACH.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
    let now = Instant::now();
    let deadline = now.checked_add(time.min(Duration::from_secs(600))).unwrap_or(now);
    let place = Place { records: &records, root: Path::new("/"), deadline };
    let inspect = |vpp: &mut Client| replay::inspect(vpp, &place);
    let failed = |problem: vpp_plugin::Problem| problem.to_string();
    if mode == Mode::Explain {
        return inspect(vpp).map_err(failed);
    }
    let mut done = replay::replay(vpp, &place).map_err(failed)?;
    if done.pods.iter().any(|pod| matches!(pod.state, replay::PodState::Repaired(_))) {
        report::verify(&mut done, inspect(vpp).map_err(failed)?);
    }
    Ok(done)
}

/// Does once for a VPP what a thread does all the time.
pub(crate) fn once(socket: &Path, run_dir: &Path, mode: Mode) -> VppReport {
    let mut report = VppReport::new(socket);
    let options = Options { timeout: TIMEOUT, ..Options::new(NAME) };
    let looked = Client::connect(socket, &options)
        .map_err(|error| error.to_string())
        .and_then(|mut vpp| look(&mut vpp, run_dir, mode));
    match looked {
        Ok(found) => report.looked(&found),
        Err(why) => report.away(why),
    }
    report
}
