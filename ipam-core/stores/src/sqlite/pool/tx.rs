//! A transaction on a node's part of all pools.

use std::collections::{BTreeMap, BTreeSet};

use ipam_core::addr::{Addr, Interval};
use ipam_core::allocator::{Choice, Refusal, Request, Undecided};
use ipam_core::identity::{Attachment, Network, PodInterface};
use ipam_core::layout::Layout;
use ipam_core::policy::Strategy;
use ipam_pool::ledger::{Allocation, Backlog, Dirty, Tx, Usage};
use ipam_pool::node::{BootState, NodeState, PoolId};

use super::PoolLedger;
use super::rows::{INSTANCE, Pools};
use super::state::{StateFile, visible};
use crate::boot::Moment;
use crate::error::StoreError;
use crate::sqlite::calls::Outcome;
use crate::sqlite::database::{Parked, Session};
use crate::sqlite::rows::{NetworkRow, Rows, find_network, make_network, milliseconds};
use crate::sqlite::schema::signed;
use crate::sqlite::seen::{Seen, decide};
use crate::sqlite::sticky::Sticky;
use crate::survey::Ended;

/// A transaction on a node's part of all pools, under the locks of the database and of the durable state.
#[derive(Debug)]
pub struct PoolTx<'a> {
    ledger: &'a PoolLedger,
    session: Session,
    state: StateFile,
    boot: BootState,
    now: Moment,
    /// The pools' own rows, as far as they were asked for.
    rows: BTreeMap<PoolId, NetworkRow>,
    /// What the last decision was made from: it is kept with the first address that is given.
    layout: Option<(PoolId, Layout)>,
    /// What the pods that ask for it are given again: what was given out, and from which set.
    sticky: Vec<(PoolId, PodInterface, Choice)>,
    /// Who is known to hold nothing at all.
    empty: Option<(Network, Attachment)>,
    /// The networks that an address was freed of.
    freed: BTreeSet<Network>,
    /// What is to be counted, if the transaction is a call's: for which networks something was given, freed, or
    /// taken back.
    calls: BTreeSet<(Network, Outcome)>,
    /// Whether the row of the boot is to be written.
    boot_changed: bool,
    /// Whether there is something to commit.
    changed: bool,
    /// Whether a statement has failed: then nothing may be committed, as half a change may be written.
    failed: bool,
}

impl<'a> PoolTx<'a> {
    pub(super) fn new(
        ledger: &'a PoolLedger,
        session: Session,
        state: StateFile,
    ) -> Result<Self, StoreError> {
        let boot = match &session.pool {
            None => BootState::default(),
            Some(text) => serde_json::from_str(text).map_err(|error| StoreError::Unreadable {
                path: ledger.database.path.clone(),
                reason: visible(&error.to_string()),
            })?,
        };
        Ok(Self {
            now: (ledger.database.clock)(),
            ledger,
            session,
            state,
            boot,
            rows: BTreeMap::new(),
            layout: None,
            sticky: Vec::new(),
            empty: None,
            freed: BTreeSet::new(),
            calls: BTreeSet::new(),
            boot_changed: false,
            changed: false,
            failed: false,
        })
    }

    /// Ends the transaction: what was changed is there from now on. The connection is for the next one.
    pub(super) fn finish(mut self) -> Result<Option<Parked>, StoreError> {
        if self.failed {
            return Err(StoreError::Database {
                call: "write",
                path: self.ledger.database.path.clone(),
                reason: "a statement failed, so nothing was changed".to_owned(),
                full: false,
            });
        }
        if self.boot_changed {
            // Numbers, texts and lists: nothing that JSON cannot hold.
            let text = serde_json::to_string(&self.boot).unwrap_or_default();
            let set = self.pools().set_boot(&text);
            self.wrote(set)?;
        }
        let mut unused = Vec::new();
        if self.ledger.elsewhere {
            for network in std::mem::take(&mut self.freed) {
                let used = self.pools().is_used_by(&network);
                if !self.read(used)? {
                    unused.push(network);
                }
            }
        }
        if self.changed {
            let committed = self.session.commit();
            self.wrote(committed)?;
            self.count();
        }
        for (id, pod, choice) in &self.sticky {
            // A hint and nothing more.
            let _ = self.memory(&id.to_string()).write(pod, std::slice::from_ref(choice));
        }
        for network in &unused {
            self.ledger.places(network).forget(&self.ledger.remembered());
        }
        Ok(self.session.park())
    }

    /// Counts what the call has done.
    fn count(&self) {
        let Some((command, begun)) = self.ledger.counting else { return };
        for (network, outcome) in &self.calls {
            let (of, what) = ((INSTANCE, network.as_str()), (command, *outcome));
            self.ledger.database.count(of, what, begun);
        }
    }

    const fn pools(&self) -> Pools<'_> {
        Pools { connection: &self.session.connection }
    }

    const fn of(&self, network: i64) -> Rows<'_> {
        Rows { connection: &self.session.connection, network }
    }

    /// Which pod had which address of a pool last.
    fn memory<'b>(&'b self, network: &'b str) -> Sticky<'b> {
        Sticky { durable: &self.ledger.database.state.durable, instance: INSTANCE, network }
    }

    /// What a statement that reads has answered.
    fn read<T>(&mut self, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        result.map_err(|error| {
            self.failed = true;
            self.ledger.database.failed("read", error)
        })
    }

    /// What a statement that writes has answered.
    fn wrote<T>(&mut self, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        self.changed = true;
        result.map_err(|error| {
            self.failed = true;
            self.ledger.database.failed("write", error)
        })
    }

    /// A pool's row, if there is one.
    fn row(&mut self, id: &PoolId) -> Result<Option<NetworkRow>, StoreError> {
        if let Some(row) = self.rows.get(id) {
            return Ok(Some(row.clone()));
        }
        let found = find_network(&self.session.connection, INSTANCE, &id.to_string());
        let found = self.read(found)?;
        if let Some(row) = &found {
            self.rows.insert(id.clone(), row.clone());
        }
        Ok(found)
    }

    /// A pool's row, made if need be. A row alone is nothing to commit.
    fn row_or_make(&mut self, id: &PoolId) -> Result<NetworkRow, StoreError> {
        if let Some(row) = self.row(id)? {
            return Ok(row);
        }
        let made = make_network(&self.session.connection, INSTANCE, &id.to_string());
        let row = self.read(made)?;
        self.rows.insert(id.clone(), row.clone());
        Ok(row)
    }

    /// What comes before an address is given out.
    fn prepare(&mut self, network: &Network) -> Result<(), StoreError> {
        let ledger = self.ledger;
        self.state.bind(&ledger.database)?;
        if ledger.elsewhere {
            ledger.places(network).remember(&ledger.remembered())?;
        }
        ledger.database.keep_spare()?;
        ledger.database.mark(&mut self.session)
    }
}

impl Tx for PoolTx<'_> {
    type Error = StoreError;

    fn node(&self) -> &NodeState {
        &self.state.content.node
    }

    fn set_node(&mut self, node: NodeState) -> Result<(), StoreError> {
        self.state.set(node)
    }

    fn boot(&self) -> &BootState {
        &self.boot
    }

    fn set_boot(&mut self, boot: BootState) -> Result<(), StoreError> {
        if boot != self.boot {
            self.boot = boot;
            self.boot_changed = true;
            self.changed = true;
        }
        Ok(())
    }

    fn decide(
        &mut self,
        id: &PoolId,
        network: &Network,
        request: &Request<'_>,
    ) -> Result<Result<Vec<Choice>, Refusal>, StoreError> {
        let row = self.row_or_make(id)?;
        let holds_nothing = self
            .empty
            .as_ref()
            .is_some_and(|(of, attachment)| of == network && attachment == request.attachment);
        let sticky = request.sticky().map_or_else(Vec::new, |pod| {
            self.memory(&id.to_string()).read(&pod).unwrap_or_default()
        });
        let mut seen = Seen::new(self.of(row.id), self.now, request.policy.cooldown);
        seen.sticky = &sticky;
        seen.cni_network = Some(network);
        seen.holds_nothing = holds_nothing;
        let decided = match decide(&row, request, seen) {
            Ok(choices) => Ok(choices),
            Err(Undecided::Refused { refusal, .. }) => Err(refusal),
            Err(Undecided::View(error)) => return self.read(Err(error)),
        };
        if row.resting {
            // Whether anything rests still may have changed.
            self.rows.remove(id);
        }
        self.layout =
            Some((id.clone(), Layout { sets: request.sets.to_vec(), policy: request.policy }));
        Ok(decided)
    }

    fn held(
        &mut self,
        id: Option<&PoolId>,
        network: &Network,
        attachment: &Attachment,
    ) -> Result<Vec<Allocation>, StoreError> {
        let found = self.pools().held(network, attachment);
        let mut found = self.read(found)?;
        if found.is_empty() {
            self.empty = Some((network.clone(), attachment.clone()));
        }
        if let Some(id) = id {
            found.retain(|allocation| allocation.id == *id);
        }
        Ok(found)
    }

    fn of_network(
        &mut self,
        id: Option<&PoolId>,
        network: &Network,
    ) -> Result<Vec<Allocation>, StoreError> {
        let found = match id {
            None => self.pools().of_network(network),
            Some(id) => {
                let Some(row) = self.row(id)? else { return Ok(Vec::new()) };
                self.pools().of_network_in(row.id, network)
            }
        };
        self.read(found)
    }

    fn within(&mut self, id: &PoolId, interval: Interval) -> Result<Vec<Allocation>, StoreError> {
        let Some(row) = self.row(id)? else { return Ok(Vec::new()) };
        let found = self.pools().within(row.id, interval);
        self.read(found)
    }

    fn at(&mut self, id: &PoolId, addr: Addr) -> Result<Option<Allocation>, StoreError> {
        Ok(self.within(id, Interval::single(addr))?.pop())
    }

    fn insert(&mut self, allocation: &Allocation, set: usize) -> Result<(), StoreError> {
        let Allocation { id, addr, .. } = allocation;
        let row = self.row_or_make(id)?;
        let taken = self.of(row.id).take_whatever(*addr);
        if !self.read(taken)? {
            return Err(self.not_free(id, *addr));
        }
        // From here on, what fails leaves half a change.
        let prepared = self.prepare(&allocation.network);
        self.failed |= prepared.is_err();
        prepared?;
        self.empty = None;
        let rows = self.of(row.id);
        let inserted = rows
            .insert_pool(allocation, set, &self.ledger.database.boot)
            .and_then(|()| rows.set_mark(set, *addr));
        self.wrote(inserted)?;
        self.calls.insert((allocation.network.clone(), Outcome::Done));
        self.keep_layout(allocation, set, row)
    }

    fn free(&mut self, id: &PoolId, addr: Addr, undo: bool) -> Result<(), StoreError> {
        let Some(found) = self.at(id, addr)? else { return Ok(()) };
        let Some(row) = self.row(id)? else { return Ok(()) };
        let (rows, rests) = (self.of(row.id), !row.cooldown.is_zero());
        let freed =
            if undo { rows.undo(addr) } else { rows.end(addr, Ended::Released, rests, self.now) };
        self.wrote(freed)?;
        if rests && !undo && !row.resting {
            let resting = self.of(row.id).set_resting();
            self.wrote(resting)?;
            self.rows.insert(id.clone(), NetworkRow { resting: true, ..row });
        }
        let outcome = if undo { Outcome::Undone } else { Outcome::Done };
        self.calls.insert((found.network.clone(), outcome));
        self.freed.insert(found.network);
        Ok(())
    }

    fn set_revision(&mut self, id: &PoolId, addr: Addr, revision: i64) -> Result<(), StoreError> {
        let Some(row) = self.row(id)? else { return Ok(()) };
        let set = self.of(row.id).set_revision(addr, revision);
        let set = self.read(set)?;
        self.changed |= set;
        Ok(())
    }

    fn occupy(&mut self, id: &PoolId, addr: Addr) -> Result<(), StoreError> {
        let row = self.row_or_make(id)?;
        let occupied = self.of(row.id).occupy(addr);
        let occupied = self.read(occupied)?;
        self.changed |= occupied;
        Ok(())
    }

    fn vacate(&mut self, id: &PoolId, addr: Addr) -> Result<(), StoreError> {
        let Some(row) = self.row(id)? else { return Ok(()) };
        let vacated = self.of(row.id).vacate(addr);
        let vacated = self.read(vacated)?;
        if vacated {
            self.changed = true;
            // Whether anything rests may have changed.
            self.rows.remove(id);
        }
        Ok(())
    }

    fn occupied(&mut self, id: &PoolId, interval: Interval) -> Result<Vec<Addr>, StoreError> {
        let Some(row) = self.row(id)? else { return Ok(Vec::new()) };
        let found = self.of(row.id).occupied(interval);
        self.read(found)
    }

    fn usage(&mut self, id: &PoolId, interval: Interval) -> Result<Usage, StoreError> {
        let Some(row) = self.row(id)? else { return Ok(Usage::default()) };
        let rested = self.now.boot.checked_sub(row.cooldown).map_or(-1, milliseconds);
        let usage = self.of(row.id).usage(interval, rested);
        self.read(usage)
    }

    fn outbox(&mut self, now: u64, limit: usize) -> Result<Vec<Dirty>, StoreError> {
        let found = self.pools().outbox(now, limit);
        self.read(found)
    }

    fn dirty(&mut self, id: &PoolId, addr: Addr) -> Result<Option<Dirty>, StoreError> {
        let Some(row) = self.row(id)? else { return Ok(None) };
        let found = self.of(row.id).dirty(id, addr);
        self.read(found)
    }

    fn set_dirty(&mut self, dirty: &Dirty) -> Result<(), StoreError> {
        let row = self.row_or_make(&dirty.id)?;
        let set = self.of(row.id).set_dirty(dirty);
        self.wrote(set)
    }

    fn clear_dirty(&mut self, id: &PoolId, addr: Addr) -> Result<(), StoreError> {
        let Some(row) = self.row(id)? else { return Ok(()) };
        let cleared = self.of(row.id).clear_dirty(addr);
        let cleared = self.read(cleared)?;
        self.changed |= cleared;
        Ok(())
    }

    fn backlog(&mut self) -> Result<Backlog, StoreError> {
        let backlog = self.pools().backlog();
        self.read(backlog)
    }
}

impl PoolTx<'_> {
    /// Why an address could not be taken: somebody has it, or free space and allocations contradict.
    fn not_free(&mut self, id: &PoolId, addr: Addr) -> StoreError {
        match self.at(id, addr) {
            Ok(Some(held)) => StoreError::Held {
                addr,
                holder: format!("{} of {}", held.attachment, held.network),
                path: self.ledger.database.path.clone(),
            },
            Ok(None) => {
                self.failed = true;
                self.ledger.database.failed("write", rusqlite::Error::QueryReturnedNoRows)
            }
            Err(error) => error,
        }
    }

    /// Keeps what the last decision for this pool was made from, if that is something else than before.
    fn keep_layout(
        &mut self,
        allocation: &Allocation,
        set: usize,
        row: NetworkRow,
    ) -> Result<(), StoreError> {
        let Allocation { id, addr, owner, attachment, .. } = allocation;
        let Some((_, layout)) = self.layout.as_ref().filter(|(of, _)| of == id) else {
            return Ok(());
        };
        if layout.policy.strategy == Strategy::Sticky
            && let Some(pod) = PodInterface::of(owner, &attachment.ifname)
        {
            let choice = Choice { set, addr: *addr, held: false };
            self.sticky.push((id.clone(), pod, choice));
        }
        let digest = signed(Layout::digest(&layout.sets, layout.policy));
        if row.digest == Some(digest) {
            return Ok(());
        }
        let (cooldown, kept) = (layout.policy.cooldown, self.of(row.id).set_layout(layout, digest));
        self.wrote(kept)?;
        self.rows.insert(id.clone(), NetworkRow { digest: Some(digest), cooldown, ..row });
        Ok(())
    }
}
