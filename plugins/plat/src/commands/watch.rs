//! `plat watch`.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::{Duration, Instant};

use clap::Args;
use etcd_pool::client::{Change, Kind};
use ipam_pool::view::{self, Event, Names, Scope};

use crate::cluster;
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::cluster as documents;
use crate::output::{escape, instant, now};
use crate::people;
use crate::reading;

/// How long to wait before etcd is asked again after it was lost.
const PAUSE: Duration = Duration::from_secs(1);

/// Options of `plat watch`.
#[derive(Debug, Args)]
#[command(
    after_help = "A line for each change, as it happens; with --json one document in each line. It goes \
                        on when etcd was lost for a while, and misses nothing that etcd still knows."
)]
pub(crate) struct Watch {
    /// Begins with this revision instead of now, as far as etcd still knows it.
    #[arg(long, value_name = "REVISION")]
    since: Option<i64>,
    /// Only changes of this: address, block, node, agent, pools, exception, request, sticky.
    #[arg(long, value_name = "OBJECT")]
    only: Vec<String>,
    /// Ends after so many lines.
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    /// Ends after this time.
    #[arg(long = "for", value_name = "TIME", value_parser = crate::cli::duration)]
    time: Option<Duration>,
}

impl Command for Watch {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (mut etcd, keys) = cluster::etcd(context)?;
        let deadline = self.time.and_then(|time| Instant::now().checked_add(time));
        let snapshot = reading::read(context, &mut etcd, &keys, Scope::Nodes)?;
        let mut names = Names::new(&snapshot);
        let mut from = self.since.unwrap_or_else(|| snapshot.from.saturating_add(1));
        let mut left = self.count;
        let mut told = BTreeSet::new();
        let mut failed: Option<std::io::Error> = None;
        // Ends with the deadline, the count, or a reader that is gone.
        loop {
            if left == Some(0) {
                return Ok(Exit::Fine);
            }
            let ended = etcd.watch(keys.all(), from, deadline, &mut |change| {
                let (key, put, revision) = match &change {
                    Change::Put(kv) => (&kv.key, Some(kv), kv.modified),
                    Change::Deleted { key, revision } => (key, None, *revision),
                };
                // After a loss the last revision is told again, because not all of it may have been.
                if revision != from {
                    told.clear();
                    from = revision;
                }
                if !told.insert(key.clone()) {
                    return true;
                }
                let event = view::event(&keys, &mut names, key, put, revision);
                if !self.only.is_empty() && !self.only.iter().any(|only| only == event.object) {
                    return true;
                }
                let context_space = context.space.as_deref();
                if context_space.is_some() && event.space.as_deref() != context_space {
                    return true;
                }
                if let Err(error) = print(&event, context.json, out).and_then(|()| out.flush()) {
                    failed = Some(error);
                    return false;
                }
                left = left.map(|left| left.saturating_sub(1));
                left != Some(0)
            });
            if let Some(error) = failed {
                return Err(error.into());
            }
            match ended {
                Ok(()) => return Ok(Exit::Fine),
                Err(error) if matches!(error.kind, Kind::Config | Kind::Denied | Kind::Refused) => {
                    return Err(error.into());
                }
                Err(error) => {
                    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                        return Ok(Exit::Fine);
                    }
                    people::warn(&[format!("{}; trying again", error.message)]);
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }
}

fn print(event: &Event, json: bool, out: &mut dyn Write) -> std::io::Result<()> {
    if json {
        let document = documents::Change {
            time: now(),
            revision: event.revision,
            object: event.object,
            action: event.action,
            space: event.space.as_deref(),
            subject: &event.subject,
            node: event.node.as_deref(),
            text: &event.text,
        };
        return crate::output::json_line(out, &document);
    }
    let space = match event.space.as_deref() {
        None | Some(cluster::DEFAULT_SPACE) => String::new(),
        Some(space) => format!("{}/", escape(space)),
    };
    write!(
        out,
        "{} {:>8}  {:<9} {space}{} {}",
        instant(now()),
        event.revision,
        event.object,
        escape(&event.subject),
        event.action
    )?;
    if let Some(node) = &event.node {
        write!(out, "  {}", escape(node))?;
    }
    if !event.text.is_empty() {
        write!(out, "  {}", escape(&event.text))?;
    }
    writeln!(out)
}
