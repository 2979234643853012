/*!
The log: events on standard error, one line each, as `key=value` text or as JSON.

Only this program's own events are written: what the libraries below it trace may hold a password. Whatever a
text holds, nothing reaches a terminal but characters.
*/

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::report::{is_harmful, plain};

/// How much is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Verbosity {
    /// Only what ends the program.
    Error,
    /// Besides: what begins to be wrong.
    Warn,
    /// Besides: each change, and what ceases to be wrong.
    #[default]
    Info,
    /// Besides: each look.
    Debug,
}

impl Verbosity {
    /// The words for a configuration.
    pub(crate) const WORDS: [(&'static str, Self); 4] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
    ];

    const fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
        }
    }
}

/// How it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Time, level, a sentence, `key=value`.
    #[default]
    Text,
    /// One JSON object in a line.
    Json,
}

/// Writes events from now on. A second time it has no effect.
pub(crate) fn start(format: Format, verbosity: Verbosity) {
    let _ = subscriber(format, verbosity, io::stderr).try_init();
}

fn subscriber<W: Write>(
    format: Format,
    verbosity: Verbosity,
    to: impl Fn() -> W + Send + Sync + 'static,
) -> impl tracing::Subscriber + Send + Sync {
    let writer = move || Clean { to: to(), format };
    let own = Targets::new().with_target("plat_agent", verbosity.filter());
    let (text, json) = match format {
        Format::Text => {
            let layer = tracing_subscriber::fmt::layer();
            (Some(layer.with_ansi(false).with_target(false).with_writer(writer)), None)
        }
        Format::Json => {
            let layer = tracing_subscriber::fmt::layer().json().flatten_event(true);
            let layer = layer.with_current_span(false).with_span_list(false);
            (None, Some(layer.with_target(false).with_writer(writer)))
        }
    };
    tracing_subscriber::registry().with(own).with(text).with(json)
}

/// Writes what is given to it at a time as one line, and nothing that could harm a terminal.
struct Clean<W> {
    to: W,
    format: Format,
}

impl<W: Write> Write for Clean<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let clean = match self.format {
            Format::Text => plain(text),
            Format::Json => plain_json(text),
        };
        // In one piece: others write there, too.
        self.to.write_all(format!("{clean}\n").as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The same as [`plain`] within a document: harmful characters are in its texts only.
fn plain_json(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                clean.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            clean.push(c);
        }
    }
    clean
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Something has happened that was wanted.
    Info,
    /// Something is not as it should be.
    Warning,
}

/// Writes a line.
pub(crate) fn line(level: Level, text: impl fmt::Display) {
    match level {
        Level::Info => tracing::info!("{text}"),
        Level::Warning => tracing::warn!("{text}"),
    }
}

/// What a trouble is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// A source in etcd cannot be read.
    Etcd,
    /// Links, addresses and routes cannot be listened to.
    Network,
    /// The node's record in etcd, or its pools.
    Node,
    /// What a source tells makes no route.
    Refused,
    /// A sink cannot be used.
    Sink,
    /// A route cannot be made.
    Route,
    /// A route of somebody else is in the way.
    Foreign,
    /// Forwarding cannot be set up as it is asked for.
    Forwarding,
    /// What no pod lives for cannot be freed.
    Gc,
    /// A VPP is away, or lacks what is attached to it.
    Vpp,
    /// Anything else: records that cannot be read.
    Other,
}

impl Cause {
    /// A word for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Network => "network",
            Self::Node => "node",
            Self::Refused => "refused",
            Self::Sink => "sink",
            Self::Route => "route",
            Self::Foreign => "foreign",
            Self::Forwarding => "forwarding",
            Self::Gc => "gc",
            Self::Vpp => "vpp",
            Self::Other => "other",
        }
    }

    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::Etcd,
        Self::Network,
        Self::Node,
        Self::Refused,
        Self::Sink,
        Self::Route,
        Self::Foreign,
        Self::Forwarding,
        Self::Gc,
        Self::Vpp,
        Self::Other,
    ];
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Complaint {
    /// What it is about.
    pub(crate) cause: Cause,
    /// A sentence.
    pub(crate) text: String,
}

impl Cause {
    /// Something that is wrong because of it.
    pub(crate) fn says(self, text: impl Into<String>) -> Complaint {
        Complaint { cause: self, text: text.into() }
    }
}

/// What is wrong now, and since when, in seconds since 1970: each thing is told when it begins and when it is
/// over, not every time in between.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    now: BTreeMap<Complaint, u64>,
}

impl Complaints {
    /// All that is wrong at this moment; tells what has begun.
    pub(crate) fn are(&mut self, all: &BTreeSet<Complaint>) -> Vec<Cause> {
        let mut begun = Vec::new();
        for over in self.now.keys().filter(|complaint| !all.contains(complaint)) {
            tracing::info!(cause = over.cause.name(), "no more: {}", over.text);
        }
        self.now.retain(|complaint, _| all.contains(complaint));
        for new in all {
            if !self.now.contains_key(new) {
                tracing::warn!(cause = new.cause.name(), "{}", new.text);
                begun.push(new.cause);
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                self.now.insert(new.clone(), since.map_or(0, |since| since.as_secs()));
            }
        }
        begun
    }

    /// Those of now, and since when.
    pub(crate) fn now(&self) -> impl Iterator<Item = (&Complaint, u64)> {
        self.now.iter().map(|(complaint, since)| (complaint, *since))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sheet(Arc<Mutex<Vec<u8>>>);

    impl Write for Sheet {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: Format, verbosity: Verbosity, work: impl FnOnce()) -> String {
        let sheet = Sheet::default();
        let to = sheet.clone();
        tracing::subscriber::with_default(subscriber(format, verbosity, move || to.clone()), work);
        let bytes = sheet.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const HOSTILE: &str = "a\nb\u{1b}[31m\u{202e}\u{9b}\"\\\r\u{0}";

    #[test]
    fn nothing_of_a_foreign_text_reaches_a_terminal_raw() {
        for format in [Format::Text, Format::Json] {
            let text = written(format, Verbosity::Info, || {
                tracing::info!(node = HOSTILE, shown = %HOSTILE, "{HOSTILE}");
                line(Level::Warning, HOSTILE);
            });
            assert_eq!(text.lines().count(), 2, "{text:?}");
            assert!(!text.replace('\n', "").contains(is_harmful), "{text:?}");
            if format == Format::Json {
                for line in text.lines() {
                    let value: serde_json::Value = serde_json::from_str(line).unwrap();
                    assert!(value["message"].as_str().unwrap().starts_with("a\nb"), "{value}");
                }
            }
        }
    }

    #[test]
    fn levels_and_libraries() {
        let all = || {
            tracing::debug!("one");
            tracing::info!("two");
            tracing::warn!("three");
            tracing::error!("four");
            tracing::error!(target: "h2::codec", "secret");
        };
        for (verbosity, expected) in [
            (Verbosity::Debug, 4),
            (Verbosity::Info, 3),
            (Verbosity::Warn, 2),
            (Verbosity::Error, 1),
        ] {
            let text = written(Format::Text, verbosity, all);
            assert_eq!(text.lines().count(), expected, "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_once() {
        let text = written(Format::Text, Verbosity::Info, || {
            let mut complaints = Complaints::default();
            let one = BTreeSet::from([Cause::Etcd.says("it is away")]);
            assert_eq!(complaints.are(&one), [Cause::Etcd]);
            assert_eq!(complaints.are(&one), []);
            assert_eq!(complaints.now().count(), 1);
            assert_eq!(complaints.are(&BTreeSet::new()), []);
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].ends_with(" WARN it is away cause=\"etcd\""), "{text}");
        assert!(lines[1].ends_with(" INFO no more: it is away cause=\"etcd\""), "{text}");
    }
}
