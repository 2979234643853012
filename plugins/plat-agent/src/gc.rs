/*!
What no pod lives for any more is freed, as `plat gc --cri` does it: at a time of its own, when SIGUSR1 comes, or
once with `--gc`. What is freed and what not is decided by the crate `living`.
*/

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipam_core::config::json::{At, shown};
use ipam_core::config::{ConfigError, LOCK_TIMEOUT, parse_duration};
use ipam_stores::StateDirs;
use ipam_stores::survey::Survey;
use living::gc::{Entry, Sweep, sweep};
use living::verdict::Trusted;
use living::{Error, Living};
use serde::Serialize;

use crate::config::known;
use crate::daemon::Event;
use crate::log::{Level, line};
use crate::observe::Board;
use crate::report::{grid, plain, print};

/// What is younger stays: an address is recorded before the runtime lists its pod.
const GRACE: Duration = Duration::from_secs(300);
/// How often at most, in a configuration.
const SHORTEST: Duration = Duration::from_secs(1);
/// How seldom at most.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What a configuration says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gc {
    /// The socket of the container runtime, as CRI has it.
    pub runtime: PathBuf,
    /// How often; never by itself if there is none.
    pub interval: Option<Duration>,
    /// What is younger stays.
    pub grace: Duration,
}

impl Gc {
    /// Reads the section.
    pub(crate) fn parse(at: &At<'_>) -> Result<Self, ConfigError> {
        const RIGHT: &str =
            "{\"runtime\": \"unix:///run/containerd/containerd.sock\", \"interval\": \"10m\"}";
        known(at, &["runtime", "interval", "grace"])?;
        let Some(socket) = at.get("runtime")? else {
            return Err(at.wrong(format!("{at}: runtime is missing"), RIGHT));
        };
        let text = socket.string()?;
        let path = text.strip_prefix("unix://").unwrap_or(text);
        if !path.starts_with('/') || path.contains('\0') {
            let what = format!("{socket}: {:?} is no path of a socket", shown(text));
            return Err(socket.wrong(what, RIGHT));
        }
        let time = |key: &str, least: Duration| -> Result<Option<Duration>, ConfigError> {
            let Some(value) = at.get(key)? else { return Ok(None) };
            let text = value.string()?;
            let fits = |time: &Duration| (least..=LONGEST).contains(time);
            parse_duration(text).filter(fits).map(Some).ok_or_else(|| {
                let what = format!("{value}: {:?} is no time up to a day", shown(text));
                value.wrong(what, "such as \"10m\"")
            })
        };
        Ok(Self {
            runtime: PathBuf::from(path),
            interval: time("interval", SHORTEST)?,
            grace: time("grace", Duration::ZERO)?.unwrap_or(GRACE),
        })
    }
}

/// What was freed, and what stays.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Freed {
    /// Whether nothing was to be changed: then what would be freed.
    dry_run: bool,
    /// What was freed.
    freed: Vec<Entry>,
    /// What stays though nothing says that its holder lives.
    kept: Vec<Entry>,
    /// What could not be asked or done, a sentence each.
    notes: Vec<String>,
    /// What went wrong; absent if nothing did.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

impl Freed {
    /// Whether all could be done.
    pub(crate) const fn is_fine(&self) -> bool {
        self.failure.is_none()
    }
}

/// Frees once.
///
/// # Errors
/// If the container runtime does not answer: then nothing is freed.
pub(crate) fn once(gc: &Gc, dirs: &StateDirs, dry_run: bool) -> Result<Freed, Error> {
    let survey = Survey::new("/".as_ref(), dirs.clone());
    // Allocations first, the living second: whoever came in between lives, and holds nothing here.
    let (mut states, unseen) = survey.networks();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let living = Living::gather(&survey, Some(&gc.runtime), &[])?;
    living.mark_shared(&mut states);
    let what = Sweep {
        asked: Trusted { cri: true, silence: true, spaces: false, valid: false },
        named: false,
        now,
        grace: gc.grace,
        dry_run,
        lock_timeout: LOCK_TIMEOUT,
    };
    let swept = sweep(&survey, &states, &living, what, &mut |_| {});
    let unseen = unseen.iter().map(|unseen| format!("not looked at: {}", unseen.error));
    let unseen: Vec<String> = unseen.collect();
    let failure = swept.failure.map(|error| error.to_string()).or_else(|| unseen.first().cloned());
    let notes = unseen.into_iter().chain(living.notes.iter().cloned()).chain(swept.notes);
    Ok(Freed { dry_run, freed: swept.freed, kept: swept.kept, notes: notes.collect(), failure })
}

/// Starts a thread that frees at the times of the configuration, and when it is asked to.
pub(crate) fn start(gc: Gc, dirs: StateDirs, asked: Receiver<()>, to: Sender<Event>, board: Board) {
    thread::spawn(move || {
        let mut last = Instant::now();
        loop {
            let due = gc.interval.map(|interval| interval.saturating_sub(last.elapsed()));
            match asked.recv_timeout(due.unwrap_or(LONGEST)) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) if gc.interval.is_some() => {}
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            }
            last = Instant::now();
            let swept = once(&gc, &dirs, false);
            let gone = swept.as_ref().map_or(0, |freed| freed.freed.len());
            board.metrics().collected(gone, swept.as_ref().is_ok_and(Freed::is_fine));
            let trouble = match swept {
                Ok(freed) => {
                    for entry in &freed.freed {
                        line(Level::Info, format_args!("freed {}", shown_entry(entry)));
                    }
                    let (gone, stay) = (freed.freed.len(), freed.kept.len());
                    line(Level::Info, format_args!("gc: {gone} addresses freed, {stay} kept"));
                    freed.failure
                }
                Err(error) => Some(error.message),
            };
            let trouble = trouble.map(|why| format!("gc: {why}; what it holds is not freed"));
            if to.send(Event::GcTrouble(trouble)).is_err() {
                return;
            }
        }
    });
}

/// Says to whoever asks that it is not configured.
pub(crate) fn refuse(asked: Receiver<()>) {
    thread::spawn(move || {
        while asked.recv().is_ok() {
            line(Level::Warning, "gc was asked for, and the configuration has no \"gc\"");
        }
    });
}

fn shown_entry(entry: &Entry) -> String {
    let container = entry.container.as_deref().unwrap_or("nobody");
    let pod = entry.pod.as_ref().map(|pod| format!(" (pod {pod})")).unwrap_or_default();
    format!(
        "{} of network {}, held by {container}{pod}: {}",
        entry.address, entry.network, entry.why
    )
}

/// Prints what was freed, and in a dry run what not.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn show(out: &mut dyn Write, freed: &Freed, json: bool) -> io::Result<()> {
    if json {
        serde_json::to_writer_pretty(&mut *out, freed)?;
        return writeln!(out);
    }
    let title = if freed.dry_run { "would free" } else { "freed" };
    let kept = if freed.dry_run { &freed.kept[..] } else { &[] };
    for (title, entries) in [(title, &freed.freed[..]), ("kept", kept)] {
        if entries.is_empty() {
            continue;
        }
        let mut table = grid(&[title, "network", "container", "pod", "why"]);
        for entry in entries {
            table.add_row([
                entry.address.clone(),
                plain(&entry.network),
                plain(entry.container.as_deref().unwrap_or("-")),
                plain(entry.pod.as_deref().unwrap_or("-")),
                plain(&entry.why),
            ]);
        }
        print(out, &table)?;
    }
    for note in &freed.notes {
        writeln!(out, "note: {}", plain(note))?;
    }
    let verb = if freed.dry_run { "would be freed" } else { "freed" };
    writeln!(out, "{} {verb}, {} kept", freed.freed.len(), freed.kept.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_section() {
        let parse = |value: serde_json::Value| {
            Gc::parse(&At::standing_at(&value, "gc")).map_err(|error| error.to_string())
        };
        let gc = parse(json!({"runtime": "unix:///run/x.sock", "interval": "10m"})).unwrap();
        assert_eq!(gc.runtime, PathBuf::from("/run/x.sock"));
        assert_eq!(gc.interval, Some(Duration::from_secs(600)));
        assert_eq!(gc.grace, GRACE);
        let gc = parse(json!({"runtime": "/run/x.sock", "grace": "0s"})).unwrap();
        assert_eq!((gc.interval, gc.grace), (None, Duration::ZERO));
        for (value, wrong) in [
            (json!({}), "gc: runtime is missing"),
            (json!({"runtime": "tcp://x"}), "gc.runtime: \"tcp://x\" is no path of a socket"),
            (
                json!({"runtime": "/x", "interval": "0s"}),
                "gc.interval: \"0s\" is no time up to a day",
            ),
            (json!({"runtime": "/x", "every": "1m"}), "gc: unknown key \"every\""),
        ] {
            assert_eq!(parse(value).unwrap_err(), wrong);
        }
    }
}
