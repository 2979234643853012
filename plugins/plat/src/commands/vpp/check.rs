//! `plat vpp check`.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use ipam_core::config::json::At;
use ipam_core::node::NodeIdentity;
use vpp_api::Client;
use vpp_plugin::node::{self, NodeSpec, Wanted};
use vpp_plugin::record::Record;
use vpp_plugin::replay::{self, PerPod, PodState, Report, Stray};

use super::show::pod;
use super::{Remembered, remembered, sockets, store};
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::vpp::{Checked, CheckedPod, CheckedVpp, NodeFault, Stray as StrayLine};
use crate::output::{self, Colour, escape, paint};
use crate::vpp::running::{connect, failure};

/// What putting one attachment back may take.
const FOR_EACH: Duration = Duration::from_millis(200);

/// How many of the node's problems are told: after a restart of VPP every route to another node is one.
const FEW: usize = 12;

/// Options of `plat vpp check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --fix nothing is changed. --fix puts VPP's side back as it was recorded, as after a restart \
                  of VPP, and does not touch the pods. Exit status: 0 all is well, or was made well, 1 something is \
                  odd, 2 something is wrong, or VPP does not answer."
)]
pub(crate) struct Check {
    /// Makes in VPP what is missing, and repairs what differs.
    #[arg(long)]
    fix: bool,
    /// Does not ask before it changes anything.
    #[arg(long, short, requires = "fix")]
    yes: bool,
    /// VPP's socket; without it those of all attachments, else /run/vpp/api.sock.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// What was found of one VPP.
#[derive(Debug, Default)]
struct Found {
    /// Why it could not be looked at.
    problem: Option<Failure>,
    /// What of the node's part is not as it should be.
    node: Vec<NodeProblem>,
    /// What of it was put right.
    mended: Vec<NodeProblem>,
    /// Attachments, and what nobody owns.
    report: Report,
}

/// Something of uplink, routes, gateway or host link.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NodeProblem {
    /// The network whose configuration wants it otherwise.
    network: String,
    /// What is so.
    text: String,
    /// What to do; may be empty.
    advice: String,
    /// Whether it is odd only.
    is_note: bool,
}

impl Command for Check {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let Remembered { records, unread } = remembered(context)?;
        let mut exit = Exit::Fine;
        let mut documents = Vec::new();
        for (place, path) in sockets(context, self.socket.as_ref(), &records) {
            let mut found = look(context, &place, &records, false);
            let is_wrong = found.problem.is_none() && found.can_be_repaired();
            if self.fix && is_wrong {
                if !context.json && !self.yes {
                    found.print(&path, false, context.colour, out)?;
                    out.flush()?;
                }
                if self.agrees(context)? {
                    let before = found.node;
                    found = look(context, &place, &records, true);
                    if found.problem.is_none() {
                        found.mended = before;
                        found.mended.retain(|problem| !found.node.contains(problem));
                    }
                }
            }
            exit = exit.max(found.exit());
            if context.json {
                documents.push(found.document(&path));
            } else {
                found.print(&path, self.fix, context.colour, out)?;
            }
        }
        if !unread.is_empty() {
            exit = Exit::Critical;
        }
        if context.json {
            output::json(out, &Checked { vpps: documents, unread })?;
            return Ok(exit);
        } else {
            for sentence in &unread {
                let word = paint("broken  ", Colour::Red, context.colour);
                writeln!(out, "{word}  {}", escape(sentence))?;
            }
        }
        Ok(exit)
    }
}

impl Check {
    /// Whether whoever is there wants it.
    fn agrees(&self, context: &Context) -> Result<bool, Failure> {
        if self.yes {
            return Ok(true);
        }
        if context.json || !io::stdin().is_terminal() {
            return Err(Failure::new(
                "nobody can be asked whether to change VPP, and nothing was changed",
                "--yes does it without asking",
            ));
        }
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "put VPP's side right? [y/N] ");
        let _ = stderr.flush();
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

/// Compares one VPP with what is recorded, and puts it right if `fix`.
fn look(context: &Context, socket: &Path, records: &[Record], fix: bool) -> Found {
    let mut found = Found::default();
    let result = connect(socket).map_err(|error| failure(&error)).and_then(|mut vpp| {
        let store = store(context);
        let each = FOR_EACH.saturating_mul(u32::try_from(records.len()).unwrap_or(u32::MAX));
        let root = context.survey.at(Path::new("/"));
        let deadline = Instant::now()
            + context.lock_timeout.saturating_add(each).min(Duration::from_secs(3600));
        let place = replay::Place { records: &store, root: &root, deadline };
        let report =
            if fix { replay::replay(&mut vpp, &place) } else { replay::inspect(&mut vpp, &place) };
        found.report = report.map_err(|problem| {
            Failure::new(
                escape(&problem.to_string()).into_owned(),
                escape(&problem.details()).into_owned(),
            )
        })?;
        // What cannot be read may be of any VPP: it is told once.
        found.report.pods.retain(|pod| pod.record.is_some());
        let mine = records.iter().filter(|record| context.survey.at(&record.socket) == *socket);
        let place = node::Place { run_dir: store.directory(), root: &root, deadline };
        found.node = node_problems(&mut vpp, mine, &place);
        Ok(())
    });
    found.problem = result.err();
    found
}

/// The configurations of attachments, each once, with all gateways of their pods.
fn configurations<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<(&'a Record, Vec<IpAddr>)> {
    let mut by_text: BTreeMap<(String, String, u32), (&Record, Vec<IpAddr>)> = BTreeMap::new();
    for record in records {
        let text = format!("{:?} {}", record.node_index, record.node);
        let key = (record.network.clone(), text, record.table);
        let (_, gateways) = by_text.entry(key).or_insert((record, Vec::new()));
        gateways.extend(record.gateways());
        gateways.sort();
        gateways.dedup();
    }
    by_text.into_values().collect()
}

fn node_problems<'a>(
    vpp: &mut Client,
    records: impl Iterator<Item = &'a Record>,
    place: &node::Place<'_>,
) -> Vec<NodeProblem> {
    let mut problems = Vec::new();
    for (record, gateways) in configurations(records) {
        let network = record.network.clone();
        let wrong = |text: String, advice: String| NodeProblem {
            network: record.network.clone(),
            text,
            advice,
            is_note: false,
        };
        let identity = record.node_index.map(|index| NodeIdentity {
            index,
            name: record.node_name.clone().unwrap_or_default(),
            source: "the record of an attachment".to_owned(),
        });
        let setup = NodeSpec::parse(&At::root(&record.node))
            .and_then(|spec| spec.render(identity.as_ref()));
        let setup = match setup {
            Ok(setup) => setup,
            Err(error) => {
                problems.push(wrong(error.to_string(), String::new()));
                continue;
            }
        };
        let wanted =
            Wanted { setup: &setup, network: &network, table: record.table, gateways: &gateways };
        match node::differences(vpp, &wanted, place, None) {
            Ok(differences) => problems.extend(differences.iter().map(|difference| NodeProblem {
                network: network.clone(),
                text: difference.to_string(),
                advice: String::new(),
                is_note: difference.is_note(),
            })),
            Err(error) => problems.push(wrong(error.to_string(), error.details())),
        }
    }
    problems
}

impl Found {
    /// Whether putting right would change anything.
    fn can_be_repaired(&self) -> bool {
        self.node.iter().any(|problem| !problem.is_note)
            || self.report.pods.iter().any(|pod| matches!(pod.state, PodState::Differs(_)))
            || self.report.strays.iter().any(|stray| !stray.removed)
    }

    fn exit(&self) -> Exit {
        let pod = |pod: &PerPod| match pod.state {
            PodState::Fine | PodState::Repaired(_) => Exit::Fine,
            PodState::NamespaceGone => Exit::Warning,
            PodState::Differs(_) | PodState::Failed(_) => Exit::Critical,
        };
        let node = |problem: &NodeProblem| {
            if problem.is_note { Exit::Warning } else { Exit::Critical }
        };
        let stray = |stray: &Stray| if stray.removed { Exit::Fine } else { Exit::Warning };
        let report = &self.report;
        let away = if self.problem.is_some() { Exit::Critical } else { Exit::Fine };
        let others = if report.problems.is_empty() { Exit::Fine } else { Exit::Critical };
        let all = report.pods.iter().map(pod).chain(self.node.iter().map(node));
        all.chain(report.strays.iter().map(stray)).fold(away.max(others), Ord::max)
    }

    fn print(&self, path: &Path, fix: bool, colours: bool, out: &mut dyn Write) -> io::Result<()> {
        let shown = path.to_string_lossy();
        let mut line = |word: &str, colour: Colour, text: &str| {
            writeln!(out, "{}  {}", paint(&format!("{word:<8}"), colour, colours), escape(text))
        };
        if let Some(problem) = &self.problem {
            line("broken", Colour::Red, &problem.message)?;
            if !problem.advice.is_empty() {
                writeln!(out, "          {}", problem.advice)?;
            }
            return Ok(());
        }
        for (problems, mended) in [(&self.mended, true), (&self.node, false)] {
            for problem in problems.iter().take(FEW) {
                let text = format!("network {}: {}", problem.network, problem.text);
                match (mended, problem.is_note) {
                    (true, _) => line("fixed", Colour::Green, &text)?,
                    (false, true) => line("odd", Colour::Yellow, &text)?,
                    (false, false) => line("broken", Colour::Red, &text)?,
                }
                if !problem.advice.is_empty() && !mended {
                    line("", Colour::Grey, &problem.advice)?;
                }
            }
            if problems.len() > FEW {
                let text = format!("and {} more of these; --json tells all", problems.len() - FEW);
                line("", Colour::Grey, &text)?;
            }
        }
        for one in &self.report.pods {
            let name = title(one);
            match &one.state {
                PodState::Fine => {}
                PodState::Differs(what) => {
                    line("broken", Colour::Red, &format!("{name}: {}", what.join("; ")))?;
                }
                PodState::Repaired(what) => {
                    line("fixed", Colour::Green, &format!("{name}: {}", what.join("; ")))?;
                }
                PodState::NamespaceGone => {
                    let text = format!("{name}: its namespace is gone, and its DEL has not come");
                    line("odd", Colour::Yellow, &text)?;
                }
                PodState::Failed(why) => line("broken", Colour::Red, &format!("{name}: {why}"))?,
            }
        }
        for stray in &self.report.strays {
            let Stray { name, tag, removed, .. } = stray;
            if *removed {
                line(
                    "fixed",
                    Colour::Green,
                    &format!("{name} ({tag}) belonged to nobody, and is removed"),
                )?;
            } else {
                let text = format!("{name} ({tag}) belongs to no attachment that is known");
                line("odd", Colour::Yellow, &text)?;
            }
        }
        for problem in &self.report.problems {
            line("broken", Colour::Red, problem)?;
        }
        let pods = self.report.pods.len();
        let pods =
            if pods == 1 { "1 attachment".to_owned() } else { format!("{pods} attachments") };
        let judgement = match (self.exit(), self.can_be_repaired() && !fix) {
            (Exit::Fine, _) => "all is well",
            (_, true) => "plat vpp check --fix puts VPP's side right",
            _ => "what is left needs somebody to look at it",
        };
        writeln!(out, "{}: {pods}: {judgement}", escape(&shown))
    }

    fn document(&self, path: &Path) -> CheckedVpp {
        let node = |problem: &NodeProblem, severity| NodeFault {
            network: problem.network.clone(),
            text: problem.text.clone(),
            advice: problem.advice.to_string(),
            severity,
        };
        let found = self
            .node
            .iter()
            .map(|problem| node(problem, if problem.is_note { "note" } else { "broken" }));
        let mended = self.mended.iter().map(|problem| node(problem, "repaired"));
        let strays = self.report.strays.iter().map(|stray| StrayLine {
            interface: stray.name.clone(),
            tag: stray.tag.to_string(),
            removed: stray.removed,
        });
        CheckedVpp {
            socket: path.to_string_lossy().into_owned(),
            problem: self.problem.as_ref().map(|problem| problem.message.clone()),
            node: found.chain(mended).collect(),
            pods: self.report.pods.iter().map(attachment).collect(),
            strays: strays.collect(),
            problems: self.report.problems.clone(),
        }
    }
}

fn title(one: &PerPod) -> String {
    match &one.record {
        Some(record) => format!("{} {} ({})", pod(record), record.ifname, record.network),
        None => one.path.display().to_string(),
    }
}

fn attachment(one: &PerPod) -> CheckedPod {
    let (state, what): (&str, Vec<String>) = match &one.state {
        PodState::Fine => ("fine", Vec::new()),
        PodState::Differs(what) => ("differs", what.clone()),
        PodState::Repaired(what) => ("repaired", what.clone()),
        PodState::NamespaceGone => ("namespace gone", Vec::new()),
        PodState::Failed(why) => ("failed", vec![why.clone()]),
    };
    let record = one.record.as_ref();
    CheckedPod {
        namespace: record.and_then(|record| record.pod_namespace.clone()),
        pod: record.and_then(|record| record.pod_name.clone()),
        container: record.map(|record| record.container.clone()),
        interface: record.map(|record| record.ifname.clone()),
        network: record.map(|record| record.network.clone()),
        tag: one.tag.to_string(),
        vpp_interface: one.interface.as_ref().map(|(_, name)| name.clone()),
        record: one.path.to_string_lossy().into_owned(),
        state,
        what,
    }
}
