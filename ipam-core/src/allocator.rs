/*!
Which addresses an attachment gets, or why none.

[`decide`] is pure: it is given what is asked for ([`Request`]) and asks a [`View`] what is taken. It
changes nothing; the store that called it carries the decision out under its lock. One decision covers
all range sets, so that an ADD is all or nothing over all address families.
*/

use std::fmt;
use std::time::Duration;

use crate::addr::{Addr, Interval};
use crate::config::Owner;
use crate::identity::{Attachment, ContainerId, PodInterface};
use crate::policy::{Policy, Strategy};
use crate::range::RangeSet;

/// What to do when an attachment that holds addresses is added again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Refuse, as the reference host-local does.
    Refuse,
    /// Answer with what it holds, if that is what it asks for: a runtime repeats an ADD whose answer it
    /// has not seen.
    Return,
}

/// What an ADD asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// For whom.
    pub attachment: &'a Attachment,
    /// One address from each.
    pub sets: &'a [RangeSet],
    /// Addresses wanted, each once. Each must lie in one of the sets.
    pub requested: &'a [Addr],
    /// What a second ADD of an attachment means.
    pub repeat: Repeat,
    /// The node index that the sets were made with, where they were.
    pub pin: Option<u32>,
    /// How addresses are chosen.
    pub policy: Policy,
    /// The pod, where the runtime told it.
    pub owner: &'a Owner,
}

impl Request<'_> {
    /// Who gets a sticky address, where the strategy is that and the pod is known.
    pub fn sticky(&self) -> Option<PodInterface> {
        let sticky = self.policy.strategy == Strategy::Sticky;
        PodInterface::of(self.owner, &self.attachment.ifname).filter(|_| sticky)
    }
}

/// Whether an address can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupancy {
    /// Nobody has it.
    Free,
    /// Somebody has it.
    Held,
    /// It was freed and rests for so much longer.
    Cooling(Duration),
}

/// Free addresses of a set that rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resting {
    /// How many, at least.
    pub count: usize,
    /// When the first one is free again.
    pub soonest: Duration,
}

impl Resting {
    /// Of so many addresses, each with how much longer it rests.
    pub fn of(rests: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let one = |soonest| Self { count: 1, soonest };
        rests
            .into_iter()
            .map(one)
            .reduce(|all, one| Self { count: all.count + 1, soonest: all.soonest.min(one.soonest) })
    }
}

/// One address of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The position of the range set.
    pub set: usize,
    /// The address.
    pub addr: Addr,
    /// Whether the attachment held it before.
    pub held: bool,
}

/// What is taken, as a store sees it under its lock. A view may look things up when asked.
pub trait View {
    /// Why a look-up failed.
    type Error;

    /// What the attachment holds, in ascending order.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn held(&mut self, attachment: &Attachment) -> Result<Vec<Held>, Self::Error>;

    /// Whether the address can be had.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn occupancy(&mut self, addr: Addr) -> Result<Occupancy, Self::Error>;

    /// The lowest address of the interval that is free: looked for one by one, where the store knows no better.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn first_free(&mut self, interval: Interval) -> Result<Option<Addr>, Self::Error> {
        let mut candidate = Some(interval.first());
        while let Some(addr) = candidate {
            if self.occupancy(addr)? == Occupancy::Free {
                return Ok(Some(addr));
            }
            candidate = addr.next().filter(|next| interval.contains(*next));
        }
        Ok(None)
    }

    /// The last address handed out from the set at this position.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn last_reserved(&mut self, set: usize) -> Result<Option<Addr>, Self::Error>;

    /// The addresses that the pod's interface had last. None where the store keeps no such memory.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn remembered(&mut self, _pod: &PodInterface) -> Result<Vec<Addr>, Self::Error> {
        Ok(Vec::new())
    }

    /// What rests in a set. Nothing where the store lets nothing rest.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn resting(&mut self, _set: &RangeSet) -> Result<Option<Resting>, Self::Error> {
        Ok(None)
    }
}

/// An address that an attachment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The address.
    pub addr: Addr,
    /// Whether the record names the container only (reference before v0.8.0).
    pub by_container: bool,
}

/// Why an ADD gets no addresses. The texts are the reference's where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The attachment holds an address of the set.
    Duplicate {
        /// The position of the range set.
        set: usize,
        /// What it holds.
        addr: Addr,
        /// Who holds it.
        container: ContainerId,
    },
    /// The attachment holds something else than it asks for.
    Differs {
        /// What it holds.
        held: Vec<Addr>,
        /// What this ADD would give, as far as is known.
        wanted: String,
    },
    /// The requested address is the gateway of its range.
    Gateway {
        /// The position of the range set.
        set: usize,
        /// The address.
        addr: Addr,
    },
    /// The requested address is excluded.
    Excluded {
        /// The position of the range set.
        set: usize,
        /// The address.
        addr: Addr,
    },
    /// The requested address is held, by anyone.
    Taken {
        /// The position of the range set.
        set: usize,
        /// The address.
        addr: Addr,
        /// The set, as text.
        ranges: String,
    },
    /// No address of the set is free.
    Exhausted {
        /// The position of the range set.
        set: usize,
        /// The set, as text.
        ranges: String,
        /// What is free but rests.
        resting: Option<Resting>,
    },
    /// The requested address was freed a short while ago.
    Cooling {
        /// The position of the range set.
        set: usize,
        /// The address.
        addr: Addr,
        /// For how much longer it rests.
        remaining: Duration,
    },
    /// Requested addresses that lie in no set, or are second ones for a set.
    Unused(Vec<Addr>),
    /// Allocations exist that were made with another node index.
    Pinned {
        /// The index they were made with.
        pinned: u32,
        /// The index of now.
        now: u32,
    },
}

impl Refusal {
    /// Whether trying again later may help, with nothing changed in the configuration.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Exhausted { .. } | Self::Taken { .. } | Self::Cooling { .. })
    }

    /// What to do about it.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Duplicate { .. } => "the runtime must DEL an attachment before it adds it again",
            Self::Differs { .. } => {
                "the same attachment was added before with another request or configuration: DEL it first"
            }
            Self::Gateway { .. } => "request another address, or give the range another gateway",
            Self::Excluded { .. } => "request another address, or take it out of exclude",
            Self::Taken { .. } => "request another address, or wait until its holder is deleted",
            Self::Cooling { .. } => "request another address, or wait until its cooldown is over",
            Self::Exhausted { resting: Some(_), .. } => {
                "wait until the cooldown of the freed addresses is over, shorten it, or add a range"
            }
            Self::Exhausted { .. } => {
                "every address of the set is held or excluded: wait for a DEL, run GC, or add a range"
            }
            Self::Unused(_) => {
                "each requested address must lie within rangeStart and rangeEnd of one range set, and \
                 each set gives one address"
            }
            Self::Pinned { .. } => {
                "addresses of another node's range are in use here: restore the node's index, or delete \
                 the attachments first"
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { set, addr, container } => write!(
                f,
                "failed to allocate for range {set}: {addr} has been allocated to {container}, \
                 duplicate allocation is not allowed"
            ),
            Self::Differs { held, wanted } => {
                write!(f, "the attachment already holds {} and now asks for {wanted}", joined(held))
            }
            Self::Gateway { set, addr } => {
                write!(
                    f,
                    "failed to allocate for range {set}: requested ip {addr} is subnet's gateway"
                )
            }
            Self::Excluded { set, addr } => {
                write!(f, "failed to allocate for range {set}: requested ip {addr} is excluded")
            }
            Self::Taken { set, addr, ranges } => write!(
                f,
                "failed to allocate for range {set}: requested IP address {addr} is not available in \
                 range set {ranges}"
            ),
            Self::Exhausted { set, ranges, resting } => {
                write!(
                    f,
                    "failed to allocate for range {set}: no IP addresses available in range set: {ranges}"
                )?;
                resting.map_or(Ok(()), |resting| write!(f, " ({resting})"))
            }
            Self::Cooling { set, addr, remaining } => write!(
                f,
                "failed to allocate for range {set}: requested IP address {addr} is cooling down for \
                 another {}",
                seconds(*remaining)
            ),
            Self::Unused(addrs) => {
                write!(f, "failed to allocate all requested IPs: {}", joined(addrs))
            }
            Self::Pinned { pinned, now } => write!(
                f,
                "this node's index is {now}, but the network has addresses allocated with index {pinned}"
            ),
        }
    }
}

impl fmt::Display for Resting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cooling down, the first is free in {}", self.count, seconds(self.soonest))
    }
}

/// A time to wait, rounded up: what is told to wait for that long has waited long enough.
fn seconds(time: Duration) -> String {
    let tenths = time.as_millis().div_ceil(100);
    if tenths < 100 && !tenths.is_multiple_of(10) {
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    format!("{} s", time.as_millis().div_ceil(1000))
}

/// How many addresses an error names.
const NAMED: usize = 16;

fn joined(addrs: &[Addr]) -> String {
    let named: Vec<String> = addrs.iter().take(NAMED).map(ToString::to_string).collect();
    let more = addrs.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    named.join(" ") + &more
}

/// Why there is no decision.
#[derive(Debug)]
pub enum Undecided<E> {
    /// The request is refused.
    Refused {
        /// Why.
        refusal: Refusal,
        /// The sets whose turn came before, where the reference moves their marks all the same: the next
        /// ADD begins behind the address that this one nearly got.
        passed: Vec<Choice>,
    },
    /// The view failed.
    View(E),
}

impl<E> From<Refusal> for Undecided<E> {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { refusal, passed: Vec::new() }
    }
}

/// Decides on one address for each set.
///
/// # Errors
/// Why the attachment gets nothing, or the view's error.
pub fn decide<V: View>(
    request: &Request<'_>,
    view: &mut V,
) -> Result<Vec<Choice>, Undecided<V::Error>> {
    let held = view.held(request.attachment).map_err(Undecided::View)?;
    if request.repeat == Repeat::Return && !held.is_empty() {
        return Ok(repeat(request, &held)?);
    }
    let mut wanted = request.requested.to_vec();
    let mut choices = Vec::with_capacity(request.sets.len());
    for (i, set) in request.sets.iter().enumerate() {
        match choose(request, i, set, &held, &mut wanted, view) {
            Ok(addr) => choices.push(Choice { set: i, addr, held: false }),
            Err(undecided) => return Err(undecided.after(request, choices)),
        }
    }
    if wanted.is_empty() {
        return Ok(choices);
    }
    Err(Undecided::from(Refusal::Unused(wanted)).after(request, choices))
}

impl<E> Undecided<E> {
    fn after(self, request: &Request<'_>, choices: Vec<Choice>) -> Self {
        match self {
            Self::Refused { refusal, .. } if request.repeat == Repeat::Refuse => {
                Self::Refused { refusal, passed: choices }
            }
            other => other,
        }
    }
}

/// The address for one set.
fn choose<V: View>(
    request: &Request<'_>,
    i: usize,
    set: &RangeSet,
    held: &[Held],
    wanted: &mut Vec<Addr>,
    view: &mut V,
) -> Result<Addr, Undecided<V::Error>> {
    let in_set = held.iter().find(|held| set.range_of(held.addr).is_some());
    let asked = take_for(set, wanted);
    let own = match request.sticky() {
        Some(pod) => view.remembered(&pod).map_err(Undecided::View)?,
        None => Vec::new(),
    };
    if let Some(addr) = asked {
        requested(i, set, addr, &own, view)?;
    }
    if let Some(held) = in_set {
        return Err(duplicate(request, i, held.addr).into());
    }
    if let Some(addr) = asked {
        return Ok(addr);
    }
    for addr in own {
        let may = set.may_hand_out(addr);
        if may && view.occupancy(addr).map_err(Undecided::View)? != Occupancy::Held {
            return Ok(addr);
        }
    }
    next_free(i, set, request.policy.strategy, view)
}

fn duplicate(request: &Request<'_>, set: usize, addr: Addr) -> Refusal {
    Refusal::Duplicate { set, addr, container: request.attachment.container.clone() }
}

/// The first set that has no free address, if any, and what rests in it.
///
/// # Errors
/// The view's error.
pub fn first_exhausted<V: View>(
    sets: &[RangeSet],
    view: &mut V,
) -> Result<Option<(usize, Option<Resting>)>, V::Error> {
    for (i, set) in sets.iter().enumerate() {
        match next_free(i, set, Strategy::Lowest, view) {
            Ok(_) => {}
            Err(Undecided::Refused { refusal, .. }) => {
                let resting = match refusal {
                    Refusal::Exhausted { resting, .. } => resting,
                    _ => None,
                };
                return Ok(Some((i, resting)));
            }
            Err(Undecided::View(error)) => return Err(error),
        }
    }
    Ok(None)
}

/// The requested address for a set, removed from the list.
fn take_for(set: &RangeSet, wanted: &mut Vec<Addr>) -> Option<Addr> {
    let at = wanted.iter().position(|addr| set.range_of(*addr).is_some())?;
    Some(wanted.remove(at))
}

fn requested<V: View>(
    i: usize,
    set: &RangeSet,
    addr: Addr,
    own: &[Addr],
    view: &mut V,
) -> Result<(), Undecided<V::Error>> {
    let range = set.range_of(addr);
    if range.is_some_and(|range| range.gateway() == Some(addr)) {
        return Err(Refusal::Gateway { set: i, addr }.into());
    }
    if !range.is_some_and(|range| range.may_hand_out(addr)) {
        return Err(Refusal::Excluded { set: i, addr }.into());
    }
    match view.occupancy(addr).map_err(Undecided::View)? {
        Occupancy::Free => Ok(()),
        Occupancy::Cooling(_) if own.contains(&addr) => Ok(()),
        Occupancy::Cooling(remaining) => Err(Refusal::Cooling { set: i, addr, remaining }.into()),
        Occupancy::Held => Err(Refusal::Taken { set: i, addr, ranges: set.to_string() }.into()),
    }
}

fn next_free<V: View>(
    i: usize,
    set: &RangeSet,
    strategy: Strategy,
    view: &mut V,
) -> Result<Addr, Undecided<V::Error>> {
    let last = match strategy {
        Strategy::Lowest => None,
        Strategy::Next | Strategy::Sticky => view.last_reserved(i).map_err(Undecided::View)?,
    };
    for interval in set.search_order(last) {
        if let Some(addr) = view.first_free(interval).map_err(Undecided::View)? {
            return Ok(addr);
        }
    }
    let resting = view.resting(set).map_err(Undecided::View)?;
    Err(Refusal::Exhausted { set: i, ranges: set.to_string(), resting }.into())
}

/// The answer to an attachment that holds something already: exactly that, or a refusal.
fn repeat(request: &Request<'_>, held: &[Held]) -> Result<Vec<Choice>, Refusal> {
    let differs = |wanted: String| Refusal::Differs {
        held: held.iter().map(|held| held.addr).collect(),
        wanted,
    };
    let mut wanted = request.requested.to_vec();
    let mut rest = held.to_vec();
    let mut choices = Vec::with_capacity(request.sets.len());
    for (i, set) in request.sets.iter().enumerate() {
        let asked = take_for(set, &mut wanted);
        let at = rest.iter().position(|held| set.range_of(held.addr).is_some());
        let Some(at) = at else {
            return Err(differs(
                asked.map_or_else(|| format!("an address of {set}"), |asked| asked.to_string()),
            ));
        };
        let Held { addr, by_container } = rest.remove(at);
        if by_container {
            return Err(duplicate(request, i, addr));
        }
        if let Some(asked) = asked.filter(|asked| *asked != addr) {
            return Err(differs(asked.to_string()));
        }
        choices.push(Choice { set: i, addr, held: true });
    }
    if !wanted.is_empty() {
        return Err(Refusal::Unused(wanted));
    }
    if !rest.is_empty() {
        return Err(differs(joined(&choices.iter().map(|choice| choice.addr).collect::<Vec<_>>())));
    }
    Ok(choices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Cidr;
    use crate::identity::IfName;
    use crate::range::RangeSpec;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    #[derive(Default)]
    struct Table {
        records: BTreeMap<Addr, Held>,
        marks: BTreeMap<usize, Addr>,
        others: Vec<Addr>,
    }

    impl View for Table {
        type Error = Infallible;

        fn held(&mut self, _: &Attachment) -> Result<Vec<Held>, Infallible> {
            Ok(self.records.values().copied().collect())
        }

        fn occupancy(&mut self, addr: Addr) -> Result<Occupancy, Infallible> {
            let held = self.records.contains_key(&addr) || self.others.contains(&addr);
            Ok(if held { Occupancy::Held } else { Occupancy::Free })
        }

        fn last_reserved(&mut self, set: usize) -> Result<Option<Addr>, Infallible> {
            Ok(self.marks.get(&set).copied())
        }
    }

    fn addr(text: &str) -> Addr {
        Addr::parse(text).unwrap()
    }

    fn sets(subnets: &[&str]) -> Vec<RangeSet> {
        subnets
            .iter()
            .map(|subnet| {
                RangeSet::new(&[RangeSpec { subnet: Cidr::parse(subnet), ..RangeSpec::default() }])
                    .unwrap()
            })
            .collect()
    }

    fn run(
        table: &mut Table,
        subnets: &[&str],
        requested: &[&str],
        repeat: Repeat,
    ) -> Result<Vec<String>, String> {
        let attachment = Attachment {
            container: ContainerId::new("c1").unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        };
        let requested: Vec<Addr> = requested.iter().map(|text| addr(text)).collect();
        let request = Request {
            attachment: &attachment,
            sets: &sets(subnets),
            requested: &requested,
            repeat,
            pin: None,
            policy: Policy::default(),
            owner: &Owner::default(),
        };
        match decide(&request, table) {
            Ok(choices) => Ok(choices.iter().map(|choice| choice.addr.to_string()).collect()),
            Err(Undecided::Refused { refusal, .. }) => Err(refusal.to_string()),
            Err(Undecided::View(never)) => match never {},
        }
    }

    const DUAL: &[&str] = &["10.1.2.0/29", "2001:db8::/64"];

    #[test]
    fn addresses_come_after_the_last_one() {
        let mut table = Table::default();
        assert_eq!(
            run(&mut table, DUAL, &[], Repeat::Refuse).unwrap(),
            ["10.1.2.2", "2001:db8::2"]
        );
        table.marks.insert(0, addr("10.1.2.5"));
        table.others.push(addr("10.1.2.6"));
        assert_eq!(
            run(&mut table, DUAL, &[], Repeat::Refuse).unwrap(),
            ["10.1.2.2", "2001:db8::2"]
        );
        table.others.push(addr("10.1.2.2"));
        assert_eq!(
            run(&mut table, DUAL, &[], Repeat::Refuse).unwrap(),
            ["10.1.2.3", "2001:db8::2"]
        );
    }

    #[test]
    fn refusals_have_the_references_texts() {
        let mut table = Table { others: vec![addr("10.1.2.5")], ..Table::default() };
        for (requested, text) in [
            (
                "10.1.2.1",
                "failed to allocate for range 0: requested ip 10.1.2.1 is subnet's gateway",
            ),
            (
                "10.1.2.5",
                "failed to allocate for range 0: requested IP address 10.1.2.5 is not available in range set 10.1.2.1-10.1.2.6",
            ),
            ("10.1.2.0", "failed to allocate all requested IPs: 10.1.2.0"),
            ("10.9.9.9", "failed to allocate all requested IPs: 10.9.9.9"),
        ] {
            assert_eq!(run(&mut table, DUAL, &[requested], Repeat::Refuse).unwrap_err(), text);
        }
        table.others = (2..=6).map(|i| addr(&format!("10.1.2.{i}"))).collect();
        assert_eq!(
            run(&mut table, DUAL, &[], Repeat::Refuse).unwrap_err(),
            "failed to allocate for range 0: no IP addresses available in range set: 10.1.2.1-10.1.2.6"
        );
    }

    #[test]
    fn a_second_add_is_refused_or_answered() {
        let hold = |texts: &[&str]| Table {
            records: texts
                .iter()
                .map(|text| (addr(text), Held { addr: addr(text), by_container: false }))
                .collect(),
            ..Table::default()
        };
        let both = &["10.1.2.4", "2001:db8::7"];
        assert_eq!(
            run(&mut hold(both), DUAL, &[], Repeat::Refuse).unwrap_err(),
            "failed to allocate for range 0: 10.1.2.4 has been allocated to c1, duplicate allocation is not allowed"
        );
        assert!(
            run(&mut hold(both), DUAL, &["10.1.2.5"], Repeat::Refuse)
                .unwrap_err()
                .contains("duplicate")
        );
        assert_eq!(run(&mut hold(both), DUAL, &[], Repeat::Return).unwrap(), *both);
        assert_eq!(run(&mut hold(both), DUAL, &["10.1.2.4"], Repeat::Return).unwrap(), *both);
        for (held, subnets, requested) in [
            (&both[..], DUAL, &["10.1.2.5"][..]),
            (&both[..1], DUAL, &[]),
            (&both[..], &DUAL[..1], &[]),
            (&both[..1], &["10.3.0.0/24"], &[]),
        ] {
            let refused = run(&mut hold(held), subnets, requested, Repeat::Return).unwrap_err();
            assert!(refused.starts_with("the attachment already holds 10.1.2.4"), "{refused}");
        }
    }
}
