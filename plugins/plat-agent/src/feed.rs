/*!
What etcd tells: each range of a source is read whole, then watched, by a thread of its own.

When the watch ends, because its revision was compacted away, the connection was lost for some seconds, or some
minutes are over, the range is read again. While etcd is away nothing is told but that, so that everything
stays as it was.
*/

use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use etcd_pool::client::{Change, Connection, Etcd};
use ipam_pool::key::KeyRange;
use ipam_pool::txn::{Op, Reply, Txn};

use crate::daemon::Event;
use crate::sources::{Sources, Update, below};

/// How long reading a range may take.
const READ: Duration = Duration::from_secs(10);
/// After how long a range is read anew, whatever was told.
const ANEW: Duration = Duration::from_secs(300);
/// How long to wait after a failure, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A range of a source.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) connection: Connection,
    pub(crate) source: usize,
    pub(crate) position: usize,
    pub(crate) range: KeyRange,
    /// What is there as long as the data are: where it is missing, nothing is to be learned.
    pub(crate) guard: Option<Guard>,
}

/// A sign that data were not lost.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    /// Keys, or ranges of them: if anything of any of these is there, so are the data.
    any: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// What is said where nothing is.
    lost: String,
}

impl Guard {
    /// The registry's: the key that was written when the first node joined.
    pub(crate) fn registry(meta: Vec<u8>) -> Self {
        let lost = format!(
            "etcd has no key {}: no node was ever registered there, or its data are lost",
            String::from_utf8_lossy(&meta)
        );
        Self { any: vec![(meta, None)], lost }
    }

    /// Calico's: the cluster's own record, which calico/node writes at its first start and nobody deletes
    /// (libcalico-go, ClusterInformation `default`). Data of before there was one are there as long as any
    /// block is.
    pub(crate) fn calico(prefix: &str) -> Self {
        let record = format!("{prefix}/resources/v3/projectcalico.org/clusterinformations/default");
        let (first, end) = below(format!("{prefix}/ipam/v2/"));
        let lost = format!(
            "etcd has neither {record} nor anything below {prefix}/ipam/v2/: Calico was never there, or its data are \
             lost"
        );
        Self { any: vec![(record.into_bytes(), None), (first, Some(end))], lost }
    }

    /// What is to be asked.
    fn ops(&self) -> impl Iterator<Item = Op> {
        self.any.iter().map(|(key, end)| Op::Get {
            key: key.clone(),
            end: end.clone(),
            keys_only: true,
            limit: 1,
        })
    }

    /// Whether the answers from this position on have a sign.
    fn holds(&self, reply: &Reply, first: usize) -> Result<(), String> {
        let there = |position: usize| !reply.got(first.saturating_add(position)).is_empty();
        if (0..self.any.len()).any(there) { Ok(()) } else { Err(self.lost.clone()) }
    }
}

/// Starts a thread that tells about a range as long as somebody listens.
pub(crate) fn start(place: Place, to: Sender<Event>) {
    thread::spawn(move || follow(&place, &to));
}

fn follow(place: &Place, to: &Sender<Event>) {
    let mut pause = PAUSES.0;
    let id = (place.source, place.position);
    loop {
        let trouble = match once(place, to, &mut pause) {
            Ok(true) => continue,
            Ok(false) => return,
            Err(trouble) => trouble,
        };
        if to.send(Event::EtcdTrouble(id, Some(trouble))).is_err() {
            return;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Reads and watches once; false if nobody listens any more.
fn once(place: &Place, to: &Sender<Event>, pause: &mut Duration) -> Result<bool, String> {
    let mut etcd = Etcd::new(&place.connection).map_err(|error| error.message)?;
    let (revision, kvs) = read(&mut etcd, place)?;
    let id = (place.source, place.position);
    let told = to.send(Event::Etcd(id, Update::Range(kvs))).is_ok()
        && to.send(Event::EtcdTrouble(id, None)).is_ok();
    if !told {
        return Ok(false);
    }
    *pause = PAUSES.0;
    let mut heard = true;
    let mut trouble = None;
    let mut guardian = Guardian { etcd: None, place, seen: revision };
    let deadline = Instant::now() + ANEW;
    let watched = etcd.watch(
        place.range.clone(),
        revision.saturating_add(1),
        Some(deadline),
        &mut |change| {
            let update = match change {
                Change::Put(kv) => Update::Put(kv.key, kv.value),
                Change::Deleted { key, revision } => {
                    if let Err(why) = guardian.vouch(revision) {
                        trouble = Some(why);
                        return false;
                    }
                    Update::Gone(key)
                }
            };
            heard = to.send(Event::Etcd(id, update)).is_ok();
            heard
        },
    );
    watched.map_err(|error| error.message)?;
    trouble.map_or(Ok(heard), Err)
}

/// Tells a key that was deleted from data that were lost: all of it may come as deletions, in any order over
/// the ranges. Only a deletion after which the guard is still there is one.
struct Guardian<'a> {
    /// A connection of its own: the other one watches.
    etcd: Option<Etcd>,
    place: &'a Place,
    /// Until which revision the guard was there.
    seen: i64,
}

impl Guardian<'_> {
    fn vouch(&mut self, revision: i64) -> Result<(), String> {
        let Some(guard) = &self.place.guard else { return Ok(()) };
        if revision <= self.seen {
            return Ok(());
        }
        // The client blocks, and so does its runtime, which cannot be entered from within another one.
        let (place, taken) = (self.place, self.etcd.take());
        let asked = thread::scope(|scope| {
            let ask = scope.spawn(move || {
                let mut etcd = match taken {
                    Some(etcd) => etcd,
                    None => Etcd::new(&place.connection).map_err(|error| error.message)?,
                };
                let txn = Txn { then: guard.ops().collect(), ..Txn::default() };
                let reply = etcd.txn(&txn, Instant::now() + READ).map_err(|error| error.message)?;
                guard.holds(&reply, 0)?;
                Ok((etcd, reply.revision))
            });
            ask.join().unwrap_or_else(|_| Err("etcd could not be asked".to_owned()))
        });
        let (etcd, seen) = asked?;
        (self.etcd, self.seen) = (Some(etcd), seen);
        Ok(())
    }
}

type Kvs = Vec<(Vec<u8>, Vec<u8>)>;

fn read(etcd: &mut Etcd, place: &Place) -> Result<(i64, Kvs), String> {
    let mut then = vec![Op::range(place.range.clone())];
    then.extend(place.guard.iter().flat_map(Guard::ops));
    let txn = Txn { then, ..Txn::default() };
    let reply = etcd.txn(&txn, Instant::now() + READ).map_err(|error| error.message)?;
    if let Some(guard) = &place.guard {
        guard.holds(&reply, 1)?;
    }
    let kvs = reply.got(0).iter().map(|kv| (kv.key.clone(), kv.value.clone()));
    Ok((reply.revision, kvs.collect()))
}

/// Reads all ranges of all sources once; what is wrong, each thing once. An etcd that has not answered is not
/// asked again.
pub(crate) fn load(sources: &mut Sources, places: &[Place]) -> Vec<String> {
    let mut away: Vec<(&Connection, String)> = Vec::new();
    for place in places {
        if away.iter().any(|(connection, _)| *connection == &place.connection) {
            continue;
        }
        let loaded = Etcd::new(&place.connection)
            .map_err(|error| error.message)
            .and_then(|mut etcd| read(&mut etcd, place));
        match loaded {
            Ok((_, kvs)) => {
                sources.update(place.source, place.position, Update::Range(kvs));
            }
            Err(message) => away.push((&place.connection, message)),
        }
    }
    away.into_iter().map(|(_, message)| message).collect()
}
