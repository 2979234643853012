/*!
Every key of every configuration: what it may be, what it is without it, what it does.

One description, shown three ways: as tables for people, as Markdown for the documentation, as a JSON Schema for
editors. The tests hold it against what the plugins themselves know.
*/

mod agent;
mod chain;
mod etcd_pool;
mod ipam;
mod keys;
mod markdown;
mod plain;
mod policy;
mod schema;
mod vpp;

pub(crate) use markdown::write as write_markdown;
pub(crate) use plain::write as write_plain;
pub(crate) use schema::schema;

/// A configuration, or an object within one.
#[derive(Debug)]
pub(crate) struct Section {
    /// A heading; also what a schema calls it.
    pub(crate) name: &'static str,
    /// Where it stands, in a sentence or two.
    pub(crate) about: &'static str,
    /// Its keys, in the order in which people meet them.
    pub(crate) keys: &'static [Key],
    /// What becomes of other keys.
    pub(crate) others: Others,
}

/// What becomes of keys that are not described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// They are refused.
    Refused,
    /// They are told as a warning, and ignored.
    Ignored,
    /// They are somebody else's.
    Passed,
}

impl Others {
    const fn sentence(self) -> &'static str {
        match self {
            Self::Refused => "Any other key is an error.",
            Self::Ignored => "Any other key is ignored with a warning.",
            Self::Passed => "Other keys are somebody else's.",
        }
    }
}

/// A key.
#[derive(Debug)]
pub(crate) struct Key {
    /// As it is written.
    pub(crate) name: &'static str,
    /// What its value may be.
    pub(crate) kind: Kind,
    /// What holds without it; empty: nothing.
    pub(crate) default: &'static str,
    /// What it does.
    pub(crate) what: &'static str,
}

/// What a value may be.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A text of a form that `0` names.
    Text(&'static str),
    /// One of these texts.
    Words(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// A whole number within bounds, both included.
    Number(u64, u64),
    /// A list.
    List(&'static Self),
    /// One, or a list of them.
    OneOrList(&'static Self),
    /// Any of these.
    Either(&'static [Self]),
    /// An object.
    Object(&'static Section),
    /// An object whose keys are names.
    Named(&'static Self),
    /// Anything: the plugin that it is for says what.
    Any,
}

/// A text with a number and a unit.
const TIME: Kind = Kind::Text("time, such as `30s`");
/// An address.
const ADDRESS: Kind = Kind::Text("address");
/// A network.
const NETWORK: Kind = Kind::Text("network, such as `10.1.0.0/16`");
/// A path of a file or directory.
const PATH: Kind = Kind::Text("absolute path");
/// A name.
const NAME: Kind = Kind::Text("name");

/// What a person can ask for.
pub(crate) const ROOTS: &[&Section] = &[
    &ipam::HOST_LOCAL,
    &ipam::NODE_LOCAL,
    &etcd_pool::ETCD_POOL,
    &etcd_pool::CONNECTION,
    &chain::IPAM,
    &chain::TOP,
    &vpp::VPP,
    &agent::AGENT,
    &policy::POLICY,
];

/// The section that is asked for by this name.
pub(crate) fn root(name: &str) -> Option<&'static Section> {
    ROOTS.iter().find(|section| section.name == name).copied()
}

/// A section and all that its keys lead to, each once, in the order in which they are met.
pub(crate) fn within(root: &'static Section) -> Vec<&'static Section> {
    let mut found: Vec<&'static Section> = vec![root];
    let mut next = 0;
    while let Some(section) = found.get(next).copied() {
        next += 1;
        for key in section.keys {
            objects(&key.kind, &mut found);
        }
    }
    found
}

fn objects(kind: &'static Kind, found: &mut Vec<&'static Section>) {
    match kind {
        Kind::Object(section) => {
            if !found.iter().any(|known| known.name == section.name) {
                found.push(section);
            }
        }
        Kind::List(kind) | Kind::OneOrList(kind) | Kind::Named(kind) => objects(kind, found),
        Kind::Either(kinds) => kinds.iter().for_each(|kind| objects(kind, found)),
        Kind::Text(_) | Kind::Words(_) | Kind::Bool | Kind::Number(..) | Kind::Any => {}
    }
}

#[cfg(test)]
mod tests;
