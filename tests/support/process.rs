//! Processes: looked at in /proc, stopped, and never left behind.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{install_script, program, wait_until};

/// A child that is killed when this is dropped and it has not come to its end.
#[derive(Debug)]
pub struct Owned(pub Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that is nobody's child any more; killed when this is dropped.
#[derive(Debug)]
pub struct Orphan {
    /// Its process ID.
    pub pid: u32,
    exe: PathBuf,
}

impl Orphan {
    /// A process that runs `binary`.
    pub fn new(pid: u32, binary: &Path) -> Self {
        Self { pid, exe: binary.canonicalize().expect("a program is there") }
    }

    /// Whether it has come to its end.
    pub fn is_over(&self) -> bool {
        let exe = fs::read_link(format!("/proc/{}/exe", self.pid));
        is_over(self.pid) || exe.is_ok_and(|exe| exe != self.exe)
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.is_over() && Instant::now() < deadline {
            let _ = kill_process(raw(self.pid), Signal::KILL);
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A process that is stopped; it goes on when this is dropped.
#[derive(Debug)]
pub struct Stopped(Pid);

impl Stopped {
    /// Stops a process and waits until it stands still.
    pub fn new(pid: u32) -> Self {
        let stopped = Self(raw(pid));
        kill_process(stopped.0, Signal::STOP).expect("a process can be stopped");
        // Every thread of it: one that still runs may be given a lock.
        wait_until("the process stands still", || {
            threads(pid).iter().all(|state| matches!(state, 'T' | 't' | 'Z' | 'X'))
        });
        stopped
    }
}

impl Stopped {
    /// Lets it go on to its end: strace counts each system call for itself, so that one process may be
    /// stopped once for each.
    pub fn go_on(self) {
        let pid = self.0;
        thread::spawn(move || {
            let Ok(number) = u32::try_from(pid.as_raw_nonzero().get()) else { return };
            let deadline = Instant::now() + Duration::from_secs(60);
            while !is_over(number) && Instant::now() < deadline {
                if process(number).is_some_and(|(state, _)| matches!(state, 'T' | 't')) {
                    let _ = kill_process(pid, Signal::CONT);
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// Calls of a plugin that stop in the middle: at a system call that has to do with certain files,
/// just after it was carried out. Needs strace.
#[derive(Debug)]
pub struct Stopper {
    script: PathBuf,
    log: PathBuf,
    binary: PathBuf,
}

impl Stopper {
    /// Calls of `binary` stop at the `nth` of `syscalls` (a list as strace takes it) on one of `paths`.
    /// Two small files go below `dir`.
    pub fn new(dir: &Path, binary: &Path, syscalls: &str, paths: &[&Path], nth: u32) -> Self {
        fs::create_dir_all(dir).expect("a directory can be made");
        let (script, log) = (dir.join("stopping"), dir.join("stopping.log"));
        let strace = program("strace");
        let trace = format!("trace={syscalls}");
        let inject = format!("inject={syscalls}:signal=SIGSTOP:when={nth}");
        let mut command = vec![strace.as_os_str(), OsStr::new("-f"), OsStr::new("-o")];
        command.push(log.as_os_str());
        for path in paths {
            command.extend([OsStr::new("-P"), path.as_os_str()]);
        }
        command.extend(["-e", &trace, "-e", &inject, "--"].map(OsStr::new));
        install_script(&script, &command, binary);
        Self { script, log, binary: binary.to_path_buf() }
    }

    /// What to call instead of the plugin.
    pub fn script(&self) -> &Path {
        &self.script
    }

    /// Waits until a call of the script has stopped; `None` if it came to its end before.
    pub fn stopped(&self, call: &Owned) -> Option<Stopped> {
        let parent = call.0.id();
        let mut stopped = false;
        wait_until("the call stops or ends", || {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            stopped = log.contains("stopped by SIGSTOP");
            stopped || is_over(parent)
        });
        stopped.then(|| {
            let pid = child_of(parent, &self.binary).expect("the stopped process is there");
            Stopped::new(pid)
        })
    }
}

/// Whether a process has a file open.
pub fn has_open(pid: u32, path: &Path) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target == path))
}

/// Whether a process has come to its end, waited for or not.
pub fn is_over(pid: u32) -> bool {
    process(pid).is_none_or(|(state, _)| state == 'Z')
}

/// The parent of a process.
pub fn parent_of(pid: u32) -> Option<u32> {
    process(pid).map(|(_, parent)| parent)
}

/// The child of `parent` that runs `binary`.
pub fn child_of(parent: u32, binary: &Path) -> Option<u32> {
    let binary = binary.canonicalize().ok()?;
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let exe = fs::read_link(entry.path().join("exe")).ok()?;
        (parent_of(pid)? == parent && exe == binary).then_some(pid)
    })
}

/// The children of a process that have not come to their end.
pub fn children_of(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent) && !is_over(*pid)).collect()
}

/// State letter and parent of a process; `None` if there is none.
fn process(pid: u32) -> Option<(char, u32)> {
    state_in(Path::new(&format!("/proc/{pid}")))
}

/// State letters of all threads of a process.
fn threads(pid: u32) -> Vec<char> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(|thread| state_in(&thread.path())).map(|(state, _)| state).collect()
}

fn state_in(dir: &Path) -> Option<(char, u32)> {
    let stat = fs::read_to_string(dir.join("stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn raw(pid: u32) -> Pid {
    i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process ID")
}
