//! What this node knows of etcd: when it was reached last, what waits to be written there, and why it could not be.

use std::io::Write;

use etcd_pool::flusher::{Problem, last_problem};
use ipam_pool::ledger::Backlog;
use ipam_pool::node::{BootState, NodeState};
use ipam_pool::ops::Trouble;

use crate::cluster;
use crate::context::{Context, Exit, Failure};
use crate::documents::status::Etcd;
use crate::output::{self, Colour, age, escape};

/// What a node that uses cluster-wide pools knows of etcd.
#[derive(Debug)]
pub(super) struct Pools {
    node: NodeState,
    /// None before the first contact of this boot.
    boot: Option<BootState>,
    backlog: Backlog,
    /// Why the last attempt to write failed; none if it did not.
    problem: Option<Problem>,
    now: u64,
}

impl Pools {
    /// Reads it; `None` if the node uses no pools.
    ///
    /// # Errors
    /// If the node's database cannot be read.
    pub(super) fn of(context: &Context) -> Result<Option<Self>, Failure> {
        let Some(node) = cluster::remembered(context).filter(|node| !node.uuid.is_empty()) else {
            return Ok(None);
        };
        let survey = &context.survey;
        // What is wrong with a database is told where its health is.
        let (boot, backlog) = survey.contact().ok().flatten().unzip();
        Ok(Some(Self {
            node,
            boot,
            backlog: backlog.unwrap_or_default(),
            problem: last_problem(&survey.at(&survey.state.volatile)),
            now: output::now(),
        }))
    }

    /// When etcd was reached last in this boot, in seconds since 1970.
    fn reached(&self) -> Option<u64> {
        self.boot.as_ref()?.contact.map(|contact| contact.unix)
    }

    /// For how long the node may go on without etcd, in seconds; `None`: for ever, or it holds no blocks.
    fn limit(&self) -> Option<u64> {
        let limits = self.node.blocks.iter().map(|block| block.autonomy);
        limits.filter(|limit| *limit != 0).min()
    }

    /// Why nothing is given out any more.
    fn trouble(&self) -> Option<Trouble> {
        self.boot.as_ref()?.evicted.clone().map(Trouble::from)
    }

    /// How bad it is.
    pub(super) fn level(&self) -> Exit {
        let silent = self.reached().map(|at| self.now.saturating_sub(at));
        match (self.limit(), silent) {
            _ if self.trouble().is_some() => Exit::Critical,
            (Some(limit), Some(silent)) if silent > limit => Exit::Critical,
            (Some(limit), Some(silent)) if silent > limit / 2 => Exit::Warning,
            _ if self.problem.is_some() => Exit::Warning,
            _ => Exit::Fine,
        }
    }

    /// For people.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn print(&self, out: &mut dyn Write, colours: bool) -> std::io::Result<()> {
        let (text, colour) = match (self.reached(), self.level()) {
            (None, _) => ("not reached in this boot".to_owned(), Colour::Yellow),
            (Some(at), level) => {
                let (when, ago) = (output::instant(at), age(self.now, at));
                match level {
                    Exit::Fine => (format!("last reached {when} ({ago} ago)"), Colour::Green),
                    _ if self.problem.is_some() => {
                        (format!("away since {when} ({ago} ago) or later"), Colour::Yellow)
                    }
                    _ => (format!("last reached {when} ({ago} ago)"), Colour::Red),
                }
            }
        };
        writeln!(out, "\netcd       {}", output::paint(&text, colour, colours))?;
        if let Some(problem) = &self.problem {
            let ago = age(self.now, problem.at);
            writeln!(out, "  tried    {ago} ago: {}", escape(&problem.text))?;
        }
        if self.backlog.count > 0 {
            let Backlog { count, oldest } = self.backlog;
            let addresses = if count == 1 { "address" } else { "addresses" };
            let ago = age(self.now, oldest);
            writeln!(out, "  waiting  the records of {count} {addresses}, the oldest for {ago}")?;
        }
        let (blocks, index) = (self.node.blocks.len(), self.node.index);
        let index = index.map_or_else(|| "-".to_owned(), |index| index.to_string());
        let name = escape(&self.node.name);
        let held = if blocks == 1 { "1 block".to_owned() } else { format!("{blocks} blocks") };
        let alone = match (self.limit(), self.reached()) {
            (Some(limit), Some(at)) => {
                let end = at.saturating_add(limit);
                if end < self.now {
                    "; nothing is given out without etcd any more".to_owned()
                } else {
                    format!("; goes on without etcd for {}", age(end, self.now))
                }
            }
            _ => String::new(),
        };
        writeln!(out, "  node     {name}, index {index}, holds {held}{alone}")?;
        if let Some(trouble) = self.trouble() {
            let line = format!("  refused  {}", escape(&trouble.to_string()));
            writeln!(out, "{}", output::paint(&line, Colour::Red, colours))?;
            writeln!(out, "           {}", trouble.advice())?;
        }
        Ok(())
    }

    /// For programs.
    pub(super) fn document(&self) -> Etcd {
        let waiting = (self.backlog.count > 0).then_some(self.backlog.oldest);
        Etcd {
            uuid: self.node.uuid.clone(),
            name: self.node.name.clone(),
            index: self.node.index,
            blocks: self.node.blocks.len(),
            reached: self.reached(),
            autonomy: self.limit(),
            waiting: self.backlog.count,
            waiting_since: waiting,
            failed: self.problem.as_ref().map(|problem| problem.at),
            failure: self.problem.as_ref().map(|problem| problem.text.clone()),
            refused: self.trouble().map(|trouble| trouble.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipam_pool::node::{Block, Contact, Evicted};
    use serde_json::json;

    fn pools(ago: Option<u64>, problem: bool, evicted: bool) -> Pools {
        let now = 1_000_000;
        let contact = ago.map(|ago| Contact { unix: now - ago, ..Contact::default() });
        let evicted = evicted.then_some(Evicted::Copied { boot: "b".to_owned() });
        let text = "etcd is away\u{1b}[2J".to_owned();
        let block: Block = serde_json::from_value(json!({
            "space": "default", "pool": "p", "first": "10.0.0.0", "prefix": 26, "fence": 1,
            "mode": "local", "autonomy": 1000
        }))
        .unwrap();
        Pools {
            node: NodeState { blocks: vec![block], ..NodeState::default() },
            boot: Some(BootState { contact, evicted, ..BootState::default() }),
            backlog: Backlog { count: 2, oldest: now - 7 },
            problem: problem.then_some(Problem { at: now - 5, text }),
            now,
        }
    }

    #[test]
    fn how_bad_it_is_and_what_is_said() {
        for (ago, problem, evicted, level, said) in [
            (Some(3), false, false, Exit::Fine, "goes on without etcd for 16m"),
            (None, false, false, Exit::Fine, "not reached in this boot"),
            (Some(3), true, false, Exit::Warning, "away since"),
            (Some(600), false, false, Exit::Warning, "last reached"),
            (Some(1001), true, false, Exit::Critical, "nothing is given out without etcd"),
            (Some(3), false, true, Exit::Critical, "another machine uses this node's identity"),
        ] {
            let pools = pools(ago, problem, evicted);
            assert_eq!(pools.level(), level, "{said}");
            let mut out = Vec::new();
            pools.print(&mut out, false).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.contains(said) && !text.contains('\u{1b}'), "{said}: {text}");
            assert!(text.contains("records of 2 addresses, the oldest for 7s"), "{text}");
        }
    }
}
