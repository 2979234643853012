//! Watching: changes told in their order, over the loss of connections.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use etcd_client::{Client, WatchOptions, WatchResponse, WatchStream};
use ipam_pool::txn::Kv;
use tokio::time::{sleep, timeout};

use super::endpoint::Endpoint;
use super::errors::{EtcdError, Fault, Kind, Phase, together};
use super::rounds::jittered;
use super::wire;

/// How long a watch may take to begin.
const BEGIN: Duration = Duration::from_secs(2);
/// After how long a watch without a change counts as one.
const SETTLED: Duration = Duration::from_secs(1);
/// For how long no endpoint may help before the watch is given up.
const LOST: Duration = Duration::from_secs(5);
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(400));

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was written.
    Put(Kv),
    /// It was deleted, by this revision.
    Deleted {
        /// The key.
        key: Vec<u8>,
        /// The revision.
        revision: i64,
    },
}

/// What is watched, and how far it has come.
pub(super) struct Watch<'a> {
    pub(super) range: (Vec<u8>, Vec<u8>),
    /// The first revision that may not have been told yet, whole.
    pub(super) next: i64,
    /// The keys of that revision that have been told. A revision may come in several messages, and a
    /// connection end between two of them; no key changes twice in one revision.
    pub(super) told: HashSet<Vec<u8>>,
    pub(super) deadline: Option<Instant>,
    pub(super) each: &'a mut dyn FnMut(Change) -> bool,
}

/// Why a stream has come to its end.
enum End {
    /// Nobody wants more, or there is no time any more.
    Wanted,
    /// It broke; whether it had been of use.
    Broken(Fault, bool),
    /// There is no sense in going on.
    Fatal(EtcdError),
}

impl Watch<'_> {
    /// Watches, at another endpoint where one fails.
    pub(super) async fn run(
        mut self,
        endpoints: &mut [Endpoint],
        preferred: &mut usize,
    ) -> Result<(), EtcdError> {
        let mut faults: Vec<Option<Fault>> = vec![None; endpoints.len()];
        let mut lost_since = Instant::now();
        let mut pause = PAUSES.0;
        loop {
            let position = *preferred % endpoints.len().max(1);
            let Some(endpoint) = endpoints.get_mut(position) else { return Ok(()) };
            let (fault, useful) = match self.at(endpoint).await {
                End::Wanted => return Ok(()),
                End::Fatal(error) => return Err(error),
                End::Broken(fault, useful) => (fault, useful),
            };
            endpoint.mark();
            if useful {
                (lost_since, pause) = (Instant::now(), PAUSES.0);
                faults.fill(None);
            }
            let final_word = fault.final_word;
            if let Some(place) = faults.get_mut(position) {
                *place = Some(fault);
            }
            let all_refuse = faults.iter().all(|f| f.as_ref().is_some_and(|f| !f.retry));
            if final_word || all_refuse || lost_since.elapsed() > LOST {
                let urls = endpoints.iter().map(|e| e.url.to_string());
                let faults: Vec<_> = urls.zip(faults).filter_map(|(u, f)| Some((u, f?))).collect();
                return Err(together(&faults, false));
            }
            *preferred = (position + 1) % endpoints.len().max(1);
            let wait = jittered(pause);
            if self.left().is_some_and(|left| left <= wait) {
                sleep(self.left().unwrap_or_default()).await;
                return Ok(());
            }
            sleep(wait).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Watches at one endpoint.
    async fn at(&mut self, endpoint: &Endpoint) -> End {
        let begin = self.left().map_or(BEGIN, |left| left.min(BEGIN));
        let mut stream = match timeout(begin, self.begin(endpoint)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(fault)) => return End::Broken(fault, false),
            Err(_) if self.left() == Some(Duration::ZERO) => return End::Wanted,
            Err(_) => return End::Broken(Fault::silent(Phase::Connecting), false),
        };
        let begun = Instant::now();
        let mut told = false;
        loop {
            let message = match self.left() {
                Some(left) => match timeout(left, stream.message()).await {
                    Ok(message) => message,
                    Err(_) => return End::Wanted,
                },
                None => stream.message().await,
            };
            // A member without a leader begins to watch, too, and ends at once.
            let useful = told || begun.elapsed() > SETTLED;
            let response = match message {
                Ok(Some(response)) => response,
                Ok(None) => {
                    let error = etcd_client::Error::WatchError("the watch was ended".to_owned());
                    return End::Broken(Fault::of(&error, Phase::Connecting), useful);
                }
                Err(error) => return End::Broken(Fault::of(&error, Phase::Connecting), useful),
            };
            if response.canceled() {
                return self.canceled(&response, useful);
            }
            told |= !response.events().is_empty();
            if !self.tell(&response) {
                return End::Wanted;
            }
        }
    }

    async fn begin(&self, endpoint: &Endpoint) -> Result<WatchStream, Fault> {
        let client: Client = endpoint.client().await?;
        let options = WatchOptions::new()
            .with_range(self.range.1.clone())
            .with_start_revision(self.next)
            .with_progress_notify()
            .with_fragment();
        client
            .watch_client()
            .max_decoding_message_size(usize::MAX)
            .watch(self.range.0.clone(), Some(options))
            .await
            .map_err(|error| Fault::of(&error, Phase::Connecting))
    }

    fn canceled(&self, response: &WatchResponse, useful: bool) -> End {
        let compacted = response.compact_revision();
        if compacted > 0 {
            let from = self.next;
            return End::Fatal(EtcdError {
                kind: Kind::Refused,
                message: format!(
                    "the changes from revision {from} on are compacted away; those from {compacted} on are there"
                ),
                advice: "read everything anew, and watch from the revision of that reading on",
            });
        }
        let code = tonic::Code::Unavailable;
        let fault = Fault::of_answer(code, response.cancel_reason(), Phase::Connecting);
        End::Broken(fault, useful)
    }

    /// Tells what a message brings; false if nobody wants more.
    fn tell(&mut self, response: &WatchResponse) -> bool {
        for event in response.events() {
            let Some(kv) = event.kv() else { continue };
            let revision = kv.mod_revision();
            if revision < self.next {
                continue;
            }
            if revision > self.next {
                self.next = revision;
                self.told.clear();
            }
            if !self.told.insert(kv.key().to_vec()) {
                continue;
            }
            // A key that is there has had one version at least.
            let change = if kv.version() == 0 {
                Change::Deleted { key: kv.key().to_vec(), revision }
            } else {
                Change::Put(wire::kv(kv))
            };
            if !(self.each)(change) {
                return false;
            }
        }
        // A message without events says that all up to its revision was told, but the first one, which
        // says that the watch is there.
        if response.events().is_empty()
            && !response.created()
            && let Some(header) = response.header()
            && header.revision() >= self.next
        {
            self.next = header.revision().saturating_add(1);
            self.told.clear();
        }
        true
    }
}
