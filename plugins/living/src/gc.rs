/*!
What nobody lives for any more is freed.

The order is what makes it safe. An address is recorded before the runtime lists its pod, so allocations are
looked at first and the living second: whoever came in between lives, and holds nothing of what was seen.
What is young stays, only networks are touched that a source speaks for, and an allocation is looked at
again under the lock of its store before it is freed.
*/

use std::collections::HashSet;
use std::time::Duration;

use ipam_core::addr::Addr;
use ipam_core::identity::Holder;
use ipam_stores::StoreError;
use ipam_stores::survey::{Allocation, NetworkState, Survey};
use serde::Serialize;

use crate::verdict::{Fate, Trusted, fate, trusted_for};
use crate::{Living, container_of, pod_text};

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// Whose word was asked for.
    pub asked: Trusted,
    /// Whether the operator has named the networks.
    pub named: bool,
    /// The time, in seconds since 1970.
    pub now: u64,
    /// What is younger stays.
    pub grace: Duration,
    /// Whether nothing is changed.
    pub dry_run: bool,
    /// How long to wait for another call's lock.
    pub lock_timeout: Duration,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Swept {
    /// What was freed, or would be.
    pub freed: Vec<Entry>,
    /// What stays.
    pub kept: Vec<Entry>,
    /// What is to be known besides, a sentence each.
    pub notes: Vec<String>,
    /// The last thing that went wrong, if anything did; it is in the notes, too.
    pub failure: Option<StoreError>,
}

/// An allocation that was judged.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Entry {
    /// The network.
    pub network: String,
    /// The address.
    pub address: String,
    /// The container that holds it; `null` if it is not recorded.
    pub container: Option<String>,
    /// The container's interface; `null` if it is not recorded.
    pub ifname: Option<String>,
    /// The pod, `namespace/name`; `null` if it is not recorded.
    pub pod: Option<String>,
    /// Why it is freed, or stays.
    pub why: String,
    /// Who holds it.
    #[serde(skip)]
    pub holder: Holder,
}

impl Entry {
    fn new(state: &NetworkState, held: &Allocation, living: &Living, why: String) -> Self {
        Self {
            network: state.network.clone(),
            address: held.addr.to_string(),
            container: container_of(&held.holder).map(ToString::to_string),
            ifname: match &held.holder {
                Holder::Attachment(attachment) => Some(attachment.ifname.to_string()),
                _ => None,
            },
            pod: pod_text(&living.owner_of(held.network(&state.network), held)),
            why,
            holder: held.holder.clone(),
        }
    }
}

/// Frees what nobody lives for, of networks whose allocations were read before the living were asked.
/// `progress` is told of each network how many allocations were looked at.
pub fn sweep(
    survey: &Survey,
    states: &[NetworkState],
    living: &Living,
    what: Sweep,
    progress: &mut dyn FnMut(usize),
) -> Swept {
    let mut swept = Swept::default();
    for state in states {
        let trusted = trusted_for(state, living, what.named, what.asked);
        if trusted == Trusted::default() && !state.allocations.is_empty() {
            swept.notes.push(format!(
                "{}: left alone, because none of its {} allocations is known to what was asked; \
                 name the network to look at it all the same",
                state.network,
                state.allocations.len()
            ));
            continue;
        }
        if let Err(error) = of_network(survey, state, living, trusted, what, &mut swept) {
            swept.notes.push(format!("{}: {error}", state.network));
            swept.failure = Some(error);
        }
        progress(state.allocations.len());
    }
    swept
}

fn of_network(
    survey: &Survey,
    state: &NetworkState,
    living: &Living,
    trusted: Trusted,
    what: Sweep,
    swept: &mut Swept,
) -> Result<(), StoreError> {
    let mut stale: Vec<(&Allocation, String)> = Vec::new();
    for held in &state.allocations {
        match fate(state, held, living, trusted, what.now, what.grace) {
            Fate::Free(why) => stale.push((held, why)),
            Fate::Keep(why) => swept.kept.push(Entry::new(state, held, living, why)),
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    let freed: HashSet<Addr> = if what.dry_run {
        stale.iter().map(|(held, _)| held.addr).collect()
    } else {
        let allocations: Vec<Allocation> = stale.iter().map(|(held, _)| (*held).clone()).collect();
        survey.free(state, &allocations, what.lock_timeout)?.into_iter().collect()
    };
    for (held, why) in stale {
        if freed.contains(&held.addr) {
            swept.freed.push(Entry::new(state, held, living, why));
        } else {
            let why = "it has changed meanwhile".to_owned();
            swept.kept.push(Entry::new(state, held, living, why));
        }
    }
    Ok(())
}
