/*!
What is done behind the calls: the outbox is written to etcd, blocks are claimed ahead and given back.

Where plat-agent runs, it does that. Elsewhere a call leaves it to a process of its own: at most one on a
node, which holds a lock as long as it runs, waits for a moment in which further calls may come, and ends
when there is nothing left to write. What it cannot write is left for the one after the next call; why, is in
a small file that is there as long as it fails.
*/

mod log;
mod start;

pub(crate) use log::is_failing;
pub use log::{Problem, last_problem};
pub use start::Start;

use std::ffi::OsString;
use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use cni::Environment;
use host_local::call::state_dirs;
use ipam_core::config::LOCK_TIMEOUT;
use ipam_pool::ledger::{Ledger, Tx as _};
use ipam_pool::ops::{Context, Flush, Flushed, Kept, Trouble, Upkeep};
use ipam_pool::txn::BATCH;
use ipam_stores::lock::Lock;
use ipam_stores::{Database, PoolLedger, StateDirs, StoreError};

use crate::client::Connection;
use crate::config::{ETCD_VARIABLE, etcd_file};
use crate::errors::trouble_error;
use crate::home;
use crate::identity::now;
use crate::reach::Reach;

/// The first argument of the process.
pub const ARGUMENT: &str = "flush";

/// How often the outbox is looked at while further calls are waited for, and how long in between:
/// together a second.
const LOOKS: u32 = 4;
/// See [`LOOKS`].
const PAUSE: Duration = Duration::from_millis(250);

/// For how long etcd is waited for.
const BUDGET: Duration = Duration::from_secs(10);

/// How often one process begins anew because calls have left something meanwhile: under calls without a pause, about
/// once a second.
const ROUNDS: u32 = 4096;

/// How many of them in a row may find something to write, and write nothing.
const IDLE: u32 = 8;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Records that were written.
    pub flushed: Flushed,
    /// What was done for blocks.
    pub kept: Kept,
}

/// Takes the lock of whoever flushes on this node; `None` if somebody has it.
///
/// # Errors
/// If the lock file cannot be made.
pub fn take_lock(volatile: &Path) -> Result<Option<Lock>, StoreError> {
    let path = volatile.join("pool-flush.lock");
    let io = |call, source| StoreError::Io { call, path: path.clone(), source };
    let open = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)
    };
    let file = match open() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut dir = DirBuilder::new();
            dir.recursive(true).mode(0o700).create(volatile).map_err(|e| io("mkdir", e))?;
            open()
        }
        other => other,
    };
    let file = file.map_err(|e| io("open", e))?;
    Lock::try_exclusive(file, &path)
}

/// Writes the outbox, then sees to the blocks. Where this node has not been in contact with etcd in this
/// boot, there is nothing to do.
///
/// # Errors
/// The ledger's.
pub fn run_once<L: Ledger>(
    ledger: &mut L,
    context: &Context,
    reach: &mut Reach,
) -> Result<Result<Done, Trouble>, L::Error> {
    let flushed = match reach.run(&mut Flush::new(context.clone()), ledger)? {
        Ok(flushed) => flushed,
        Err(Trouble::NoContact) => return Ok(Ok(Done::default())),
        Err(trouble) => return Ok(Err(trouble)),
    };
    let kept = reach.run(&mut Upkeep::new(context.clone()), ledger)?;
    Ok(kept.map(|kept| Done { flushed, kept }))
}

/// The process: `arguments` are the database, and how etcd is reached if a configuration said so.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    // Out of the reach of signals to the caller's session, and in nobody's way.
    let _ = rustix::process::setsid();
    let _ = std::env::set_current_dir("/");
    let Some(database) = arguments.next().map(PathBuf::from) else { return ExitCode::FAILURE };
    let given = arguments.next().and_then(|text| serde_json::from_str(text.to_str()?).ok());
    let environment = Environment::new(std::env::vars_os());
    let dirs = state_dirs(&environment);
    let file = etcd_file(environment.value(ETCD_VARIABLE));
    let mut idle = 0;
    for _ in 0..ROUNDS {
        let Ok(Some(lock)) = take_lock(&dirs.volatile) else { return ExitCode::SUCCESS };
        let mut ledger = open(&database, &dirs);
        linger(&mut ledger);
        let outcome = flush(&mut ledger, given.as_ref(), &file);
        log::note(&dirs.volatile, now().unix, outcome.as_ref().err().map(String::as_str));
        drop(lock);
        let Ok(done) = outcome else { break };
        idle = if done.flushed.written == 0 { idle + 1 } else { 0 };
        // A call that has found the lock taken relies on this look.
        if !is_due(&mut ledger) || idle == IDLE {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn open(database: &Path, dirs: &StateDirs) -> PoolLedger {
    PoolLedger::new(Database::new(database.to_path_buf(), dirs.clone(), LOCK_TIMEOUT), false)
}

/// Waits until a transaction is full, for a second at most.
fn linger<L: Ledger>(ledger: &mut L) {
    for _ in 0..LOOKS {
        match ledger.visit(|tx| tx.backlog()) {
            Ok(Some(backlog)) if (1..BATCH).contains(&count(backlog.count)) => {
                std::thread::sleep(PAUSE);
            }
            _ => return,
        }
    }
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn is_due<L: Ledger>(ledger: &mut L) -> bool {
    let due = ledger.visit(|tx| tx.outbox(now().boot, 1));
    due.is_ok_and(|due| due.is_some_and(|due| !due.is_empty()))
}

/// One round; why it failed, as a sentence.
fn flush(ledger: &mut PoolLedger, given: Option<&Connection>, file: &Path) -> Result<Done, String> {
    let connection = find(ledger, given, file)?;
    let context = home::context(&connection);
    let mut reach = Reach::new(connection, BUDGET);
    match run_once(ledger, &context, &mut reach) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(trouble)) => Err(trouble_error(&trouble, reach.trouble()).to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// How etcd is reached: as the call's configuration said, else the node's file, else as when it was
/// reached last.
fn find(
    ledger: &mut PoolLedger,
    given: Option<&Connection>,
    file: &Path,
) -> Result<Connection, String> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    let missing = match Connection::read(file) {
        Ok(connection) => return Ok(connection),
        Err(error) => error.message,
    };
    let noted = ledger.visit(|tx| Ok(tx.node().connection.clone())).map_err(|e| e.to_string())?;
    noted.and_then(|noted| serde_json::from_value(noted).ok()).ok_or(missing)
}
