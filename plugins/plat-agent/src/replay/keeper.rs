//! The thread that keeps what is attached to one VPP.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use vpp_api::{Client, Options};

use super::changes::{All, changes, seen};
use super::life::Life;
use super::report::{Last, PodStatus, VppReport, VppState};
use super::{NAME, TIMEOUT, look};
use crate::engine::Mode;
use crate::log::{Level, line};

/// How often a VPP that is away is looked for, and how long the thread sleeps at most. A try that fails costs one
/// system call.
const PAUSE: Duration = Duration::from_millis(100);
/// For how long more events are waited for after one, and at most: a call that attaches a pod makes several.
const QUIET: Duration = Duration::from_millis(50);
/// See [`QUIET`].
const LONGEST: Duration = Duration::from_millis(500);
/// After how long what failed is tried again; twice as long each time, until it is as often as everything is looked
/// at anyway.
const RETRY: Duration = Duration::from_millis(250);
/// How long a pod's own call may take to put right what an event tells of.
const GRACE: Duration = Duration::from_secs(3);

/// What the thread has to say.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    /// How everything is.
    pub(crate) report: VppReport,
    /// Whether routes are to be looked at: VPP came back, or its uplink went or came.
    pub(crate) routes: bool,
}

/// What one thread needs.
pub(crate) struct Keeper<F> {
    /// VPP's socket.
    pub(crate) socket: PathBuf,
    /// The directory of the boot's state, `/run/plat`.
    pub(crate) run_dir: PathBuf,
    /// How often everything is looked at without a reason.
    pub(crate) resync: Duration,
    /// Told that everything ends.
    pub(crate) stop: Arc<AtomicBool>,
    /// Who listens; false when nobody does any more.
    pub(crate) tell: F,
}

/// What the thread remembers.
struct Keeping<F> {
    keeper: Keeper<F>,
    report: VppReport,
    life: Option<Life>,
}

impl<F: Fn(Word) -> bool + Send + 'static> Keeper<F> {
    /// Starts the thread. It ends soon after it is told to, or when nobody listens; a replay that is under way then
    /// ends with the process, and the next one goes on from there.
    pub(crate) fn start(self) -> JoinHandle<()> {
        let report = VppReport::new(&self.socket);
        let mut keeping = Keeping { keeper: self, report, life: None };
        thread::spawn(move || keeping.run())
    }
}

impl<F: Fn(Word) -> bool> Keeping<F> {
    fn run(&mut self) {
        while !self.is_over() {
            let options = Options { timeout: TIMEOUT, ..Options::new(NAME) };
            let socket = &self.keeper.socket;
            // What killed agents and calls have left. Who is not there is not to be roused.
            let why = match Client::rouse(socket, &options)
                .and_then(|()| Client::connect(socket, &options))
            {
                Ok(vpp) => match self.serve(vpp) {
                    Ok(()) => return,
                    Err(why) => why,
                },
                Err(error) => error.to_string(),
            };
            // Why it went says more than that nobody listens since.
            if self.report.state != VppState::Away || self.report.trouble.is_none() {
                self.report.away(why);
                self.tell(true);
            }
            thread::sleep(PAUSE);
        }
    }

    fn is_over(&self) -> bool {
        self.keeper.stop.load(Ordering::Relaxed)
    }

    fn tell(&self, routes: bool) {
        let word = Word { report: self.report.clone(), routes };
        if !(self.keeper.tell)(word) {
            self.keeper.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Keeps what is attached to a VPP that answers, until everything ends.
    ///
    /// # Errors
    /// Why it cannot be asked any more, in a sentence.
    fn serve(&mut self, mut vpp: Client) -> Result<(), String> {
        let text = |error: vpp_api::Error| error.to_string();
        let life = Life::of(&mut vpp).map_err(text)?;
        let mut reason = self.meet(life);
        vpp.want_interface_events().map_err(text)?;
        let mut failures = 0;
        loop {
            let interfaces = self.put_right(&mut vpp, &reason)?;
            failures = if self.report.has_failed() { failures + 1 } else { 0 };
            let due = after(wait(failures, self.keeper.resync));
            match self.listen(&mut vpp, interfaces, due)? {
                Some(why) => reason = why,
                None => return Ok(()),
            }
        }
    }

    /// Who it is; why everything is looked at.
    fn meet(&mut self, life: Life) -> String {
        let name = self.report.name();
        let reason = match self.life {
            None => format!("{name} answers"),
            Some(before) if life.is_another(&before) => {
                self.report.counts.restarts += 1;
                format!("{name} was started anew")
            }
            Some(_) => format!("the connection to {name} was lost"),
        };
        line(Level::Info, format_args!("{reason} (process {})", life.pid));
        self.life = Some(life);
        self.report.pid = Some(life.pid);
        self.report.trouble = None;
        self.report.state = VppState::Replaying;
        self.tell(true);
        reason
    }

    /// Looks at everything, puts back what is missing, and tells what has become of it; the interfaces as they are
    /// then.
    fn put_right(&mut self, vpp: &mut Client, reason: &str) -> Result<All, String> {
        let text = |error: vpp_api::Error| error.to_string();
        // From before: what happens while everything is looked at is noticed behind it.
        let interfaces = vpp.interfaces().map_err(text)?;
        let before = self.report.clone();
        let begun = Instant::now();
        let found = look(vpp, &self.keeper.run_dir, Mode::Apply);
        let took = begun.elapsed();
        if !vpp.is_connected() {
            let lost = format!("the connection to {} was lost", self.report.name());
            return Err(found.err().unwrap_or(lost));
        }
        self.report.looked(&found?);
        let put_back = self.report.count(PodStatus::PutBack);
        let failed = self.report.count(PodStatus::Failed);
        if put_back > 0 || failed > 0 {
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            let reason = reason.to_owned();
            self.report.last = Some(Last { reason, took_ms, put_back, failed });
        }
        self.log(before.state == VppState::Replaying, took);
        let is_news = |before: &VppReport, now: &VppReport| {
            // That it was looked at once more is none.
            let looks = now.counts.looks;
            let mut before = before.clone();
            before.counts.looks = looks;
            before != *now
        };
        let first = before.state == VppState::Replaying;
        if put_back == 0 {
            if is_news(&before, &self.report) {
                self.tell(first);
            }
            return Ok(seen(&interfaces));
        }
        // What was put back makes events, too. Routes are looked at behind this, so that nothing is missed.
        let now = vpp.interfaces().map_err(text)?;
        self.tell(true);
        Ok(seen(&now))
    }

    fn log(&self, first: bool, took: Duration) {
        let name = self.report.name();
        for pod in self.report.pods.iter().filter(|pod| pod.status == PodStatus::PutBack) {
            let what = pod.what.join("; ");
            line(Level::Info, format_args!("{name}: {pod} is put back: {what}"));
        }
        if first || self.report.count(PodStatus::PutBack) > 0 {
            let summary = self.report.summary();
            line(Level::Info, format_args!("{name}: {summary}, within {took:.1?}"));
        }
    }

    /// Waits until everything is to be looked at: why, or nothing if all is to end.
    fn listen(
        &self,
        vpp: &mut Client,
        mut before: All,
        mut due: Instant,
    ) -> Result<Option<String>, String> {
        let text = |error: vpp_api::Error| error.to_string();
        let mut reason = "it was time".to_owned();
        loop {
            if self.is_over() {
                return Ok(None);
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Some(reason));
            }
            if vpp.next_event(left.min(PAUSE)).map_err(text)?.is_none() {
                continue;
            }
            let longest = after(LONGEST);
            while Instant::now() < longest && vpp.next_event(QUIET).map_err(text)?.is_some() {}
            let now = seen(&vpp.interfaces().map_err(text)?);
            let found = changes(&before, &now);
            before = now;
            if !found.node.is_empty() {
                let what = found.node.join(", ");
                line(Level::Info, format_args!("{}: {what}", self.report.name()));
                self.tell(true);
                reason = what;
            } else if found.pods {
                "a pod's interface has changed".clone_into(&mut reason);
            }
            if found.pods || !found.node.is_empty() {
                due = due.min(after(GRACE));
            }
        }
    }
}

/// How long until the next look after so many that have failed.
fn wait(failures: u32, resync: Duration) -> Duration {
    match failures {
        0 => resync,
        _ => RETRY.saturating_mul(2u32.saturating_pow(failures.min(16) - 1)).min(resync),
    }
}

fn after(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_again_soon_and_then_less_often() {
        let resync = Duration::from_secs(30);
        let millis = |failures| wait(failures, resync).as_millis();
        assert_eq!(
            [0, 1, 2, 3, 7, 8, 60].map(millis),
            [30_000, 250, 500, 1_000, 16_000, 30_000, 30_000]
        );
        assert_eq!(wait(3, Duration::from_millis(700)), Duration::from_millis(700));
    }
}
