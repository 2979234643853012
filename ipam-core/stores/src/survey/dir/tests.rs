//! Directories made by hand and by the store, looked at and repaired.

use super::*;
use crate::survey::FaultKind;
use ipam_core::allocator::Request;
use ipam_core::identity::{Attachment, ContainerId, Holder, IfName};
use ipam_core::policy::Policy;
use ipam_core::range::{RangeSet, RangeSpec};
use ipam_core::store::Store;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A survey of a scratch root, with the dataDir `/networks`.
struct Site {
    survey: Survey,
}

impl Site {
    fn new() -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = Path::new("/dev/shm").join(format!("plat-survey-{}-{n}", std::process::id()));
        fs::create_dir_all(root.join("networks/n")).unwrap();
        let state = StateDirs { durable: "/state".into(), volatile: "/run".into() };
        let mut survey = Survey::new(&root, state);
        survey.add_data_dir(Path::new("/networks"));
        Self { survey }
    }

    fn dir(&self) -> PathBuf {
        self.survey.root.join("networks/n")
    }

    fn put(&self, name: &str, content: &str) {
        fs::write(self.dir().join(name), content).unwrap();
    }

    fn state(&self) -> NetworkState {
        let (mut networks, unseen) = self.survey.networks();
        assert!(unseen.is_empty(), "{unseen:?}");
        assert_eq!(networks.len(), 1, "{networks:?}");
        networks.remove(0)
    }

    fn faults(&self) -> Vec<(FaultKind, String)> {
        self.state().faults.into_iter().map(|fault| (fault.kind, fault.what)).collect()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn free(&self, allocations: &[Allocation]) -> Vec<Addr> {
        self.survey.free(&self.state(), allocations, WAIT).unwrap()
    }

    /// The store as a plugin opens it.
    fn store(&self) -> DirStore {
        store(&self.survey, &self.dir(), WAIT).unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.survey.root);
    }
}

const WAIT: Duration = Duration::from_secs(10);

fn addr(text: &str) -> Addr {
    Addr::parse(text).unwrap()
}

fn attachment(id: &str) -> Attachment {
    Attachment { container: ContainerId::new(id).unwrap(), ifname: IfName::new("eth0").unwrap() }
}

fn add(store: &mut DirStore, id: &str, sets: &[RangeSet]) -> Vec<Addr> {
    let attachment = attachment(id);
    let request = Request {
        attachment: &attachment,
        sets,
        requested: &[],
        repeat: ipam_core::allocator::Repeat::Refuse,
        pin: None,
        policy: Policy::default(),
        owner: &Owner::default(),
    };
    let choices = store.reserve(&request, &mut || true).unwrap();
    choices.into_iter().map(|choice| choice.addr).collect()
}

fn sets() -> Vec<RangeSet> {
    ["10.1.0.0/16", "fd00::/64"]
        .iter()
        .map(|subnet| {
            let subnet = ipam_core::addr::Cidr::parse(subnet);
            RangeSet::new(&[RangeSpec { subnet, ..RangeSpec::default() }]).unwrap()
        })
        .collect()
}

/// What can be broken by hand, and which fault that is.
const MUTATIONS: [(&str, &str, FaultKind); 9] = [
    ("10.9.9.9", "", FaultKind::Empty),
    ("fd09::9", "", FaultKind::Empty),
    ("10.9.9.9", "what is this", FaultKind::Unreadable),
    ("FD00::2", "c0\r\neth0", FaultKind::Twice),
    ("below/10.1.0.2", "c0\r\neth0", FaultKind::Twice),
    ("README", "text", FaultKind::Foreign),
    (".plat.tmp.0", "c0\r\neth0", FaultKind::Foreign),
    ("last_reserved_ip.0", "10.1.0", FaultKind::Mark),
    ("last_reserved_ip.7", "", FaultKind::Mark),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// A state that the store made has no fault; each mutation is found, and nothing else.
    #[test]
    fn what_is_broken_is_found(count in 1_usize..90, broken in 0..MUTATIONS.len()) {
        let site = Site::new();
        let mut store = site.store();
        for n in 0..count {
            add(&mut store, &format!("c{n}"), &sets());
        }
        let state = site.state();
        prop_assert_eq!(&state.faults, &[]);
        prop_assert_eq!(state.allocations.len(), 2 * count);
        prop_assert_eq!(state.marks.len(), 2);

        let (name, content, kind) = MUTATIONS[broken];
        if let Some((below, _)) = name.split_once('/') {
            fs::create_dir_all(site.dir().join(below)).unwrap();
        }
        site.put(name, content);
        let mut faults = site.faults();
        if name.contains('/') {
            prop_assert_eq!(faults.pop(), Some((FaultKind::Foreign, "below".to_owned())));
        }
        prop_assert_eq!(faults, [(kind, name.to_owned())]);

        // Only what loses nothing is put away.
        let state = site.state();
        let repaired = site.survey.repair(&state, &state.faults, WAIT).unwrap();
        let removable = content.is_empty() || name.contains("tmp") || kind == FaultKind::Mark;
        prop_assert_eq!(repaired.len(), usize::from(removable), "{}", name);
        prop_assert_eq!(site.dir().join(name).exists(), !removable);
        let held = site.state().allocations.len();
        let added = usize::from(matches!(kind, FaultKind::Unreadable))
            + usize::from(name == "FD00::2");
        prop_assert_eq!(held, 2 * count + added);
    }
}

#[test]
fn what_is_no_network_is_none() {
    let site = Site::new();
    assert!(site.survey.networks().0.is_empty(), "an empty directory");
    site.put("README", "");
    assert!(site.survey.networks().0.is_empty(), "a foreign file alone");
    let hidden = site.survey.root.join("networks/.imported-n-1");
    fs::create_dir_all(&hidden).unwrap();
    fs::write(hidden.join("10.1.0.2"), "c\r\neth0").unwrap();
    assert!(site.survey.networks().0.is_empty(), "one that was set aside");
    site.put("lock", "");
    assert_eq!(site.state().allocations, []);
    let gone = Survey::new(&site.survey.root.join("none"), site.survey.state.clone());
    assert!(gone.networks().0.is_empty() && gone.networks().1.is_empty());
}

#[test]
fn looking_changes_nothing() {
    let site = Site::new();
    let mut store = site.store();
    for n in 0..80 {
        add(&mut store, &format!("c{n}"), &sets());
    }
    site.put("10.9.9.9", "");
    let times = |path: &Path| {
        let stat = rustix::fs::stat(path).unwrap();
        (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec)
    };
    let (before, names) = (times(&site.dir()), site.names());
    site.state();
    assert_eq!((times(&site.dir()), site.names()), (before, names));
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    let site = Site::new();
    site.put("10.1.0.2", "c\r\neth0");
    std::os::unix::fs::symlink("loop", site.dir().join("10.1.0.3")).unwrap();
    // Not even a link that leads nowhere keeps the rest from being seen.
    assert_eq!(site.faults(), [(FaultKind::Unreadable, "10.1.0.3".to_owned())]);
    assert_eq!(site.state().allocations.len(), 2);
}

#[test]
fn an_index_that_lies_is_found_and_removed() {
    let site = Site::new();
    let mut store = site.store();
    for n in 0..100 {
        add(&mut store, &format!("c{n}"), &sets());
    }
    assert_eq!(site.faults(), []);
    // The content changes and the directory does not: what no store watches.
    let other = site.dir().join("10.1.0.9");
    fs::write(&other, "somebody\r\neth0").unwrap();
    let faults = site.state().faults;
    assert_eq!(faults.iter().map(|fault| fault.kind).collect::<Vec<_>>(), [FaultKind::Index]);
    let state = site.state();
    assert_eq!(site.survey.repair(&state, &faults, WAIT).unwrap(), faults);
    assert_eq!(site.faults(), []);
    assert_eq!(site.store().release(&attachment("somebody")).unwrap(), [addr("10.1.0.9")]);
}

#[test]
fn only_what_is_as_it_was_seen_is_freed() {
    for size in [3, 100] {
        let site = Site::new();
        let mut store = site.store();
        for n in 0..size {
            add(&mut store, &format!("c{n}"), &sets()[..1]);
        }
        let seen = site.state().allocations;
        assert_eq!(seen[0].addr, addr("10.1.0.2"));
        // Another holder, another time, gone.
        fs::remove_file(site.dir().join("10.1.0.2")).unwrap();
        site.put("10.1.0.2", "other\r\neth0");
        let older = rustix::fs::Timestamps {
            last_access: rustix::fs::Timespec { tv_sec: 5, tv_nsec: 0 },
            last_modification: rustix::fs::Timespec { tv_sec: 5, tv_nsec: 0 },
        };
        let file = fs::File::open(site.dir().join("10.1.0.3")).unwrap();
        rustix::fs::futimens(&file, &older).unwrap();
        fs::remove_file(site.dir().join("10.1.0.4")).unwrap();
        let freed = site.free(&seen);
        let all: Vec<Addr> = seen.iter().map(|held| held.addr).collect();
        assert_eq!(freed, all[3..], "{size}");
        let left: Vec<Addr> = site.state().allocations.iter().map(|held| held.addr).collect();
        assert_eq!(left, [addr("10.1.0.2"), addr("10.1.0.3")]);
        assert_eq!(site.free(&seen), []);
        // The index, if there is one, knows it.
        assert_eq!(site.faults(), []);
        assert_eq!(site.store().release(&attachment("other")).unwrap(), [addr("10.1.0.2")]);
    }
}

#[test]
fn of_two_spellings_only_the_one_that_was_seen_is_freed() {
    let site = Site::new();
    site.put("fd00::2", "a\r\neth0");
    site.put("FD00::2", "b\r\neth0");
    fs::create_dir(site.dir().join("below")).unwrap();
    site.put("below/fd00::2", "a\r\neth0");
    let seen = site.state().allocations;
    assert_eq!(seen.len(), 2);
    let of = |id: &str| {
        let is = |held: &&Allocation| held.holder == Holder::Attachment(attachment(id));
        seen.iter().find(is).unwrap().clone()
    };
    assert_eq!(site.free(&[of("b")]), [addr("fd00::2")]);
    assert!(site.dir().join("fd00::2").exists() && !site.dir().join("FD00::2").exists());
    assert_eq!(site.free(&[of("a")]), [addr("fd00::2")]);
    assert!(site.dir().join("below/fd00::2").exists());
}

#[test]
fn an_empty_file_stays_where_others_may_write_it() {
    let site = Site::new();
    site.put("10.1.0.2", "c\r\neth0");
    site.put("10.1.0.3", "");
    let seen = site.state();
    let shared = NetworkState { shared: true, ..seen.clone() };
    assert_eq!(site.survey.repair(&shared, &seen.faults, WAIT).unwrap(), []);
    assert_eq!(site.survey.free(&shared, &seen.allocations, WAIT).unwrap(), [addr("10.1.0.2")]);
    assert_eq!(site.names(), ["10.1.0.3", "lock"]);
    assert_eq!(site.survey.repair(&seen, &seen.faults, WAIT).unwrap(), seen.faults);
}

#[test]
fn a_mark_is_removed_only_as_it_was_seen() {
    let site = Site::new();
    site.put("last_reserved_ip.0", "10.1.0.7");
    let fault = |addr: Option<Addr>| super::super::Fault {
        kind: FaultKind::Mark,
        what: "last_reserved_ip.0".to_owned(),
        addr,
    };
    let state = site.state();
    for other in [None, Some(addr("10.1.0.8"))] {
        assert_eq!(site.survey.repair(&state, &[fault(other)], WAIT).unwrap(), []);
    }
    assert_eq!(
        site.survey.repair(&state, &[fault(Some(addr("10.1.0.7")))], WAIT).unwrap().len(),
        1
    );
    // Nothing else goes by that way.
    site.put("10.1.0.2", "c\r\neth0");
    for name in ["10.1.0.2", "lock", "../n/10.1.0.2"] {
        let faults = [FaultKind::Mark, FaultKind::Empty, FaultKind::Foreign, FaultKind::Twice]
            .map(|kind| super::super::Fault { kind, what: name.to_owned(), addr: None });
        assert_eq!(site.survey.repair(&state, &faults, WAIT).unwrap(), []);
    }
    assert_eq!(site.names(), ["10.1.0.2", "lock"]);
}

fn filled(count: u32) -> NetworkState {
    let first = addr("10.1.0.2");
    NetworkState {
        network: "n".to_owned(),
        instance: None,
        place: Place::Database("/x".into()),
        layout: None,
        marks: BTreeMap::from([(0, addr("10.1.0.9")), (1, addr("fd00::9"))]),
        pin: Some(4),
        allocations: (0..count)
            .map(|n| Allocation {
                addr: first.offset(n.into()).unwrap(),
                holder: match n % 3 {
                    0 => Holder::Unknown,
                    1 => Holder::Container(ContainerId::new(format!("c{n}")).unwrap()),
                    _ => Holder::Attachment(attachment(&format!("c{n}"))),
                },
                set: None,
                owner: Owner::default(),
                since: Some(1_000_000 + u64::from(n)),
                cni_network: None,
            })
            .collect(),
        cooling: Vec::new(),
        shared: false,
        faults: Vec::new(),
    }
}

#[test]
fn a_directory_is_filled_and_seen_again() {
    let site = Site::new();
    let network = filled(3000);
    let write =
        |network: &NetworkState| site.survey.write_dir(Path::new("/networks"), network, WAIT);
    assert_eq!(write(&network).unwrap(), 3000);
    let state = site.state();
    assert_eq!(state.allocations, network.allocations);
    assert_eq!((state.marks, state.pin), (network.marks.clone(), network.pin));
    assert_eq!(write(&network).unwrap(), 0, "what is there is there");
    assert_eq!(site.survey.places().len(), 1);
    let left = fs::read_dir(site.survey.root.join("run/pending")).unwrap().count();
    assert_eq!(left, 0);

    // All or nothing.
    let mut other = filled(3001);
    other.allocations[7].holder = Holder::Attachment(attachment("other"));
    let before = site.names();
    let error = write(&other).unwrap_err();
    assert!(error.to_string().contains("10.1.0.9 is held by"), "{error}");
    assert_eq!(site.names(), before);
    let error = write(&NetworkState { pin: Some(5), ..filled(3001) }).unwrap_err();
    assert!(error.to_string().contains("index 4, not 5"), "{error}");
    // A name that no reservation has is found when the files are made.
    fs::create_dir(site.dir().join("sub")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", site.dir().join("last_reserved_ip.3")).unwrap();
    let mut blocked = filled(3010);
    blocked.marks.insert(3, addr("10.1.0.7"));
    assert!(write(&blocked).is_err());
    assert_eq!(site.state().allocations.len(), 3000);
}

#[test]
fn a_killed_filling_is_taken_back() {
    let site = Site::new();
    // As after a kill between two files: the note is there.
    let network = filled(10);
    site.survey.write_dir(Path::new("/networks"), &network, WAIT).unwrap();
    let stat = rustix::fs::stat(site.dir()).unwrap();
    let line = |name: &str| {
        let stat = rustix::fs::stat(site.dir().join(name)).unwrap();
        format!("{name} {} {} {}\n", stat.st_ino, stat.st_mtime, stat.st_mtime_nsec)
    };
    let note = line("10.1.0.2") + &line("10.1.0.3");
    let pending = site.survey.root.join("run/pending");
    fs::write(pending.join(format!("{:x}-{:x}", stat.st_dev, stat.st_ino)), note).unwrap();
    site.store().list().unwrap();
    assert_eq!(site.state().allocations.len(), 8);
}

#[test]
fn a_directory_is_set_aside_when_it_was_copied() {
    let site = Site::new();
    site.survey.write_dir(Path::new("/networks"), &filled(5), WAIT).unwrap();
    let failed: Result<_, StoreError> = site.survey.take_over(&site.dir(), ".aside", WAIT, |_| {
        Err(StoreError::Unstable { path: PathBuf::new() })
    });
    assert!(failed.is_err() && site.dir().exists());
    let mut copied = 0;
    let moved = site.survey.take_over(&site.dir(), ".aside", WAIT, |state| {
        copied = state.allocations.len();
        Ok::<(), StoreError>(())
    });
    assert_eq!(moved.unwrap(), Some(site.dir().with_file_name(".aside")));
    assert_eq!(copied, 5);
    assert!(!site.dir().exists() && site.survey.places().is_empty());
    assert!(site.survey.networks().0.is_empty());
}

#[test]
fn the_layout_of_the_last_add_is_read() {
    let site = Site::new();
    site.put("10.1.0.2", "c\r\neth0");
    let stat = rustix::fs::stat(site.dir()).unwrap();
    let layouts = site.survey.root.join("run/layouts");
    fs::create_dir_all(&layouts).unwrap();
    let layout = ipam_core::layout::Layout { sets: sets(), policy: Policy::default() };
    let name = format!("{:x}-{:x}", stat.st_dev, stat.st_ino);
    fs::write(layouts.join(name), layout.to_json().to_string()).unwrap();
    let state = site.state();
    assert_eq!(state.layout, Some(layout));
    assert_eq!(state.allocations[0].set, Some(0));
}

#[test]
fn remembered_places_are_looked_at() {
    let site = Site::new();
    let root = &site.survey.root;
    fs::create_dir_all(root.join("state/places")).unwrap();
    fs::create_dir_all(root.join("state/databases")).unwrap();
    let network = Network::new("n").unwrap();
    let places = crate::Places::new(&root.join("state"), &network);
    fs::create_dir_all(root.join("elsewhere")).unwrap();
    places.remember(&crate::Remembered::DataDir("/elsewhere".into())).unwrap();
    fs::write(root.join("state/databases/x"), r#"{"path":"/run/other.db","boot":"b","init":1}"#)
        .unwrap();
    fs::write(root.join("state/databases/y"), "no JSON").unwrap();
    let survey = Survey::new(root, site.survey.state.clone());
    assert_eq!(survey.data_dirs, [Path::new(crate::DEFAULT_DATA_DIR), Path::new("/elsewhere")]);
    assert_eq!(survey.databases, [Path::new("/run/plat.db"), Path::new("/run/other.db")]);
    assert_eq!(survey.places(), [(network.clone(), PathBuf::from("/elsewhere"))]);
    fs::create_dir_all(root.join("elsewhere/n")).unwrap();
    survey.forget_place(&network, Path::new("/elsewhere"));
    assert_eq!(survey.places().len(), 1, "its directory is there");
    fs::remove_dir(root.join("elsewhere/n")).unwrap();
    survey.forget_place(&network, Path::new("/elsewhere"));
    assert!(survey.places().is_empty());
}
