/*!
Who held which address when.

An address is held from the moment the answer to ADD is read to the moment before DEL is sent: within
that time nobody else may be given it.
*/

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

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
}

/// The record of a run; shared by its callers.
#[derive(Debug, Default)]
pub struct History(Mutex<Vec<Holding>>);

impl History {
    /// An empty record.
    pub fn new() -> Self {
        Self::default()
    }

    /// `holder` has been given these addresses.
    pub fn begin(&self, holder: &str, addresses: &[String]) {
        let from = Instant::now();
        let mut all = self.lock();
        all.extend(addresses.iter().map(|address| Holding {
            address: address.clone(),
            holder: holder.to_owned(),
            from,
            until: None,
        }));
    }

    /// `holder` is about to give back all that it holds.
    pub fn end(&self, holder: &str) {
        let now = Instant::now();
        for held in self.lock().iter_mut() {
            if held.holder == holder && held.until.is_none() {
                held.until = Some(now);
            }
        }
    }

    /// How often an address was handed out.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing was handed out.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every pair of holdings of one address that overlap in time.
    pub fn overlaps(&self) -> Vec<(Holding, Holding)> {
        let mut all = self.lock().clone();
        all.sort_by(|a, b| (&a.address, a.from).cmp(&(&b.address, b.from)));
        all.windows(2)
            .filter(|pair| {
                pair[0].address == pair[1].address
                    && pair[0].until.is_none_or(|until| until > pair[1].from)
            })
            .map(|pair| (pair[0].clone(), pair[1].clone()))
            .collect()
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Holding>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
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
}
