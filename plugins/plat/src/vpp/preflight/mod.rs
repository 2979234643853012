/*!
What stands between a node and a VPP that pods can be attached to: findings from facts.

A check fails where VPP or the plugin cannot work as asked, and warns where it works worse than it could or
something is to be done first. Each says what was found and what to do.
*/

mod burst;
mod nic;
mod node;
mod vpp;

use std::path::Path;

use super::host::Machine;
use super::nic::{Inventory, Nic};
use super::pci::PciAddress;
use super::running::{Access, Running};

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// It was not made, because another one has to go well first.
    Skipped,
    /// Fine.
    Fine,
    /// Something is to be done, or could be better.
    Warning,
    /// It cannot work.
    Failure,
}

impl Verdict {
    /// The word for people.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Fine => "OK",
            Self::Warning => "WARN",
            Self::Failure => "FAIL",
        }
    }

    /// The word for programs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Fine => "ok",
            Self::Warning => "warn",
            Self::Failure => "fail",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Which check.
    pub(crate) check: &'static str,
    /// How it went.
    pub(crate) verdict: Verdict,
    /// What is so.
    pub(crate) found: String,
    /// What to do; empty if nothing.
    pub(crate) advice: String,
}

impl Finding {
    fn new(
        check: &'static str,
        verdict: Verdict,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { check, verdict, found: found.into(), advice: advice.into() }
    }

    fn fine(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Verdict::Fine, found, "")
    }

    fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warning, found, advice)
    }

    fn failure(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, Verdict::Failure, found, advice)
    }

    fn skipped(check: &'static str, why: impl Into<String>) -> Self {
        Self::new(check, Verdict::Skipped, why, "")
    }
}

/// What became of asking VPP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It answers.
    Running(Running),
    /// There is no socket.
    NoSocket,
    /// The socket may not be used by this user.
    Refused,
    /// Nobody is behind the socket.
    Nobody,
    /// What is there is no socket, does not answer, or is no VPP; a sentence.
    Odd(String),
}

/// The device that is to become VPP's uplink, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// None.
    Nothing,
    /// By its place.
    Pci(PciAddress),
    /// By its name in the kernel.
    Name(String),
}

impl Asked {
    /// The device, if it is there.
    pub(crate) fn find<'a>(&self, inventory: &'a Inventory) -> Option<Nic<'a>> {
        inventory.nics().into_iter().find(|nic| match self {
            Self::Nothing => false,
            Self::Pci(address) => nic.address() == Some(*address),
            Self::Name(name) => nic.device.is_some_and(|device| device.name == *name),
        })
    }
}

/// A network whose pods are attached to VPP, as a configuration of this node has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    /// Its name.
    pub(crate) name: String,
    /// `kind` as it is written; `auto` without the key.
    pub(crate) kind: String,
}

/// Everything that the checks look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// Whether this process is root's.
    pub(crate) is_root: bool,
    /// VPP's socket.
    pub(crate) socket: &'a Path,
    /// Whether somebody has named the socket: it is expected to be there then.
    pub(crate) socket_is_named: bool,
    /// Who may use it, if it is there.
    pub(crate) access: Option<Access>,
    /// What VPP says.
    pub(crate) answer: &'a Answer,
    /// The node.
    pub(crate) machine: &'a Machine,
    /// Its network devices.
    pub(crate) inventory: &'a Inventory,
    /// The device in question.
    pub(crate) asked: &'a Asked,
    /// The networks that this node's configurations attach to VPP.
    pub(crate) networks: &'a [Network],
}

impl Facts<'_> {
    const fn running(&self) -> Option<&Running> {
        match self.answer {
            Answer::Running(running) => Some(running),
            _ => None,
        }
    }
}

/// Makes every check, in the order in which one would go through them.
pub(crate) fn preflight(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = vec![node::root(facts)];
    findings.extend(vpp::checks(facts));
    findings.extend(node::checks(facts));
    findings.extend(nic::checks(facts));
    findings
}

/// The worst of all.
pub(crate) fn worst(findings: &[Finding]) -> Verdict {
    findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Fine)
}

/// What speaks against giving a device to VPP at all, for who writes VPP's configuration.
pub(crate) fn against(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = nic::checks(facts);
    findings.retain(|finding| finding.verdict >= Verdict::Warning);
    findings
}

#[cfg(test)]
mod tests;
