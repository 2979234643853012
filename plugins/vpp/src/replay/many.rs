/*!
The ends of many veth pairs, opened in one go: what takes nearly all of the time when VPP comes back with nothing.

VPP's main thread does one request after the other, and the kernel lets it wait 45 ms for each end. A client that
asks for one, waits, looks at the next pod and asks again adds its own time to that. So one thread looks at pods,
and whatever it has looked at by the time that VPP has done what it was asked before is asked for together.

Only attachments by veth whose pair is whole, and of which VPP has nothing, are done so; all others are left to
[`super::one`].
*/

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use vpp_api::Client;

use super::one::{Failed, InPod, around, fine_or, look_into};
use super::{Nodes, PodState, Replay, node_key};
use crate::attach::plan::finish;
use crate::attach::seen::find;
use crate::attach::step::{Step, apply_all};
use crate::attach::veth;
use crate::config::Kind;
use crate::errors::Problem;
use crate::names::NetworkHash;
use crate::node::{Dumped, Ready};
use crate::plugin::{dump, namespace_of};
use crate::pod::Pod;
use crate::record::{Listed, Record};
use crate::tag::Tag;

/// How many are asked for together at most: a call of the same network waits for them, about 1.5 s.
const MOST: usize = 32;
/// What calls of a network get between two batches: they try its lock every 2 ms.
const TURN: Duration = Duration::from_millis(5);

/// An attachment that VPP has nothing of.
#[derive(Clone, Copy)]
struct Lacking<'a> {
    tag: Tag,
    record: &'a Record,
    ready: &'a Ready,
}

/// What is known of it before VPP is asked.
struct Looked<'a> {
    lacking: Lacking<'a>,
    /// `None`: its namespace is gone.
    in_pod: Result<Option<InPod>, Failed>,
}

/// What became of attachments.
pub(super) type States = BTreeMap<Tag, Result<PodState, Failed>>;

impl Replay<'_> {
    /// Makes what VPP has nothing of, where that can be done in one go. What is not in the answer is to be looked at
    /// by itself.
    pub(super) fn many(
        &self,
        vpp: &mut Client,
        dumped: &Dumped,
        nodes: &Nodes,
        listed: &[Listed],
        busy: &mut BTreeSet<NetworkHash>,
    ) -> States {
        let mut all: Vec<Lacking<'_>> = Vec::new();
        for listed in listed {
            let Ok(record) = &listed.record else { continue };
            let Some(Ok(ready)) = nodes.get(&node_key(record)) else { continue };
            let has_none = find(&dumped.interfaces, listed.tag, &record.device).is_none();
            if record.kind == Kind::Veth && has_none {
                all.push(Lacking { tag: listed.tag, record, ready });
            }
        }
        let mut states = States::new();
        // One alone is as fast by itself.
        if all.len() < 2 {
            return states;
        }
        std::thread::scope(|scope| {
            let (to, looked) = sync_channel(MOST);
            let lookers = all.iter().copied();
            scope.spawn(move || {
                for lacking in lookers {
                    // Nobody takes it when there is no time left.
                    if to.send(Looked { lacking, in_pod: look(lacking) }).is_err() {
                        return;
                    }
                }
            });
            self.batches(vpp, &looked, busy, &mut states);
        });
        states
    }

    /// Takes what was looked at, as much as there is, until no more comes.
    fn batches<'a>(
        &self,
        vpp: &mut Client,
        looked: &Receiver<Looked<'a>>,
        busy: &mut BTreeSet<NetworkHash>,
        states: &mut States,
    ) {
        let mut next: Option<Looked<'a>> = None;
        loop {
            let Some(first) = next.take().or_else(|| looked.recv().ok()) else { return };
            if Instant::now() >= self.place.deadline || !vpp.is_connected() {
                return;
            }
            let network = first.lacking.tag.network;
            let mut batch = vec![first];
            while batch.len() < MOST {
                match looked.try_recv() {
                    Ok(other) if other.lacking.tag.network == network => batch.push(other),
                    Ok(other) => {
                        next = Some(other);
                        break;
                    }
                    Err(_) => break,
                }
            }
            match self.lock(network, busy) {
                Ok(_lock) => self.make_many(vpp, batch, states),
                Err(failed) => {
                    let tags = batch.into_iter().map(|looked| looked.lacking.tag);
                    states.extend(tags.map(|tag| (tag, Err(failed.clone()))));
                }
            }
            std::thread::sleep(TURN);
        }
    }

    /// Makes some of one network, which is locked.
    fn make_many(&self, vpp: &mut Client, batch: Vec<Looked<'_>>, states: &mut States) {
        // A call that was under way may have made it meanwhile.
        let dumped = match dump(vpp) {
            Ok(dumped) => dumped,
            Err(problem) => {
                let failed = Failed::from(problem);
                let tags = batch.iter().map(|looked| looked.lacking.tag);
                states.extend(tags.map(|tag| (tag, Err(failed.clone()))));
                return;
            }
        };
        let has_one =
            |it: &Lacking<'_>| find(&dumped.interfaces, it.tag, &it.record.device).is_some();
        let mut making: Vec<(Lacking<'_>, Vec<String>)> = Vec::new();
        for Looked { lacking, in_pod } in batch {
            let tag = lacking.tag;
            let record = self.place.records.read(tag);
            match (record, in_pod) {
                (Err(error), _) => drop(states.insert(tag, Err(error.into()))),
                // Its DEL has come meanwhile.
                (Ok(now), _) if now.as_ref() != Some(lacking.record) => {
                    states.insert(tag, Ok(PodState::Fine));
                }
                _ if has_one(&lacking) => {}
                (_, Err(failed)) => drop(states.insert(tag, Err(failed))),
                (_, Ok(None)) => drop(states.insert(tag, Ok(PodState::NamespaceGone))),
                (_, Ok(Some(InPod { is_whole: true, differs }))) => making.push((lacking, differs)),
                // Its interface in the pod is made, too: by itself.
                (_, Ok(Some(InPod { is_whole: false, .. }))) => {}
            }
        }
        let records = making.iter().map(|(lacking, _)| lacking.record);
        let made = match veth::create_all(vpp, records) {
            Ok(made) => made,
            Err(problem) => {
                let failed = Failed::from(problem);
                let tags = making.iter().map(|(lacking, _)| lacking.tag);
                states.extend(tags.map(|tag| (tag, Err(failed.clone()))));
                return;
            }
        };
        let mut finishing = Vec::new();
        let mut steps: Vec<(vpp_api::IfIndex, Vec<Step>)> = Vec::new();
        for ((lacking, differs), made) in making.into_iter().zip(made) {
            let Lacking { tag, record, ready } = lacking;
            match made {
                // Nobody knew of it a moment ago: whether it is alive is found out by itself.
                Ok(made) if made.existed => {}
                Ok(made) => {
                    steps.push((made.sw_if_index, finish(record, tag, around(ready))));
                    finishing.push((tag, differs));
                }
                Err(error) => drop(states.insert(tag, Err(error.into()))),
            }
        }
        let results = apply_all(vpp, &steps);
        for ((tag, in_pod), result) in finishing.into_iter().zip(results) {
            let mut found = vec!["VPP has no interface for it".to_owned()];
            let state = match result {
                Err(error) => Err(Problem::from(error).into()),
                Ok(()) if in_pod.is_empty() => Ok(PodState::Repaired(found)),
                Ok(()) => {
                    found.extend(in_pod);
                    Ok(fine_or(found, PodState::Differs))
                }
            };
            states.insert(tag, state);
        }
    }
}

/// Looks at one: `None` if its namespace is gone.
fn look(lacking: Lacking<'_>) -> Result<Option<InPod>, Failed> {
    let Some(namespace) = namespace_of(lacking.record) else { return Ok(None) };
    let mut pod = Pod::enter(namespace)?;
    look_into(&mut pod, lacking.record, lacking.tag).map(Some)
}
