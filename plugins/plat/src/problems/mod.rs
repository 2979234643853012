/*!
What is wrong with a node's stores, and what can be done about it: values in, values out.

`records` looks at the state alone, `living` compares it with who lives, `databases` says what the
health of a database means, `repair` does what a [`Fix`] says.
*/

mod databases;
mod living;
mod records;
pub(crate) mod repair;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use ipam_core::addr::Addr;
use ipam_core::identity::{Holder, Network};
use ipam_core::layout::Layout;
use ipam_stores::DEFAULT_DATA_DIR;
use ipam_stores::survey::{Allocation, Fault, Health, NetworkState, Place, Unseen};

use crate::configured::Configured;
use crate::living::Living;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Nobody knows, or nothing is wrong yet.
    Hint,
    /// An address is lost, or something will be.
    Warning,
    /// An address may be given out twice, or a store does not work.
    Broken,
}

impl Severity {
    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Hint => "hint",
            Self::Warning => "warning",
            Self::Broken => "broken",
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// A word for programs; docs/plat.md lists them.
    pub(crate) kind: &'static str,
    /// The network.
    pub(crate) network: Option<String>,
    /// The store.
    pub(crate) place: Option<Place>,
    /// The address.
    pub(crate) addr: Option<Addr>,
    /// What it is.
    pub(crate) what: String,
    /// By what evidence, or what it means.
    pub(crate) why: String,
    /// What can be done about it.
    pub(crate) fix: Fix,
}

/// What repairs a problem.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fix {
    /// Nothing, automatically: what a person can do.
    None(String),
    /// Puts a fault of this network away.
    Remove(Fault),
    /// Frees the allocation.
    Free(Allocation),
    /// Writes down what is in use, in the store at `place`.
    Record(Allocation),
    /// Forgets that the network used a dataDir.
    Forget(Network, PathBuf),
    /// Makes a database anew, with this in it.
    Rebuild(PathBuf, Vec<NetworkState>),
}

impl Fix {
    /// What it will do, or what a person can do.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::None(advice) => advice.clone(),
            Self::Remove(_) => format!("removes {}", self.object()),
            Self::Free(_) => format!("frees {}", self.object()),
            Self::Record(_) => format!("records {}", self.object()),
            Self::Forget(..) => format!("forgets {}", self.object()),
            Self::Rebuild(..) => format!("sets aside and makes anew {}", self.object()),
        }
    }

    /// What it has done.
    pub(crate) fn done_text(&self) -> String {
        let verb = match self {
            Self::None(_) => "left",
            Self::Remove(_) => "removed",
            Self::Free(_) => "freed",
            Self::Record(_) => "recorded",
            Self::Forget(..) => "forgot",
            Self::Rebuild(..) => "set aside and made anew",
        };
        format!("{verb} {}", self.object())
    }

    fn object(&self) -> String {
        match self {
            Self::None(_) => String::new(),
            Self::Remove(fault) => fault.what.clone(),
            Self::Free(allocation) => allocation.addr.to_string(),
            Self::Record(allocation) => {
                format!("{} for {}", allocation.addr, holder_text(&allocation.holder))
            }
            Self::Forget(_, data_dir) => data_dir.display().to_string(),
            Self::Rebuild(path, networks) => {
                let count: usize = networks.iter().map(|network| network.allocations.len()).sum();
                let addresses = crate::people::addresses(count);
                format!("{}, with {addresses} that may be in use", path.display())
            }
        }
    }

    /// Whether the program can do it.
    pub(crate) const fn is_possible(&self) -> bool {
        !matches!(self, Self::None(_))
    }
}

/// What problems are looked for in.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    /// The networks.
    pub(crate) networks: &'a [NetworkState],
    /// The places that could not be looked at.
    pub(crate) unseen: &'a [Unseen],
    /// The databases.
    pub(crate) health: &'a [(PathBuf, Health)],
    /// The dataDirs that networks are remembered to have used, root applied, if they are not there.
    pub(crate) vanished: &'a [(Network, PathBuf)],
    /// The networks of which a directory was set aside, because a database has taken it over.
    pub(crate) moved: &'a HashSet<String>,
    /// Who lives.
    pub(crate) living: &'a Living,
    /// What is configured.
    pub(crate) configured: &'a [Configured],
    /// The database that is used where none is named.
    pub(crate) default_database: PathBuf,
    /// The time, in seconds since 1970.
    pub(crate) now: u64,
    /// How old an allocation must be before it is taken for left behind.
    pub(crate) grace: Duration,
}

/// Everything that is wrong, the worst first.
pub(crate) fn find(evidence: &Evidence<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    // A database that cannot be looked at has a problem of its own.
    let told = |place: &Place| {
        let Place::Database(path) = place else { return false };
        let sick = |health: &Health| !matches!(health, Health::Fine | Health::Absent);
        evidence.health.iter().any(|(of, health)| of == path && sick(health))
    };
    for unseen in evidence.unseen.iter().filter(|unseen| !told(&unseen.place)) {
        problems.push(Problem {
            severity: Severity::Broken,
            kind: "unseen",
            network: None,
            place: Some(unseen.place.clone()),
            addr: None,
            what: "cannot be looked at".to_owned(),
            why: unseen.error.to_string(),
            fix: Fix::None(unseen.error.advice()),
        });
    }
    for state in evidence.networks {
        let layout = layout_of(state, evidence.configured);
        problems.extend(records::of_one(state, layout));
        problems.extend(living::leaks(evidence, state));
    }
    problems.extend(records::of_all(evidence.networks));
    problems.extend(records::without_network(evidence));
    problems.extend(living::unrecorded(evidence));
    problems.extend(databases::of(evidence));
    problems.sort_by(|a, b| {
        let key = |problem: &Problem| (std::cmp::Reverse(problem.severity), problem.kind);
        (key(a), &a.network, a.addr, &a.what).cmp(&(key(b), &b.network, b.addr, &b.what))
    });
    problems
}

/// What a network's addresses are chosen from: as its last ADD said, else as the one configuration of its
/// name and place says.
pub(crate) fn layout_of<'a>(
    state: &'a NetworkState,
    configured: &'a [Configured],
) -> Option<&'a Layout> {
    if state.layout.is_some() {
        return state.layout.as_ref();
    }
    let Place::Dir(path) = &state.place else { return None };
    let mut matching = configured.iter().filter(|section| {
        let data_dir = section.data_dir.as_deref().unwrap_or_else(|| DEFAULT_DATA_DIR.as_ref());
        let data_dir = data_dir.strip_prefix("/").unwrap_or(data_dir);
        section.network == state.network
            && path.parent().is_some_and(|parent| parent.ends_with(data_dir))
    });
    let first = matching.next()?;
    matching.next().is_none().then_some(&first.layout)
}

/// A holder for people.
pub(crate) fn holder_text(holder: &Holder) -> String {
    match holder {
        Holder::Attachment(attachment) => {
            format!("{} {}", short(attachment.container.as_str()), attachment.ifname)
        }
        Holder::Container(id) => short(id.as_str()).to_owned(),
        Holder::Unknown => "somebody unknown".to_owned(),
    }
}

/// The beginning of a container ID, as runtimes show it.
fn short(id: &str) -> &str {
    match id.get(..13) {
        Some(short) if id.len() > 32 => short,
        _ => id,
    }
}

/// A text without anything that a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        // The marks that turn the direction of what follows.
        let turns = matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests;
