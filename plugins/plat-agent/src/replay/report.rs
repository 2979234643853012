//! What was found of a VPP and its attachments, and what was done.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use vpp_plugin::replay::{Cause, PerPod, PodState, Report};

use crate::report::plain;

/// A VPP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VppReport {
    /// Its API socket.
    pub socket: PathBuf,
    /// How it is.
    pub state: VppState,
    /// Why it is away, or cannot be looked at; absent if neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Its process ID, in its own namespace; absent if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its attachments, as they were at the last look.
    pub pods: Vec<PodRow>,
    /// What is wrong besides, a sentence each.
    pub problems: Vec<String>,
    /// The last look that has put something back, or could not; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Last>,
    /// What has happened since this program runs.
    pub counts: Counts,
}

/// How a VPP is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum VppState {
    /// Nobody answers.
    Away,
    /// It answers, and what belongs to it is being looked at for the first time.
    Replaying,
    /// It answers, and what belongs to it was looked at.
    Up,
}

/// An attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PodRow {
    /// `namespace/name`, else the container ID; the file of its record, if that cannot be read.
    pub pod: String,
    /// The network; absent if its record cannot be read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network: String,
    /// The interface in the pod; absent if its record cannot be read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// The container ID; absent if its record cannot be read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// How it is.
    pub status: PodStatus,
    /// What was, or is, not as it should be: one sentence each; absent if nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub what: Vec<String>,
    /// What kind of trouble it is, one word; absent unless it has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
}

/// How an attachment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PodStatus {
    /// As it should be.
    Fine,
    /// It was not as it should be, and is now.
    PutBack,
    /// Not as it should be, and left alone: what is so in the pod is for whoever changed it.
    Differs,
    /// Its namespace is gone, and its DEL has not come.
    NamespaceGone,
    /// It could not be looked at, or put back.
    Failed,
}

impl PodStatus {
    /// Each of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Fine, Self::PutBack, Self::Differs, Self::NamespaceGone, Self::Failed];

    /// As in the document.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::PutBack => "put-back",
            Self::Differs => "differs",
            Self::NamespaceGone => "namespace-gone",
            Self::Failed => "failed",
        }
    }
}

/// A look that has put something back, or could not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Last {
    /// Why everything was looked at.
    pub reason: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// How many attachments were put back.
    pub put_back: usize,
    /// How many could not.
    pub failed: usize,
}

/// What has happened since this program runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// How often VPP was started anew.
    pub restarts: u64,
    /// How often everything was looked at.
    pub looks: u64,
    /// How often something had to be put back.
    pub replays: u64,
    /// How many attachments were put back.
    pub put_back: u64,
    /// How many could not, by the kind of trouble; one that fails twice counts twice.
    pub failed: BTreeMap<&'static str, u64>,
}

impl VppReport {
    /// One of which nothing is known yet.
    pub(crate) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            state: VppState::Away,
            trouble: None,
            pid: None,
            pods: Vec::new(),
            problems: Vec::new(),
            last: None,
            counts: Counts::default(),
        }
    }

    /// Nobody answers. What was known of attachments stays: it says what they were.
    pub(super) fn away(&mut self, why: String) {
        self.state = VppState::Away;
        self.trouble = Some(why);
        self.pid = None;
    }

    /// Everything was looked at.
    pub(super) fn looked(&mut self, found: &Report) {
        self.state = VppState::Up;
        self.trouble = None;
        self.pods = found.pods.iter().map(PodRow::of).collect();
        self.problems.clone_from(&found.problems);
        self.counts.looks += 1;
        let put_back = self.count(PodStatus::PutBack);
        self.counts.put_back += u64::try_from(put_back).unwrap_or(u64::MAX);
        self.counts.replays += u64::from(put_back > 0);
        for cause in self.pods.iter().filter_map(|pod| pod.cause) {
            *self.counts.failed.entry(cause).or_default() += 1;
        }
    }

    /// How many attachments are so.
    #[must_use]
    pub fn count(&self, status: PodStatus) -> usize {
        self.pods.iter().filter(|pod| pod.status == status).count()
    }

    /// Whether another try may help.
    pub(super) fn has_failed(&self) -> bool {
        self.count(PodStatus::Failed) > 0 || !self.problems.is_empty()
    }

    /// Whether it answers and all of its attachments are as they should be.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        let fine = |pod: &PodRow| matches!(pod.status, PodStatus::Fine | PodStatus::PutBack);
        self.is_ready() && self.pods.iter().all(fine)
    }

    /// Whether it answers and what can be put back is there. What somebody has changed in a pod, and a pod that is
    /// gone, are no reason to send nothing here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state == VppState::Up && self.trouble.is_none() && !self.has_failed()
    }

    /// What is wrong now, a sentence each.
    pub(crate) fn complaints(&self) -> BTreeSet<String> {
        let name = self.name();
        let mut all: BTreeSet<String> =
            self.trouble.iter().map(|why| format!("{name}: {why}")).collect();
        all.extend(self.problems.iter().map(|problem| format!("{name}: {problem}")));
        for pod in &self.pods {
            let what = pod.what.join("; ");
            let text = match pod.status {
                PodStatus::Fine | PodStatus::PutBack => continue,
                PodStatus::Differs => format!("{pod} is not as it was answered: {what}"),
                PodStatus::NamespaceGone => {
                    format!("{pod}: its namespace is gone, and its DEL has not come")
                }
                PodStatus::Failed => format!("{pod} cannot be put back: {what}"),
            };
            all.insert(format!("{name}: {text}"));
        }
        all
    }

    /// How people know it.
    pub(super) fn name(&self) -> String {
        format!("VPP at {}", self.socket.display())
    }

    /// The numbers in one line.
    pub(super) fn summary(&self) -> String {
        let mut text = format!("{} attachments", self.pods.len());
        for (status, words) in [
            (PodStatus::Fine, "as they should be"),
            (PodStatus::PutBack, "put back"),
            (PodStatus::Differs, "not as they were answered"),
            (PodStatus::NamespaceGone, "without their namespace"),
            (PodStatus::Failed, "failed"),
        ] {
            let count = self.count(status);
            if count > 0 {
                let _ = write!(text, ", {count} {words}");
            }
        }
        text
    }
}

impl PodRow {
    fn of(pod: &PerPod) -> Self {
        let (status, what) = match &pod.state {
            PodState::Fine => (PodStatus::Fine, Vec::new()),
            PodState::Repaired(what) => (PodStatus::PutBack, what.clone()),
            PodState::Differs(what) => (PodStatus::Differs, what.clone()),
            PodState::NamespaceGone => (PodStatus::NamespaceGone, Vec::new()),
            PodState::Failed(why) => (PodStatus::Failed, vec![why.clone()]),
        };
        let cause = pod.cause.map(Cause::word);
        match &pod.record {
            Some(record) => Self {
                pod: record.pod(),
                network: record.network.clone(),
                interface: record.ifname.clone(),
                container: record.container.clone(),
                status,
                what,
                cause,
            },
            None => Self {
                pod: pod.path.display().to_string(),
                network: String::new(),
                interface: String::new(),
                container: String::new(),
                status,
                what,
                cause,
            },
        }
    }
}

/// As people know it: `shop/web-1 eth0 (pods)`.
impl std::fmt::Display for PodRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.network.is_empty() {
            return f.write_str(&self.pod);
        }
        write!(f, "{} {} ({})", self.pod, self.interface, self.network)
    }
}

/// Takes what was put back for failed, if it is not as it should be when it is looked at again.
pub(super) fn verify(done: &mut Report, again: Report) {
    let mut after: BTreeMap<_, _> =
        again.pods.into_iter().map(|pod| (pod.tag, (pod.state, pod.cause))).collect();
    for pod in &mut done.pods {
        if !matches!(pod.state, PodState::Repaired(_)) {
            continue;
        }
        match after.remove(&pod.tag) {
            // Its DEL has come meanwhile.
            None | Some((PodState::Fine, _)) => {}
            Some((PodState::Differs(what), _)) => {
                let what = what.join("; ");
                pod.state = PodState::Failed(format!("it was put back, and yet: {what}"));
                pod.cause = Some(Cause::Refused);
            }
            Some((state, cause)) => (pod.state, pod.cause) = (state, cause),
        }
    }
}

/// Prints VPPs for people.
///
/// # Errors
/// If they cannot be printed.
pub(crate) fn table(out: &mut dyn Write, all: &[VppReport]) -> io::Result<()> {
    for vpp in all {
        writeln!(out, "{}: pods", plain(&vpp.name()))?;
        if let Some(trouble) = &vpp.trouble {
            writeln!(out, "  {}", plain(trouble))?;
            writeln!(out)?;
            continue;
        }
        for pod in vpp.pods.iter().filter(|pod| pod.status != PodStatus::Fine) {
            let word = match pod.status {
                PodStatus::Fine => "fine",
                PodStatus::PutBack => "put back",
                PodStatus::Differs => "differs",
                PodStatus::NamespaceGone => "gone",
                PodStatus::Failed => "failed",
            };
            let what = if pod.what.is_empty() {
                "its namespace is gone, and its DEL has not come".to_owned()
            } else {
                pod.what.join("; ")
            };
            writeln!(out, "  {word:<8}  {}: {}", plain(&pod.to_string()), plain(&what))?;
        }
        for problem in &vpp.problems {
            writeln!(out, "  problem   {}", plain(problem))?;
        }
        writeln!(out, "  {}", vpp.summary())?;
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use vpp_plugin::tag::Tag;

    use super::*;

    fn pod(number: u8, state: PodState, cause: Option<Cause>) -> PerPod {
        let tag = Tag::parse(&format!("plat/00000001/00000000000000{number:02x}")).unwrap();
        let path = PathBuf::from(format!("/run/{number}.json"));
        PerPod { path, tag, record: None, interface: None, state, cause }
    }

    fn found(pods: Vec<PerPod>) -> Report {
        Report { pods, ..Report::default() }
    }

    fn texts(all: &[&str]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_was_put_back_is_looked_at_again() {
        let repaired = || PodState::Repaired(texts(&["gone"]));
        let mut done = found(vec![
            pod(1, repaired(), None),
            pod(2, repaired(), None),
            pod(3, repaired(), None),
            pod(4, repaired(), None),
            pod(5, PodState::Differs(texts(&["a"])), None),
        ]);
        let again = found(vec![
            pod(1, PodState::Fine, None),
            pod(2, PodState::Differs(texts(&["down"])), None),
            pod(3, PodState::Failed("no".to_owned()), Some(Cause::Away)),
            pod(5, PodState::Failed("no".to_owned()), Some(Cause::Away)),
        ]);
        verify(&mut done, again);
        let states: Vec<_> = done.pods.into_iter().map(|pod| (pod.state, pod.cause)).collect();
        let failed = PodState::Failed("it was put back, and yet: down".to_owned());
        let expected = [
            (repaired(), None),
            (failed, Some(Cause::Refused)),
            (PodState::Failed("no".to_owned()), Some(Cause::Away)),
            (repaired(), None),
            (PodState::Differs(texts(&["a"])), None),
        ];
        assert_eq!(states, expected);
    }

    #[test]
    fn counts_complaints_and_readiness() {
        let mut vpp = VppReport::new(Path::new("/run/vpp/api.sock"));
        assert!(!vpp.is_ready());
        vpp.looked(&found(vec![
            pod(1, PodState::Repaired(texts(&["gone"])), None),
            pod(2, PodState::NamespaceGone, None),
        ]));
        assert!(vpp.is_ready() && !vpp.is_fine());
        assert_eq!(vpp.summary(), "2 attachments, 1 put back, 1 without their namespace");
        vpp.looked(&found(vec![
            pod(1, PodState::Fine, None),
            pod(2, PodState::Failed("it \u{1b} is".to_owned()), Some(Cause::Kernel)),
        ]));
        assert!(!vpp.is_ready());
        assert_eq!((vpp.counts.looks, vpp.counts.replays, vpp.counts.put_back), (2, 1, 1));
        assert_eq!(vpp.counts.failed, BTreeMap::from([("kernel", 1)]));
        assert_eq!(vpp.complaints().len(), 1);
        let mut out = Vec::new();
        table(&mut out, std::slice::from_ref(&vpp)).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains("  failed    /run/2.json: it \\u{1b} is\n"), "{out}");
        vpp.away("it has ended".to_owned());
        assert!(!vpp.is_ready());
        assert!(vpp.complaints().contains("VPP at /run/vpp/api.sock: it has ended"));
    }
}
