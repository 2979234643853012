//! A plugin that is killed at one of its system calls.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::program::{install_script, program};
use crate::{Call, Outcome, have};

/// System calls that neither change a file nor can be seen by another process. What lies on disk
/// changes only between others, so that killing at those meets every state there is.
const WITHOUT_EFFECT: &[&str] = &[
    "access",
    "arch_prctl",
    "brk",
    "clock_gettime",
    "clock_nanosleep",
    "clone",
    "clone3",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_wait",
    "eventfd2",
    "execve",
    "faccessat",
    "faccessat2",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getegid",
    "geteuid",
    "getgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getrandom",
    "gettid",
    "gettimeofday",
    "getuid",
    "lseek",
    "lstat",
    "madvise",
    "mincore",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "newfstatat",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "preadv",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "readv",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "sigaltstack",
    "stat",
    "statfs",
    "statx",
    "sysinfo",
    "tgkill",
    "timer_create",
    "timer_delete",
    "timer_settime",
    "uname",
];

/// Runs calls under strace: to see which system calls they make, and to kill them at one.
#[derive(Debug)]
pub struct Killer {
    trace: PathBuf,
    tracing: PathBuf,
    killing: PathBuf,
}

impl Killer {
    /// Whether this machine lets a process be traced.
    pub fn works() -> bool {
        have("strace")
            && Command::new(program("strace"))
                .args(["-qq", "-o", "/dev/null", "--"])
                .arg(program("true"))
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
    }

    /// For calls of `binary`; its few files go below `dir`.
    pub fn new(binary: &Path, dir: &Path) -> Self {
        fs::create_dir_all(dir).expect("a directory can be made");
        let strace = program("strace");
        let trace = dir.join("trace");
        let words = [strace.as_os_str(), OsStr::new("-f"), OsStr::new("-qq"), OsStr::new("-o")];
        let end = OsStr::new("--");
        let tracing = [&words[..], &[trace.as_os_str(), end]].concat();
        let tracing = install_script(&dir.join("tracing"), &tracing, binary);
        // The point is named by the environment: a script per point would double the time.
        let shell = [OsStr::new("/bin/sh"), OsStr::new("-c")];
        let script = r#"exec "$0" -f -qq -o /dev/null -e "trace=$KILL_AT" -e "inject=$KILL_AT:signal=SIGKILL:when=$KILL_WHEN" -- "$1""#;
        let killing = [&shell[..], &[OsStr::new(script), strace.as_os_str()]].concat();
        let killing = install_script(&dir.join("killing"), &killing, binary);
        Self { trace, tracing, killing }
    }

    /// How often a call makes each system call that has an effect.
    pub fn system_calls(&self, call: impl FnOnce(&Path) -> Call) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for ((_, name), count) in self.trace(call) {
            *calls.entry(name).or_insert(0) += count;
        }
        calls
    }

    /// The same of the process or thread that makes it most often: strace counts for each of them, so that
    /// there is nobody to be killed beyond that.
    pub fn system_calls_of_one(&self, call: impl FnOnce(&Path) -> Call) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for ((_, name), count) in self.trace(call) {
            let most: &mut usize = calls.entry(name).or_default();
            *most = count.max(*most);
        }
        calls
    }

    /// How often each process or thread makes each system call.
    fn trace(&self, call: impl FnOnce(&Path) -> Call) -> BTreeMap<(String, String), usize> {
        let outcome = call(&self.tracing).run();
        assert_eq!(outcome.exit, Some(0), "the call fails even if it is not killed: {outcome:?}");
        let trace = fs::read_to_string(&self.trace).expect("strace has written a trace");
        let mut calls = BTreeMap::new();
        for line in trace.lines() {
            // `<pid> <name>(<arguments>) = <result>`; what is resumed has been counted already.
            let Some((process, rest)) = line.split_once(' ') else { continue };
            let Some((name, _)) = rest.trim().split_once('(') else { continue };
            let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if is_name && !WITHOUT_EFFECT.contains(&name) {
                *calls.entry((process.to_owned(), name.to_owned())).or_insert(0) += 1;
            }
        }
        let ends = calls.keys().any(|(_, name)| name == "exit_group");
        assert!(ends, "not a trace: {trace}");
        calls
    }

    /// Runs a call, killed by SIGKILL when it makes the `nth` system call of this name, which is not
    /// carried out any more. The outcome has no exit status then; it has one if there are fewer.
    pub fn kill_at(&self, name: &str, nth: usize, call: impl FnOnce(&Path) -> Call) -> Outcome {
        call(&self.killing).env("KILL_AT", name).env("KILL_WHEN", nth.to_string()).run()
    }
}
