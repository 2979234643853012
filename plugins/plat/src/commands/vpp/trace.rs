//! `plat vpp trace`.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use clap::Args;
use vpp_api::msg::{self, IpNeighborDetails};
use vpp_api::{Client, Family, FibPath, IfIndex, Prefix};
use vpp_plugin::config::{Kind, Mode};
use vpp_plugin::record::Record;

use super::remembered;
use super::show::pod;
use crate::cli::duration;
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::vpp::{PacketLine, StepLine, Trace as TraceDocument};
use crate::output::{self, Colour, escape, paint};
use crate::vpp::running::{connect, failure};
use crate::vpp::snapshot::{Interface, Snapshot, way};
use crate::vpp::trace::{End, Packet, input_nodes, packets};
use crate::vpp::view::{Attached, State, meant, view};

/// How often VPP is asked for what has come.
const AGAIN: Duration = Duration::from_millis(200);
/// The longest that is waited.
const LONGEST: Duration = Duration::from_secs(600);
/// How many packets of each kind VPP keeps: those of other pods are among them.
const KEPT: u32 = 1000;

/// Options of `plat vpp trace`.
#[derive(Debug, Args)]
#[command(
    after_help = "Shows first where the pod's packets should go, then where they go, in both directions. VPP traces \
                  packets of everybody meanwhile, which costs; what somebody else traces is lost. Exit status: 0 \
                  packets were seen and none was dropped, 1 there were none, or some were dropped, 2 VPP lacks what \
                  the pod needs."
)]
pub(crate) struct Trace {
    /// A pod's name, namespace/name, or the beginning of a container ID.
    #[arg(value_name = "POD")]
    pod: String,
    /// Only this interface of the pod.
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Tells also where VPP would send a packet to this address, and shows only packets that name it.
    #[arg(long, value_name = "ADDRESS")]
    to: Option<IpAddr>,
    /// Ends when so many packets were seen.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: u32,
    /// Ends after this time; 0s shows the way only, and traces nothing.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    time: Duration,
    /// Shows all that VPP says of each packet.
    #[arg(long)]
    full: bool,
}

/// Where packets should go, and what is missing for that.
#[derive(Debug, Default)]
struct Way {
    /// A sentence for each part that is there.
    fine: Vec<String>,
    /// A sentence for each that is not.
    missing: Vec<String>,
}

impl Command for Trace {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let remembered = remembered(context)?;
        let record = self.record(&remembered.records)?;
        let socket = context.survey.at(&record.socket);
        let cannot = |error: vpp_api::Error| failure(&error);
        let mut vpp = connect(&socket).map_err(cannot)?;
        let snapshot = Snapshot::take(&mut vpp).map_err(cannot)?;
        let view = view(&record.socket, &remembered.records, Some(&snapshot));
        let attached = view.pods.iter().find(|attached| std::ptr::eq(attached.record, record));
        let attached = attached
            .ok_or_else(|| Failure::new(format!("{} has no attachment", pod(record)), ""))?;
        let way = self.way(&mut vpp, attached, &snapshot).map_err(cannot)?;
        if !context.json {
            way.print(record, context.colour, out)?;
            out.flush()?;
        }
        let wanted = self.words(record);
        let seen = if self.time.is_zero() {
            Vec::new()
        } else {
            let nodes = input_nodes(snapshot.interfaces.iter().map(|one| one.device.as_str()));
            if !context.json {
                writeln!(out, "\nwaiting for packets, {} at most", output::span(self.time))?;
                out.flush()?;
            }
            self.watch(&mut vpp, &nodes, &wanted).map_err(cannot)?
        };
        if context.json {
            output::json(out, &document(record, attached, &way, &seen))?;
        } else if !self.time.is_zero() {
            print(&seen, self.full, context.colour, out)?;
        }
        let is_bad =
            |packet: &Packet| matches!(packet.end(), End::Dropped { .. }) && !packet.is_noise();
        let dropped = seen.iter().any(is_bad);
        Ok(match (way.missing.is_empty(), seen.is_empty() && !self.time.is_zero(), dropped) {
            (false, ..) => Exit::Critical,
            (true, false, false) => Exit::Fine,
            _ => Exit::Warning,
        })
    }
}

impl Trace {
    fn record<'a>(&self, records: &'a [Record]) -> Result<&'a Record, Failure> {
        let found = meant(records, &self.pod, self.interface.as_deref());
        match found.as_slice() {
            [one] => Ok(one),
            [] => {
                let name = escape(&self.pod);
                let advice =
                    "plat vpp show lists the pods; a pod's name, namespace/name, or a container ID";
                Err(Failure::new(format!("no attachment of a pod {name} is known here"), advice))
            }
            several => {
                let list: Vec<String> = several
                    .iter()
                    .map(|record| format!("{} {} ({})", pod(record), record.ifname, record.network))
                    .collect();
                Err(Failure::new(
                    format!("{} means several attachments", escape(&self.pod)),
                    format!("say which, with --interface: {}", escape(&list.join(", "))),
                ))
            }
        }
    }

    /// Words by which a packet of the pod is known: its addresses, and those of its interface.
    fn words(&self, record: &Record) -> BTreeSet<String> {
        if let Some(to) = self.to {
            return BTreeSet::from([to.to_string()]);
        }
        let addresses = record.addresses.iter().map(|address| address.address.addr().to_string());
        addresses.chain([record.pod_mac.to_string()]).collect()
    }

    /// Asks VPP for each part of the way; one round trip.
    fn way(
        &self,
        vpp: &mut Client,
        attached: &Attached<'_>,
        snapshot: &Snapshot,
    ) -> Result<Way, vpp_api::Error> {
        let record = attached.record;
        let mut way = Way::default();
        let Some(interface) = attached.interface else {
            way.missing.push("VPP has no interface of it: plat vpp check --fix".to_owned());
            return Ok(way);
        };
        way.tell_interface(record, interface, attached.state, snapshot);
        let mut batch = vpp.batch();
        let own: Vec<IpAddr> =
            record.addresses.iter().map(|address| address.address.addr()).collect();
        let mut routes = Vec::new();
        for address in own.iter().copied().chain(self.to) {
            let prefix = Prefix::host(address);
            let lookup = msg::IpRouteLookup { table_id: record.table, exact: 0, prefix };
            routes.push((address, batch.call(&lookup)?));
        }
        let mut neighbors = Vec::new();
        for af in Family::BOTH {
            let dump = msg::IpNeighborDump { sw_if_index: interface.index, af };
            neighbors.push(batch.dump(&dump)?);
        }
        let mut answers = batch.send()?;
        let mut found = Vec::new();
        for (address, ticket) in routes {
            // VPP refuses what no route covers, where there is not even a default one.
            let (_, route) = answers.try_reply(ticket)?;
            found.push((address, route.map(|found| found.route)));
        }
        let mut set = Vec::new();
        for ticket in neighbors {
            set.extend(answers.details(ticket)?);
        }
        for (address, route) in found {
            let paths = route.as_ref().map(|route| route.paths.as_slice()).unwrap_or_default();
            let prefix = route.as_ref().map(|route| route.prefix.masked());
            if own.contains(&address) {
                way.tell_to_pod(record, interface.index, address, paths, &set, snapshot);
            } else {
                way.tell_to_other(address, prefix, paths, snapshot);
            }
        }
        Ok(way)
    }

    /// Lets VPP trace, and takes what it says until there is enough or time is over. What it traced is cleared then,
    /// also if that fails.
    fn watch(
        &self,
        vpp: &mut Client,
        nodes: &BTreeSet<&str>,
        wanted: &BTreeSet<String>,
    ) -> Result<Vec<Packet>, vpp_api::Error> {
        vpp.cli("clear trace")?;
        for node in nodes {
            vpp.cli(&format!("trace add {node} {KEPT}"))?;
        }
        let end = Instant::now() + self.time.min(LONGEST);
        let enough = usize::try_from(self.count).unwrap_or(usize::MAX);
        let seen = loop {
            let seen = vpp.cli(&format!("show trace max {KEPT}")).map(|text| {
                let mut seen = packets(&text);
                seen.retain(|packet| packet.names(wanted) && (self.full || !packet.is_noise()));
                seen
            });
            match seen {
                Ok(mut seen) if seen.len() >= enough || Instant::now() >= end => {
                    seen.truncate(enough);
                    break Ok(seen);
                }
                Ok(_) => {
                    std::thread::sleep(AGAIN.min(end.saturating_duration_since(Instant::now())));
                }
                Err(error) => break Err(error),
            }
        };
        let cleared = vpp.cli("clear trace");
        let seen = seen?;
        cleared.map(|_| seen)
    }
}

impl Way {
    fn tell(&mut self, is_fine: bool, sentence: String) {
        if is_fine { self.fine.push(sentence) } else { self.missing.push(sentence) }
    }

    fn tell_interface(
        &mut self,
        record: &Record,
        interface: &Interface,
        state: State,
        snapshot: &Snapshot,
    ) {
        let name = &interface.name;
        match state {
            State::Up => self.fine.push(format!("{name} is up, MTU {}", interface.mtu)),
            State::NoLink => self.missing.push(format!(
                "{name} has no link: the pod's interface is down or gone, or no application has connected"
            )),
            State::HalfMade => self.missing.push(format!("{name} is half made: it has no tag")),
            _ => self.missing.push(format!("{name} is down")),
        }
        let owner = interface.borrows.and_then(|owner| snapshot.interface(owner));
        match owner {
            None => self.missing.push(format!("{name} borrows no gateway's addresses")),
            Some(owner) => {
                let own: Vec<String> = owner.addresses.iter().map(ToString::to_string).collect();
                let has =
                    |gateway: &IpAddr| owner.addresses.iter().any(|own| own.address() == *gateway);
                self.tell(
                    owner.up && record.gateways().iter().all(has),
                    format!("it borrows the addresses of {}: {}", owner.name, own.join(", ")),
                );
            }
        }
    }

    /// The way of packets to the pod: a route to its interface, and a neighbour there.
    fn tell_to_pod(
        &mut self,
        record: &Record,
        index: IfIndex,
        address: IpAddr,
        paths: &[FibPath],
        neighbors: &[IpNeighborDetails],
        snapshot: &Snapshot,
    ) {
        let leads: Vec<String> = paths.iter().map(|path| way(path, &snapshot.interfaces)).collect();
        let is_own = paths.iter().any(|path| path.sw_if_index == index);
        let leads = if leads.is_empty() { "nowhere".to_owned() } else { leads.join(", ") };
        self.tell(is_own, format!("{address}: {leads}"));
        if record.kind == Kind::Memif && record.memif.mode == Mode::Ip {
            return;
        }
        let neighbor = neighbors.iter().find(|details| details.neighbor.ip_address == address);
        let mac = neighbor.map(|details| details.neighbor.mac_address);
        let is_right = mac == Some(record.pod_mac);
        let has = mac.map_or_else(|| "no neighbour".to_owned(), |mac| format!("neighbour {mac}"));
        let pods = if is_right { "the pod's" } else { "not the pod's" };
        self.tell(is_right, format!("{address} has {has}, {pods} Ethernet address"));
    }

    /// The way of packets from the pod.
    fn tell_to_other(
        &mut self,
        address: IpAddr,
        prefix: Option<Prefix>,
        paths: &[FibPath],
        snapshot: &Snapshot,
    ) {
        let is_way = |path: &FibPath| path.kind == FibPath::NORMAL || path.kind == FibPath::LOCAL;
        let leads: Vec<String> = paths.iter().map(|path| way(path, &snapshot.interfaces)).collect();
        let leads = if leads.is_empty() { "nowhere".to_owned() } else { leads.join(", ") };
        let by = prefix.map(|prefix| format!(", by the route {prefix}")).unwrap_or_default();
        self.tell(paths.iter().any(is_way), format!("{address}: {leads}{by}"));
    }

    fn print(&self, record: &Record, colours: bool, out: &mut dyn Write) -> io::Result<()> {
        let table =
            if record.table == 0 { String::new() } else { format!(", table {}", record.table) };
        let text = format!(
            "{} {}: {} to network {}{table}",
            pod(record),
            record.ifname,
            record.kind.as_str(),
            record.network
        );
        writeln!(out, "{}", escape(&text))?;
        for sentence in &self.fine {
            writeln!(out, "  {}  {}", paint("OK  ", Colour::Green, colours), escape(sentence))?;
        }
        for sentence in &self.missing {
            writeln!(out, "  {}  {}", paint("FAIL", Colour::Red, colours), escape(sentence))?;
        }
        Ok(())
    }
}

fn print(seen: &[Packet], full: bool, colours: bool, out: &mut dyn Write) -> io::Result<()> {
    if seen.is_empty() {
        writeln!(out, "no packet of the pod was seen: nothing was sent, or it does not reach VPP")?;
        return Ok(());
    }
    for packet in seen {
        let end = packet.end();
        let colour = match end {
            End::Dropped { .. } => Colour::Red,
            End::Sent(_) => Colour::Green,
            End::Elsewhere(_) => Colour::Yellow,
        };
        writeln!(out, "\n{}", escape(&packet.title()))?;
        writeln!(out, "  {}", escape(&packet.path()))?;
        writeln!(out, "  {}", paint(&escape(&end.to_string()), colour, colours))?;
        if full {
            for step in &packet.steps {
                writeln!(out, "    {} {}", escape(&step.time), escape(&step.node))?;
                for line in &step.lines {
                    writeln!(out, "      {}", escape(line))?;
                }
            }
        }
    }
    Ok(())
}

fn document(record: &Record, attached: &Attached<'_>, way: &Way, seen: &[Packet]) -> TraceDocument {
    let packets = seen.iter().map(|packet| {
        let nodes = packet.steps.iter().map(|step| StepLine {
            time: step.time.clone(),
            node: step.node.clone(),
            says: step.lines.clone(),
        });
        PacketLine {
            thread: packet.thread.clone(),
            packet: packet.title(),
            nodes: nodes.collect(),
            end: packet.end().to_string(),
            dropped: matches!(packet.end(), End::Dropped { .. }),
        }
    });
    TraceDocument {
        namespace: record.pod_namespace.clone(),
        pod: record.pod_name.clone(),
        container: record.container.clone(),
        interface: record.ifname.clone(),
        network: record.network.clone(),
        vpp_interface: attached.interface.map(|one| one.name.clone()),
        fine: way.fine.clone(),
        missing: way.missing.clone(),
        packets: packets.collect(),
    }
}
