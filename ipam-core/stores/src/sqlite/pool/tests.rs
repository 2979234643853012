//! Pools in a database, beside the model in memory and beside other networks of the same database.

mod differential;
mod parked;

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::boot::Moment;
use crate::sqlite::{SqliteLocation, SqliteStore, schema, signed};
use crate::survey::{FaultKind, Survey};
use crate::{StateDirs, StoreError};
use ipam_core::addr::{Addr, Cidr, Interval};
use ipam_core::allocator::{Refusal, Repeat, Request};
use ipam_core::config::Owner;
use ipam_core::identity::{Attachment, ContainerId, IfName, Instance};
use ipam_core::policy::{Policy, Strategy as Order};
use ipam_core::range::{RangeSet, RangeSpec};
use ipam_core::store::Store as _;
use ipam_pool::ledger::{Allocation, Backlog, Dirty, Tx as _, Usage};
use ipam_pool::node::{BootState, Contact, NodeState, PoolId};
use rusqlite::Connection;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(1_000_000) };
}

/// The test's own time, in milliseconds since boot.
fn clock() -> Moment {
    let boot = NOW.with(Cell::get);
    Moment { boot: Duration::from_millis(boot), unix: 1_800_000_000 + boot / 1000 }
}

/// A directory of its own, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let n = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("plat-pools-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn state(&self) -> StateDirs {
        StateDirs { durable: self.0.join("state"), volatile: self.0.join("run") }
    }

    fn database(&self, name: &str) -> Database {
        Database::new(self.0.join("run").join(name), self.state(), Duration::from_secs(5))
            .with_clock(clock)
    }

    fn ledger(&self) -> PoolLedger {
        PoolLedger::new(self.database("plat.db"), false)
    }

    fn sqlite(&self, network: &str) -> SqliteStore {
        let location = SqliteLocation {
            network: Network::new(network).unwrap(),
            instance: Instance::new("node-local").unwrap(),
            elsewhere: false,
            import: None,
        };
        SqliteStore::new(self.database("plat.db"), location)
    }

    fn survey(&self) -> Survey {
        Survey {
            root: PathBuf::from("/"),
            state: self.state(),
            data_dirs: Vec::new(),
            databases: vec![self.0.join("run/plat.db")],
        }
    }

    fn pool_json(&self) -> PathBuf {
        self.0.join("state/pool.json")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn id(pool: &str) -> PoolId {
    PoolId { space: "default".to_owned(), pool: pool.to_owned() }
}

fn addr(text: &str) -> Addr {
    Addr::parse(text).unwrap()
}

fn network(name: &str) -> Network {
    Network::new(name).unwrap()
}

fn attachment(container: &str) -> Attachment {
    Attachment {
        container: ContainerId::new(container).unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    }
}

fn allocation(pool: &str, net: &str, container: &str, at: &str) -> Allocation {
    Allocation {
        id: id(pool),
        addr: addr(at),
        network: network(net),
        attachment: attachment(container),
        owner: Owner { name: Some("web".to_owned()), ..Owner::default() },
        nonce: format!("n-{container}"),
        since: 1_800_000_000,
        revision: 0,
        fence: 7,
        borrowed: false,
    }
}

fn sets(cidrs: &[&str]) -> Vec<RangeSet> {
    cidrs
        .iter()
        .map(|cidr| {
            let spec = RangeSpec { subnet: Cidr::parse(cidr), small: true, ..RangeSpec::default() };
            RangeSet::new(&[spec]).unwrap()
        })
        .collect()
}

/// Decides and inserts; what [`ipam_pool::ops`] does, without its records.
fn add(
    ledger: &mut PoolLedger,
    pool: &str,
    net: &str,
    container: &str,
    sets: &[RangeSet],
    policy: Policy,
) -> Result<Result<Vec<Addr>, Refusal>, StoreError> {
    let (network, attachment, owner) = (network(net), attachment(container), Owner::default());
    ledger.transact(|tx| {
        let request = Request {
            attachment: &attachment,
            sets,
            requested: &[],
            repeat: Repeat::Return,
            pin: None,
            policy,
            owner: &owner,
        };
        let choices = match tx.decide(&id(pool), &network, &request)? {
            Ok(choices) => choices,
            Err(refusal) => return Ok(Err(refusal)),
        };
        for choice in choices.iter().filter(|choice| !choice.held) {
            let at = choice.addr.to_string();
            tx.insert(&allocation(pool, net, container, &at), choice.set)?;
        }
        Ok(Ok(choices.iter().map(|choice| choice.addr).collect()))
    })
}

fn faults(dir: &Dir) -> Vec<FaultKind> {
    let (networks, unseen) = dir.survey().networks();
    assert!(unseen.is_empty(), "{unseen:?}");
    networks.iter().flat_map(|state| state.faults.iter().map(|fault| fault.kind)).collect()
}

#[test]
fn two_networks_of_a_pool_never_get_the_same_address() {
    let dir = Dir::new();
    let mut ledger = dir.ledger();
    let sets = sets(&["10.1.2.0/29"]);
    let policy = Policy::default();
    let mut all = Vec::new();
    for (net, container) in [("red", "c1"), ("blue", "c1"), ("red", "c2"), ("blue", "c2")] {
        all.extend(add(&mut ledger, "a", net, container, &sets, policy).unwrap().unwrap());
    }
    assert_eq!(all, ["10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.2.5"].map(addr));
    // The same attachment of the same network gets the same; another pool is another matter.
    assert_eq!(add(&mut ledger, "a", "blue", "c1", &sets, policy).unwrap().unwrap(), [all[1]]);
    assert_eq!(add(&mut ledger, "b", "blue", "c1", &sets, policy).unwrap().unwrap(), [all[0]]);
    let held = ledger.visit(|tx| tx.held(None, &network("blue"), &attachment("c1"))).unwrap();
    let held: Vec<String> =
        held.unwrap().iter().map(|held| format!("{} {}", held.id, held.addr)).collect();
    assert_eq!(held, ["default/b 10.1.2.2", "default/a 10.1.2.3"]);
}

#[test]
fn what_changes_nothing_writes_nothing() {
    let dir = Dir::new();
    let mut ledger = dir.ledger();
    let sets = sets(&["10.1.2.0/29"]);
    assert_eq!(ledger.visit(|_| Ok(())).unwrap(), None);
    assert!(!dir.0.join("run").exists() && !dir.0.join("state").exists());
    add(&mut ledger, "a", "red", "c1", &sets, Policy::default()).unwrap().unwrap();
    let read = || {
        let pool = fs::metadata(dir.pool_json()).unwrap();
        (fs::read(dir.0.join("run/plat.db")).unwrap(), pool.modified().unwrap())
    };
    let before = read();
    add(&mut ledger, "a", "red", "c1", &sets, Policy::default()).unwrap().unwrap();
    let nothing = |tx: &mut PoolTx<'_>| {
        let (node, boot) = (tx.node().clone(), tx.boot().clone());
        tx.set_node(node)?;
        tx.set_boot(boot)?;
        tx.free(&id("a"), addr("10.1.2.6"), false)?;
        tx.set_revision(&id("a"), addr("10.1.2.6"), 5)?;
        tx.vacate(&id("a"), addr("10.1.2.6"))?;
        tx.occupy(&id("a"), addr("10.1.2.2"))?;
        tx.clear_dirty(&id("a"), addr("10.1.2.2"))?;
        tx.clear_dirty(&id("none"), addr("10.1.2.2"))
    };
    ledger.visit(nothing).unwrap().unwrap();
    ledger.transact(nothing).unwrap();
    assert!(read() == before);
}

#[test]
fn what_survives_a_boot_stays_also_if_the_transaction_fails() {
    let dir = Dir::new();
    let mut ledger = dir.ledger();
    let lost = || StoreError::Unstable { path: PathBuf::new() };
    let failed: Result<(), StoreError> = ledger.transact(|tx| {
        tx.set_node(NodeState { uuid: "u".to_owned(), ..NodeState::default() })?;
        tx.insert(&allocation("a", "red", "c1", "10.1.2.2"), 0)?;
        tx.set_boot(BootState { seq: 9, ..BootState::default() })?;
        Err(lost())
    });
    assert_eq!(failed.unwrap_err().to_string(), lost().to_string());
    let seen = ledger.transact(|tx| {
        Ok((tx.node().uuid.clone(), tx.boot().seq, tx.at(&id("a"), addr("10.1.2.2"))?))
    });
    assert_eq!(seen.unwrap(), ("u".to_owned(), 0, None));
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(dir.pool_json()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_unreadable_state_is_left_as_it_is() {
    let dir = Dir::new();
    let mut ledger = dir.ledger();
    ledger.transact(|tx| tx.insert(&allocation("a", "red", "c1", "10.1.2.2"), 0)).unwrap();
    for text in ["", "{", r#"{"blocks": [{"state": "evil"}]}"#, "[]", r#"{"uuid": 5}"#] {
        fs::write(dir.pool_json(), text).unwrap();
        for error in [ledger.transact(|_| Ok(())), ledger.visit(|_| Ok(())).map(|_| ())] {
            let error = error.unwrap_err().to_string();
            let begin = format!("{} cannot be read: ", dir.pool_json().display());
            assert!(error.starts_with(&begin), "{error}");
            assert!(!error.contains('\u{1b}'), "{error:?}");
        }
        assert_eq!(fs::read_to_string(dir.pool_json()).unwrap(), text);
    }
}

#[test]
fn an_error_that_was_not_heeded_changes_nothing() {
    let dir = Dir::new();
    let mut ledger = dir.ledger();
    ledger.transact(|tx| tx.insert(&allocation("a", "red", "c1", "10.1.2.2"), 0)).unwrap();
    // That somebody has the address is an answer like others.
    let held = ledger.transact(|tx| {
        let error = tx.insert(&allocation("a", "blue", "c2", "10.1.2.2"), 0).unwrap_err();
        tx.insert(&allocation("a", "blue", "c2", "10.1.2.3"), 0)?;
        Ok(error.to_string())
    });
    let path = dir.0.join("run/plat.db");
    let text = format!("10.1.2.2 is held by c1 eth0 of red in {} already", path.display());
    assert_eq!(held.unwrap(), text);
    // A statement that fails is not: half a change may be written.
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "CREATE TRIGGER t BEFORE INSERT ON mark BEGIN SELECT raise(FAIL, 'full'); END; \
             UPDATE meta SET inode = inode",
        )
        .unwrap();
    let unheeded = ledger.transact(|tx| {
        tx.insert(&allocation("a", "blue", "c3", "10.1.2.4"), 1).unwrap_err();
        Ok(())
    });
    unheeded.unwrap_err();
    Connection::open(&path).unwrap().execute_batch("DROP TRIGGER t").unwrap();
    let at = ledger.transact(|tx| tx.at(&id("a"), addr("10.1.2.4"))).unwrap();
    assert_eq!(at, None);
    assert_eq!(faults(&dir), []);
}

#[test]
fn of_two_databases_one_gives_addresses_out() {
    let dir = Dir::new();
    let mut ledger = dir.ledger();
    ledger.transact(|tx| tx.insert(&allocation("a", "red", "c1", "10.1.2.2"), 0)).unwrap();
    let mut other = PoolLedger::new(dir.database("other.db"), true);
    let error = other.transact(|_| Ok(())).unwrap_err();
    assert!(
        matches!(&error, StoreError::OtherDatabase { other, .. } if other.ends_with("plat.db"))
    );
    assert!(error.is_misplaced());
    // After a boot nothing of the first is held.
    let text = fs::read_to_string(dir.pool_json()).unwrap();
    let text = text.replace(&crate::boot::boot_id(), "another-boot");
    fs::write(dir.pool_json(), text).unwrap();
    other.transact(|tx| tx.insert(&allocation("a", "red", "c1", "10.1.2.2"), 0)).unwrap();
    ledger.transact(|_| Ok(())).unwrap_err();
    // A DEL looks everywhere.
    ledger.visit(|tx| tx.free(&id("a"), addr("10.1.2.2"), false)).unwrap().unwrap();
    let places = Places::new(&dir.state().durable, &network("red"));
    assert_eq!(places.all().unwrap().len(), 1);
    other.visit(|tx| tx.free(&id("a"), addr("10.1.2.2"), false)).unwrap().unwrap();
    assert_eq!(places.all().unwrap(), []);
}

#[test]
fn a_boot_begins_with_nothing_but_what_is_durable() {
    let dir = Dir::new();
    let mut ledger = dir.ledger();
    ledger
        .transact(|tx| {
            tx.set_node(NodeState { uuid: "u".to_owned(), ..NodeState::default() })?;
            tx.insert(&allocation("a", "red", "c1", "10.1.2.2"), 0)?;
            tx.occupy(&id("a"), addr("10.1.2.5"))?;
            tx.set_dirty(&Dirty {
                id: id("a"),
                addr: addr("10.1.2.2"),
                base: 0,
                seq: 1,
                fence: 7,
                borrowed: false,
                since: 5,
                due: 0,
            })?;
            tx.set_boot(BootState { seq: 1, ..BootState::default() })
        })
        .unwrap();
    let mut database = dir.database("plat.db");
    database.boot = "the-next-boot".to_owned();
    // It is of that former boot, too.
    fs::remove_dir_all(dir.0.join("state/databases")).unwrap();
    let mut next = PoolLedger::new(database, false);
    assert_eq!(next.visit(|_| Ok(())).unwrap(), None);
    let whole = Interval::new(addr("10.0.0.0"), addr("10.255.255.255")).unwrap();
    let seen = next.transact(|tx| {
        assert_eq!(tx.boot(), &BootState::default());
        assert_eq!(tx.backlog()?, Backlog::default());
        Ok((tx.node().uuid.clone(), tx.usage(&id("a"), whole)?))
    });
    assert_eq!(seen.unwrap(), ("u".to_owned(), Usage::default()));
}

#[test]
fn a_killed_call_leaves_all_or_nothing() {
    let dir = Dir::new();
    let mut ledger = dir.ledger();
    ledger.transact(|tx| tx.insert(&allocation("a", "red", "c1", "10.1.2.2"), 0)).unwrap();
    for n in 3..9 {
        let session = dir.database("plat.db").open_or_make().unwrap();
        let state = StateFile::open(&dir.database("plat.db"), true).unwrap();
        let mut tx = PoolTx::new(&ledger, session, state).unwrap();
        tx.insert(&allocation("a", "red", "c2", &format!("10.1.2.{n}")), 0).unwrap();
        tx.free(&id("a"), addr("10.1.2.2"), false).unwrap();
        tx.occupy(&id("a"), addr("10.1.2.100")).unwrap();
        // Nothing is committed.
        drop(tx);
        assert_eq!(faults(&dir), []);
        let whole = Interval::new(addr("10.0.0.0"), addr("10.255.255.255")).unwrap();
        let usage = ledger.transact(|tx| tx.usage(&id("a"), whole)).unwrap();
        assert_eq!(usage, Usage { held: 1, resting: 0, occupied: 0 });
    }
}

#[test]
fn a_copy_or_a_loss_answers_nothing_but_a_del() {
    let dir = Dir::new();
    let mut ledger = dir.ledger();
    ledger.transact(|tx| tx.insert(&allocation("a", "red", "c1", "10.1.2.2"), 0)).unwrap();
    let path = dir.0.join("run/plat.db");
    let copy = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(matches!(ledger.visit(|_| Ok(())), Err(StoreError::Lost { .. })));
    assert!(matches!(ledger.transact(|_| Ok(())), Err(StoreError::Lost { .. })));
    assert_eq!(dir.ledger().lenient().visit(|_| Ok(())).unwrap(), None);
    fs::write(dir.0.join("run/occupies-the-inode"), "").unwrap();
    fs::write(&path, copy).unwrap();
    assert!(matches!(ledger.visit(|_| Ok(())), Err(StoreError::Restored { .. })));
    let free = |tx: &mut PoolTx<'_>| tx.free(&id("a"), addr("10.1.2.2"), false);
    assert_eq!(dir.ledger().lenient().visit(free).unwrap(), Some(()));
    fs::write(&path, "no database").unwrap();
    let mut lenient = dir.ledger().lenient();
    assert_eq!(lenient.visit(|_| Ok(())).unwrap(), None);
    assert_eq!(lenient.take_warnings().len(), 1);
}

#[test]
fn pools_and_other_networks_of_a_database_do_not_meet() {
    let dir = Dir::new();
    let (mut one, mut two) = (dir.ledger(), dir.ledger());
    let sets = sets(&["10.1.2.0/29"]);
    let policy = Policy { cooldown: Duration::from_secs(5), ..Policy::default() };
    let mut sqlite = dir.sqlite("red");
    let owner = Owner::default();
    for n in 0..4 {
        let attachment = attachment(&format!("c{n}"));
        let request = Request {
            attachment: &attachment,
            sets: &sets,
            requested: &[],
            repeat: Repeat::Return,
            pin: Some(7),
            policy,
            owner: &owner,
        };
        let theirs = sqlite.reserve(&request, &mut || true).unwrap();
        let container = format!("c{n}");
        let ledger = if n % 2 == 0 { &mut one } else { &mut two };
        let ours = add(ledger, "red", "red", &container, &sets, policy).unwrap().unwrap();
        // Each has a sequence of its own.
        assert_eq!(ours, theirs.iter().map(|choice| choice.addr).collect::<Vec<_>>());
    }
    assert_eq!(sqlite.release(&attachment("c1")).unwrap(), [addr("10.1.2.3")]);
    assert_eq!(sqlite.retain(&[attachment("c0")]).unwrap().len(), 2);
    let held = one.visit(|tx| tx.of_network(None, &network("red"))).unwrap().unwrap();
    assert_eq!(held.len(), 4);
    two.visit(|tx| held.iter().try_for_each(|held| tx.free(&held.id, held.addr, false)))
        .unwrap()
        .unwrap();
    assert_eq!(sqlite.list().unwrap().len(), 1);
    assert_eq!(sqlite.pinned().unwrap(), Some(7));
    assert_eq!(faults(&dir), []);
}

#[test]
fn a_survey_shows_pools_and_frees_of_them() {
    let dir = Dir::new();
    let mut ledger = dir.ledger();
    let policy = Policy { cooldown: Duration::from_secs(5), ..Policy::default() };
    add(&mut ledger, "pods", "red", "c1", &sets(&["10.1.2.0/29"]), policy).unwrap().unwrap();
    ledger
        .transact(|tx| {
            tx.occupy(&id("pods"), addr("10.1.2.5"))?;
            tx.set_revision(&id("pods"), addr("10.1.2.2"), 41)?;
            tx.set_boot(BootState { seq: 6, ..BootState::default() })
        })
        .unwrap();
    let (networks, unseen) = dir.survey().networks();
    assert!(unseen.is_empty());
    let [state] = networks.as_slice() else { panic!("{networks:?}") };
    assert_eq!(state.network, "default/pods");
    assert_eq!(state.instance.as_ref().unwrap().as_str(), "etcd-pool");
    assert_eq!(state.layout.as_ref().unwrap().sets.len(), 1);
    assert_eq!(state.faults, []);
    let [held] = state.allocations.as_slice() else { panic!("{state:?}") };
    assert_eq!(held.cni_network, Some(network("red")));
    // What is freed by hand goes out of etcd, too.
    let freed = dir.survey().free(state, &state.allocations, Duration::from_secs(5)).unwrap();
    assert_eq!(freed, [addr("10.1.2.2")]);
    let outbox = ledger.visit(|tx| Ok((tx.boot().seq, tx.outbox(0, 9)?))).unwrap().unwrap();
    assert_eq!(outbox.0, 7);
    let [dirty] = outbox.1.as_slice() else { panic!("{outbox:?}") };
    assert_eq!((dirty.base, dirty.seq, dirty.fence), (41, 7, 7));
    // Free space is made anew around what is another's.
    Connection::open(dir.0.join("run/plat.db"))
        .unwrap()
        .execute_batch("DELETE FROM free_extent")
        .unwrap();
    assert_eq!(faults(&dir), [FaultKind::Extents, FaultKind::Extents]);
    let (networks, _) = dir.survey().networks();
    let broken = &networks[0];
    dir.survey().repair(broken, &broken.faults, Duration::from_secs(5)).unwrap();
    assert_eq!(faults(&dir), []);
    let past = dir.survey().history(addr("10.1.2.2")).unwrap();
    assert_eq!(past.len(), 1);
}

#[test]
fn a_database_of_the_first_version_keeps_everything() {
    let dir = Dir::new();
    let path = dir.0.join("run/plat.db");
    fs::create_dir(dir.0.join("run")).unwrap();
    let connection = Connection::open(&path).unwrap();
    schema::create_first(&connection);
    let inode = signed(fs::metadata(&path).unwrap().ino());
    connection
        .execute(
            "INSERT INTO meta (id, boot, inode, marked) VALUES (0, ?1, ?2, 0)",
            (crate::boot::boot_id(), inode),
        )
        .unwrap();
    connection
        .execute_batch(
            "INSERT INTO network (id, instance, name, pin, cooldown, resting) \
             VALUES (1, 'node-local', 'red', 7, 9000, 1); \
             INSERT INTO mark VALUES (1, 0, x'040a010203'); \
             INSERT INTO allocation VALUES \
             (1, x'040a010202', 'c1', 'eth0', 0, 'ns', 'web', 'uid', 1800000000, 'boot'), \
             (1, x'040a010203', 'c2', 'eth0', 0, NULL, NULL, NULL, NULL, 'boot'); \
             INSERT INTO resting VALUES (1, x'040a010204', 999000); \
             INSERT INTO free_extent VALUES (1, x'0400000000', x'040a010201'), \
             (1, x'040a010205', x'04ffffffff'), (1, x'0600000000000000000000000000000000', \
             x'06ffffffffffffffffffffffffffffffff'); \
             INSERT INTO history VALUES \
             (5, 1, x'040a010209', 'c0', 'eth0', 'ns', 'old', NULL, 1, 2, 0);",
        )
        .unwrap();
    let version =
        || -> u32 { connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap() };
    // Who only looks changes nothing.
    let (before, unseen) = dir.survey().networks();
    assert!(unseen.is_empty(), "{unseen:?}");
    assert_eq!(before[0].allocations.len(), 2);
    assert_eq!(before[0].faults, []);
    let past = dir.survey().history(addr("10.1.2.9")).unwrap();
    assert_eq!(past.len(), 1);
    let mut sqlite = dir.sqlite("red");
    assert_eq!(sqlite.list().unwrap().len(), 2);
    assert_eq!(version(), 1);
    // Who writes brings it up to date.
    let mut ledger = dir.ledger();
    ledger.transact(|tx| tx.insert(&allocation("a", "red", "c1", "10.1.2.2"), 0)).unwrap();
    assert_eq!(version(), 2);
    let (after, unseen) = dir.survey().networks();
    assert!(unseen.is_empty(), "{unseen:?}");
    assert_eq!(after[1], before[0]);
    assert_eq!(after[0].network, "default/a");
    assert_eq!(dir.survey().history(addr("10.1.2.9")).unwrap(), past);
    assert_eq!(sqlite.pinned().unwrap(), Some(7));
    assert_eq!(sqlite.release(&attachment("c1")).unwrap(), [addr("10.1.2.2")]);
    assert_eq!(sqlite.list().unwrap().len(), 1);
    assert_eq!(faults(&dir), []);
}
