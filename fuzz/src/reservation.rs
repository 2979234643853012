//! A reservation file with any content, seen through the store.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ipam_core::addr::{Addr, Cidr};
use ipam_core::allocator::{Repeat, Request};
use ipam_core::config::Owner;
use ipam_core::identity::{Attachment, ContainerId, Holder, IfName, Network};
use ipam_core::policy::Policy;
use ipam_core::range::{RangeSet, RangeSpec};
use ipam_core::store::{Record, ReserveError, Store};
use ipam_stores::{DirStore, Location, StateDirs};

/// What the names of our directories begin with; the process ID follows.
const PREFIX: &str = "plat-fuzz-";

/// The file with the input, and the ones beside it.
const SUBJECT: &str = "10.1.2.3";
const BESIDE: &[(&str, &str)] = &[("10.1.2.2", "other\r\neth0"), ("10.1.2.5", "old")];

/// How many other files make a directory one that the store keeps an index of: more than it sees at one look.
/// No GC touches them: they name nobody.
const LARGE: u32 = 64;
const FILLER: &[u8] = b"kept by hand";

/// What is left of 10.1.2.0/29 then.
const FREE: &[&str] = &["10.1.2.4", "10.1.2.6"];

static NEXT: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static DIRECTORIES: [Directory; 2] = [Directory::new(0), Directory::new(LARGE)];
}

/// Puts the input into a reservation file and calls each verb of the store, in a small directory and in a
/// large one.
///
/// Nothing but a release of its holder, or a GC, touches the file; while it has content its address is not
/// handed out; the reservations beside it stay. Without content it is the rest of a crash, and free.
pub fn reservation(input: &[u8]) {
    let holder = holder_of(input);
    let holder = holder.as_ref();
    DIRECTORIES.with(|directories| {
        for directory in directories {
            directory.is_listed(input, holder);
            directory.is_not_handed_out(input, holder);
            directory.is_released(input, holder);
            directory.is_collected(input, holder);
            if input.is_empty() {
                directory.is_taken_where_shared();
            }
        }
    });
}

/// Who holds an address by the reference's rule: the trimmed content is a container's ID and an interface, on
/// a line each, or the ID alone.
fn holder_of(content: &[u8]) -> Option<Holder> {
    if content.is_empty() {
        return None;
    }
    let text = String::from_utf8(content.to_vec()).unwrap_or_default();
    let lines: Vec<&str> = text.trim().split('\n').collect();
    let id = |text: &str| ContainerId::new(text).ok();
    let holder = match lines.as_slice() {
        [one] => id(one).map(Holder::Container),
        [first, ifname] => id(first.strip_suffix('\r').unwrap_or(first))
            .zip(IfName::new(*ifname).ok())
            .map(|(container, ifname)| Holder::Attachment(Attachment { container, ifname })),
        _ => None,
    };
    Some(holder.unwrap_or(Holder::Unknown))
}

fn addr(text: &str) -> Addr {
    Addr::parse(text).expect("an address")
}

fn attachment(container: &str, ifname: &str) -> Attachment {
    Attachment {
        container: ContainerId::new(container).expect("a container ID"),
        ifname: IfName::new(ifname).expect("an interface name"),
    }
}

/// The attachment that a holder stands for.
fn attachment_of(holder: &Holder) -> Option<Attachment> {
    match holder {
        Holder::Attachment(attachment) => Some(attachment.clone()),
        Holder::Container(id) => Some(attachment(id.as_str(), "eth7")),
        Holder::Unknown => None,
    }
}

/// A container that the holder does not name.
fn stranger(holder: Option<&Holder>) -> &'static str {
    match holder.and_then(attachment_of) {
        Some(attachment) if attachment.container.as_str() == "stranger" => "stranger2",
        _ => "stranger",
    }
}

/// A directory of our own, used again for each input.
struct Directory {
    root: PathBuf,
    network: PathBuf,
    fillers: BTreeSet<String>,
    sets: Vec<RangeSet>,
}

impl Directory {
    fn new(fillers: u32) -> Self {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        remove_leftovers(&base);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = base.join(format!("{PREFIX}{}-{n}", std::process::id()));
        let network = root.join("data/net");
        fs::create_dir_all(&network).expect("a scratch directory can be made");
        let fillers: BTreeSet<String> = (0..fillers).map(|n| format!("10.9.0.{n}")).collect();
        for name in &fillers {
            fs::write(network.join(name), FILLER).expect("a file can be written");
        }
        let spec = RangeSpec { subnet: Cidr::parse("10.1.2.0/29"), ..RangeSpec::default() };
        let set = RangeSet::new(&[spec]).expect("a valid range");
        Self { root, network, fillers, sets: vec![set] }
    }

    fn store(&self, shared: bool) -> DirStore {
        let location = Location {
            data_dir: self.root.join("data"),
            network: Network::new("net").expect("a network's name"),
            shared: Some(shared),
            lock_timeout: Duration::from_secs(30),
        };
        let state = StateDirs { durable: self.root.join("state"), volatile: self.root.join("run") };
        DirStore::new(location, state)
    }

    /// Everything as at the beginning, with this content of the file.
    fn reset(&self, content: &[u8]) -> DirStore {
        for name in self.names() {
            fs::remove_file(self.network.join(name)).expect("a file can be removed");
        }
        fs::write(self.network.join(SUBJECT), content).expect("a file can be written");
        for (name, content) in BESIDE {
            fs::write(self.network.join(name), content).expect("a file can be written");
        }
        self.store(false)
    }

    /// The names in the directory without the fillers, which must all be there.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.network).expect("the directory can be read").flatten();
        let names = entries.map(|entry| entry.file_name().into_string().expect("names are UTF-8"));
        let (fillers, others): (Vec<_>, Vec<_>) =
            names.partition(|name| self.fillers.contains(name));
        assert_eq!(fillers.len(), self.fillers.len(), "a file of nobody is gone");
        others
    }

    /// The reservations on disk, without the fillers.
    fn files(&self) -> BTreeMap<Addr, Vec<u8>> {
        let names = self.names().into_iter();
        names
            .filter_map(|name| {
                let content = fs::read(self.network.join(&name)).expect("a file can be read");
                Some((Addr::parse(&name)?, content))
            })
            .collect()
    }

    /// What should be on disk: the file, unless it is gone, and those beside it but `without`.
    fn expect(&self, subject: Option<&[u8]>, without: &[Addr], what: &str) {
        let beside = BESIDE.iter().map(|(name, content)| (addr(name), content.as_bytes().to_vec()));
        let mut expected: BTreeMap<Addr, Vec<u8>> = beside.collect();
        expected.extend(subject.map(|content| (addr(SUBJECT), content.to_vec())));
        expected.retain(|addr, _| !without.contains(addr));
        assert_eq!(self.files(), expected, "after {what}");
    }

    fn is_listed(&self, content: &[u8], holder: Option<&Holder>) {
        let mut store = self.reset(content);
        let mut expected = vec![
            Record {
                addr: addr("10.1.2.2"),
                holder: Holder::Attachment(attachment("other", "eth0")),
            },
            Record {
                addr: addr("10.1.2.5"),
                holder: Holder::Container(ContainerId::new("old").expect("a container ID")),
            },
        ];
        expected
            .extend(holder.map(|holder| Record { addr: addr(SUBJECT), holder: holder.clone() }));
        expected.sort_unstable();
        let mut listed = store.list().expect("the directory can be listed");
        listed.retain(|record| !self.fillers.contains(&record.addr.to_string()));
        assert_eq!(listed, expected);
        let odd = matches!(holder, None | Some(Holder::Unknown));
        let mut warnings = store.take_warnings();
        warnings.retain(|text| !self.fillers.iter().any(|name| text.contains(name)));
        assert_eq!(warnings.len(), usize::from(odd), "what is odd is said once: {warnings:?}");
        self.expect(holder.map(|_| content), &[], "list");
    }

    fn is_not_handed_out(&self, content: &[u8], holder: Option<&Holder>) {
        let stranger = stranger(holder);
        // Asked for by its address.
        let mut store = self.reset(content);
        let wanted = [addr(SUBJECT)];
        let given = self.reserve(&mut store, &attachment(stranger, "eth0"), &wanted);
        assert_eq!(given.is_some(), holder.is_none(), "requested: {given:?}");
        let written = format!("{stranger}\r\neth0");
        let now = if holder.is_some() { content } else { written.as_bytes() };
        self.expect(Some(now), &[], "a requested address");

        // Whatever is next, until nothing is left.
        let mut store = self.reset(content);
        let mut all: Vec<Addr> = FREE.iter().copied().map(addr).collect();
        all.extend(holder.is_none().then_some(addr(SUBJECT)));
        all.sort_unstable();
        let mut given = Vec::new();
        for n in 0..=all.len() {
            given.extend(self.reserve(&mut store, &attachment(stranger, &format!("eth{n}")), &[]));
        }
        given.sort_unstable();
        assert_eq!(given, all, "handed out");
        let files = self.files();
        for (name, content) in BESIDE {
            assert_eq!(files.get(&addr(name)).map(Vec::as_slice), Some(content.as_bytes()));
        }
        if holder.is_some() {
            assert_eq!(files.get(&addr(SUBJECT)).map(Vec::as_slice), Some(content));
        }
        let exhausted = store.first_exhausted(&self.sets, Duration::ZERO);
        assert_eq!(exhausted.expect("the directory can be read"), Some((0, None)));
    }

    /// One address, or none if the store refuses.
    fn reserve(
        &self,
        store: &mut DirStore,
        attachment: &Attachment,
        requested: &[Addr],
    ) -> Option<Addr> {
        let sets = &self.sets;
        let request = Request {
            attachment,
            sets,
            requested,
            repeat: Repeat::Refuse,
            pin: None,
            policy: Policy::default(),
            owner: &Owner::default(),
        };
        match store.reserve(&request, &mut || true) {
            Ok(choices) => {
                let given: Vec<Addr> = choices.iter().map(|choice| choice.addr).collect();
                assert_eq!(given.len(), 1, "one address for one set: {given:?}");
                given.first().copied()
            }
            Err(ReserveError::Refused(_)) => None,
            Err(error) => panic!("{error:?}"),
        }
    }

    fn is_released(&self, content: &[u8], holder: Option<&Holder>) {
        let mut store = self.reset(content);
        let nobody = attachment(stranger(holder), "eth0");
        assert_eq!(store.find(&nobody).expect("it can be looked for"), []);
        assert_eq!(store.release(&nobody).expect("it can be released"), []);
        self.expect(holder.map(|_| content), &[], "a stranger's release");

        let Some(attachment) = holder.and_then(attachment_of) else { return };
        let mut theirs: Vec<Addr> = BESIDE
            .iter()
            .filter(|(_, content)| holder_of(content.as_bytes()).as_ref() == holder)
            .map(|(name, _)| addr(name))
            .chain([addr(SUBJECT)])
            .collect();
        theirs.sort_unstable();
        assert_eq!(store.find(&attachment).expect("it can be looked for"), theirs);
        self.expect(Some(content), &[], "find");
        // It holds an address already.
        assert_eq!(self.reserve(&mut store, &attachment, &[]), None);
        self.expect(Some(content), &[], "a second ADD");
        assert_eq!(store.release(&attachment).expect("it can be released"), theirs);
        self.expect(None, &theirs, "release");
    }

    fn is_collected(&self, content: &[u8], holder: Option<&Holder>) {
        let beside = || BESIDE.iter().map(|(name, _)| addr(name));
        let unknown = holder.filter(|holder| matches!(holder, Holder::Unknown));
        let known = holder.filter(|holder| !matches!(holder, Holder::Unknown));
        let mut store = self.reset(content);
        let mut expected: Vec<Addr> = beside().chain(known.map(|_| addr(SUBJECT))).collect();
        expected.sort_unstable();
        let freed = store.retain(&[]).expect("it can be collected");
        assert_eq!(freed, expected, "GC without attachments");
        self.expect(unknown.map(|_| content), &beside().collect::<Vec<_>>(), "GC");

        let mut store = self.reset(content);
        let mut valid = vec![attachment("other", "eth0"), attachment("old", "eth3")];
        valid.extend(holder.and_then(attachment_of));
        assert_eq!(store.retain(&valid).expect("it can be collected"), [], "GC with all of them");
        self.expect(holder.map(|_| content), &[], "GC with all of them");
    }

    /// Where other nodes write, an empty file may be one that is being written.
    fn is_taken_where_shared(&self) {
        self.reset(b"");
        let mut store = self.store(true);
        let subject = Record { addr: addr(SUBJECT), holder: Holder::Unknown };
        assert!(store.list().expect("the directory can be listed").contains(&subject));
        let nobody = attachment("stranger", "eth0");
        assert_eq!(self.reserve(&mut store, &nobody, &[addr(SUBJECT)]), None);
        assert_eq!(store.release(&nobody).expect("it can be released"), []);
        assert_eq!(store.retain(&[]).expect("it can be collected"), []);
        self.expect(Some(b""), &[], "calls on a shared directory");
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A fuzzer that has found something ends at once; the next one removes what it left.
fn remove_leftovers(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let pid = rest.split('-').next().unwrap_or_default();
        let number = !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit());
        if number && !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
