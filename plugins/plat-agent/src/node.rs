/*!
The node in etcd: registered with its addresses, alive, and what its pools need done.

All of it is done by one thread. While it holds the lock of whoever flushes, calls of etcd-pool leave
writing to etcd to it.
*/

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use etcd_pool::client::{Connection, Etcd};
use etcd_pool::errors::trouble_error;
use etcd_pool::identity::{facts, now};
use etcd_pool::reach::Reach;
use etcd_pool::{flusher, home};
use ipam_core::config::LOCK_TIMEOUT;
use ipam_pool::ledger::{Ledger as _, Tx as _};
use ipam_pool::ops::{Context, Facts, Join};
use ipam_pool::record::{self, NodeRecord};
use ipam_pool::txn::{Compare, Op, Txn};
use ipam_stores::lock::Lock;
use ipam_stores::{Database, PoolLedger, StateDirs};
use ipnet::IpNet;

use crate::config::Config;
use crate::daemon::Event;
use crate::desired::Connected;
use crate::place::write_index;
use crate::sources::Me;

/// How often the thread looks whether something is to be done.
const TICK: Duration = Duration::from_millis(250);
/// How often blocks are seen to where no call has left anything to write.
const UPKEEP: Duration = Duration::from_secs(5);
/// How often the node's record is compared, and how often joining is tried.
const REGISTER: Duration = Duration::from_secs(30);
/// See [`REGISTER`].
const RETRY: Duration = Duration::from_secs(2);
/// For how long a node counts as alive after its agent's last word, in seconds, and how often it has one.
const TTL: i64 = 60;
/// See [`TTL`].
const RENEW: Duration = Duration::from_secs(20);
/// How long etcd is waited for.
const BUDGET: Duration = Duration::from_secs(5);

/// What this thread needs.
pub(crate) struct Node {
    connection: Connection,
    dirs: StateDirs,
    space: String,
    index: Option<u32>,
    addresses: Vec<IpAddr>,
    interface: Option<String>,
    subnets: Vec<IpNet>,
    name: String,
    context: Context,
    ledger: PoolLedger,
    lock: Option<Lock>,
    etcd: Option<Etcd>,
    lease: Option<i64>,
    joined: bool,
}

impl Node {
    /// The node of a configuration.
    pub(crate) fn new(config: &Config, connection: &Connection, dirs: &StateDirs) -> Self {
        let database = Database::new(dirs.volatile.join("plat.db"), dirs.clone(), LOCK_TIMEOUT);
        Self {
            connection: connection.clone(),
            dirs: dirs.clone(),
            space: config.space.clone(),
            index: config.index,
            addresses: config.addresses.clone(),
            interface: config.interface.clone(),
            subnets: config.subnets.clone(),
            name: config.node.clone(),
            context: home::context(connection),
            ledger: PoolLedger::new(database, false),
            lock: None,
            etcd: None,
            lease: None,
            joined: false,
        }
    }

    /// Who it is, as far as it has ever met etcd.
    pub(crate) fn me(&mut self) -> Me {
        let uuid = self.ledger.visit(|tx| Ok(tx.node().uuid.clone())).ok().flatten();
        Me {
            uuid: uuid.filter(|uuid| !uuid.is_empty()),
            name: self.name.clone(),
            addresses: self.addresses.clone(),
        }
    }

    /// Registers the node, tells node-local its index, and does once what its pools need.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub(crate) fn once(&mut self) -> Result<(), String> {
        self.register()?;
        if self.lock.is_none() {
            self.lock =
                flusher::take_lock(&self.dirs.volatile).map_err(|error| error.to_string())?;
        }
        if self.lock.is_some() { self.upkeep() } else { Ok(()) }
    }

    /// Does so as long as nobody says that it is to stop.
    pub(crate) fn start(mut self, to: Sender<Event>, stop: Arc<AtomicBool>) -> JoinHandle<()> {
        thread::spawn(move || {
            self.run(&to, &stop);
            self.leave();
        })
    }

    fn run(&mut self, to: &Sender<Event>, stop: &AtomicBool) {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(3600));
        let mut last = [long_ago; 3];
        let due =
            |last: Option<Instant>, every: Duration| last.is_none_or(|at| at.elapsed() >= every);
        let mut troubles: [Option<String>; 3] = [None, None, None];
        let mut me = Me::default();
        let mut told = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let [registered, kept, renewed] = &mut last;
            let [registering, keeping, renewing] = &mut troubles;
            let every = if self.joined && registering.is_none() { REGISTER } else { RETRY };
            if due(*registered, every) {
                *registering = self.register().err();
                *registered = Some(Instant::now());
                let now = self.me();
                if now != me {
                    me = now;
                    if to.send(Event::Me(me.clone())).is_err() {
                        return;
                    }
                }
            }
            if self.lock.is_none() {
                // Whoever has it may be about to end; what cannot be locked is told by the upkeep.
                self.lock = flusher::take_lock(&self.dirs.volatile).ok().flatten();
            }
            let wait = if keeping.is_some() { RETRY } else { TICK };
            if self.joined
                && self.lock.is_some()
                && due(*kept, wait)
                && (due(*kept, UPKEEP) || self.is_due())
            {
                *keeping = self.upkeep().err();
                *kept = Some(Instant::now());
            }
            let every = if renewing.is_some() { RETRY } else { RENEW };
            if self.joined && due(*renewed, every) {
                *renewing = self.renew().err();
                *renewed = Some(Instant::now());
            }
            let now: Vec<String> = troubles.iter().flatten().cloned().collect();
            if now != told {
                told = now;
                if to.send(Event::NodeTroubles(told.clone())).is_err() {
                    return;
                }
            }
            thread::sleep(TICK);
        }
    }

    /// Whether calls have left something to write.
    fn is_due(&mut self) -> bool {
        let due = self.ledger.visit(|tx| tx.outbox(now().boot, 1));
        due.is_ok_and(|due| due.is_some_and(|due| !due.is_empty()))
    }

    fn register(&mut self) -> Result<(), String> {
        let mut facts: Facts = facts(self.index, &self.connection)
            .map_err(|error| format!("/dev/urandom: {error}"))?;
        facts.name.clone_from(&self.name);
        if let Some([a4, a6]) = self.addresses_now() {
            let text =
                |address: Option<IpAddr>| address.map_or_else(String::new, |a| a.to_string());
            (facts.a4, facts.a6) = (text(a4), text(a6));
        }
        if !self.joined {
            let mut reach = Reach::new(self.connection.clone(), BUDGET);
            let mut join = Join::new(self.context.clone(), facts.clone(), self.space.clone());
            let joined =
                reach.run(&mut join, &mut self.ledger).map_err(|error| error.to_string())?;
            joined.map_err(|trouble| trouble_error(&trouble, reach.trouble()).message)?;
            self.joined = true;
        }
        self.tell(&facts)?;
        let index =
            self.ledger.visit(|tx| Ok(tx.node().index)).map_err(|error| error.to_string())?;
        index.flatten().map_or(Ok(()), |index| write_index(&self.dirs, index))
    }

    /// Brings the node's record up to date: joining writes it only once in a boot.
    fn tell(&mut self, facts: &Facts) -> Result<(), String> {
        let Some(uuid) = self.me().uuid else { return Ok(()) };
        let (key, boot) = (self.context.keys.node(&uuid), self.context.keys.boot(&uuid));
        let reply = self.ask(&Txn { then: vec![Op::get(key.clone())], ..Txn::default() })?;
        let Some(kv) = reply.one(0) else {
            // Removed by an operator, or etcd has lost it: joining finds out which.
            self.joined = false;
            return Err("etcd has no record of this node any more".to_owned());
        };
        let there: NodeRecord = record::read(kv).map_err(|error| error.to_string())?;
        let mut record = there.clone();
        record.nets = self.subnets.iter().map(ToString::to_string).collect();
        record.v.clone_from(&facts.version);
        for (field, fact) in [(&mut record.a4, &facts.a4), (&mut record.a6, &facts.a6)] {
            if !fact.is_empty() {
                field.clone_from(fact);
            }
        }
        if record == there {
            return Ok(());
        }
        record.t = now().unix;
        let compares = vec![
            Compare::modified(key.clone(), kv.modified),
            Compare::value(boot, self.context.boot.as_bytes()),
        ];
        let then = vec![Op::put(key, record::write(&record))];
        let reply = self.ask(&Txn { compares, then, ..Txn::default() })?;
        if reply.succeeded {
            return Ok(());
        }
        self.joined = false;
        Err("this node's record was changed by somebody else meanwhile".to_owned())
    }

    /// Its addresses for other nodes where the configuration says which; one that is away for a moment, because
    /// its link is down, is none, and the record keeps it.
    fn addresses_now(&self) -> Option<[Option<IpAddr>; 2]> {
        if self.addresses.is_empty() && self.interface.is_none() {
            return None;
        }
        let mut found: Vec<IpAddr> = self.addresses.clone();
        if let Some(name) = &self.interface {
            let nets = crate::sinks::connected().unwrap_or_default();
            let on_it =
                |net: &&Connected| net.link == *name && crate::desired::is_host(net.address);
            found.extend(nets.iter().filter(on_it).map(|net| net.address));
        }
        let of = |v4: bool| found.iter().find(|address| address.is_ipv4() == v4).copied();
        Some([of(true), of(false)])
    }

    fn upkeep(&mut self) -> Result<(), String> {
        let mut reach = Reach::new(self.connection.clone(), BUDGET);
        match flusher::run_once(&mut self.ledger, &self.context, &mut reach) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(trouble)) => Err(trouble_error(&trouble, reach.trouble()).message),
            Err(error) => Err(error.to_string()),
        }
    }

    fn etcd(&mut self) -> Result<&mut Etcd, String> {
        let etcd = match self.etcd.take() {
            Some(etcd) => etcd,
            None => Etcd::new(&self.connection).map_err(|error| error.message)?,
        };
        Ok(self.etcd.insert(etcd))
    }

    fn ask(&mut self, txn: &Txn) -> Result<ipam_pool::txn::Reply, String> {
        self.etcd()?.txn(txn, Instant::now() + BUDGET).map_err(|error| error.message)
    }

    /// Says that this agent runs.
    fn renew(&mut self) -> Result<(), String> {
        let Some(uuid) = self.me().uuid else { return Ok(()) };
        let before = self.lease;
        let leased = self.etcd()?.lease(before, TTL, Instant::now() + BUDGET);
        let (lease, _) = leased.map_err(|error| error.message)?;
        self.lease = Some(lease);
        let (live, boot) = (self.context.keys.live(&uuid), self.context.keys.boot(&uuid));
        let value = self.context.boot.clone().into_bytes();
        let put = Op::Put { key: live, value: value.clone(), lease };
        let reply = self.ask(&Txn {
            compares: vec![Compare::value(boot, value)],
            then: vec![put],
            ..Txn::default()
        })?;
        if reply.succeeded {
            return Ok(());
        }
        self.joined = false;
        Err("another boot writes for this node in etcd".to_owned())
    }

    /// Says that this agent does not run any more; if etcd is away, the lease says so later.
    fn leave(&mut self) {
        if self.lease.is_none() {
            return;
        }
        let Some(uuid) = self.me().uuid else { return };
        let live = self.context.keys.live(&uuid);
        let txn = Txn {
            compares: vec![Compare::value(live.clone(), self.context.boot.as_bytes())],
            then: vec![Op::delete(live)],
            ..Txn::default()
        };
        if let Ok(etcd) = self.etcd() {
            let _ = etcd.txn(&txn, Instant::now() + Duration::from_secs(1));
        }
    }
}
