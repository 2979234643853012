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
use ipam_pool::txn::{Op, Txn};

use crate::daemon::Event;
use crate::sources::{Sources, Update};

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
    /// A key that is there as long as the data are: where it is missing, nothing is to be learned.
    pub(crate) guard: Option<Vec<u8>>,
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
                let txn = Txn { then: vec![Op::get(guard.clone())], ..Txn::default() };
                let reply = etcd.txn(&txn, Instant::now() + READ).map_err(|error| error.message)?;
                if reply.one(0).is_none() {
                    return Err(lost(guard));
                }
                Ok((etcd, reply.revision))
            });
            ask.join().unwrap_or_else(|_| Err("etcd could not be asked".to_owned()))
        });
        let (etcd, seen) = asked?;
        (self.etcd, self.seen) = (Some(etcd), seen);
        Ok(())
    }
}

fn lost(guard: &[u8]) -> String {
    format!(
        "etcd has no key {}: no node was ever registered there, or its data are lost",
        String::from_utf8_lossy(guard)
    )
}

type Kvs = Vec<(Vec<u8>, Vec<u8>)>;

fn read(etcd: &mut Etcd, place: &Place) -> Result<(i64, Kvs), String> {
    let mut then = vec![Op::range(place.range.clone())];
    then.extend(place.guard.clone().map(Op::get));
    let txn = Txn { then, ..Txn::default() };
    let reply = etcd.txn(&txn, Instant::now() + READ).map_err(|error| error.message)?;
    if let Some(guard) = &place.guard
        && reply.one(1).is_none()
    {
        return Err(lost(guard));
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
