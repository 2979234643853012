/*!
Real etcds for tests: one member or several on free loopback ports, with their data on tmpfs.

Members can be killed, stopped, started again, and put back to an old copy of their data. All of them end
with the value, and their logs are shown when the test fails. Needs Debian's `etcd-server`; with TLS also
`openssl`.
*/

mod authority;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use authority::{Authority, Pair, Subject};

use crate::{Scratch, Stopped, have, program, skip_unless};

/// How long a member may take to come up, on a busy machine.
const START: Duration = Duration::from_secs(120);
/// How often other ports are tried.
const TRIES: usize = 5;

/// Whether the test can have an etcd; otherwise it says that it is skipped.
#[must_use]
pub fn available(test: &str) -> bool {
    skip_unless(test, &[(have("etcd"), "etcd (Debian: etcd-server)")])
}

/// Whether the test can have an etcd with certificates; otherwise it says that it is skipped.
#[must_use]
pub fn available_with_tls(test: &str) -> bool {
    let openssl = (have("openssl"), "openssl (Debian: openssl)");
    skip_unless(test, &[(have("etcd"), "etcd (Debian: etcd-server)"), openssl])
}

/// How etcd is to be.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    members: usize,
    quota: Option<u64>,
    tls: Option<Tls>,
    arguments: Vec<String>,
}

#[derive(Clone, Debug)]
struct Tls {
    server: Pair,
    ca: PathBuf,
    client: Option<Pair>,
}

/// A running etcd.
#[derive(Debug)]
pub struct Etcd {
    scratch: Scratch,
    setup: Setup,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    name: String,
    client: u16,
    peer: u16,
    metrics: u16,
    child: Option<Child>,
    stopped: Option<Stopped>,
}

impl Setup {
    /// One member, without TLS.
    pub fn new() -> Self {
        Self { members: 1, ..Self::default() }
    }

    /// So many members.
    #[must_use]
    pub fn members(mut self, members: usize) -> Self {
        self.members = members;
        self
    }

    /// The most bytes that the database may have.
    #[must_use]
    pub fn quota(mut self, bytes: u64) -> Self {
        self.quota = Some(bytes);
        self
    }

    /// Clients are spoken to with this certificate. With a client's certificate given, each client must
    /// have one of the authority, and [`Etcd::connection`] names this one.
    #[must_use]
    pub fn tls(mut self, authority: &Authority, server: &Pair, client: Option<&Pair>) -> Self {
        self.tls =
            Some(Tls { server: server.clone(), ca: authority.ca(), client: client.cloned() });
        self
    }

    /// A further argument of each member.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts it and waits until it is healthy.
    pub fn start(self) -> Etcd {
        for _ in 0..TRIES {
            let base = Path::new("/dev/shm");
            let scratch =
                if base.is_dir() { Scratch::on_tmpfs("etcd") } else { Scratch::new("etcd") };
            let mut etcd = Etcd { scratch, setup: self.clone(), members: Vec::new() };
            let ports = free_ports(3 * self.members);
            for (number, ports) in ports.chunks_exact(3).enumerate() {
                let (client, peer, metrics) = (ports[0], ports[1], ports[2]);
                let name = format!("m{number}");
                etcd.members.push(Member {
                    name,
                    client,
                    peer,
                    metrics,
                    child: None,
                    stopped: None,
                });
            }
            for member in 0..etcd.members.len() {
                etcd.spawn(member);
            }
            if etcd.comes_up() {
                return etcd;
            }
        }
        panic!("etcd found no free ports {TRIES} times");
    }
}

impl Etcd {
    /// One member, without TLS.
    pub fn single() -> Self {
        Setup::new().start()
    }

    /// So many members, without TLS.
    pub fn cluster(members: usize) -> Self {
        Setup::new().members(members).start()
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has none, which is never the case.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The client URL of a member.
    pub fn endpoint(&self, member: usize) -> String {
        let scheme = if self.setup.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.members[member].client)
    }

    /// All client URLs.
    pub fn endpoints(&self) -> Vec<String> {
        (0..self.len()).map(|member| self.endpoint(member)).collect()
    }

    /// How it is reached, as the `etcd` section of a configuration.
    pub fn connection(&self) -> Value {
        let mut connection = json!({"endpoints": self.endpoints()});
        if let Some(tls) = &self.setup.tls {
            connection["caCert"] = json!(tls.ca);
            if let Some(client) = &tls.client {
                connection["cert"] = json!(client.cert);
                connection["key"] = json!(client.key);
            }
        }
        connection
    }

    /// The same for a test in which etcd is there all the time: however slow the machine is, a call waits
    /// for it.
    pub fn patient(&self) -> Value {
        let mut connection = self.connection();
        connection["timeout"] = json!("2m");
        connection
    }

    /// The process of a member that runs.
    pub fn pid(&self, member: usize) -> u32 {
        self.members[member].child.as_ref().expect("the member runs").id()
    }

    /// The member that says that it leads; waits until one does.
    pub fn leader(&self) -> usize {
        let deadline = Instant::now() + START;
        loop {
            let leads = |member: &Member| {
                get(member.metrics, "/metrics")
                    .is_some_and(|text| text.contains("\netcd_server_is_leader 1\n"))
            };
            if let Some(found) = self.members.iter().position(|m| m.child.is_some() && leads(m)) {
                return found;
            }
            assert!(Instant::now() < deadline, "no member leads within {START:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What a member tells of itself, in Prometheus' text format; `None` if it does not answer.
    pub fn metrics(&self, member: usize) -> Option<String> {
        get(self.members[member].metrics, "/metrics")
    }

    /// Kills a member.
    pub fn kill(&mut self, member: usize) {
        // Before its number may be somebody else's.
        self.members[member].stopped = None;
        if let Some(mut child) = self.members[member].child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops a member: it keeps its connections and says nothing.
    pub fn stop(&mut self, member: usize) {
        let pid = self.pid(member);
        self.members[member].stopped = Some(Stopped::new(pid));
    }

    /// Lets a stopped member go on.
    pub fn cont(&mut self, member: usize) {
        self.members[member].stopped = None;
    }

    /// Starts a killed member again with its data, without waiting for it.
    pub fn revive(&mut self, member: usize) {
        self.kill(member);
        self.spawn(member);
    }

    /// Kills a member if it runs, starts it again with its data, and waits until it is healthy.
    pub fn restart(&mut self, member: usize) {
        self.revive(member);
        self.wait_healthy(member);
    }

    /// Waits until a member is healthy: it knows a leader.
    pub fn wait_healthy(&self, member: usize) {
        let deadline = Instant::now() + START;
        while !self.is_healthy(member) {
            assert!(Instant::now() < deadline, "member {member} is not healthy within {START:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether a member says that it is healthy.
    pub fn is_healthy(&self, member: usize) -> bool {
        get(self.members[member].metrics, "/health").is_some_and(|text| text.contains("\"true\""))
    }

    /// Copies the data of a single member; it is stopped for the time.
    pub fn save(&mut self) -> Scratch {
        let copy = Scratch::new("etcd-saved");
        self.kill(0);
        copy_dir(&self.data(0), &copy.join("data"));
        self.restart(0);
        copy
    }

    /// Puts a single member back to a copy of its data.
    pub fn restore(&mut self, saved: &Scratch) {
        self.kill(0);
        let data = self.data(0);
        fs::remove_dir_all(&data).expect("data can be removed");
        copy_dir(&saved.path().join("data"), &data);
        self.restart(0);
    }

    /// Starts a single member on a copy of its data as etcd's own guide restores it: as a new cluster,
    /// with another cluster ID. Needs etcdctl.
    pub fn restore_as_new_cluster(&mut self, saved: &Scratch) {
        self.kill(0);
        let data = self.data(0);
        fs::remove_dir_all(&data).expect("data can be removed");
        let it = &self.members[0];
        let peer = format!("http://127.0.0.1:{}", it.peer);
        let output = Command::new(program("etcdctl"))
            .env_clear()
            .env("ETCDCTL_API", "3")
            .args(["snapshot", "restore", "--skip-hash-check"])
            .arg(saved.path().join("data/member/snap/db"))
            .args(["--name", &it.name, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("{}={peer}", it.name)])
            .args(["--initial-cluster-token", "restored", "--data-dir"])
            .arg(&data)
            .output()
            .expect("etcdctl can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.restart(0);
    }

    /// Asks a member without TLS over its JSON gateway what no client here can, such as
    /// `/v3/kv/compaction`.
    pub fn post(&self, member: usize, path: &str, body: &Value) {
        let address = (Ipv4Addr::LOCALHOST, self.members[member].client);
        let mut stream = TcpStream::connect(address).expect("the member listens");
        stream.set_read_timeout(Some(START)).expect("a time can be set");
        let body = body.to_string();
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.0\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).expect("the member reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the member answers");
        assert!(answer.contains(" 200 OK"), "{path}: {answer}");
    }

    /// What a member has said so far.
    pub fn log(&self, member: usize) -> String {
        fs::read(self.log_path(member))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn data(&self, member: usize) -> PathBuf {
        self.scratch.path().join(&self.members[member].name)
    }

    fn log_path(&self, member: usize) -> PathBuf {
        self.scratch.path().join(format!("{}.log", self.members[member].name))
    }

    fn spawn(&mut self, member: usize) {
        let it = &self.members[member];
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let all: Vec<String> =
            self.members.iter().map(|m| format!("{}={}", m.name, url(m.peer))).collect();
        let client = self.endpoint(member);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path(member))
            .expect("a log can be written");
        let mut command = Command::new(program("etcd"));
        // An administrator's settings are not for these.
        command.env_clear();
        command
            .args(["--name", &it.name, "--data-dir"])
            .arg(self.data(member))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &url(it.peer)])
            .args(["--initial-advertise-peer-urls", &url(it.peer)])
            .args(["--listen-metrics-urls", &url(it.metrics)])
            .args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"])
            .args(["--logger", "zap", "--log-level", "error"]);
        if has_flag("--unsafe-no-fsync") {
            command.arg("--unsafe-no-fsync");
        }
        if let Some(quota) = self.setup.quota {
            command.args(["--quota-backend-bytes", &quota.to_string()]);
        }
        if let Some(tls) = &self.setup.tls {
            command.arg("--cert-file").arg(&tls.server.cert);
            command.arg("--key-file").arg(&tls.server.key);
            if tls.client.is_some() {
                command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(&tls.ca);
            }
        }
        let child = command
            .args(&self.setup.arguments)
            .current_dir(self.scratch.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor can be copied"))
            .stderr(log)
            .spawn()
            .expect("etcd can be started");
        self.members[member].child = Some(child);
    }

    /// Waits until all are healthy; false if a port was taken by somebody else meanwhile.
    fn comes_up(&mut self) -> bool {
        let deadline = Instant::now() + START;
        loop {
            if (0..self.len()).all(|member| self.is_healthy(member)) {
                return true;
            }
            for member in 0..self.len() {
                let child = self.members[member].child.as_mut().expect("it was started");
                if let Ok(Some(status)) = child.try_wait() {
                    let log = self.log(member);
                    assert!(
                        log.contains("address already in use"),
                        "etcd ended ({status}): {}",
                        tail(&log)
                    );
                    return false;
                }
            }
            assert!(Instant::now() < deadline, "etcd is not healthy within {START:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in 0..self.len() {
            self.kill(member);
        }
        if std::thread::panicking() {
            for member in 0..self.len() {
                let name = &self.members[member].name;
                eprintln!("--- etcd {name} said last:\n{}", tail(&self.log(member)));
            }
        }
    }
}

fn tail(log: &str) -> String {
    // Waiting for health leaves a line each time.
    let lines: Vec<&str> = log.lines().filter(|line| !line.contains("/health error")).collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Whether this version has a flag.
fn has_flag(flag: &str) -> bool {
    static HELP: OnceLock<String> = OnceLock::new();
    let help = HELP.get_or_init(|| {
        let output = Command::new(program("etcd")).arg("--help").output();
        output.map_or_else(
            |_| String::new(),
            |o| {
                [o.stdout, o.stderr]
                    .iter()
                    .map(|t| String::from_utf8_lossy(t).into_owned())
                    .collect()
            },
        )
    });
    help.contains(&format!("{flag} "))
}

/// Ports that nobody listens on at the moment, and that nobody else gets while a member is away: each is given
/// once, and they are none of those that the kernel gives to who asks for any, as every connection does.
fn free_ports(count: usize) -> Vec<u16> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let (first, room) = own_ports();
    // Suites that run at the same time begin elsewhere.
    let start = std::process::id().wrapping_mul(389);
    let port = || {
        let number = start.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % room;
        first + u16::try_from(number).expect("a number of ports")
    };
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let room = usize::try_from(room).expect("a number of ports");
    let ports: Vec<u16> =
        std::iter::repeat_with(port).take(room).filter(is_free).take(count).collect();
    assert_eq!(ports.len(), count, "no ports are free from {first} on");
    ports
}

/// The first of many ports that the kernel does not give to who asks for any, and how many there are.
fn own_ports() -> (u16, u32) {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let range: Vec<u16> = range.split_whitespace().filter_map(|it| it.parse().ok()).collect();
    match range[..] {
        [_, last] if last < 55_000 => (last + 1, u32::from(u16::MAX - last)),
        [first, _] if first > 20_000 => (10_240, u32::from(first) - 10_240),
        // There are few then, and one may be taken: it is tried again with others.
        _ => (10_240, 20_000),
    }
}

/// A port on loopback that nobody listens on, nor will.
pub fn free_port() -> u16 {
    free_ports(1)[0]
}

/// What a member tells over HTTP; `None` if it does not.
fn get(port: u16, path: &str) -> Option<String> {
    let wait = Duration::from_secs(2);
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let mut stream = TcpStream::connect_timeout(&address, wait).ok()?;
    stream.set_read_timeout(Some(wait)).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    String::from_utf8(answer).ok()
}

fn copy_dir(from: &Path, to: &Path) {
    let status =
        Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp can be started");
    assert!(status.success(), "{} cannot be copied", from.display());
}
