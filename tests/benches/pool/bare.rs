//! One transaction of etcd by a process that does nothing else, and records of others.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bench_report::Outcome;
use etcd_pool::client::{Connection, Etcd as Client};
use ipam_core::addr::{Addr, Cidr};
use ipam_pool::record::{self, AddressRecord, BlockRecord, Mode};
use ipam_pool::txn::{BATCH, Compare, Op, Txn};
use serde_json::{Value, json};
use support::InEtcd;

use crate::place::{BLOCK, NETWORK, SYNC, id};

/// The first argument of a process that carries out one transaction.
pub(crate) const BARE: &str = "--bare";

/// What a sync ADD needs at least of etcd: the address is nobody's, here is its record.
pub(crate) fn bare(arguments: &[String]) -> Outcome<()> {
    let [endpoint, key] = arguments else { return Err("one endpoint and one key".to_owned()) };
    let connection = Connection::parse(&json!({ "endpoints": [endpoint] }));
    let mut etcd = connection.and_then(|c| Client::new(&c)).map_err(|e| e.to_string())?;
    let record = AddressRecord {
        n: Some(17),
        u: Some("bdf9ca45-3292-4b8f-b4ec-7a78d1ca996d".to_owned()),
        b: "d0fe9bb5-f2cb-4688-a75a-823d97febf49-23".to_owned(),
        c: key.clone(),
        i: "eth0".to_owned(),
        w: NETWORK.to_owned(),
        ..AddressRecord::default()
    };
    let key = format!("/bare/{key}");
    let txn = Txn {
        compares: vec![Compare::absent(key.clone())],
        then: vec![Op::put(key, record::write(&record))],
        otherwise: Vec::new(),
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let reply = etcd.txn(&txn, deadline).map_err(|e| e.to_string())?;
    if reply.succeeded { Ok(()) } else { Err("the key is there".to_owned()) }
}

pub(crate) fn bare_process(this: &Path, endpoint: &str, key: &str) -> Outcome<Duration> {
    let mut command = Command::new(this);
    command.args([BARE, endpoint, key]).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.spawn().and_then(|mut child| child.wait()).map_err(|e| e.to_string())?;
    let took = start.elapsed();
    if status.success() { Ok(took) } else { Err(format!("the bare transaction: {status}")) }
}

/// Records of other nodes, in blocks of theirs: in the upper half of the pool, but for a block that a node has
/// already claimed there.
pub(crate) fn fill(connection: &Value, held: usize) -> Outcome<()> {
    let mut to = InEtcd::new(connection);
    let keys = to.keys().clone();
    let pool = Cidr::parse(SYNC).ok_or("no pool")?.network();
    let size = 1_u128 << (32 - BLOCK);
    let mut starts = (pool.count() / 2..pool.count()).step_by(1 << (32 - BLOCK));
    let (mut left, mut index) = (held as u128, 1000_u32);
    while left > 0 {
        let start = pool.first().offset(starts.next().ok_or("the pool has no room for that many")?);
        let start = start.ok_or("no address")?;
        index += 1;
        let uuid = format!("00000000-0000-4000-8000-{index:012}");
        let block = BlockRecord {
            n: Some(index),
            u: Some(uuid.clone()),
            len: BLOCK,
            p: "sync".to_owned(),
            m: Mode::Sync,
            t: 1,
            ..BlockRecord::default()
        };
        let key = keys.block("default", start);
        let claim = Txn {
            compares: vec![Compare::absent(key.clone())],
            then: vec![Op::put(key, record::write(&block))],
            otherwise: Vec::new(),
        };
        if !to.txn(&claim).succeeded {
            continue;
        }
        let mut ops = Vec::new();
        for n in 0..size.min(left) {
            let addr = start.offset(n).ok_or("no address")?;
            let value = of_other(index, uuid.clone(), addr);
            ops.push(Op::put(keys.address("default", addr), value));
        }
        left = left.saturating_sub(size);
        for batch in ops.chunks(BATCH - 1) {
            to.txn(&Txn { then: batch.to_vec(), ..Txn::default() });
        }
    }
    Ok(())
}

fn of_other(index: u32, uuid: String, addr: Addr) -> Vec<u8> {
    record::write(&AddressRecord {
        n: Some(index),
        u: Some(uuid),
        b: "d0fe9bb5-f2cb-4688-a75a-823d97febf49-23".to_owned(),
        c: id(&addr.to_string(), 0),
        i: "eth0".to_owned(),
        w: NETWORK.to_owned(),
        p: "default/web-0".to_owned(),
        t: 1_795_000_000,
        x: "5f1c0e7a9d3b2c44".to_owned(),
        ..AddressRecord::default()
    })
}
