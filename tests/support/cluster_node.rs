/*!
Nodes that share a pool, all on this machine: each with a host name, a boot, a machine ID and state of its own.

A node is a mount and a UTS namespace in which the kernel's boot ID and the machine's ID are files of the
test's; they go away with the process that holds them. Needs root. Calls of a node are real processes, as
everywhere.
*/

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, OpenFlags};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::program::{install_script, program};
use crate::{Call, Outcome, Random, Scratch, binary, is_root, skip_unless, wait_until};

/// What makes a node of a namespace: its name, its boot, its machine. When process 1 was started belongs to
/// the boot, and would be shown otherwise to a process whose clock was set forward.
const ENTER: &str = r#"printf %s "$1" >/proc/sys/kernel/hostname &&
    mount --bind "$2" /proc/sys/kernel/random/boot_id &&
    { [ ! -e /etc/machine-id ] || mount --bind "$3" /etc/machine-id; } &&
    cat /proc/1/stat >"$4" && mount --bind "$4" /proc/1/stat &&
    { [ ! -e /sys/class/dmi/id/product_uuid ] || mount --bind "$3" /sys/class/dmi/id/product_uuid; } &&
    echo && exec cat"#;

static BOOTS: AtomicU64 = AtomicU64::new(0);

/// Whether the test can have nodes; otherwise it says that it is skipped.
#[must_use]
pub fn available(test: &str) -> bool {
    let time = || {
        let arguments = ["--fork", "--time", "--boottime", "1", "--", "true"];
        Command::new(program("unshare"))
            .args(arguments)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let root = is_root();
    skip_unless(test, &[(root, "root"), (!root || time(), "time namespaces (Linux 5.6)")])
        && crate::etcd::available(test)
}

/// A node.
#[derive(Debug)]
pub struct ClusterNode {
    holder: Child,
    name: String,
    script: PathBuf,
    binary: PathBuf,
    scratch: Scratch,
}

impl ClusterNode {
    /// A node with this host name, in a boot of its own, that has never been used.
    pub fn new(name: &str) -> Self {
        Self::on_machine(name, name)
    }

    /// The same on a machine that has this ID: two nodes with one machine are a virtual machine and its copy.
    pub fn on_machine(name: &str, machine: &str) -> Self {
        let scratch = Scratch::on_tmpfs("node");
        let boot = scratch.write("boot_id", boot_id());
        let machine = scratch.write("machine-id", format!("{machine}\n"));
        let mut holder = Command::new(program("unshare"))
            .args(["--mount", "--uts", "--propagation", "private", "--", "/bin/sh", "-c", ENTER])
            .args([OsStr::new("sh"), OsStr::new(name), boot.as_os_str(), machine.as_os_str()])
            .arg(scratch.path().join("init-stat"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare can be started");
        // The line says that all is in place.
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("stdout is a pipe");
        let read = BufReader::new(stdout).read_line(&mut line);
        let binary = binary("etcd-pool");
        let mut node = Self {
            holder,
            name: name.to_owned(),
            script: scratch.path().join("etcd-pool"),
            binary: binary.clone(),
            scratch,
        };
        assert!(matches!(read, Ok(1)), "no namespaces can be made: {read:?}");
        // Members of an etcd have machines of their own: here, so many calls must not starve them.
        let nice = [program("nice").into(), "-n".into(), "15".into()];
        let words: Vec<OsString> = nice.into_iter().chain(node.enter()).collect();
        let words: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
        node.script = install_script(&node.script, &words, &binary);
        node
    }

    /// Its host name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What survives its boot.
    pub fn state(&self) -> PathBuf {
        self.scratch.path().join("state")
    }

    /// What does not.
    pub fn run_dir(&self) -> PathBuf {
        self.scratch.path().join("run")
    }

    /// Its database.
    pub fn database(&self) -> PathBuf {
        self.run_dir().join("plat.db")
    }

    /// A call of the plugin on this node.
    pub fn call(&self, command: &str, id: &str, config: &Value) -> Call {
        Call::new(&self.script, command).state_in(self.scratch.path()).id(id).config(config)
    }

    /// The same so many seconds later, by the clock that counts since the boot.
    pub fn call_later(&self, seconds: u64, command: &str, id: &str, config: &Value) -> Outcome {
        let words = self.later(seconds);
        let words: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
        let script = self.scratch.path().join(format!("etcd-pool-{seconds}"));
        if !script.exists() {
            install_script(&script, &words, &self.binary);
        }
        Call::new(&script, command).state_in(self.scratch.path()).id(id).config(config).run()
    }

    /// Runs a program on this node, with its state and a further environment.
    pub fn run_with(
        &self,
        name: &Path,
        arguments: &[&str],
        environment: &[(&str, &Path)],
    ) -> Output {
        let mut command = self.command(&self.enter(), name, arguments);
        command.envs(environment.iter().copied()).output().expect("nsenter can be started")
    }

    /// Writes the outbox and sees to the blocks, in the foreground.
    pub fn flush(&self, connection: &Value) {
        self.flush_after(0, connection);
    }

    /// The same so many seconds later, by the clock that counts since the boot.
    pub fn flush_later(&self, seconds: u64, connection: &Value) {
        self.flush_after(seconds, connection);
    }

    fn flush_after(&self, seconds: u64, connection: &Value) {
        // Else the one that runs would be left to do it, at its own time.
        wait_until("the flusher has come to its end", || self.flushers().is_empty());
        let words = if seconds == 0 { self.enter() } else { self.later(seconds) };
        let connection = connection.to_string();
        let database = self.database();
        let arguments = [OsStr::new("flush"), database.as_os_str(), OsStr::new(&connection)];
        let output = self.command(&words, &self.binary, &arguments).output();
        let output = output.expect("nsenter can be started");
        assert!(output.status.success(), "{}: {output:?}", self.name);
    }

    /// Why the last flush failed, a line each.
    pub fn flush_problem(&self) -> Option<String> {
        fs::read_to_string(self.run_dir().join("pool-flush.log")).ok()
    }

    /// The processes that flush for this node.
    pub fn flushers(&self) -> Vec<u32> {
        let database = self.database().into_os_string().into_encoded_bytes();
        let processes = fs::read_dir("/proc").expect("/proc can be read").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|b| *b == 0).nth(1) == Some(b"flush")
                && line.split(|b| *b == 0).nth(2) == Some(&database)
        })
        .collect()
    }

    /// Kills what flushes for this node, and waits until it is gone.
    pub fn kill_flushers(&self) {
        wait_until("flushers are killed", || {
            let pids = self.flushers();
            for pid in pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
                let _ = kill_process(pid, Signal::KILL);
            }
            pids.is_empty()
        });
    }

    /// Another boot: what does not survive one is gone, and no process is left. No call may be running.
    pub fn reboot(&self) {
        self.kill_flushers();
        let _ = fs::remove_dir_all(self.run_dir());
        fs::write(self.scratch.path().join("boot_id"), boot_id()).expect("a boot can be written");
    }

    /// Takes over the disk of another node.
    pub fn copy_disk_of(&self, other: &Self) {
        let _ = fs::remove_dir_all(self.state());
        let copied = Command::new("cp").arg("-a").arg(other.state()).arg(self.state()).status();
        assert!(copied.is_ok_and(|status| status.success()), "a disk can be copied");
    }

    /// What it remembers durably.
    pub fn pool_json(&self) -> Value {
        let text = fs::read(self.state().join("pool.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// How many rows a table of its database has; none where there is no database.
    pub fn rows(&self, table: &str) -> i64 {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        if !self.database().exists() {
            return 0;
        }
        let connection = Connection::open_with_flags(self.database(), flags).expect("a database");
        connection.busy_timeout(std::time::Duration::from_secs(60)).expect("a time-out");
        let query = format!("SELECT count(*) FROM {table}");
        connection.query_row(&query, [], |row| row.get(0)).expect("a count")
    }

    fn command<S: AsRef<OsStr>>(&self, words: &[OsString], name: &Path, with: &[S]) -> Command {
        let (first, rest) = words.split_first().expect("a program");
        let mut command = Command::new(first);
        command
            .args(rest)
            .arg(name)
            .args(with)
            .env("PLAT_STATE_DIR", self.state())
            .env("PLAT_RUN_DIR", self.run_dir())
            .stdin(Stdio::null());
        command
    }

    /// What a program is started with to be on this node.
    fn enter(&self) -> Vec<OsString> {
        let pid = self.holder.id();
        vec![
            program("nsenter").into(),
            format!("--mount=/proc/{pid}/ns/mnt").into(),
            format!("--uts=/proc/{pid}/ns/uts").into(),
            "--".into(),
        ]
    }

    fn later(&self, seconds: u64) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![program("unshare").into()];
        let options = ["--fork", "--kill-child", "--time", "--boottime"];
        words.extend(options.map(OsString::from));
        words.push(seconds.to_string().into());
        words.push("--".into());
        words.extend(self.enter());
        words
    }
}

impl Drop for ClusterNode {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.kill_flushers();
        } else {
            for pid in self.flushers() {
                let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
                let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
            }
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A boot ID that no other node has, in the kernel's form.
fn boot_id() -> String {
    let n = BOOTS.fetch_add(1, Ordering::Relaxed);
    let mut random = Random::new(u64::from(std::process::id()) << 32 | n);
    let (a, b) = (random.number(), random.number());
    let hex = format!("{a:016x}{b:016x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-") + "\n"
}
