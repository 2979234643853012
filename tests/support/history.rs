/*!
Who held which address when.

An address is held from the moment the answer to ADD is read to the moment before DEL is sent: within
that time nobody else may be given it.
*/

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One address in one hand.
#[derive(Clone, Debug)]
pub struct Holding {
    /// The address.
    pub address: String,
    /// Whose it was.
    pub holder: String,
    /// The answer to ADD was read.
    pub from: Instant,
    /// DEL was about to be sent; `None` while it is held.
    pub until: Option<Instant>,
    /// Whether the node knows that it was given back: a reboot forgets it.
    pub freed: bool,
}

/// The record of a run; shared by its callers.
#[derive(Debug, Default)]
pub struct History(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    holdings: Vec<Holding>,
    /// The positions of what each holder has.
    open: HashMap<String, Vec<usize>>,
}

impl History {
    /// An empty record.
    pub fn new() -> Self {
        Self::default()
    }

    /// `holder` has been given these addresses.
    pub fn begin(&self, holder: &str, addresses: &[String]) {
        let from = Instant::now();
        let mut record = self.lock();
        for address in addresses {
            let position = record.holdings.len();
            record.open.entry(holder.to_owned()).or_default().push(position);
            let (address, holder) = (address.clone(), holder.to_owned());
            record.holdings.push(Holding { address, holder, from, until: None, freed: false });
        }
    }

    /// `holder` is about to give back all that it holds.
    pub fn end(&self, holder: &str) {
        self.close(holder, true);
    }

    /// `holder` is no more, and its node will not know that it was: the node is about to reboot.
    pub fn lose(&self, holder: &str) {
        self.close(holder, false);
    }

    /// A node has forgotten which addresses rest: those of these holders.
    pub fn forget_rests(&self, of: impl Fn(&str) -> bool) {
        for held in self.lock().holdings.iter_mut().filter(|held| of(&held.holder)) {
            held.freed = false;
        }
    }

    fn close(&self, holder: &str, freed: bool) {
        let mut record = self.lock();
        let now = Instant::now();
        for position in record.open.remove(holder).unwrap_or_default() {
            let held = &mut record.holdings[position];
            held.until = Some(now);
            held.freed = freed;
        }
    }

    /// How often an address was handed out.
    pub fn len(&self) -> usize {
        self.lock().holdings.len()
    }

    /// Whether nothing was handed out.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pairs of holdings of one address that overlap in time: each holding with the one before it that
    /// lasts longest. Empty only if there are none.
    pub fn overlaps(&self) -> Vec<(Holding, Holding)> {
        self.pairs(|before, after| before.until.is_none_or(|until| until > after.from))
    }

    /// Pairs of holdings of one address of which the second began before the address had rested so long.
    pub fn restless(&self, rest: Duration) -> Vec<(Holding, Holding)> {
        self.pairs(|before, after| {
            before.freed && before.until.is_some_and(|until| until + rest > after.from)
        })
    }

    fn pairs(&self, wrong: impl Fn(&Holding, &Holding) -> bool) -> Vec<(Holding, Holding)> {
        let mut all = self.lock().holdings.clone();
        all.sort_by(|a, b| (&a.address, a.from).cmp(&(&b.address, b.from)));
        let mut found = Vec::new();
        let mut last: Option<Holding> = None;
        for holding in all {
            let before = last.take().filter(|before| before.address == holding.address);
            if let Some(before) = &before
                && wrong(before, &holding)
            {
                found.push((before.clone(), holding.clone()));
            }
            let longer = |before: &Holding| match (before.until, holding.until) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(before), Some(after)) => before > after,
            };
            last = Some(before.filter(longer).unwrap_or(holding));
        }
        found
    }

    /// Asserts that no address was ever in two hands.
    pub fn assert_disjoint(&self) {
        let overlaps = self.overlaps();
        assert!(
            overlaps.is_empty(),
            "{} addresses were in two hands at a time; the first: {:?}",
            overlaps.len(),
            overlaps.first()
        );
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::History;

    fn one(address: &str) -> Vec<String> {
        vec![address.to_owned()]
    }

    #[test]
    fn two_hands_are_seen() {
        let history = History::new();
        history.begin("a", &one("10.0.0.2"));
        history.begin("b", &one("10.0.0.3"));
        history.end("a");
        history.begin("c", &one("10.0.0.2"));
        history.assert_disjoint();
        history.begin("d", &one("10.0.0.3"));
        let overlaps = history.overlaps();
        assert_eq!(overlaps.len(), 1);
        assert_eq!((&*overlaps[0].0.holder, &*overlaps[0].1.holder), ("b", "d"));
    }

    #[test]
    fn ends_belong_to_their_holder() {
        let history = History::new();
        history.begin("a", &one("10.0.0.2"));
        history.end("b");
        history.begin("b", &one("10.0.0.2"));
        assert_eq!(history.overlaps().len(), 1);
    }

    /// What began meanwhile and ended meanwhile is seen, too.
    #[test]
    fn one_hand_may_overlap_many() {
        let history = History::new();
        history.begin("long", &one("10.0.0.2"));
        for holder in ["a", "b", "c"] {
            history.begin(holder, &one("10.0.0.2"));
            history.end(holder);
        }
        let overlaps = history.overlaps();
        assert_eq!(overlaps.len(), 3);
        assert!(overlaps.iter().all(|(before, _)| before.holder == "long"));
    }

    #[test]
    fn too_short_a_rest_is_seen() {
        let history = History::new();
        history.begin("a", &one("10.0.0.2"));
        history.end("a");
        history.begin("b", &one("10.0.0.2"));
        assert_eq!(history.restless(Duration::from_secs(60)).len(), 1);
        assert_eq!(history.restless(Duration::ZERO).len(), 0);
        // A reboot knows of no rest.
        history.lose("b");
        history.begin("c", &one("10.0.0.2"));
        assert_eq!(history.restless(Duration::from_secs(60)).len(), 1);
        history.forget_rests(|holder| holder == "a");
        assert_eq!(history.restless(Duration::from_secs(60)).len(), 0);
        history.assert_disjoint();
    }
}
