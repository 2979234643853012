//! One plugin with a store of its own, and calls of it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bench_report::Outcome;
use serde_json::json;
use support::{Holdings, NetworkDir, Scratch, Store, Timed, TimedCall, above};

use crate::subject::{FileSystem, Subject};

const NETWORK: &str = "bench";
/// A plugin whose warming up has taken longer than this is called twice for it, not three times.
const ENOUGH: Duration = Duration::from_secs(1);
const V4: &str = "10.0.0.0";
const V6: &str = "2001:db8::/64";

/// One plugin's store with so many addresses held.
pub(crate) struct Target<'a> {
    pub(crate) subject: &'a Subject,
    holdings: Holdings,
    pub(crate) config: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) run: PathBuf,
    held: usize,
    // Removed with it. What lives for a boot is on tmpfs, as on a node, but for a database on the disk.
    _scratch: Scratch,
    _boot: Scratch,
}

impl<'a> Target<'a> {
    pub(crate) fn new(
        subject: &'a Subject,
        file_system: FileSystem,
        prefix: u8,
        dual: bool,
        held: u32,
    ) -> Self {
        let (scratch, boot) = (file_system.scratch(), Scratch::on_tmpfs("bench-boot"));
        let data = scratch.path().join("data");
        let run = match subject.store {
            Store::Dir => boot.path().join("run"),
            Store::Sqlite => scratch.path().join("run"),
        };
        // A database takes this over with its first call.
        let directory = NetworkDir::new(&data, NETWORK);
        let first = |text: &str| above(text.parse().expect("an address"), 2);
        let mut ranges = vec![json!([{ "subnet": format!("{V4}/{prefix}") }])];
        if dual {
            ranges.push(json!([{ "subnet": V6 }]));
            directory.fill(first("2001:db8::"), held);
            let mark = directory.path().join("last_reserved_ip.0");
            if held > 0 {
                fs::rename(mark, directory.path().join("last_reserved_ip.1")).expect("a mark");
            }
        }
        directory.fill(first(V4), held);
        let mut ipam = json!({
            "type": subject.kind,
            "dataDir": data,
            "ranges": ranges,
            "routes": [{ "dst": "0.0.0.0/0" }],
        });
        if subject.kind == "node-local" {
            ipam["index"] = json!(1);
        }
        if subject.is_ours {
            ipam["store"] = json!(subject.store.name());
        }
        let config = json!({
            "cniVersion": "1.0.0",
            "name": NETWORK,
            "type": "bridge",
            "ipam": ipam,
        });
        Self {
            subject,
            holdings: Holdings::new(NETWORK, &data, &run),
            config: scratch.write("config.json", config.to_string()),
            state: scratch.path().join("state"),
            run,
            held: if dual { 2 * held as usize } else { held as usize },
            _scratch: scratch,
            _boot: boot,
        }
    }

    pub(crate) fn call(&self, command: &str) -> TimedCall {
        TimedCall::new(&self.subject.binary, command, &self.config, &self.state, &self.run)
    }

    /// As many are held as at the start: nothing that was measured left or lost anything.
    pub(crate) fn expect_held(&self, more: usize) -> Outcome<()> {
        let held = self.holdings.reservations().len();
        let wanted = self.held + more;
        if held == wanted {
            return Ok(());
        }
        Err(format!("{}: {held} addresses are held, not {wanted}", self.subject.label))
    }

    /// A first few calls, so that indexes and caches are what they are on a running node: fewer of a plugin that is slow.
    pub(crate) fn warm_up(&self) -> Outcome<()> {
        let start = Instant::now();
        for n in 0..3 {
            if n >= 2 && start.elapsed() > ENOUGH {
                break;
            }
            for command in ["ADD", "DEL"] {
                let timed = self.call(command).run(&id("warm", n)).map_err(|e| e.to_string())?;
                expect_exit(self.subject, command, timed, 0)?;
            }
        }
        Ok(())
    }
}

/// A container ID as runtimes make them: 64 hexadecimal digits.
pub(crate) fn id(purpose: &str, n: u32) -> String {
    let purpose: String = purpose.bytes().map(|b| format!("{b:02x}")).collect();
    format!("{purpose:0<48}{n:016x}")
}

pub(crate) fn expect_exit(
    subject: &Subject,
    command: &str,
    timed: Timed,
    wanted: i32,
) -> Outcome<()> {
    if timed.exit == Some(wanted) {
        return Ok(());
    }
    Err(format!("{}: {command} ends with {:?}, not {wanted}", subject.label, timed.exit))
}
