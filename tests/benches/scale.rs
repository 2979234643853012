/*!
A large cluster on one etcd: what nodes ask of it, what it keeps of them, and how fast that goes. `make bench-scale BENCH_OPTIONS=--help` says
which options there are.

Each node is real but for its disk and its process: the operations of `ipam_pool` over a ledger in memory, by the
client that the plugin has. Half of the nodes use a pool of mode `sync`, half one of mode `local`. They register,
claim blocks and allocate; then half of the pods end, then half of the others without a word, which GC finds.
etcd is one member on loopback, its data on tmpfs, with `fsync` where this version does not let it be
switched off. Tables are printed as Markdown.
*/

use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bench_report::Outcome;
use bench_report::options::exit;
use clap::Parser as _;
use etcd_pool::client::{self, Connection, Etcd as Client};
use ipam_core::config::Owner;
use ipam_core::identity::{Attachment, ContainerId, IfName, Network};
use ipam_core::policy::Strategy;
use ipam_pool::key::Keys;
use ipam_pool::memory::MemoryLedger;
use ipam_pool::node::PoolId;
use ipam_pool::op::{Now, Operation};
use ipam_pool::ops::{self, Add, AddRequest, Context, Ensure, Facts, Flush, Join, Trouble, Upkeep};
use ipam_pool::pool::PoolSpec;
use ipam_pool::record::Mode;
use ipam_pool::txn::{Compare, Op, Txn};
use support::InEtcd;
use support::etcd::{Etcd, Setup};

const SPACE: &str = "default";
/// So long a call may wait for etcd, with so many others.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many nodes ask at a time in the comparison with bare transactions.
const ASKERS: usize = 64;

fn main() -> ExitCode {
    exit("bench-scale", scale(&Options::parse()))
}

/// A large cluster on one etcd.
#[derive(Clone, Copy, Debug, clap::Parser)]
#[command(name = "bench-scale")]
struct Options {
    /// Nodes
    #[arg(
        long,
        value_parser = at_least_one,
        default_value = "5000",
        default_value_if("quick", "true", "40")
    )]
    nodes: usize,
    /// Pods on each
    #[arg(long, value_parser = at_least_one, default_value = "110")]
    pods: usize,
    /// How many nodes are simulated at a time
    #[arg(
        long,
        value_parser = at_least_one,
        default_value = "16",
        default_value_if("quick", "true", "8")
    )]
    threads: usize,
    /// Transactions of each asker in the comparison
    #[arg(
        long,
        value_parser = at_least_one,
        default_value = "100",
        default_value_if("quick", "true", "20")
    )]
    bare: usize,
    /// A small cluster: to see that it works. Other options prevail.
    #[arg(long)]
    quick: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number from 1 on is wanted".to_owned()),
        Ok(number) => Ok(number),
    }
}

fn now() -> Now {
    let ipam_stores::Moment { boot, unix } = ipam_stores::Moment::now();
    Now { boot: u64::try_from(boot.as_millis()).unwrap_or(u64::MAX), unix }
}

// ---------------------------------------------------------------------------------------------
// A node
// ---------------------------------------------------------------------------------------------

struct Node {
    number: usize,
    id: PoolId,
    context: Context,
    ledger: MemoryLedger,
}

impl Node {
    fn new(number: usize) -> Self {
        let pool = if number.is_multiple_of(2) { "sync" } else { "local" };
        Self {
            number,
            id: PoolId { space: SPACE.to_owned(), pool: pool.to_owned() },
            context: Context {
                keys: Keys::default(),
                boot: format!("boot-of-{number:08}-0000-000000000000-1"),
            },
            ledger: MemoryLedger::default(),
        }
    }

    fn run<T, O>(&mut self, etcd: &mut Client, mut operation: O) -> Outcome<T>
    where
        O: Operation<MemoryLedger, Output = Result<T, Trouble>>,
    {
        self.ledger.set_now(now().boot);
        let deadline = Instant::now() + PATIENCE;
        let done = client::run(&mut operation, &mut self.ledger, etcd, now, deadline);
        let (done, trouble) = done.map_err(|e| format!("node {}: {e}", self.number))?;
        done.map_err(|e| format!("node {}: {e} ({trouble:?})", self.number))
    }

    fn register(&mut self, etcd: &mut Client) -> Outcome<()> {
        let number = self.number;
        let facts = Facts {
            uuid: format!("00000000-0000-4000-8000-{number:012}"),
            name: format!("node-{number}"),
            index: u32::try_from(number + 1).ok(),
            version: "0.1.0".to_owned(),
            a4: format!("10.0.{}.{}", number / 250, number % 250 + 1),
            random: number as u64,
            ..Facts::default()
        };
        let join = Join::new(self.context.clone(), facts, SPACE.to_owned());
        self.run(etcd, join)?;
        for spec in pools() {
            let ensure = Ensure::new(self.context.clone(), SPACE.to_owned(), spec);
            self.run(etcd, ensure)?;
        }
        Ok(())
    }

    fn add(&mut self, etcd: &mut Client, pod: usize) -> Outcome<()> {
        let request = AddRequest {
            id: self.id.clone(),
            network: network()?,
            attachment: attachment(self.number, pod)?,
            owner: Owner {
                namespace: Some("default".to_owned()),
                name: Some(format!("web-{}-{pod}", self.number)),
                uid: None,
            },
            requested: Vec::new(),
            families: Vec::new(),
            strategy: Strategy::default(),
            nonce: format!("{:08x}{pod:08x}", self.number),
            wanted: Box::new(|| true),
        };
        self.run(etcd, Add::new(self.context.clone(), request)).map(|_| ())
    }

    fn flush(&mut self, etcd: &mut Client) -> Outcome<()> {
        self.run(etcd, Flush::new(self.context.clone()))?;
        self.run(etcd, Upkeep::new(self.context.clone())).map(|_| ())
    }

    fn delete(&mut self, pod: usize) -> Outcome<()> {
        let attachment = attachment(self.number, pod)?;
        ops::release(&mut self.ledger, now(), None, &network()?, &attachment)
            .map(|_| ())
            .map_err(|e| e.to_string())
    }

    /// Only these are still known to the runtime.
    fn collect(&mut self, pods: impl Iterator<Item = usize>) -> Outcome<()> {
        let valid: Outcome<Vec<Attachment>> =
            pods.map(|pod| attachment(self.number, pod)).collect();
        ops::retain(&mut self.ledger, now(), None, &network()?, &valid?)
            .map(|_| ())
            .map_err(|e| e.to_string())
    }
}

fn pools() -> [PoolSpec; 2] {
    let pool = |name: &str, cidr: &str, mode| PoolSpec {
        name: name.to_owned(),
        cidr: Some(cidr.to_owned()),
        mode,
        ..PoolSpec::default()
    };
    [pool("local", "10.64.0.0/12", Mode::Local), pool("sync", "10.80.0.0/12", Mode::Sync)]
}

fn network() -> Outcome<Network> {
    Network::new("pods").map_err(|e| e.to_string())
}

/// A container ID as runtimes make them: 64 hexadecimal digits.
fn attachment(node: usize, pod: usize) -> Outcome<Attachment> {
    let container =
        ContainerId::new(format!("{node:032x}{pod:032x}")).map_err(|e| e.to_string())?;
    Ok(Attachment { container, ifname: IfName::new("eth0").map_err(|e| e.to_string())? })
}

// ---------------------------------------------------------------------------------------------
// The cluster
// ---------------------------------------------------------------------------------------------

fn client(etcd: &Etcd) -> Outcome<Client> {
    let connection = Connection::parse(&etcd.connection()).map_err(|e| e.to_string())?;
    Client::new(&connection).map_err(|e| e.to_string())
}

/// Each thread takes the next node that nobody has had.
fn for_each(
    etcd: &Etcd,
    nodes: &[Mutex<Node>],
    threads: usize,
    work: impl Fn(&mut Node, &mut Client) -> Outcome<()> + Sync,
) -> Outcome<()> {
    let next = AtomicUsize::new(0);
    let thread = || -> Outcome<()> {
        let mut client = client(etcd)?;
        while let Some(node) = nodes.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut node = node.lock().map_err(|_| "a thread has panicked".to_owned())?;
            work(&mut node, &mut client)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(thread)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread has panicked".to_owned())?)
    })
}

/// What etcd tells of itself.
#[derive(Clone, Copy, Debug)]
struct Load {
    requests: f64,
    applied: f64,
    size: f64,
    used: f64,
    resident: f64,
}

impl Load {
    fn of(etcd: &Etcd) -> Outcome<Self> {
        let text = etcd.metrics(0).ok_or("etcd tells no metrics")?;
        let sum = |wanted: &dyn Fn(&str) -> bool| -> f64 {
            let lines = text.lines().filter(|line| !line.starts_with('#') && wanted(line));
            lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
        };
        let named = |name: &str| {
            let start = format!("{name} ");
            sum(&|line| line.starts_with(&start))
        };
        Ok(Self {
            requests: sum(&|line| {
                line.starts_with("grpc_server_handled_total{")
                    && line.contains("grpc_service=\"etcdserverpb.KV\"")
            }),
            applied: named("etcd_server_proposals_applied_total"),
            size: named("etcd_mvcc_db_total_size_in_bytes"),
            used: named("etcd_mvcc_db_total_size_in_use_in_bytes"),
            resident: named("process_resident_memory_bytes"),
        })
    }
}

/// Runs a phase and prints its line; `pods`: what its rate is about.
fn phase(etcd: &Etcd, what: &str, pods: usize, work: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
    let before = Load::of(etcd)?;
    let start = Instant::now();
    work()?;
    let took = start.elapsed().as_secs_f64();
    let after = Load::of(etcd)?;
    let requests = after.requests - before.requests;
    let records = InEtcd::new(&etcd.connection()).addresses().len();
    println!(
        "| {what} | {pods} | {took:.1} | {:.0} | {requests:.0} | {:.4} | {:.0} | {records} | {:.0} | {:.0} | {:.0} |",
        pods as f64 / took,
        requests / pods as f64,
        after.applied - before.applied,
        after.size / 1e6,
        after.used / 1e6,
        after.resident / 1e6,
    );
    Ok(())
}

fn scale(options: &Options) -> Outcome<()> {
    let Options { nodes: count, pods, threads, .. } = *options;
    let etcd = Setup::new().quota(8 << 30).start();
    println!("{}", heading(options));
    println!(
        "| phase | of | seconds | /s | requests | per one | raft entries | address records | database MB | in use MB | etcd RSS MB |\n\
         |---|---|---|---|---|---|---|---|---|---|---|"
    );
    let nodes: Vec<Mutex<Node>> = (0..count).map(|n| Mutex::new(Node::new(n))).collect();
    let all = |work: &(dyn Fn(&mut Node, &mut Client) -> Outcome<()> + Sync)| {
        for_each(&etcd, &nodes, threads, work)
    };
    let of = |sync: bool| (0..count).filter(|n| n.is_multiple_of(2) == sync).count();
    phase(&etcd, "nodes register", count, || all(&|node, etcd| node.register(etcd)))?;
    for sync in [true, false] {
        let name = if sync { "sync" } else { "local" };
        let here = |node: &Node| node.number.is_multiple_of(2) == sync;
        let name_of = |what: &str| format!("{name}: {what}");
        phase(&etcd, &name_of("first block"), of(sync), || {
            all(&|node, etcd| if here(node) { node.add(etcd, 0) } else { Ok(()) })
        })?;
        phase(&etcd, &name_of("ADD"), of(sync) * (pods - 1), || {
            all(&|node, etcd| {
                if !here(node) {
                    return Ok(());
                }
                (1..pods).try_for_each(|pod| node.add(etcd, pod))?;
                node.flush(etcd)
            })
        })?;
    }
    for sync in [true, false] {
        let name = if sync { "sync" } else { "local" };
        let here = |node: &Node| node.number.is_multiple_of(2) == sync;
        phase(&etcd, &format!("{name}: DEL of half"), of(sync) * (pods / 2), || {
            all(&|node, etcd| {
                if !here(node) {
                    return Ok(());
                }
                (0..pods / 2).try_for_each(|pod| node.delete(pod * 2))?;
                node.flush(etcd)
            })
        })?;
    }
    let left: Vec<usize> = (0..pods).filter(|pod| pod % 2 == 1 || *pod >= pods / 2 * 2).collect();
    let alive = |n: &usize| n % 4 == 1;
    let dead = left.iter().filter(|n| !alive(n)).count();
    phase(&etcd, "GC of half of the rest", count * dead, || {
        all(&|node, etcd| {
            node.collect(left.iter().copied().filter(alive))?;
            node.flush(etcd)
        })
    })?;
    let held: usize = nodes
        .iter()
        .map(|node| node.lock().map_or(0, |node| node.ledger.allocations().count()))
        .sum();
    let records = InEtcd::new(&etcd.connection()).addresses().len();
    if held != records || held != count * left.iter().filter(|n| alive(n)).count() {
        return Err(format!("{held} addresses are held, and etcd has {records} records"));
    }
    drop(nodes);
    compare(options, &etcd)
}

/// Nodes with blocks of their own against transactions that do nothing else, from as many threads.
fn compare(options: &Options, etcd: &Etcd) -> Outcome<()> {
    let first = options.nodes.next_multiple_of(2) + 2;
    let nodes: Vec<Mutex<Node>> =
        (0..ASKERS).map(|n| Mutex::new(Node::new(first + 2 * n))).collect();
    for_each(etcd, &nodes, ASKERS, |node, etcd| {
        node.register(etcd)?;
        node.add(etcd, 0)
    })?;
    let (mut ours, mut bares) = (Vec::new(), Vec::new());
    // In turns, so that what else the machine does hurts both.
    for round in 0..3 {
        let time = |work: &(dyn Fn(&mut Node, &mut Client) -> Outcome<()> + Sync)| {
            let start = Instant::now();
            for_each(etcd, &nodes, ASKERS, work)?;
            Ok::<f64, String>((ASKERS * options.bare) as f64 / start.elapsed().as_secs_f64())
        };
        let pods = || 1..=options.bare;
        bares.push(time(&|node, etcd| {
            pods().try_for_each(|pod| bare(etcd, node.number, round * options.bare + pod))
        })?);
        ours.push(time(&|node, etcd| pods().try_for_each(|pod| node.add(etcd, pod)))?);
        for_each(etcd, &nodes, ASKERS, |node, etcd| {
            pods().try_for_each(|pod| node.delete(pod))?;
            node.flush(etcd)
        })?;
    }
    let middle = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().unwrap_or_default()
    };
    let (ours, bare) = (middle(&mut ours), middle(&mut bares));
    println!(
        "\n{ASKERS} nodes at a time, {} each, middle of 3 rounds: sync ADD {ours:.0}/s, bare transactions {bare:.0}/s, \
         ratio {:.2} (goal: at least 0.75)",
        options.bare,
        ours / bare
    );
    Ok(())
}

fn bare(etcd: &mut Client, node: usize, pod: usize) -> Outcome<()> {
    let key = format!("/bare/{node:08}/{pod:08}");
    let txn = Txn {
        compares: vec![Compare::absent(key.clone())],
        then: vec![Op::put(key, vec![b'x'; 300])],
        otherwise: Vec::new(),
    };
    let reply = etcd.txn(&txn, Instant::now() + PATIENCE).map_err(|e| e.to_string())?;
    if reply.succeeded { Ok(()) } else { Err("a key is there".to_owned()) }
}

fn heading(options: &Options) -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        text.ok().and_then(|t| t.lines().next().map(str::to_owned)).unwrap_or_default()
    };
    let line = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().next().unwrap_or("?").to_owned()
    };
    format!(
        "Date: {}\nMachine: {} processors, {}, kernel {}, load {}\n{}\nCommand: {}\n{} nodes, {} pods each, {} at a time\n",
        said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        std::thread::available_parallelism().map_or(0, usize::from),
        line("/proc/meminfo"),
        line("/proc/sys/kernel/osrelease"),
        line("/proc/loadavg"),
        said("etcd", &["--version"]),
        std::env::args().collect::<Vec<_>>().join(" "),
        options.nodes,
        options.pods,
        options.threads,
    )
}
