/*!
The five operations of an IPAM plugin over a configuration and a store.

Every plugin of this family calls these; they differ only in where their ranges come from.
*/

use std::time::Duration;

use crate::addr::{Addr, Cidr};
use crate::allocator::{Choice, Request, Resting};
use crate::config::Route;
use crate::identity::Attachment;
use crate::range::RangeSet;
use crate::store::{ReserveError, Store};

/// What an ADD answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// One address for each range set, in their order.
    pub ips: Vec<AnswerIp>,
    /// The configured routes.
    pub routes: Vec<Route>,
    /// What was decided, to be taken back if the answer cannot be delivered.
    pub choices: Vec<Choice>,
}

/// An address of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerIp {
    /// The address with the prefix length of its subnet.
    pub address: Cidr,
    /// The gateway of its range.
    pub gateway: Option<Addr>,
}

/// Reserves addresses and composes the answer.
///
/// # Errors
/// As [`Store::reserve`]; nothing is changed then.
pub fn add<S: Store>(
    store: &mut S,
    request: &Request<'_>,
    routes: &[Route],
    wanted: &mut dyn FnMut() -> bool,
) -> Result<Answer, ReserveError<S::Error>> {
    let choices = store.reserve(request, wanted)?;
    let ips = choices.iter().filter_map(|choice| answer_ip(request.sets, choice)).collect();
    Ok(Answer { ips, routes: routes.to_vec(), choices })
}

fn answer_ip(sets: &[RangeSet], choice: &Choice) -> Option<AnswerIp> {
    let range = sets.get(choice.set)?.range_of(choice.addr)?;
    let address = Cidr::new(choice.addr, range.subnet().prefix())?;
    Some(AnswerIp { address, gateway: range.gateway() })
}

/// What CHECK finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Everything is recorded.
    Fine,
    /// The attachment holds nothing.
    Nothing,
    /// The runtime's result and the records differ.
    Differs {
        /// Addresses of our ranges in the result that the attachment does not hold.
        missing: Vec<Addr>,
        /// Addresses that the attachment holds and the result does not have.
        unknown: Vec<Addr>,
    },
}

/// Compares what the runtime believes with what is recorded. `expected` are the addresses of prevResult,
/// none where it has none; those outside `sets` are another plugin's. An address held outside the sets, of
/// a configuration of before, is not compared. Without sets, everything held must be expected.
///
/// # Errors
/// The store's error.
pub fn check<S: Store>(
    store: &mut S,
    attachment: &Attachment,
    sets: &[RangeSet],
    expected: &[Addr],
) -> Result<Checked, S::Error> {
    let held = store.find(attachment)?;
    let ours = |addr: Addr| sets.iter().any(|set| set.range_of(addr).is_some());
    Ok(compare(&held, (!sets.is_empty()).then_some(&ours), expected))
}

/// The same for what is held. `ours` tells which addresses the plugin may give; where that is not known,
/// everything held must be expected.
pub fn compare(held: &[Addr], ours: Option<&dyn Fn(Addr) -> bool>, expected: &[Addr]) -> Checked {
    if held.is_empty() {
        return Checked::Nothing;
    }
    if expected.is_empty() {
        return Checked::Fine;
    }
    let missing: Vec<Addr> = expected
        .iter()
        .copied()
        .filter(|addr| ours.is_some_and(|ours| ours(*addr)) && !held.contains(addr))
        .collect();
    let unknown: Vec<Addr> = held
        .iter()
        .copied()
        .filter(|addr| ours.is_none_or(|ours| ours(*addr)) && !expected.contains(addr))
        .collect();
    let fine = missing.is_empty() && unknown.is_empty();
    if fine { Checked::Fine } else { Checked::Differs { missing, unknown } }
}

/// Why no ADD could be served now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// A range set has no free address.
    Exhausted {
        /// Its position.
        set: usize,
        /// The set, as text.
        ranges: String,
        /// What is free but rests.
        resting: Option<Resting>,
    },
    /// Allocations exist that were made with another node index.
    Pinned {
        /// The index they were made with.
        pinned: u32,
        /// The index of now.
        now: u32,
    },
}

/// Whether an ADD could be served now.
///
/// # Errors
/// The store's error.
pub fn status<S: Store>(
    store: &mut S,
    sets: &[RangeSet],
    cooldown: Duration,
    pin: Option<u32>,
) -> Result<Option<NotReady>, S::Error> {
    if let Some(now) = pin
        && let Some(pinned) = store.pinned()?.filter(|pinned| *pinned != now)
    {
        return Ok(Some(NotReady::Pinned { pinned, now }));
    }
    Ok(store.first_exhausted(sets, cooldown)?.map(|(set, resting)| NotReady::Exhausted {
        set,
        ranges: sets.get(set).map(ToString::to_string).unwrap_or_default(),
        resting,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{ContainerId, Holder, IfName};
    use crate::memory::MemoryStore;
    use crate::range::RangeSpec;
    use crate::store::Record;

    #[test]
    fn check_compares_every_address() {
        let attachment = Attachment {
            container: ContainerId::new("c1").unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        };
        let set = RangeSpec { subnet: Cidr::parse("10.1.2.0/24"), ..RangeSpec::default() };
        let sets = [RangeSet::new(&[set]).unwrap()];
        let addrs = |texts: &[&str]| -> Vec<Addr> {
            texts.iter().map(|text| Addr::parse(text).unwrap()).collect()
        };
        let checked = |held: &[&str], expected: &[&str], sets: &[RangeSet]| {
            let mut store = MemoryStore::default();
            for addr in addrs(held) {
                store.insert(Record { addr, holder: Holder::Attachment(attachment.clone()) });
            }
            match check(&mut store, &attachment, sets, &addrs(expected)) {
                Ok(checked) => checked,
                Err(never) => match never {},
            }
        };
        let differs = |missing: &[&str], unknown: &[&str]| Checked::Differs {
            missing: addrs(missing),
            unknown: addrs(unknown),
        };
        for (held, expected, outcome) in [
            (&[][..], &["10.1.2.2"][..], Checked::Nothing),
            (&["10.1.2.2"], &[], Checked::Fine),
            (&["10.1.2.2"], &["10.1.2.2", "192.168.7.5"], Checked::Fine),
            (&["10.1.2.2", "10.9.9.2"], &["10.1.2.2"], Checked::Fine),
            (&["10.1.2.2"], &["10.1.2.2", "10.1.2.3"], differs(&["10.1.2.3"], &[])),
            (&["10.1.2.2"], &["10.66.6.6"], differs(&[], &["10.1.2.2"])),
            (&["10.1.2.2"], &["10.1.2.9"], differs(&["10.1.2.9"], &["10.1.2.2"])),
        ] {
            assert_eq!(checked(held, expected, &sets), outcome, "{held:?} {expected:?}");
        }
        assert_eq!(checked(&["10.1.2.2"], &["10.1.2.2", "10.1.2.3"], &[]), Checked::Fine);
        assert_eq!(checked(&["10.1.2.2"], &["10.1.2.3"], &[]), differs(&[], &["10.1.2.2"]));
    }
}
