//! What the machine is, and what else it does: read from `/proc`, as text, and taken apart as values.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::figures::{Machine, Program};

/// The processors' time since the boot, of all kinds and of what the hypervisor gave to others, in the kernel's units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticks {
    all: u64,
    steal: u64,
}

impl Ticks {
    /// Of `/proc/stat`; proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; what guests had is in user and nice.
    #[must_use]
    pub fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let numbers: Option<Vec<u64>> =
            line.split_whitespace().take(8).map(|word| word.parse().ok()).collect();
        let numbers = numbers.filter(|numbers| numbers.len() == 8)?;
        Some(Self {
            all: numbers.iter().fold(0, |sum, it| sum.saturating_add(*it)),
            steal: *numbers.last()?,
        })
    }

    /// Of this machine.
    #[must_use]
    pub fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The share that the hypervisor gave to others from `before` until now.
    #[must_use]
    pub fn steal_since(self, before: Self) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)?;
        Some(self.steal.saturating_sub(before.steal) as f64 / all as f64)
    }
}

/// The processor's model, of `/proc/cpuinfo`.
fn processor(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).trim_end()).filter(|model| !model.is_empty())
}

/// Memory in GB, of `/proc/meminfo`.
fn memory(meminfo: &str) -> Option<f64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e9)
}

/// The type of the file system that a path lies on, of `/proc/self/mountinfo`; proc_pid_mountinfo(5).
fn file_system<'a>(mountinfo: &'a str, path: &Path) -> Option<&'a str> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let place = Path::new(before.split(' ').nth(4)?);
        path.starts_with(place).then_some((place.components().count(), after.split(' ').next()?))
    });
    // What was mounted last at one place is what is seen there.
    mounts.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn or_unknown(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or("unknown").to_owned()
}

/// Load averages over 1, 5 and 15 minutes.
#[must_use]
pub fn load() -> String {
    text("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// This machine as it is now; the places are called so in the figures.
#[must_use]
pub fn look(places: &[(&str, &Path)]) -> Machine {
    let mounts = text("/proc/self/mountinfo");
    let file_systems = places
        .iter()
        .map(|(name, path)| ((*name).to_owned(), or_unknown(file_system(&mounts, path))));
    Machine {
        processor: or_unknown(processor(&text("/proc/cpuinfo"))),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        memory_gb: memory(&text("/proc/meminfo")).unwrap_or_default(),
        kernel: or_unknown(text("/proc/sys/kernel/osrelease").lines().next()),
        file_systems: file_systems.collect::<BTreeMap<_, _>>(),
        load_begin: load(),
        load_end: String::new(),
        steal: None,
    }
}

/// The first line that a program prints; nothing if it is not there.
#[must_use]
pub fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let text =
        output.map(|it| String::from_utf8_lossy(&it.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// Date and time, UTC.
#[must_use]
pub fn date() -> String {
    or_unknown(Some(&said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])))
}

/// The commit that a repository is at, with `-dirty` if something was changed.
#[must_use]
pub fn commit(repository: &Path) -> Option<String> {
    let place = repository.to_string_lossy();
    let words = ["-C", &place, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
    Some(said("git", &words)).filter(|commit| !commit.is_empty())
}

/// A CNI plugin: what it says of itself when it is called without a command, and its size.
#[must_use]
pub fn plugin(name: &str, path: &Path, repository: Option<&Path>) -> Program {
    let banner = Command::new(path).env_clear().stdin(Stdio::null()).output();
    let banner = banner.map(|it| String::from_utf8_lossy(&it.stderr).into_owned());
    of_banner(name, path, repository, &banner.unwrap_or_default())
}

/// A program that tells its version on request, and its size.
#[must_use]
pub fn program(name: &str, path: &Path, repository: Option<&Path>) -> Program {
    let banner = said(&path.to_string_lossy(), &["--version"]);
    of_banner(name, path, repository, banner.trim_start_matches(name))
}

fn of_banner(name: &str, path: &Path, repository: Option<&Path>, banner: &str) -> Program {
    let mut version = or_unknown(banner.lines().next().map(version_in));
    if let Some(commit) = repository.and_then(commit) {
        version += &format!(", commit {commit}");
    }
    let bytes = fs::metadata(path).ok().map(|it| it.len());
    Program { name: name.to_owned(), version, bytes, is_reference: false }
}

/// A version in what a plugin says of itself, such as `CNI host-local plugin v1.6.0`.
fn version_in(banner: &str) -> &str {
    let version = banner.rsplit_once("plugin ").map_or(banner, |(_, version)| version);
    let version = version.split_once(" (").map_or(version, |(version, _)| version);
    version.trim().trim_start_matches("version ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_understood() {
        let before = Ticks::parse("cpu  10 0 10 70 0 0 0 10 5 0\ncpu0 1 1\n").expect("a line");
        let after = Ticks::parse("cpu  20 0 20 140 0 0 0 20 5 0\n").expect("a line");
        assert_eq!(after.steal_since(before), Some(0.1));
        assert_eq!(before.steal_since(before), None);
        assert_eq!(before.steal_since(after), None);
        for broken in ["", "cpu 1 2 3", "cpu  a b c d e f g h", "intr 1"] {
            assert_eq!(Ticks::parse(broken), None, "{broken}");
        }
        assert_eq!(processor("a: b\nmodel name\t: One (R) 2 \nmodel name: x\n"), Some("One (R) 2"));
        assert_eq!(processor("model name\t:\n"), None);
        assert_eq!(memory("MemTotal:       1000000 kB\n"), Some(1.024));
        assert_eq!(memory("MemTotal: many"), None);
        let mounts = "1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
                      2 1 0:20 / /dev/shm rw shared:2 - tmpfs tmpfs rw\n\
                      3 1 0:21 / /dev rw - devtmpfs udev rw\nbroken\n";
        for (path, wanted) in
            [("/var/tmp", "ext4"), ("/dev/shm/x", "tmpfs"), ("/dev/shmx", "devtmpfs")]
        {
            assert_eq!(file_system(mounts, Path::new(path)), Some(wanted), "{path}");
        }
        assert_eq!(file_system("", Path::new("/")), None);
    }

    #[test]
    fn versions_are_found() {
        for (banner, version) in [
            ("CNI host-local plugin v1.6.0", "v1.6.0"),
            ("CNI host-local plugin version unknown", "unknown"),
            ("CNI host-local plugin v0.1.0 (Plat, https://example.com)", "v0.1.0"),
            (" 0.1.0", "0.1.0"),
            ("something else", "something else"),
        ] {
            assert_eq!(version_in(banner), version);
        }
    }
}
