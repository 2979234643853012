//! ADD.

use std::path::Path;

use cni::{Call, Code, Dns, Error};
use host_local::call::{attachment, network, result};
use host_local::errors::store_error;
use ipam_core::identity::{Attachment, Network};
use ipam_pool::ops::{self, Add, AddRequest, Added, Context, Ensure, Join, Trouble};
use ipam_pool::record::Mode;
use ipam_stores::{Command, Outcome, PoolLedger, StoreError};
use node_local::Surroundings;

use super::{BUDGET, warn_all};
use crate::client::Connection;
use crate::config::Config;
use crate::errors::trouble_error;
use crate::home;
use crate::identity::{facts, nonce, now};
use crate::reach::Reach;

/// What is to be done after an ADD.
#[derive(Clone, Copy, Debug)]
pub(super) struct Afterwards {
    /// Whether something is left to write to etcd.
    pub(super) flush: bool,
}

/// Why an ADD gave nothing, and what is to be done about it.
#[derive(Debug)]
pub(super) struct Failed {
    /// The answer.
    pub(super) error: Error,
    /// What to do after it.
    pub(super) afterwards: Afterwards,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, afterwards: Afterwards { flush: false } }
    }
}

/// One ADD.
struct Adding<'a> {
    call: &'a Call,
    config: &'a Config,
    network: Network,
    attachment: Attachment,
    nonce: String,
    context: Context,
    ledger: PoolLedger,
    reach: Reach,
    joined: bool,
}

/// Why an ADD gave nothing.
enum Failure {
    Trouble(Trouble),
    Store(StoreError),
    Answer(Error),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Gives addresses to the attachment of the call.
pub(super) fn add(
    call: &Call,
    config: &Config,
    connection: &Connection,
    database: &Path,
    dns: Dns,
) -> Result<(cni::Added, Afterwards), Failed> {
    let mut adding = Adding {
        call,
        config,
        network: network(call)?,
        attachment: attachment(call)?,
        nonce: nonce().map_err(|e| chance(&e))?,
        context: home::context(connection),
        ledger: home::ledger(call, database, config.place.lock_timeout).counting(Command::Add),
        reach: Reach::new(connection.clone(), BUDGET),
        joined: false,
    };
    let added = adding.run();
    if let Err(Failure::Trouble(trouble)) = &added {
        let unwanted = matches!(trouble, Trouble::Unwanted);
        let outcome = if unwanted { Outcome::Unwanted } else { Outcome::Refused };
        adding.ledger.count_failed(&adding.network, outcome);
    }
    warn_all(call, &mut adding.ledger);
    let added = added.map_err(|failure| match failure {
        Failure::Trouble(trouble) => Failed {
            // Nothing was asked of etcd for this, and the pool may have been changed there: the next try knows.
            afterwards: Afterwards { flush: matches!(trouble, Trouble::TooManyBlocks { .. }) },
            error: trouble_error(&trouble, adding.reach.trouble()),
        },
        Failure::Store(error) => store_error(&error).into(),
        Failure::Answer(error) => error.into(),
    })?;
    let addresses = added.allocations.iter().filter_map(|given| added.pool.answer(given.addr));
    let result = result(addresses, &config.routes, dns);
    let flush = adding.joined || !added.held && added.pool.mode == Mode::Local;
    let Adding { network, attachment, nonce, mut ledger, .. } = adding;
    let undo = Box::new(move || {
        // A failure leaves the allocation to the DEL that the runtime sends after a failed ADD.
        let _ = ops::undo(&mut ledger, now(), &nonce, &network, &attachment);
    });
    Ok((cni::Added { result: result.into(), undo }, Afterwards { flush }))
}

impl Adding<'_> {
    fn run(&mut self) -> Result<Added, Failure> {
        let trouble = match self.once()? {
            Ok(added) => return Ok(added),
            Err(trouble) => trouble,
        };
        if !is_outdated(&trouble) {
            return Err(Failure::Trouble(trouble));
        }
        match self.refresh()? {
            Ok(()) => self.once()?.map_err(Failure::Trouble),
            // Why etcd was needed says more than that it did not answer.
            Err(Trouble::Away) if !matches!(trouble, Trouble::NoPool { .. }) => {
                Err(Failure::Trouble(trouble))
            }
            Err(trouble) => Err(Failure::Trouble(trouble)),
        }
    }

    /// Adds by what the node knows.
    fn once(&mut self) -> Result<Result<Added, Trouble>, Failure> {
        let caller = self.call.caller;
        let request = AddRequest {
            id: self.config.id.clone(),
            network: self.network.clone(),
            attachment: self.attachment.clone(),
            owner: self.config.owner.clone(),
            requested: self.config.requested.clone(),
            families: self.config.families.clone(),
            strategy: self.config.strategy,
            nonce: self.nonce.clone(),
            wanted: Box::new(move || caller.is_waiting()),
        };
        let mut operation = Add::new(self.context.clone(), request);
        let added = match self.reach.run(&mut operation, &mut self.ledger)? {
            Ok(added) => added,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let Some((_, pool)) = &self.config.described else { return Ok(Ok(added)) };
        let differences = pool.differences(&added.pool);
        if differences.is_empty() {
            return Ok(Ok(added));
        }
        // By the nonce only what this call has given.
        ops::undo(&mut self.ledger, now(), &self.nonce, &self.network, &self.attachment)?;
        Ok(Err(Trouble::PoolDiffers { name: self.config.id.pool.clone(), differences }))
    }

    /// Reads what there is in etcd, registers the node, and makes the pool that the configuration
    /// describes.
    fn refresh(&mut self) -> Result<Result<(), Trouble>, Failure> {
        let node = node_local::preferred(&self.call.config, &Surroundings::of(self.call))
            .map_err(|problem| Failure::Answer(problem.error))?;
        let index = node.map(|node| node.index);
        let facts = facts(index, self.reach.connection())
            .map_err(|error| Failure::Answer(chance(&error)))?;
        let space = self.config.id.space.clone();
        let mut join = Join::new(self.context.clone(), facts, space.clone());
        if let Err(trouble) = self.reach.run(&mut join, &mut self.ledger)? {
            return Ok(Err(trouble));
        }
        self.joined = true;
        let Some((spec, _)) = &self.config.described else { return Ok(Ok(())) };
        let mut ensure = Ensure::new(self.context.clone(), space, spec.clone());
        Ok(self.reach.run(&mut ensure, &mut self.ledger)?.map(|_| ()))
    }
}

/// Whether it may be otherwise by what is in etcd now.
const fn is_outdated(trouble: &Trouble) -> bool {
    matches!(
        trouble,
        Trouble::NoContact
            | Trouble::Autonomy { .. }
            | Trouble::NoPool { .. }
            | Trouble::NoFamily { .. }
            | Trouble::PoolDiffers { .. }
    )
}

/// There are no random numbers.
fn chance(error: &std::io::Error) -> Error {
    Error::new(Code::Io, format!("/dev/urandom cannot be read: {error}"))
        .with_details("allocations are named by random numbers of the kernel's")
}
