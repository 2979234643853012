//! Single changes to VPP, as values, and how they are sent: all of a list in one round trip.

use std::fmt;
use std::net::IpAddr;

use vpp_api::msg::{self, Neighbor};
use vpp_api::types::{self, InterfaceFlags, NeighborFlags, RouteV2};
use vpp_api::wire::Text;
use vpp_api::{Answers, Client, Error, Family, FibPath, IfIndex, Mac, Prefix, Retval};

use crate::config::RxMode;
use crate::tag::Tag;

/// A change to an interface of VPP, or to what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Writes the tag on it.
    Tag(Tag),
    /// Gives it its Ethernet address.
    Mac(Mac),
    /// Puts it into a table.
    Table(Family, u32),
    /// Sets the largest packet, in bytes.
    Mtu(u32),
    /// Says how it receives.
    RxMode(RxMode),
    /// Lets it borrow the addresses of another.
    Borrow(IfIndex),
    /// Ends that.
    BorrowNoMore(IfIndex),
    /// Turns IPv6 on.
    Ip6,
    /// Sends no router advertisements.
    SilenceRa,
    /// Sets it up.
    Up,
    /// Says who has an address behind it, without a host route.
    Neighbor(IpAddr, Mac),
    /// Leads an address through it; of a FIB source, in a table.
    Route {
        /// The FIB source.
        source: u8,
        /// The table.
        table: u32,
        /// The address.
        address: IpAddr,
    },
    /// Takes a route of a FIB source away, wherever it leads.
    NoRoute {
        /// The FIB source.
        source: u8,
        /// The table.
        table: u32,
        /// The address.
        address: IpAddr,
    },
    /// Deletes the interface on a network device.
    DeleteAfPacket(String),
    /// Deletes a tap, and its device.
    DeleteTap,
    /// Deletes a memif.
    DeleteMemif,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, "write the tag {tag}"),
            Self::Mac(mac) => write!(f, "set the Ethernet address {mac}"),
            Self::Table(Family::V4, table) => write!(f, "choose IPv4 table {table}"),
            Self::Table(Family::V6, table) => write!(f, "choose IPv6 table {table}"),
            Self::Mtu(mtu) => write!(f, "set MTU {mtu}"),
            Self::RxMode(mode) => write!(f, "set rx-mode {}", mode.as_str()),
            Self::Borrow(owner) => write!(f, "borrow the gateway's addresses (interface {owner})"),
            Self::BorrowNoMore(owner) => write!(f, "stop borrowing addresses (interface {owner})"),
            Self::Ip6 => f.write_str("turn IPv6 on"),
            Self::SilenceRa => f.write_str("silence router advertisements"),
            Self::Up => f.write_str("set it up"),
            Self::Neighbor(address, mac) => write!(f, "set the neighbour {address} to {mac}"),
            Self::Route { table, address, .. } => {
                write!(f, "route {address} to it in table {table}")
            }
            Self::NoRoute { table, address, .. } => {
                write!(f, "delete the route to {address} in table {table}")
            }
            Self::DeleteAfPacket(device) => write!(f, "delete the interface on {device}"),
            Self::DeleteTap => f.write_str("delete the tap"),
            Self::DeleteMemif => f.write_str("delete the memif"),
        }
    }
}

/// A step that VPP has not done.
#[derive(Debug, thiserror::Error)]
#[error("VPP cannot {step}: {source}")]
pub struct StepError {
    step: Box<Step>,
    /// Why not.
    #[source]
    pub source: Error,
}

type Taken = Box<dyn FnOnce(&mut Answers) -> Result<(), Error>>;

impl Step {
    /// What VPP may answer although all is well then: it was so before, or is gone.
    const fn is_fine(&self, retval: Retval) -> bool {
        match self {
            Self::Ip6 => matches!(retval, Retval::VALUE_EXISTS),
            Self::DeleteAfPacket(_) => {
                matches!(retval, Retval::SYSCALL_ERROR_1 | Retval::INVALID_SW_IF_INDEX)
            }
            Self::DeleteTap | Self::DeleteMemif => matches!(retval, Retval::INVALID_SW_IF_INDEX),
            // What comes behind it tells whether that matters.
            Self::BorrowNoMore(_) => true,
            Self::NoRoute { .. } => matches!(retval, Retval::NO_SUCH_FIB),
            _ => false,
        }
    }

    /// Puts it into a batch; what is returned takes the answer.
    fn ask(&self, sw_if_index: IfIndex, batch: &mut vpp_api::Batch<'_>) -> Result<Taken, Error> {
        fn taking<C: msg::Call + 'static>(
            batch: &mut vpp_api::Batch<'_>,
            request: &C,
        ) -> Result<Taken, Error> {
            let ticket = batch.call(request)?;
            Ok(Box::new(move |answers: &mut Answers| answers.reply(ticket).map(|_| ())))
        }
        match *self {
            Self::Tag(tag) => {
                let tag = Text::new(&tag.to_string())?;
                taking(batch, &msg::SwInterfaceTagAddDel { is_add: true, sw_if_index, tag })
            }
            Self::Mac(mac_address) => {
                taking(batch, &msg::SwInterfaceSetMacAddress { sw_if_index, mac_address })
            }
            Self::Table(family, vrf_id) => {
                let is_ipv6 = family.is_ipv6();
                taking(batch, &msg::SwInterfaceSetTable { sw_if_index, is_ipv6, vrf_id })
            }
            Self::Mtu(mtu) => {
                taking(batch, &msg::SwInterfaceSetMtu { sw_if_index, mtu: [mtu, 0, 0, 0] })
            }
            Self::RxMode(mode) => {
                let mode = match mode {
                    RxMode::Polling => types::RxMode::POLLING,
                    RxMode::Interrupt => types::RxMode::INTERRUPT,
                    RxMode::Adaptive => types::RxMode::ADAPTIVE,
                };
                let (queue_id_valid, queue_id) = (false, 0);
                let request =
                    msg::SwInterfaceSetRxMode { sw_if_index, queue_id_valid, queue_id, mode };
                taking(batch, &request)
            }
            Self::Borrow(owner) | Self::BorrowNoMore(owner) => taking(
                batch,
                &msg::SwInterfaceSetUnnumbered {
                    sw_if_index: owner,
                    unnumbered_sw_if_index: sw_if_index,
                    is_add: matches!(self, Self::Borrow(_)),
                },
            ),
            Self::Ip6 => {
                taking(batch, &msg::SwInterfaceIp6EnableDisable { sw_if_index, enable: true })
            }
            Self::SilenceRa => taking(batch, &msg::SwInterfaceIp6ndRaConfig::silent(sw_if_index)),
            Self::Up => {
                let flags = InterfaceFlags::ADMIN_UP;
                taking(batch, &msg::SwInterfaceSetFlags { sw_if_index, flags })
            }
            Self::Neighbor(ip_address, mac_address) => {
                let flags = NeighborFlags(NeighborFlags::STATIC.0 | NeighborFlags::NO_FIB_ENTRY.0);
                let neighbor = Neighbor { sw_if_index, flags, mac_address, ip_address };
                taking(batch, &msg::IpNeighborAddDel { is_add: true, neighbor })
            }
            Self::Route { source, table, address } => {
                let paths = vec![FibPath::via_on(address, sw_if_index)];
                let route = RouteV2::new(source, table, Prefix::host(address), paths);
                taking(batch, &msg::IpRouteAddDelV2::add(route))
            }
            Self::NoRoute { source, table, address } => {
                let prefix = Prefix::host(address);
                taking(batch, &msg::IpRouteAddDelV2::delete(source, table, prefix))
            }
            Self::DeleteAfPacket(ref device) => {
                taking(batch, &msg::AfPacketDelete { host_if_name: Text::new(device)? })
            }
            Self::DeleteTap => taking(batch, &msg::TapDeleteV2 { sw_if_index }),
            Self::DeleteMemif => taking(batch, &msg::MemifDelete { sw_if_index }),
        }
    }
}

/// Does steps in one round trip. VPP does each whatever became of those before it; the first that failed is
/// the error.
///
/// # Errors
/// [`StepError`]; if the connection is gone, of the step that was under way.
pub(crate) fn apply(vpp: &mut Client, index: IfIndex, steps: &[Step]) -> Result<(), StepError> {
    if steps.is_empty() {
        return Ok(());
    }
    let mut batch = vpp.batch();
    let asked = ask(&mut batch, index, steps)?;
    let mut answers = batch.send().map_err(|error| failed(steps, error))?;
    take(asked, &mut answers)
}

/// The same for several interfaces, all in one round trip: one verdict for each, in their order.
pub(crate) fn apply_all(
    vpp: &mut Client,
    all: &[(IfIndex, Vec<Step>)],
) -> Vec<Result<(), StepError>> {
    if all.iter().all(|(_, steps)| steps.is_empty()) {
        return all.iter().map(|_| Ok(())).collect();
    }
    let mut batch = vpp.batch();
    let asked: Vec<_> = all.iter().map(|(index, steps)| ask(&mut batch, *index, steps)).collect();
    match batch.send() {
        Ok(mut answers) => asked.into_iter().map(|asked| take(asked?, &mut answers)).collect(),
        Err(error) => {
            // How far VPP got is not known. The first is told why, and all others that nobody is asked any more.
            let mut why = Some(error);
            let path = vpp.path().to_owned();
            let given_up = || Error::GivenUp { path: path.clone() };
            let one = |(_, steps): &(IfIndex, Vec<Step>)| {
                Err(failed(steps, why.take().unwrap_or_else(given_up)))
            };
            all.iter().map(one).collect()
        }
    }
}

/// A step of a list, and what takes its answer.
type Asked<'s> = Vec<(&'s Step, Taken)>;

fn ask<'s>(
    batch: &mut vpp_api::Batch<'_>,
    index: IfIndex,
    steps: &'s [Step],
) -> Result<Asked<'s>, StepError> {
    let mut asked = Vec::with_capacity(steps.len());
    for step in steps {
        let taken = step
            .ask(index, batch)
            .map_err(|source| StepError { step: Box::new(step.clone()), source })?;
        asked.push((step, taken));
    }
    Ok(asked)
}

fn take(asked: Asked<'_>, answers: &mut Answers) -> Result<(), StepError> {
    let mut result = Ok(());
    for (step, take) in asked {
        match take(answers) {
            Ok(()) => {}
            Err(error) if error.retval().is_some_and(|retval| step.is_fine(retval)) => {}
            Err(source) if result.is_ok() => {
                result = Err(StepError { step: Box::new(step.clone()), source });
            }
            Err(_) => {}
        }
    }
    result
}

/// Nothing was done, as far as is known: the first step stands for all.
fn failed(steps: &[Step], source: Error) -> StepError {
    // There is always one; which one is of no matter where there is none.
    let step = steps.first().cloned().unwrap_or(Step::Up);
    StepError { step: Box::new(step), source }
}
