//! Either kind of store, chosen by the configuration.

use std::time::Duration;

use ipam_core::addr::Addr;
use ipam_core::allocator::{Choice, Request, Resting};
use ipam_core::identity::Attachment;
use ipam_core::range::RangeSet;
use ipam_core::store::{Record, ReserveError, Store};

use crate::{DirStore, SqliteStore, StoreError};

/// A store of either kind.
#[derive(Debug)]
pub enum AnyStore {
    /// The reference's directory.
    Dir(DirStore),
    /// A database.
    Sqlite(SqliteStore),
}

/// The same call on whichever it is.
macro_rules! either {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            Self::Dir($store) => $call,
            Self::Sqlite($store) => $call,
        }
    };
}

impl AnyStore {
    /// What was odd, a sentence each; emptied by the call.
    pub fn take_warnings(&mut self) -> Vec<String> {
        either!(self, store => store.take_warnings())
    }
}

impl Store for AnyStore {
    type Error = StoreError;

    fn reserve(
        &mut self,
        request: &Request<'_>,
        wanted: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Choice>, ReserveError<StoreError>> {
        either!(self, store => store.reserve(request, wanted))
    }

    fn undo(&mut self, attachment: &Attachment, choices: &[Choice]) -> Result<(), StoreError> {
        either!(self, store => store.undo(attachment, choices))
    }

    fn release(&mut self, attachment: &Attachment) -> Result<Vec<Addr>, StoreError> {
        either!(self, store => store.release(attachment))
    }

    fn find(&mut self, attachment: &Attachment) -> Result<Vec<Addr>, StoreError> {
        either!(self, store => store.find(attachment))
    }

    fn list(&mut self) -> Result<Vec<Record>, StoreError> {
        either!(self, store => store.list())
    }

    fn retain(&mut self, valid: &[Attachment]) -> Result<Vec<Addr>, StoreError> {
        either!(self, store => store.retain(valid))
    }

    fn first_exhausted(
        &mut self,
        sets: &[RangeSet],
        cooldown: Duration,
    ) -> Result<Option<(usize, Option<Resting>)>, StoreError> {
        either!(self, store => store.first_exhausted(sets, cooldown))
    }

    fn pinned(&mut self) -> Result<Option<u32>, StoreError> {
        either!(self, store => store.pinned())
    }
}
