//! `plat vpp show`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use vpp_plugin::record::Record;

use super::{remembered, sockets};
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::vpp::{
    Attachment, Interface as InterfaceLine, Route, Shown as ShownDocument, ShownVpp,
};
use crate::output::{self, Align, Colour, Columns, escape, paint, short_id};
use crate::vpp::running::{connect, failure};
use crate::vpp::snapshot::{Interface, OurRoute, Snapshot};
use crate::vpp::view::{Attached, Role, State, View, view};

/// The FIB source of pods' own routes, of which each pod has one for each address.
const OF_PODS: &str = "plat-pod";

/// Routes that are shown unless all are asked for.
const FEW: usize = 10;

/// Options of `plat vpp show`.
#[derive(Debug, Args)]
#[command(
    after_help = "Changes nothing. Exit status: 0 fine, 1 a pod's interface is missing, down or half made, or one \
                  belongs to nobody, 2 VPP does not answer."
)]
pub(crate) struct Show {
    /// VPP's socket; without it those of all attachments, else /run/vpp/api.sock.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Only the interfaces of this pod: its name, namespace/name, or the beginning of a container ID.
    #[arg(long, value_name = "POD")]
    pod: Option<String>,
    /// All routes to other nodes, not only the first.
    #[arg(long)]
    routes: bool,
}

impl Command for Show {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let remembered = remembered(context)?;
        let mut exit = Exit::Fine;
        let mut documents = Vec::new();
        for (number, (place, path)) in
            sockets(context, self.socket.as_ref(), &remembered.records).into_iter().enumerate()
        {
            let snapshot = connect(&place).and_then(|mut vpp| Snapshot::take(&mut vpp));
            let problem = snapshot.as_ref().err().map(failure);
            let snapshot = snapshot.ok();
            let mut view = view(&path, &remembered.records, snapshot.as_ref());
            if let Some(pod) = &self.pod {
                let meant = crate::vpp::view::meant(&remembered.records, pod, None);
                view.pods
                    .retain(|attached| meant.iter().any(|m| std::ptr::eq(*m, attached.record)));
            }
            exit = exit.max(judge(&view, problem.is_some()));
            if context.json {
                documents.push(document(&path, snapshot.as_ref(), problem.as_ref(), &view));
                continue;
            }
            if number > 0 {
                writeln!(out)?;
            }
            let few = if self.routes { usize::MAX } else { FEW };
            let shown = Shown { path: &path, snapshot: snapshot.as_ref(), problem, view, few };
            shown.print(context.colour, self.pod.is_some(), out)?;
        }
        if !remembered.unread.is_empty() {
            exit = exit.max(Exit::Warning);
        }
        if context.json {
            output::json(out, &ShownDocument { vpps: documents, unread: remembered.unread })?;
            return Ok(exit);
        }
        for sentence in &remembered.unread {
            writeln!(out, "{}", escape(sentence))?;
        }
        Ok(exit)
    }
}

fn judge(view: &View<'_>, away: bool) -> Exit {
    let is_well = |attached: &Attached<'_>| matches!(attached.state, State::Up | State::NoLink);
    match (away, view.orphans.is_empty() && view.pods.iter().all(is_well)) {
        (true, _) => Exit::Critical,
        (false, false) => Exit::Warning,
        (false, true) => Exit::Fine,
    }
}

/// One VPP, to be printed.
struct Shown<'a> {
    path: &'a Path,
    snapshot: Option<&'a Snapshot>,
    problem: Option<Failure>,
    view: View<'a>,
    /// How many routes are shown.
    few: usize,
}

impl Shown<'_> {
    fn print(&self, colours: bool, one_pod: bool, out: &mut dyn Write) -> io::Result<()> {
        let path = self.path.to_string_lossy();
        match (self.snapshot, &self.problem) {
            (Some(snapshot), _) => {
                writeln!(out, "VPP {} at {}", escape(&snapshot.version), escape(&path))?;
            }
            (None, problem) => {
                let message =
                    problem.as_ref().map_or("VPP does not answer", |p| p.message.as_str());
                writeln!(out, "{}", paint(message, Colour::Red, colours))?;
                if let Some(problem) = problem {
                    writeln!(out, "  {}", problem.advice)?;
                }
            }
        }
        if !self.view.node.is_empty() && !one_pod {
            writeln!(out)?;
            self.print_node(colours, out)?;
        }
        writeln!(out)?;
        if self.view.pods.is_empty() {
            writeln!(out, "no pod is attached")?;
        } else {
            self.print_pods(colours, out)?;
        }
        let routes = self.routes();
        if !routes.is_empty() && !one_pod {
            writeln!(out)?;
            let (shown, rest) = routes.split_at(routes.len().min(self.few));
            print_routes(shown, colours, out)?;
            if !rest.is_empty() {
                writeln!(out, "and {} more: --routes", rest.len())?;
            }
        }
        if !self.view.orphans.is_empty() {
            let names: Vec<&str> = self.view.orphans.iter().map(|one| one.name.as_str()).collect();
            writeln!(
                out,
                "\n{} of ours belong to no attachment: {}\n  plat vpp check --fix removes them",
                if names.len() == 1 {
                    "1 interface".to_owned()
                } else {
                    format!("{} interfaces", names.len())
                },
                escape(&names.join(", "))
            )?;
        }
        Ok(())
    }

    /// Routes of ours, but for those of pods.
    fn routes(&self) -> Vec<&OurRoute> {
        let all = self.snapshot.map(|snapshot| snapshot.routes.as_slice()).unwrap_or_default();
        all.iter().filter(|route| route.source != OF_PODS).collect()
    }

    fn print_node(&self, colours: bool, out: &mut dyn Write) -> io::Result<()> {
        let mut columns = Columns::new(
            &[
                ("interface", Align::Left),
                ("role", Align::Left),
                ("type", Align::Left),
                ("state", Align::Left),
                ("mtu", Align::Right),
                ("mac", Align::Left),
                ("addresses", Align::Left),
            ],
            0,
        );
        for (role, interface) in &self.view.node {
            let name = |index| {
                let owner = self.snapshot.and_then(|snapshot| snapshot.interface(index));
                owner.map_or_else(
                    || "another's".to_owned(),
                    |owner| format!("those of {}", owner.name),
                )
            };
            let mut addresses: Vec<String> =
                interface.addresses.iter().map(ToString::to_string).collect();
            addresses.extend(interface.borrows.map(name));
            let state = state_of(interface);
            let role = match role {
                Role::Gateway(table) if table != "0" => format!("gateway of table {table}"),
                role => role.as_str().to_owned(),
            };
            columns.coloured_row([
                (escape(&interface.name).into_owned(), None),
                (escape(&role).into_owned(), None),
                (escape(&interface.device).into_owned(), None),
                (state.0.to_owned(), state.1),
                (interface.mtu.to_string(), None),
                (interface.mac.map_or_else(|| "-".to_owned(), |mac| mac.to_string()), None),
                (dash(escape(&addresses.join(", ")).into_owned()), None),
            ]);
        }
        columns.print(out, colours)
    }

    fn print_pods(&self, colours: bool, out: &mut dyn Write) -> io::Result<()> {
        let mut columns = Columns::new(
            &[
                ("pod", Align::Left),
                ("interface", Align::Left),
                ("network", Align::Left),
                ("kind", Align::Left),
                ("in vpp", Align::Left),
                ("state", Align::Left),
                ("addresses", Align::Left),
            ],
            0,
        );
        for Attached { record, interface, state } in &self.view.pods {
            let colour = match state {
                State::Up => None,
                State::NoLink | State::Unknown => Some(Colour::Yellow),
                State::Down | State::HalfMade | State::Missing => Some(Colour::Red),
            };
            let table = if record.table == 0 {
                String::new()
            } else {
                format!(" in table {}", record.table)
            };
            columns.coloured_row([
                (escape(&pod(record)).into_owned(), None),
                (escape(&record.ifname).into_owned(), None),
                (escape(&record.network).into_owned(), None),
                (record.kind.as_str().to_owned(), None),
                (
                    interface.map_or_else(|| "-".to_owned(), |one| escape(&one.name).into_owned()),
                    None,
                ),
                (state.as_str().to_owned(), colour),
                (dash(format!("{}{table}", addresses(record).join(", "))), None),
            ]);
        }
        columns.print(out, colours)
    }
}

fn print_routes(routes: &[&OurRoute], colours: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut columns = Columns::new(
        &[
            ("route", Align::Left),
            ("table", Align::Right),
            ("leads", Align::Left),
            ("made by", Align::Left),
        ],
        0,
    );
    for route in routes {
        columns.row([
            route.prefix.to_string(),
            route.table.to_string(),
            escape(&route.ways.join(", ")).into_owned(),
            escape(&route.source).into_owned(),
        ]);
    }
    columns.print(out, colours)
}

fn dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// The pod as people call it.
pub(super) fn pod(record: &Record) -> String {
    match (&record.pod_namespace, &record.pod_name) {
        (Some(_), Some(_)) => record.pod(),
        _ => short_id(&record.container).to_owned(),
    }
}

fn addresses(record: &Record) -> Vec<String> {
    record.addresses.iter().map(|address| address.address.addr().to_string()).collect()
}

fn state_of(interface: &Interface) -> (&'static str, Option<Colour>) {
    match (interface.up, interface.link) {
        (true, true) => ("up", None),
        (true, false) => ("no link", Some(Colour::Yellow)),
        (false, _) => ("down", Some(Colour::Red)),
    }
}

fn document(
    path: &Path,
    snapshot: Option<&Snapshot>,
    problem: Option<&Failure>,
    view: &View<'_>,
) -> ShownVpp {
    let routes = snapshot.map(|snapshot| snapshot.routes.as_slice()).unwrap_or_default();
    let routes = routes.iter().map(|route| Route {
        destination: route.prefix.to_string(),
        table: route.table,
        source: route.source.clone(),
        leads: route.ways.clone(),
    });
    ShownVpp {
        socket: path.to_string_lossy().into_owned(),
        version: snapshot.map(|snapshot| snapshot.version.clone()),
        problem: problem.map(|problem| problem.message.clone()),
        interfaces: view.node.iter().map(|(role, one)| interface(one, Some(role))).collect(),
        pods: view.pods.iter().map(attachment).collect(),
        routes: routes.collect(),
        orphans: view.orphans.iter().map(|one| interface(one, None)).collect(),
    }
}

fn interface(one: &Interface, role: Option<&Role>) -> InterfaceLine {
    InterfaceLine {
        name: one.name.clone(),
        index: one.index.0,
        role: role.map(Role::as_str).filter(|role| !role.is_empty()),
        device: one.device.clone(),
        tag: one.tag.clone(),
        up: one.up,
        link: one.link,
        mtu: one.mtu,
        mac: one.mac.map(|mac| mac.to_string()),
        addresses: one.addresses.iter().map(ToString::to_string).collect(),
    }
}

fn attachment(attached: &Attached<'_>) -> Attachment {
    let record = attached.record;
    Attachment {
        namespace: record.pod_namespace.clone(),
        pod: record.pod_name.clone(),
        container: record.container.clone(),
        interface: record.ifname.clone(),
        network: record.network.clone(),
        kind: record.kind.as_str(),
        state: attached.state.as_str(),
        vpp_interface: attached.interface.map(|one| one.name.clone()),
        tag: record.tag().map(|tag| tag.to_string()),
        addresses: addresses(record),
        gateways: record.gateways().iter().map(ToString::to_string).collect(),
        table: record.table,
        mtu: record.mtu,
        netns: record.netns.path.to_string_lossy().into_owned(),
        device: record.device.clone(),
        memif_socket: record.memif_socket.as_ref().map(|path| path.to_string_lossy().into_owned()),
    }
}
