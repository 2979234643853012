//! What a network holds, in either kind of store.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipam_core::identity::Holder;
use ipam_stores::StateDirs;
use ipam_stores::survey::{Health, NetworkState, Survey};

use crate::{NetworkDir, Plugin, Scratch, reservation};

/// What a network holds: its directory below a dataDir, and its rows in a database, whichever there is.
#[derive(Clone, Debug)]
pub struct Holdings {
    directory: NetworkDir,
    network: String,
    database: PathBuf,
    durable: PathBuf,
    instance: Option<&'static str>,
    frozen: bool,
}

impl Holdings {
    /// Those of `network` in its directory below `data_dir` and in the database `run/plat.db`.
    pub fn new(network: &str, data_dir: &Path, run: &Path) -> Self {
        Self {
            directory: NetworkDir::new(data_dir, network),
            network: network.to_owned(),
            database: run.join("plat.db"),
            durable: run.join("nowhere"),
            instance: None,
            frozen: false,
        }
    }

    /// The same in another database.
    #[must_use]
    pub fn in_database(mut self, database: &Path) -> Self {
        self.database = database.to_path_buf();
        self
    }

    /// The same, with the durable state that says whether the database is missed.
    #[must_use]
    pub fn with_state(mut self, durable: &Path) -> Self {
        self.durable = durable.to_path_buf();
        self
    }

    /// Only the rows of one plugin; a directory does not know whose its reservations are.
    #[must_use]
    pub fn of(mut self, plugin: Plugin) -> Self {
        self.instance = Some(plugin.name());
        self
    }

    /// Looks at copies: nothing that a killed call has left is mended by looking, and a path through
    /// another mount namespace (`/proc/<pid>/root`), which SQLite would resolve in this one, can be read.
    /// Only while nobody writes.
    #[must_use]
    pub fn frozen(mut self) -> Self {
        self.frozen = true;
        self
    }

    /// The network's directory.
    pub fn directory(&self) -> &NetworkDir {
        &self.directory
    }

    /// The database.
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// The lock beside the database.
    pub fn database_lock(&self) -> PathBuf {
        beside(&self.database, "-lock")
    }

    /// Where its state is, for a message.
    pub fn places(&self) -> String {
        format!("{} and {}", self.directory.path().display(), self.database.display())
    }

    /// What the database tells of the network, one for each instance; panics if it cannot be read.
    pub fn states(&self) -> Vec<NetworkState> {
        if !self.database.exists() {
            return Vec::new();
        }
        let copy = self.frozen.then(|| Copied::new(&self.database));
        let path = copy.as_ref().map_or(&self.database, |copy| &copy.path);
        let (networks, unseen) = self.survey(path).networks();
        assert!(unseen.is_empty(), "{unseen:?}");
        networks
            .into_iter()
            .filter(|state| state.network == self.network)
            .filter(|state| match (self.instance, &state.instance) {
                (Some(wanted), Some(instance)) => instance.as_str() == wanted,
                (Some(_), None) => false,
                (None, _) => true,
            })
            .collect()
    }

    /// Whether the database can be used.
    pub fn health(&self) -> Health {
        let survey = self.survey(&self.database);
        survey.health().swap_remove(0).1
    }

    /// Every address with its holder, as in a reservation of the reference's.
    pub fn reservations(&self) -> BTreeMap<IpAddr, String> {
        let mut held = self.directory.reservations();
        for state in self.states() {
            for allocation in state.allocations {
                let holder = match allocation.holder {
                    Holder::Attachment(a) => {
                        reservation(&a.container.to_string(), &a.ifname.to_string())
                    }
                    Holder::Container(container) => container.to_string(),
                    Holder::Unknown => "?".to_owned(),
                };
                held.insert(allocation.addr.into(), holder);
            }
        }
        held
    }

    /// The addresses that an attachment holds.
    pub fn held_by(&self, id: &str, ifname: &str) -> Vec<IpAddr> {
        let content = reservation(id, ifname);
        self.reservations()
            .into_iter()
            .filter(|(_, held)| *held == content)
            .map(|(address, _)| address)
            .collect()
    }

    /// What is wrong with the database, a line each: rows that contradict each other, a file that is none.
    pub fn faults(&self) -> Vec<String> {
        let states = self.states().into_iter();
        let mut faults: Vec<String> =
            states.flat_map(|state| state.faults.into_iter().map(|fault| fault.what)).collect();
        if self.database.exists() {
            let copy = Copied::new(&self.database);
            faults.extend(integrity(&copy.path));
        }
        faults
    }

    /// Asserts that nothing is reserved, that the database is whole, and that nothing was left in the
    /// directory. The node's index may stay, which node-local pins beside its reservations: it holds no
    /// address.
    pub fn assert_nothing_reserved(&self) {
        let held = self.reservations();
        assert!(held.is_empty(), "still reserved in {}: {held:?}", self.places());
        let mut strangers = self.directory.strangers();
        strangers.retain(|name| name != "node-index");
        assert_eq!(strangers, [] as [String; 0], "left behind in {}", self.places());
        let faults = self.faults();
        assert!(faults.is_empty(), "{}: {faults:?}", self.places());
    }

    fn survey(&self, database: &Path) -> Survey {
        let volatile = database.parent().unwrap_or_else(|| Path::new("/")).to_path_buf();
        let state = StateDirs { durable: self.durable.clone(), volatile };
        let mut survey = Survey::new(Path::new("/"), state);
        // Only this one, not what the machine itself has.
        survey.data_dirs.clear();
        survey.databases.clear();
        survey.add_database(database);
        survey
    }
}

/// A copy of a database with what a killed call has left beside it.
#[derive(Debug)]
struct Copied {
    path: PathBuf,
    _scratch: Scratch,
}

impl Copied {
    fn new(database: &Path) -> Self {
        let scratch = Scratch::on_tmpfs("copy");
        let path = scratch.path().join("plat.db");
        fs::copy(database, &path).expect("a database can be copied");
        // Where there is none, nothing is left.
        let _ = fs::copy(beside(database, "-journal"), beside(&path, "-journal"));
        Self { path, _scratch: scratch }
    }
}

fn integrity(path: &Path) -> Vec<String> {
    let check = || -> rusqlite::Result<Vec<String>> {
        let connection = rusqlite::Connection::open(path)?;
        let mut statement = connection.prepare("PRAGMA integrity_check")?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    match check() {
        Ok(lines) => lines.into_iter().filter(|line| line != "ok").collect(),
        Err(error) => vec![error.to_string()],
    }
}

/// A path with a suffix.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}
