/*!
What remembers allocations.

A store belongs to one network. Each verb is atomic: it takes the store's own lock, does all or
nothing, and is safe to repeat. There is no lock in the trait, so that no caller can forget it.
*/

use std::collections::HashSet;
use std::error::Error;
use std::time::Duration;

use crate::addr::Addr;
use crate::allocator::{Choice, Held, Refusal, Request, Resting};
use crate::identity::{Attachment, ContainerId, Holder};
use crate::range::RangeSet;

/// An allocation as recorded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// The address.
    pub addr: Addr,
    /// Who holds it.
    pub holder: Holder,
}

/// Why nothing was reserved.
#[derive(Debug)]
pub enum ReserveError<E> {
    /// The request is refused.
    Refused(Refusal),
    /// Nobody waits for the answer any more.
    Unwanted,
    /// The store failed.
    Store(E),
}

/// The allocations of one network.
pub trait Store {
    /// Why the store failed.
    type Error: Error;

    /// Reserves one address from each set, or none. `wanted` is asked under the lock, before anything is
    /// changed, whether somebody still waits for the answer.
    ///
    /// # Errors
    /// A refusal, that nobody waits, or the store's error; nothing is changed then.
    fn reserve(
        &mut self,
        request: &Request<'_>,
        wanted: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Choice>, ReserveError<Self::Error>>;

    /// Takes back what a call of [`Store::reserve`] has newly reserved for the attachment.
    ///
    /// # Errors
    /// The store's error.
    fn undo(&mut self, attachment: &Attachment, choices: &[Choice]) -> Result<(), Self::Error>;

    /// Frees everything that the attachment holds and tells what that was. Nothing is no error.
    ///
    /// # Errors
    /// The store's error.
    fn release(&mut self, attachment: &Attachment) -> Result<Vec<Addr>, Self::Error>;

    /// What the attachment holds.
    ///
    /// # Errors
    /// The store's error.
    fn find(&mut self, attachment: &Attachment) -> Result<Vec<Addr>, Self::Error>;

    /// Every record, by address.
    ///
    /// # Errors
    /// The store's error.
    fn list(&mut self) -> Result<Vec<Record>, Self::Error>;

    /// Frees what no attachment in the list holds and tells what that was. A record that names a container
    /// only is kept while any interface of that container is in the list; one that names nobody is kept.
    ///
    /// # Errors
    /// The store's error.
    fn retain(&mut self, valid: &[Attachment]) -> Result<Vec<Addr>, Self::Error>;

    /// The position of the first set without a free address, and what of it is free but rests.
    /// `cooldown` is for how long an address rests.
    ///
    /// # Errors
    /// The store's error, also where it could be read but a reservation could not be written.
    fn first_exhausted(
        &mut self,
        sets: &[RangeSet],
        cooldown: Duration,
    ) -> Result<Option<(usize, Option<Resting>)>, Self::Error>;

    /// The node index that the network's allocations were made with, while there are any.
    ///
    /// # Errors
    /// The store's error.
    fn pinned(&mut self) -> Result<Option<u32>, Self::Error>;
}

/// What belongs to an attachment: the records that name it; only where there are none, those that name its
/// container alone.
pub fn theirs(held: &[Held]) -> Vec<Addr> {
    let by_container = held.iter().all(|held| held.by_container);
    held.iter().filter(|held| held.by_container == by_container).map(|held| held.addr).collect()
}

/// The attachments that a GC keeps.
#[derive(Debug)]
pub struct Valid<'a> {
    attachments: HashSet<&'a Attachment>,
    containers: HashSet<&'a ContainerId>,
}

impl<'a> Valid<'a> {
    /// From the runtime's list.
    pub fn new(valid: &'a [Attachment]) -> Self {
        Self {
            attachments: valid.iter().collect(),
            containers: valid.iter().map(|attachment| &attachment.container).collect(),
        }
    }

    /// Whether the attachment is in the list.
    pub fn has(&self, attachment: &Attachment) -> bool {
        self.attachments.contains(attachment)
    }

    /// Whether a record survives.
    pub fn keeps(&self, holder: &Holder) -> bool {
        match holder {
            Holder::Attachment(attachment) => self.attachments.contains(attachment),
            Holder::Container(id) => self.containers.contains(id),
            Holder::Unknown => true,
        }
    }
}
