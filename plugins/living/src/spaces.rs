/*!
The network namespaces that exist, and which addresses are configured in them.

They are found by their names in /run/netns, by the processes in them, and by the paths that runtimes
wrote down. Addresses are read from /proc of a process in the namespace, or by a thread that enters it;
that needs to be root.
*/

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use ipam_core::addr::Addr;
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::cache::is_common;

/// The magic number of statfs(2) for the file system of namespaces.
const NSFS: i64 = 0x6e73_6673;

/// A namespace's number: the inode of its file.
pub type Number = u64;

/// What is at a path where a network namespace is said to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum At {
    /// No path is known.
    #[default]
    Untold,
    /// A namespace.
    Space(Number),
    /// Nothing.
    Nothing,
    /// Something that is no namespace as seen from here, or cannot be looked at.
    Unclear,
}

/// Network namespaces by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spaces {
    /// Each with what it is called and what is in it.
    pub all: BTreeMap<Number, Space>,
    /// In which namespaces an address is configured.
    users: HashMap<Addr, Vec<Number>>,
}

/// A network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Its path, or a process in it, for people.
    pub name: String,
    /// The addresses that are configured in it; `None` if that could not be read.
    pub addrs: Option<BTreeSet<Addr>>,
}

impl Spaces {
    /// Evidence as a value.
    pub fn new(all: BTreeMap<Number, Space>) -> Self {
        let mut users: HashMap<Addr, Vec<Number>> = HashMap::new();
        for (number, space) in &all {
            for addr in space.addrs.iter().flatten() {
                users.entry(*addr).or_default().push(*number);
            }
        }
        Self { all, users }
    }

    /// The namespaces in which an address is configured.
    pub fn using(&self, addr: Addr) -> &[Number] {
        self.users.get(&addr).map_or(&[], Vec::as_slice)
    }

    /// What a namespace is called.
    pub fn name(&self, number: Number) -> String {
        self.all.get(&number).map_or_else(|| format!("net:[{number}]"), |space| space.name.clone())
    }
}

/// A path of the runtime's, seen from the root directory.
pub fn below(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix("/").map_or_else(|_| path.to_path_buf(), |path| root.join(path))
}

/// What is at a path.
pub fn at(path: &Path) -> At {
    match open(path) {
        Ok(file) => space_of(&file).map_or(At::Unclear, At::Space),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => At::Nothing,
        Err(_) => At::Unclear,
    }
}

/// Opens whatever is at a path; not even a FIFO makes it wait.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

fn space_of(file: &File) -> Option<Number> {
    let kind = rustix::fs::fstatfs(file).ok()?.f_type;
    (kind == NSFS).then(|| file.metadata().ok().map(|meta| meta.ino()))?
}

/// Why a namespace that is not seen from here may still exist, if so.
pub fn blind(root: &Path) -> Option<String> {
    if root != Path::new("/") {
        return Some(
            "another root directory is looked at, and namespaces are this system's".to_owned(),
        );
    }
    // The number of a mount is its own in every mount namespace; the first line is the root's.
    let first_mount = |process: &str| {
        let text = fs::read_to_string(format!("/proc/{process}/mountinfo")).ok()?;
        text.split_ascii_whitespace().next().map(str::to_owned)
    };
    match (first_mount("1"), first_mount("self")) {
        (Some(first), Some(own)) if first == own => None,
        (Some(_), _) => Some("this process sees other mounts than the system's first".to_owned()),
        (None, _) => Some("which mounts the system has cannot be seen".to_owned()),
    }
}

/// Finds the namespaces, but for the system's own, and reads their addresses.
pub fn look(root: &Path, told: impl Iterator<Item = PathBuf>, notes: &mut Vec<String>) -> Spaces {
    let own = ["/proc/1/ns/net", "/proc/self/ns/net"].into_iter().find_map(number_of);
    let mut found: BTreeMap<Number, (String, Option<PathBuf>, Option<u32>)> = BTreeMap::new();
    let mut paths: Vec<PathBuf> = Vec::new();
    for dir in ["/run/netns", "/var/run/netns"] {
        let entries = fs::read_dir(below(root, Path::new(dir))).into_iter().flatten().flatten();
        paths.extend(entries.map(|entry| entry.path()));
    }
    paths.sort_unstable();
    paths.extend(told);
    for path in paths {
        if let At::Space(number) = at(&path) {
            found.entry(number).or_insert_with(|| (path.display().to_string(), Some(path), None));
        }
    }
    let mut hidden = 0_usize;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match number_of(&format!("/proc/{process}/ns/net")) {
            Some(number) => {
                let space = found.entry(number).or_insert_with(|| {
                    let name = fs::read_to_string(format!("/proc/{process}/comm"));
                    let name = name.as_deref().map_or("", str::trim);
                    (format!("process {process} ({name})"), None, None)
                });
                space.2.get_or_insert(process);
            }
            None => hidden += 1,
        }
    }
    // Some end while they are looked at, and a zombie has none.
    if hidden > 0 && !rustix::process::geteuid().is_root() {
        notes.push(format!("the namespaces of {hidden} processes are only root's to see"));
    }
    if let Some(own) = own {
        found.remove(&own);
    }
    read_all(found, notes)
}

fn number_of(path: &str) -> Option<Number> {
    let link = fs::read_link(path).ok()?;
    link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

type Found = BTreeMap<Number, (String, Option<PathBuf>, Option<u32>)>;

/// Reads the addresses in a thread of its own: what enters a namespace does not come back.
fn read_all(found: Found, notes: &mut Vec<String>) -> Spaces {
    let reader = thread::Builder::new().spawn(move || {
        let mut all = BTreeMap::new();
        for (number, (name, path, process)) in found {
            let addrs = process
                .filter(|process| number_of(&format!("/proc/{process}/ns/net")) == Some(number))
                .and_then(|process| read(&format!("/proc/{process}/net")))
                .or_else(|| enter(path.as_deref()?, number));
            all.insert(number, Space { name, addrs });
        }
        all
    });
    let all = reader.ok().and_then(|reader| reader.join().ok()).unwrap_or_default();
    let unread = all.values().filter(|space| space.addrs.is_none()).count();
    if unread > 0 {
        notes.push(format!("the addresses in {unread} network namespaces cannot be read"));
    }
    Spaces::new(all)
}

fn enter(path: &Path, number: Number) -> Option<BTreeSet<Addr>> {
    let file = open(path).ok()?;
    if space_of(&file)? != number {
        return None;
    }
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).ok()?;
    read("/proc/thread-self/net")
}

/// The addresses of the namespace whose /proc/net this is.
fn read(net: &str) -> Option<BTreeSet<Addr>> {
    let mut addrs = local_of_trie(&fs::read_to_string(format!("{net}/fib_trie")).ok()?);
    // Missing where the kernel has no IPv6.
    if let Ok(text) = fs::read_to_string(format!("{net}/if_inet6")) {
        addrs.extend(of_inet6(&text));
    }
    addrs.retain(|addr| !is_common((*addr).into()));
    Some(addrs)
}

/// IPv4 addresses of /proc/net/fib_trie: a leaf is a line with an address, then lines with its routes; an
/// address of the host itself has one of `/32 host LOCAL`.
fn local_of_trie(text: &str) -> BTreeSet<Addr> {
    let mut local = BTreeSet::new();
    let mut leaf = None;
    for line in text.lines() {
        let line = line.trim_start();
        if let Some(addr) = line.strip_prefix("|-- ") {
            leaf = Addr::parse(addr.trim());
        } else if line.starts_with("/32 host LOCAL") {
            local.extend(leaf);
        }
    }
    local
}

/// IPv6 addresses of /proc/net/if_inet6: 32 hexadecimal digits first.
fn of_inet6(text: &str) -> impl Iterator<Item = Addr> {
    text.lines().filter_map(|line| {
        let digits = line.split_ascii_whitespace().next().filter(|digits| digits.len() == 32)?;
        Addr::new(ipam_core::addr::Family::V6, u128::from_str_radix(digits, 16).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
                    +-- 10.1.2.0/24 2 0 2\n        |-- 10.1.2.0\n           /24 link UNICAST\n        \
                    |-- 10.1.2.3\n           /32 host LOCAL\n        |-- 10.1.2.255\n           \
                    /32 link BROADCAST\n";
        let local: Vec<String> = local_of_trie(trie).iter().map(Addr::to_string).collect();
        assert_eq!(local, ["10.1.2.3"]);
        let inet6 = "20010db8000000000000000000000005 02 40 00 80     eth0\nx\n\n";
        let found: Vec<String> = of_inet6(inet6).map(|addr| addr.to_string()).collect();
        assert_eq!(found, ["2001:db8::5"]);
    }

    #[test]
    fn what_is_at_a_path_is_told() {
        assert!(matches!(at(Path::new("/proc/self/ns/net")), At::Space(number) if number > 0));
        assert_eq!(at(Path::new("/proc/self/ns/none")), At::Nothing);
        assert_eq!(at(Path::new("/proc/self/comm")), At::Unclear);
    }
}
