/*!
The store suite: every store does what the model in memory does.

Random sequences of the five verbs, mixed with what another program does to the same state (the
reference reserves and releases, a crash leaves an empty record), run on a store and on the model side
by side; answers and contents must be equal after each step. A new store gets a [`Fixture`] and is
held to the same.
*/

use std::cell::Cell;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipam_core::addr::{Addr, Cidr};
use ipam_core::allocator::{Choice, Repeat, Request};
use ipam_core::config::Owner;
use ipam_core::identity::{Attachment, ContainerId, Holder, IfName, Instance, Network};
use ipam_core::memory::MemoryStore;
use ipam_core::policy::{Policy, Strategy as Order};
use ipam_core::range::{RangeSet, RangeSpec};
use ipam_core::store::{Record, ReserveError, Store};
use ipam_stores::{Database, DirStore, Location, Moment, SqliteLocation, SqliteStore, StateDirs};
use proptest::prelude::*;
use support::Scratch;

/// A store under test, and what other programs can do to its state.
trait Fixture {
    type Store: Store;

    /// Whether the store can keep what the strategy `sticky` and a cooldown need.
    const POLICIES: bool;

    /// Whether other programs work on the same state.
    const SHARED: bool;

    fn store(&mut self) -> &mut Self::Store;

    /// Another program reserves an address.
    fn reserve_elsewhere(&mut self, set: usize, record: &Record);

    /// Another program releases an address.
    fn release_elsewhere(&mut self, addr: Addr);

    /// Another program is killed in the middle of reserving an address.
    fn crash_elsewhere(&mut self, addr: Addr);
}

/// The directory store beside the reference.
struct Directory {
    store: DirStore,
    network: PathBuf,
    _scratch: Scratch,
}

impl Directory {
    fn new(scratch: Scratch) -> Self {
        let data_dir = scratch.join("data");
        let network = data_dir.join("net");
        fs::create_dir_all(&network).unwrap();
        let location = Location {
            data_dir,
            network: Network::new("net").unwrap(),
            shared: Some(false),
            lock_timeout: Duration::from_secs(30),
        };
        let state = StateDirs {
            durable: scratch.path().join("state"),
            volatile: scratch.path().join("run"),
        };
        Self { store: DirStore::new(location, state), network, _scratch: scratch }
    }
}

fn content(holder: &Holder) -> String {
    match holder {
        Holder::Attachment(Attachment { container, ifname }) => format!("{container}\r\n{ifname}"),
        Holder::Container(id) => id.to_string(),
        Holder::Unknown => "a word or two".to_owned(),
    }
}

impl Fixture for Directory {
    type Store = DirStore;
    const POLICIES: bool = false;
    const SHARED: bool = true;

    fn store(&mut self) -> &mut DirStore {
        &mut self.store
    }

    fn reserve_elsewhere(&mut self, set: usize, record: &Record) {
        let path = self.network.join(record.addr.to_string());
        // As a release and a reservation: on ext4 the new file gets the old one's inode number.
        let _ = fs::remove_file(&path);
        fs::write(path, content(&record.holder)).unwrap();
        let mark = self.network.join(format!("last_reserved_ip.{set}"));
        fs::write(mark, record.addr.to_string()).unwrap();
    }

    fn release_elsewhere(&mut self, addr: Addr) {
        let _ = fs::remove_file(self.network.join(addr.to_string()));
    }

    fn crash_elsewhere(&mut self, addr: Addr) {
        let path = self.network.join(addr.to_string());
        if !path.exists() {
            fs::write(path, "").unwrap();
        }
    }
}

thread_local! {
    /// Milliseconds since boot, for the test of this thread.
    static NOW: Cell<u64> = const { Cell::new(1_000_000) };
}

fn now() -> Moment {
    let boot = Duration::from_millis(NOW.get());
    Moment { boot, unix: 1_700_000_000 + boot.as_secs() }
}

/// The database, with the same network of another instance in it.
struct InDatabase {
    store: SqliteStore,
    other: SqliteStore,
    _scratch: Scratch,
}

impl InDatabase {
    fn new(scratch: Scratch) -> Self {
        let state = StateDirs {
            durable: scratch.path().join("state"),
            volatile: scratch.path().join("run"),
        };
        let path = state.volatile.join("plat.db");
        let database = Database::new(path, state, Duration::from_secs(30)).with_clock(now);
        let store = |instance: &str| {
            let location = SqliteLocation {
                network: Network::new("net").unwrap(),
                instance: Instance::new(instance).unwrap(),
                elsewhere: instance.contains('@'),
                import: None,
            };
            SqliteStore::new(database.clone(), location)
        };
        Self { store: store("node-local"), other: store("node-local@1"), _scratch: scratch }
    }
}

impl Fixture for InDatabase {
    type Store = SqliteStore;
    const POLICIES: bool = true;
    const SHARED: bool = false;

    fn store(&mut self) -> &mut SqliteStore {
        &mut self.store
    }

    /// Another instance is not seen, whatever it does.
    fn reserve_elsewhere(&mut self, _: usize, record: &Record) {
        let Holder::Attachment(attachment) = &record.holder else { return };
        let sets = sets(28);
        let _ = self.other.reserve(
            &request(
                attachment,
                &sets,
                &[],
                Repeat::Return,
                None,
                Policy::default(),
                &Owner::default(),
            ),
            &mut || true,
        );
    }

    fn release_elsewhere(&mut self, addr: Addr) {
        let held = self.other.list().unwrap();
        for record in held.iter().filter(|record| record.addr == addr) {
            if let Holder::Attachment(attachment) = &record.holder {
                self.other.release(attachment).unwrap();
            }
        }
    }

    fn crash_elsewhere(&mut self, _: Addr) {
        self.other.retain(&[]).unwrap();
    }
}

/// The model, driven the same way.
#[derive(Default)]
struct Model(MemoryStore);

impl Fixture for Model {
    type Store = MemoryStore;
    const POLICIES: bool = true;
    const SHARED: bool = true;

    fn store(&mut self) -> &mut MemoryStore {
        &mut self.0
    }

    fn reserve_elsewhere(&mut self, set: usize, record: &Record) {
        self.0.insert(record.clone());
        self.0.mark(set, record.addr);
    }

    fn release_elsewhere(&mut self, addr: Addr) {
        self.0.remove(addr);
    }

    /// An empty record is no record.
    fn crash_elsewhere(&mut self, _: Addr) {}
}

#[derive(Clone, Debug)]
enum Step {
    Reserve {
        who: u8,
        wanted: Vec<u8>,
        repeat: bool,
        pin: Option<u32>,
        waiting: bool,
        order: u8,
        cooldown: u8,
        pod: u8,
    },
    Wait {
        ms: u64,
    },
    ReserveAndUndo {
        who: u8,
    },
    Release {
        who: u8,
    },
    Find {
        who: u8,
    },
    Retain {
        valid: Vec<u8>,
    },
    Elsewhere {
        who: u8,
        addr: u8,
        kind: u8,
    },
    ReleaseElsewhere {
        addr: u8,
    },
    CrashElsewhere {
        addr: u8,
    },
    Status,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = || 0_u8..8;
    let addr = || 0_u8..40;
    let step = prop_oneof![
        6 => (
            who(),
            proptest::collection::vec(addr(), 0..3),
            any::<bool>(),
            proptest::option::weighted(0.2, 0_u32..2),
            proptest::bool::weighted(0.9),
            0_u8..5,
            0_u8..6,
            0_u8..4,
        )
            .prop_map(|(who, wanted, repeat, pin, waiting, order, cooldown, pod)| Step::Reserve {
                who, wanted, repeat, pin, waiting, order, cooldown, pod,
            }),
        2 => (0_u64..1500).prop_map(|ms| Step::Wait { ms }),
        1 => who().prop_map(|who| Step::ReserveAndUndo { who }),
        4 => who().prop_map(|who| Step::Release { who }),
        1 => who().prop_map(|who| Step::Find { who }),
        1 => proptest::collection::vec(who(), 0..6).prop_map(|valid| Step::Retain { valid }),
        2 => (who(), addr(), 0_u8..6).prop_map(|(who, addr, kind)| Step::Elsewhere { who, addr, kind }),
        2 => addr().prop_map(|addr| Step::ReleaseElsewhere { addr }),
        1 => addr().prop_map(|addr| Step::CrashElsewhere { addr }),
        1 => Just(Step::Status),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Eight attachments of four containers.
fn attachment(who: u8) -> Attachment {
    Attachment {
        container: ContainerId::new(format!("c{}", who / 2)).unwrap(),
        ifname: IfName::new(format!("eth{}", who % 2)).unwrap(),
    }
}

/// Forty addresses: most within the sets, some gateways, some outside.
fn address(n: u8) -> Addr {
    let text =
        if n.is_multiple_of(3) { format!("2001:db8::{:x}", n / 3) } else { format!("10.1.2.{n}") };
    Addr::parse(&text).unwrap()
}

fn sets(prefix: u8) -> Vec<RangeSet> {
    let set = |subnet: &str| {
        RangeSet::new(&[RangeSpec { subnet: Cidr::parse(subnet), ..RangeSpec::default() }]).unwrap()
    };
    vec![set(&format!("10.1.2.0/{prefix}")), set("2001:db8::/124")]
}

fn request<'a>(
    attachment: &'a Attachment,
    sets: &'a [RangeSet],
    requested: &'a [Addr],
    repeat: Repeat,
    pin: Option<u32>,
    policy: Policy,
    owner: &'a Owner,
) -> Request<'a> {
    Request { attachment, sets, requested, repeat, pin, policy, owner }
}

/// What a verb answered, in a form that does not depend on the store's error.
fn outcome<T: Debug, E>(result: Result<T, ReserveError<E>>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(ReserveError::Refused(refusal)) => refusal.to_string(),
        Err(ReserveError::Unwanted) => "unwanted".to_owned(),
        Err(ReserveError::Store(_)) => "failed".to_owned(),
    }
}

/// Does one step and tells what came out of it.
fn perform<F: Fixture>(fixture: &mut F, sets: &[RangeSet], step: &Step, policies: bool) -> String {
    let store = fixture.store();
    match step {
        Step::Reserve { who, wanted, repeat, pin, waiting, order, cooldown, pod } => {
            let mut requested: Vec<Addr> = wanted.iter().map(|n| address(*n)).collect();
            requested.dedup();
            let attachment = attachment(*who);
            let repeat = if *repeat { Repeat::Return } else { Repeat::Refuse };
            let mut policy = Policy {
                strategy: match order {
                    0 => Order::Lowest,
                    1 | 2 => Order::Sticky,
                    _ => Order::Next,
                },
                cooldown: Duration::from_millis(u64::from(cooldown.saturating_sub(2)) * 400),
            };
            if !policies {
                policy.cooldown = Duration::ZERO;
                if policy.strategy == Order::Sticky {
                    policy.strategy = Order::Next;
                }
            }
            let owner = Owner {
                namespace: (*pod > 0).then(|| "default".to_owned()),
                name: Some(format!("web-{pod}")),
                uid: None,
            };
            let request = request(&attachment, sets, &requested, repeat, *pin, policy, &owner);
            outcome(store.reserve(&request, &mut || *waiting))
        }
        Step::Wait { .. } => String::new(),
        Step::ReserveAndUndo { who } => {
            let attachment = attachment(*who);
            let (policy, owner) = (Policy::default(), Owner::default());
            let request = request(&attachment, sets, &[], Repeat::Return, None, policy, &owner);
            let reserved = store.reserve(&request, &mut || true);
            if let Ok(choices) = &reserved {
                let choices: &[Choice] = choices;
                store.undo(&attachment, choices).unwrap_or_else(|e| panic!("{e}"));
            }
            outcome(reserved)
        }
        Step::Release { who } => format!("{:?}", store.release(&attachment(*who)).ok()),
        Step::Find { who } => format!("{:?}", store.find(&attachment(*who)).ok()),
        Step::Retain { valid } => {
            let valid: Vec<Attachment> = valid.iter().map(|who| attachment(*who)).collect();
            format!("{:?}", store.retain(&valid).ok())
        }
        Step::Elsewhere { who, addr, kind } => {
            let Attachment { container, ifname } = attachment(*who);
            let holder = match kind {
                0 => Holder::Unknown,
                1 => Holder::Container(container),
                _ => Holder::Attachment(Attachment { container, ifname }),
            };
            let set = usize::from(address(*addr).family() == ipam_core::addr::Family::V6);
            fixture.reserve_elsewhere(set, &Record { addr: address(*addr), holder });
            String::new()
        }
        Step::ReleaseElsewhere { addr } => {
            fixture.release_elsewhere(address(*addr));
            String::new()
        }
        Step::CrashElsewhere { addr } => {
            fixture.crash_elsewhere(address(*addr));
            String::new()
        }
        Step::Status => {
            let cooldown = if policies { Duration::from_millis(800) } else { Duration::ZERO };
            format!("{:?} {:?}", store.first_exhausted(sets, cooldown).ok(), store.pinned().ok())
        }
    }
}

/// Runs the steps on both and compares. `before` reservations exist from the beginning, outside the
/// addresses that the steps speak of: they make a directory large.
fn compare<F: Fixture>(mut fixture: F, before: u8, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    let sets = sets(if before > 0 { 24 } else { 28 });
    for n in 0..before {
        let addr = Addr::parse(&format!("10.1.2.{}", 100 + n)).unwrap();
        let holder = Holder::Container(ContainerId::new(format!("old{n}")).unwrap());
        let record = Record { addr, holder };
        fixture.reserve_elsewhere(7, &record);
        model.reserve_elsewhere(7, &record);
    }
    for (i, step) in steps.iter().enumerate() {
        // GC would empty the directory, and then it is a small one.
        if before > 0 && matches!(step, Step::Retain { .. }) {
            continue;
        }
        if let Step::Wait { ms } = step {
            NOW.set(NOW.get() + ms);
        }
        model.0.set_now(now().boot);
        let ours = perform(&mut fixture, &sets, step, F::POLICIES);
        let elsewhere = matches!(
            step,
            Step::Elsewhere { .. } | Step::ReleaseElsewhere { .. } | Step::CrashElsewhere { .. }
        );
        if elsewhere && !F::SHARED {
            continue;
        }
        let expected = perform(&mut model, &sets, step, F::POLICIES);
        prop_assert_eq!(ours, expected, "step {}: {:?}", i, step);
    }
    let list = |records: Vec<Record>| records;
    let ours = fixture.store().list().map_or_else(|e| panic!("{e}"), list);
    let expected = model.store().list().unwrap_or_else(|never| match never {});
    prop_assert_eq!(ours, expected);
    Ok(())
}

fn on_disk() -> Scratch {
    Scratch::below(Path::new("/var/tmp"), "stores")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_small_directory_on_tmpfs_is_the_model(steps in steps()) {
        compare(Directory::new(Scratch::on_tmpfs("stores")), 0, &steps)?;
    }

    #[test]
    fn a_small_directory_on_disk_is_the_model(steps in steps()) {
        compare(Directory::new(on_disk()), 0, &steps)?;
    }

    #[test]
    fn a_large_directory_on_tmpfs_is_the_model(steps in steps()) {
        compare(Directory::new(Scratch::on_tmpfs("stores")), 100, &steps)?;
    }

    #[test]
    fn a_large_directory_on_disk_is_the_model(steps in steps()) {
        compare(Directory::new(on_disk()), 100, &steps)?;
    }

    #[test]
    fn a_directory_that_becomes_large_and_small_again_is_the_model(steps in steps()) {
        // Thirty more or less than what one look at the directory tells.
        compare(Directory::new(Scratch::on_tmpfs("stores")), 35, &steps)?;
    }

    #[test]
    fn a_database_on_tmpfs_is_the_model(steps in steps()) {
        compare(InDatabase::new(Scratch::on_tmpfs("stores")), 0, &steps)?;
    }

    #[test]
    fn a_database_on_disk_is_the_model(steps in steps()) {
        compare(InDatabase::new(on_disk()), 0, &steps)?;
    }
}
