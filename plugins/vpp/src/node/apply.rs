//! Does the steps of a plan in VPP: what gives numbers first, then everything else in one round.

use vpp_api::msg::{
    FibSource, FibSourceAdd, IpAddressDump, IpRouteAddDelV2, IpTableAddDel,
    SwInterfaceAddDelAddress, SwInterfaceIp6EnableDisable, SwInterfaceIp6ndRaConfig,
    SwInterfaceSetFlags, SwInterfaceSetMtu, SwInterfaceSetTable, SwInterfaceTagAddDel,
};
use vpp_api::types::{AfPacketFlags, InterfaceFlags, RouteV2};
use vpp_api::wire::Text;
use vpp_api::{
    AfPacket, Answers, Batch, Client, Error, Family, FibPath, IfIndex, Prefix, Retval, Table, Tap,
    TapFlags, msg,
};

use super::error::NodeError;
use super::host_link::Ends;
use super::plan::{Hop, On, Step, overlap};
use super::seen::{Dumped, Indices, POD_SOURCE, PRIORITY, SOURCE, Seen, Stale};
use crate::names::gateway_mac;

/// Numbers that steps need, and that other steps give.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    pub(super) indices: Indices,
    pub(super) source: Option<u8>,
    pub(super) pod_source: Option<u8>,
}

/// What the steps of a call are about.
pub(super) struct Work<'w> {
    pub(super) vpp: &'w mut Client,
    pub(super) seen: &'w Seen,
    pub(super) dumped: &'w Dumped,
    pub(super) table: u32,
    pub(super) ends: Option<&'w Ends>,
}

/// VPP's verdict on a step, when the answers are there.
type Verdict = Box<dyn FnOnce(&mut Answers) -> Result<Retval, Error>>;

/// The mark of the gateway loopback of a table.
pub(super) fn gateway_tag(table: u32) -> String {
    format!("plat/gateway/{table}")
}

impl Work<'_> {
    /// Does all steps.
    pub(super) fn run(mut self, steps: &[Step]) -> Result<Numbers, NodeError> {
        let index = |on| self.seen.part(on).map(|part| part.index);
        let mut numbers = Numbers {
            indices: Indices {
                uplink: index(On::Uplink),
                gateway: index(On::Gateway),
                host_link: index(On::HostLink),
            },
            source: self.seen.source,
            pod_source: self.seen.pod_source,
        };
        if let (Some(stale), true) = (&self.seen.stale, steps.contains(&Step::DeleteHostLink)) {
            self.delete_host_link(stale)?;
        }
        if steps.contains(&Step::CreateHostLink) {
            numbers.indices.host_link = Some(self.create_host_link()?);
        }
        self.create(steps, &mut numbers)?;
        self.change(steps, &numbers)?;
        Ok(numbers)
    }

    /// Tables, sources and the loopback: their numbers are needed behind.
    fn create(&mut self, steps: &[Step], numbers: &mut Numbers) -> Result<(), NodeError> {
        let mut batch = self.vpp.batch();
        let (mut plain, mut sources, mut loopback) = (Vec::new(), Vec::new(), None);
        for step in steps {
            match step {
                Step::AddTable(id, family) => {
                    let name = Text::new(&format!("plat-{id}"))?;
                    let table = Table { name, ..Table::new(*id, *family) };
                    let ticket = batch.call(&IpTableAddDel { is_add: true, table })?;
                    plain.push((step, ticket));
                }
                Step::AddSource(name) => {
                    let src = FibSource { priority: PRIORITY, id: 0, name: Text::new(name)? };
                    sources.push((step, *name, batch.call(&FibSourceAdd { src })?));
                }
                Step::CreateGateway => {
                    let request = msg::CreateLoopback { mac_address: gateway_mac(self.table) };
                    loopback = Some((step, batch.call(&request)?));
                }
                _ => {}
            }
        }
        let mut answers = batch.send()?;
        for (step, ticket) in plain {
            let (retval, _) = answers.try_reply(ticket)?;
            self.must(step, retval)?;
        }
        for (step, name, ticket) in sources {
            let (retval, made) = answers.try_reply(ticket)?;
            self.must(step, retval)?;
            let number = made.map(|made| made.id);
            match name {
                SOURCE => numbers.source = number,
                POD_SOURCE => numbers.pod_source = number,
                _ => {}
            }
        }
        if let Some((step, ticket)) = loopback {
            let (retval, made) = answers.try_reply(ticket)?;
            self.must(step, retval)?;
            numbers.indices.gateway = made.map(|made| made.sw_if_index);
        }
        Ok(())
    }

    /// Everything that only changes what is there.
    fn change(&mut self, steps: &[Step], numbers: &Numbers) -> Result<(), NodeError> {
        let table = self.table;
        let mut batch = self.vpp.batch();
        let mut asked: Vec<(&Step, Verdict)> = Vec::new();
        for step in steps {
            if let Some(verdict) = ask(&mut batch, step, numbers, table)? {
                asked.push((step, verdict));
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let mut answers = batch.send()?;
        let mut refused = None;
        for (step, verdict) in asked {
            let retval = verdict(&mut answers)?;
            // IPv6 that is on already.
            let is_done = matches!(step, Step::EnableIp6(_)) && retval == Retval::VALUE_EXISTS;
            if !retval.is_ok() && !is_done && refused.is_none() {
                refused = Some((step, retval));
            }
        }
        match refused {
            None => Ok(()),
            Some((step, retval)) => {
                let because = match step {
                    Step::AddAddress(on, address) => self.in_the_way(*on, *address)?,
                    _ => String::new(),
                };
                Err(NodeError::Refused { step: self.seen.doing(step), retval, because })
            }
        }
    }

    fn must(&self, step: &Step, retval: Retval) -> Result<(), NodeError> {
        if retval.is_ok() {
            return Ok(());
        }
        let (step, because) = (self.seen.doing(step), String::new());
        Err(NodeError::Refused { step, retval, because })
    }

    /// Which interface has an address that overlaps one that VPP does not take.
    fn in_the_way(&mut self, on: On, address: Prefix) -> Result<String, NodeError> {
        let own = self.seen.part(on).map(|part| part.index);
        let mut batch = self.vpp.batch();
        let mut tickets = Vec::new();
        for interface in &self.dumped.interfaces {
            let index = interface.sw_if_index;
            if Some(index) != own {
                let ticket = batch.dump(&IpAddressDump::of(index, address.family()))?;
                tickets.push((interface.interface_name.to_string(), ticket));
            }
        }
        let mut answers = batch.send()?;
        let mut all = Vec::new();
        for (name, ticket) in tickets {
            let details = answers.details(ticket)?;
            all.push((name, details.into_iter().map(|it| it.prefix).collect()));
        }
        Ok(overlap(address, &all).unwrap_or_default())
    }

    fn delete_host_link(&mut self, stale: &Stale) -> Result<(), NodeError> {
        match &stale.device {
            Some(device) => self.vpp.delete_af_packet(device).map(|_| ())?,
            None => self.vpp.delete_tap(stale.index)?,
        }
        Ok(())
    }

    fn create_host_link(&mut self) -> Result<IfIndex, NodeError> {
        let Some(ends) = self.ends else { return Ok(IfIndex::NONE) };
        let made = match &ends.vpp {
            Some(device) => {
                // Half as many frames of twice the size: rings of half a megabyte each way.
                let frame_size = (ends.mtu + 80).next_power_of_two().max(2048);
                let frames = (256 * 2048 / frame_size).max(8);
                let flags = AfPacketFlags::VERSION_2;
                let (device, mac) = (device.clone(), ends.vpp_mac);
                let wanted = AfPacket { device, mac, frame_size, frames, flags };
                let made = self.vpp.create_af_packet(&wanted);
                let made = made.map(|made| made.sw_if_index);
                if let Ok(index) = made {
                    // Until it has its mark it is found by its device.
                    self.vpp.set_tag(index, &ends.alias)?;
                }
                made
            }
            None => self.vpp.create_tap(&Tap {
                mac: ends.vpp_mac,
                host_mac: ends.host_mac,
                device: ends.host.clone(),
                namespace: None,
                mtu: Some(ends.mtu),
                queues: 1,
                ring: 0,
                flags: TapFlags::PERSIST.and(TapFlags::ATTACH),
                tag: ends.alias.clone(),
            }),
        };
        made.map_err(|error| match error.retval() {
            Some(retval) => {
                let because = match (&ends.vpp, retval) {
                    (Some(device), Retval::INVALID_INTERFACE) => {
                        format!(
                            "VPP sees no device {device}: it may be in another network namespace"
                        )
                    }
                    (None, Retval::SYSCALL_ERROR_1) => "taps need /dev/vhost-net".to_owned(),
                    _ => String::new(),
                };
                let step = self.seen.doing(&Step::CreateHostLink);
                NodeError::Refused { step, retval, because }
            }
            None => error.into(),
        })
    }
}

/// Adds a call to the batch, and tells how its verdict is found.
macro_rules! call {
    ($batch:expr, $request:expr) => {{
        let ticket = $batch.call(&$request)?;
        Some(Box::new(move |answers: &mut Answers| Ok(answers.try_reply(ticket)?.0)) as Verdict)
    }};
}

fn ask(
    batch: &mut Batch<'_>,
    step: &Step,
    numbers: &Numbers,
    table_id: u32,
) -> Result<Option<Verdict>, NodeError> {
    let index = |on: On| match on {
        On::Uplink => numbers.indices.uplink,
        On::Gateway => numbers.indices.gateway,
        On::HostLink => numbers.indices.host_link,
    };
    // One that is not there has been refused, or is asked for below: VPP says -2 of it.
    let sw_if_index = |on: On| index(on).unwrap_or(IfIndex::NONE);
    let source = numbers.source.unwrap_or(FibSource::API);
    Ok(match step {
        Step::AddTable(..) | Step::AddSource(_) | Step::DeleteHostLink | Step::CreateHostLink => {
            None
        }
        Step::CreateGateway | Step::TagGateway => call!(
            batch,
            SwInterfaceTagAddDel {
                is_add: true,
                sw_if_index: sw_if_index(On::Gateway),
                tag: Text::new(&gateway_tag(table_id))?,
            }
        ),
        Step::SetTable(on, family, vrf_id) => call!(
            batch,
            SwInterfaceSetTable {
                sw_if_index: sw_if_index(*on),
                is_ipv6: *family == Family::V6,
                vrf_id: *vrf_id,
            }
        ),
        Step::SetFrame(on, mtu) => call!(
            batch,
            msg::HwInterfaceSetMtu {
                sw_if_index: sw_if_index(*on),
                mtu: u16::try_from(*mtu).unwrap_or(u16::MAX),
            }
        ),
        Step::SetMtu(on, mtu) => {
            call!(batch, SwInterfaceSetMtu { sw_if_index: sw_if_index(*on), mtu: [*mtu, 0, 0, 0] })
        }
        Step::SetUp(on) => call!(
            batch,
            SwInterfaceSetFlags { sw_if_index: sw_if_index(*on), flags: InterfaceFlags::ADMIN_UP }
        ),
        Step::EnableIp6(on) => call!(
            batch,
            SwInterfaceIp6EnableDisable { sw_if_index: sw_if_index(*on), enable: true }
        ),
        Step::SilenceRa(on) => {
            call!(batch, SwInterfaceIp6ndRaConfig::silent(sw_if_index(*on)))
        }
        Step::AddAddress(on, prefix) => call!(
            batch,
            SwInterfaceAddDelAddress {
                sw_if_index: sw_if_index(*on),
                is_add: true,
                del_all: false,
                prefix: *prefix,
            }
        ),
        Step::SetRoute(prefix, Hop { via, on }) => {
            let path = match on {
                Some(on) => FibPath::via_on(*via, sw_if_index(*on)),
                None => FibPath::via(*via, table_id),
            };
            let route = RouteV2::new(source, table_id, *prefix, vec![path]);
            call!(batch, IpRouteAddDelV2::add(route))
        }
        Step::DeleteRoute(prefix) => {
            call!(batch, IpRouteAddDelV2::delete(source, table_id, *prefix))
        }
    })
}
