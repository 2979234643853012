//! A node: the namespaces of a machine of its own, for runtimes and plugins that must not touch the
//! host.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::program::{install_copy, program};
use crate::{Holdings, Outcome, documented, wait_until};

/// Where a node keeps the plugins that were installed on it.
const PLUGINS: &str = "/run/plugins";

/// What the first process of a node does. It tells its process id as the host sees it, which only the
/// host's `/proc` knows, and then sleeps: until its standard input ends, so also when the test
/// process is killed. Bash, because the first process of a PID namespace has to reap orphans.
const SETUP: &str = r#"
set -e
read -r pid _ </proc/self/stat
hostname "$1"
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
if [[ ! -d /etc/cni ]]; then # no place to mount on: a copy of /etc has one
    cp -a /etc /run/etc
    mkdir /run/etc/cni
    mount --bind /run/etc /etc
fi
mount -t tmpfs tmpfs /etc/cni
mount -t tmpfs tmpfs /dev/shm
mount -t proc proc /proc
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
echo "$pid"
read -r _ || true
"#;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Network, UTS, IPC, PID and mount namespaces with a host name of their own and private `/run`,
/// `/var/lib`, `/etc/cni` and `/dev/shm`, all empty. Dropping it ends every process in it; with these
/// go its mounts and interfaces, and the control groups made below [`Node::cgroup`] are removed.
#[derive(Debug)]
pub struct Node {
    unshare: Child,
    /// The first process, as the host numbers it.
    first: u32,
    cgroup: String,
}

impl Node {
    /// A node that calls itself `hostname`. Needs root.
    pub fn start(hostname: &str) -> Self {
        let mut unshare = Command::new(program("unshare"))
            .args(["--net", "--uts", "--ipc", "--pid", "--mount", "--propagation", "private"])
            .args(["--fork", "--kill-child", "--", "bash", "-c", SETUP, "node", hostname])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare can be started");
        let mut line = String::new();
        let stdout = unshare.stdout.take().expect("stdout is a pipe");
        let read = BufReader::new(stdout).read_line(&mut line);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let cgroup = format!("plat-tests-{}-{n}", std::process::id());
        let mut node = Self { unshare, first: 0, cgroup };
        node.first = line
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("node {hostname} did not start: {read:?}, {line:?}"));
        node
    }

    /// A control group that runtimes on this node put their containers below.
    pub fn cgroup(&self) -> String {
        format!("/{}", self.cgroup)
    }

    /// The process that keeps the node's namespaces, as the host numbers it.
    pub fn holder(&self) -> u32 {
        self.first
    }

    /// A path of the node, as it can be used from outside.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref().strip_prefix("/").expect("an absolute path");
        Path::new(&format!("/proc/{}/root", self.first)).join(inside)
    }

    /// Writes a file of the node; its directory is made.
    pub fn write(&self, inside: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().expect("a file is in a directory"))
            .expect("a directory of the node can be made");
        fs::write(&path, content).expect("a file of the node can be written");
    }

    /// Installs a plugin on the node, under its own name. A copy, since the private mounts may hide
    /// the place where it is.
    pub fn install(&self, plugin: &Path) {
        let name = plugin.file_name().expect("a plugin has a name");
        let place = self.path(self.plugins());
        fs::create_dir_all(&place).expect("a directory of the node can be made");
        install_copy(plugin, &place.join(name));
    }

    /// The directory of the installed plugins, inside the node.
    pub fn plugins(&self) -> PathBuf {
        PathBuf::from(PLUGINS)
    }

    /// What is reserved for a network of a plugin that was told no `dataDir` and no `database`.
    pub fn network(&self, name: &str) -> Holdings {
        self.network_in("/var/lib/cni/networks", name)
    }

    /// What is reserved for a network of a plugin that was told this `dataDir`.
    pub fn network_in(&self, data_dir: &str, name: &str) -> Holdings {
        Holdings::new(name, &self.path(data_dir), &self.path("/run/plat")).frozen()
    }

    /// Adds a network namespace, and tells its path inside the node.
    pub fn add_namespace(&self, name: &str) -> String {
        self.ok(&["ip", "netns", "add", name]);
        format!("/run/netns/{name}")
    }

    /// A command that will run on the node, with nothing in its environment but `PATH`.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program("nsenter"));
        command
            .arg(format!("--target={}", self.first))
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--"])
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Runs a command on the node.
    pub fn run(&self, words: &[&str]) -> Outcome {
        finish(&mut self.command(words), b"")
    }

    /// Runs a command on the node and tells what it printed; panics if it fails.
    pub fn ok(&self, words: &[&str]) -> String {
        let outcome = self.run(words);
        assert_eq!(outcome.exit, Some(0), "{words:?}: {}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }

    /// Pings an address from a network namespace of the node; panics if no answer comes.
    pub fn ping(&self, namespace: &str, address: &str) {
        let namespace = format!("--net={namespace}");
        // One answer is enough: a new IPv6 address is silent while duplicates are looked for.
        let ping = ["ping", "-n", "-i", "0.2", "-c", "1", "-w", "100", address];
        self.ok(&[&["nsenter", &namespace, "--"], &ping[..]].concat());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The end of its input ends the first process, and the kernel ends all others with it.
        drop(self.unshare.stdin.take());
        let _ = self.unshare.wait();
        let roots = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let groups: Vec<PathBuf> = [PathBuf::from("/sys/fs/cgroup")]
            .into_iter()
            .chain(roots.map(|root| root.path()))
            .map(|root| root.join(&self.cgroup))
            .filter(|group| group.is_dir())
            .collect();
        for group in groups {
            // A group is busy until the last process in it has been reaped.
            let deadline = Instant::now() + Duration::from_secs(10);
            while remove_group(&group).is_err() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Removes a control group and those below it.
fn remove_group(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_group(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

/// Runs a command with this input to its end; panics when it takes longer than two minutes.
pub fn finish(command: &mut Command, stdin: &[u8]) -> Outcome {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?} cannot be started: {e}"));
    // Not everything reads its input.
    let _ = child.stdin.take().expect("stdin is a pipe").write_all(stdin);
    let out = reader(child.stdout.take().expect("stdout is a pipe"));
    let err = reader(child.stderr.take().expect("stderr is a pipe"));
    let mut status = None;
    wait_until(&format!("{command:?} ends"), || {
        status = child.try_wait().expect("a child can be waited for");
        status.is_some()
    });
    let took = start.elapsed();
    let stdout = out.join().expect("reader thread");
    documented([command.get_program()].into_iter().chain(command.get_args()), &stdout);
    Outcome {
        exit: status.and_then(|status| status.code()),
        stdout,
        stderr: err.join().expect("reader thread"),
        took,
    }
}

fn reader(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = pipe.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    })
}
