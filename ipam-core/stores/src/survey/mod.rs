/*!
What a node's stores hold, for people and their programs.

A [`Survey`] finds every store of a node, whatever its kind, and tells what is in it in one form:
[`NetworkState`]. It takes no lock to look, changes nothing, and says what is broken beside what is not.
[`Survey::free`] is the one way back: it frees only what is still exactly as it was seen.
*/

mod database;
mod dir;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipam_core::addr::Addr;
use ipam_core::config::Owner;
use ipam_core::identity::{Holder, Instance, Network};
use ipam_core::layout::Layout;
use ipam_pool::ledger::Backlog;
use ipam_pool::node::BootState;

use crate::sqlite::Calls;
use crate::sqlite::marker::Marker;
use crate::{DEFAULT_DATA_DIR, Places, Remembered, StateDirs, StoreError};

/// Where a network's state lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The network's directory within a dataDir, in the reference's format.
    Dir(PathBuf),
    /// A database.
    Database(PathBuf),
}

impl Place {
    /// The path.
    pub fn path(&self) -> &Path {
        match self {
            Self::Dir(path) | Self::Database(path) => path,
        }
    }

    /// The word for its kind in a configuration: `dir` or `sqlite`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Dir(_) => "dir",
            Self::Database(_) => "sqlite",
        }
    }
}

/// The state of one network of one IPAM instance.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkState {
    /// The network's name as recorded. A directory may have any name.
    pub network: String,
    /// The IPAM instance; directories do not know it.
    pub instance: Option<Instance>,
    /// Where it lies.
    pub place: Place,
    /// What its last ADD chose from, where that is known.
    pub layout: Option<Layout>,
    /// The last address handed out from each set, by the set's position.
    pub marks: BTreeMap<usize, Addr>,
    /// The node index that the ranges were made with.
    pub pin: Option<u32>,
    /// What is held, by address. A directory may hold one address twice, in two spellings.
    pub allocations: Vec<Allocation>,
    /// What was freed and rests, by address.
    pub cooling: Vec<Cooling>,
    /// Whether other nodes use the place, too: then nothing is freed by looking at what lives here.
    pub shared: bool,
    /// What is wrong with the state itself, whatever the ranges and whoever lives.
    pub faults: Vec<Fault>,
}

impl NetworkState {
    /// The state of a network without name that holds nothing.
    pub fn empty(place: Place) -> Self {
        Self {
            network: String::new(),
            instance: None,
            place,
            layout: None,
            marks: BTreeMap::new(),
            pin: None,
            allocations: Vec::new(),
            cooling: Vec::new(),
            shared: false,
            faults: Vec::new(),
        }
    }
}

/// An address that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The address.
    pub addr: Addr,
    /// Who holds it.
    pub holder: Holder,
    /// The range set it was chosen from, where that is recorded.
    pub set: Option<usize>,
    /// The pod, where that is recorded.
    pub owner: Owner,
    /// Since when, in seconds since 1970 by the clock of that moment.
    pub since: Option<u64>,
    /// The CNI network, where that is not the network that this is an allocation of: several can use a pool.
    pub cni_network: Option<Network>,
}

impl Allocation {
    /// The CNI network that it is of; `network` is the name of what it was found in.
    pub fn network<'a>(&'a self, network: &'a str) -> &'a str {
        self.cni_network.as_ref().map_or(network, Network::as_str)
    }
}

/// An address that was freed and is not handed out yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cooling {
    /// The address.
    pub addr: Addr,
    /// For how much longer.
    pub remaining: Duration,
}

/// An address that was held once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The address.
    pub addr: Addr,
    /// Who held it.
    pub holder: Holder,
    /// The pod, where that is recorded.
    pub owner: Owner,
    /// From when, in seconds since 1970.
    pub since: Option<u64>,
    /// Until when, in seconds since 1970.
    pub until: u64,
    /// How it ended.
    pub ended: Ended,
}

/// How an allocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By a DEL.
    Released = 0,
    /// By a GC, or by hand.
    Collected = 1,
    /// By a reboot.
    Reboot = 2,
}

/// Something that is wrong with a network's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which kind.
    pub kind: FaultKind,
    /// The file, or the row, in words.
    pub what: String,
    /// The address that it is about, if any.
    pub addr: Option<Addr>,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FaultKind {
    /// A reservation without content: the rest of a crash. The stores take its address for free.
    Empty,
    /// A reservation that names nobody who could be understood. Its address stays taken.
    Unreadable,
    /// One address in two records.
    Twice,
    /// A file that is neither a reservation nor of the store's own.
    Foreign,
    /// A mark that is no address.
    Mark,
    /// An index that does not say what the files say.
    Index,
    /// Free space and allocations that do not add up.
    Extents,
}

/// Whether a database can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It can.
    Fine,
    /// There is none, and none is missed.
    Absent,
    /// Its rows are of a former boot: the next ADD drops them.
    FormerBoot,
    /// There was one in this boot and it is gone.
    Lost,
    /// It is another file than the one that was written in this boot: a copy was put back.
    Restored,
    /// It cannot be read as a database, or contradicts itself: why.
    Corrupt(String),
    /// It was written by a later version: its schema, and the newest one that is known here.
    Newer(u32, u32),
    /// It is a database of another program.
    Foreign,
}

/// The stores of a node.
#[derive(Clone, Debug)]
pub struct Survey {
    /// What absolute paths are taken below; `/` unless another system's disk is looked at.
    pub root: PathBuf,
    /// Where Plat keeps its own state, before `root` is applied.
    pub state: StateDirs,
    /// dataDirs to look into, before `root` is applied.
    pub data_dirs: Vec<PathBuf>,
    /// Databases to look into, before `root` is applied.
    pub databases: Vec<PathBuf>,
}

/// A place that could not be looked at.
#[derive(Debug)]
pub struct Unseen {
    /// Where.
    pub place: Place,
    /// Why.
    pub error: StoreError,
}

impl Survey {
    /// The default places of a node, those that are remembered in its state directory, and more.
    pub fn new(root: &Path, state: StateDirs) -> Self {
        let mut survey =
            Self { root: root.to_path_buf(), state, data_dirs: Vec::new(), databases: Vec::new() };
        survey.add_data_dir(Path::new(DEFAULT_DATA_DIR));
        survey.remembered();
        survey
    }

    /// Looks into this dataDir, too.
    pub fn add_data_dir(&mut self, path: &Path) {
        if !self.data_dirs.iter().any(|known| known == path) {
            self.data_dirs.push(path.to_path_buf());
        }
    }

    /// Looks into this database, too.
    pub fn add_database(&mut self, path: &Path) {
        if !self.databases.iter().any(|known| known == path) {
            self.databases.push(path.to_path_buf());
        }
    }

    /// A path below the root.
    pub fn at(&self, path: &Path) -> PathBuf {
        path.strip_prefix("/").map_or_else(|_| path.to_path_buf(), |below| self.root.join(below))
    }

    /// Every network of every store, by name, and the places that could not be looked at.
    pub fn networks(&self) -> (Vec<NetworkState>, Vec<Unseen>) {
        let mut networks = Vec::new();
        let mut unseen = Vec::new();
        for data_dir in &self.data_dirs {
            dir::networks(self, data_dir, &mut networks, &mut unseen);
        }
        for path in &self.databases {
            database::networks(self, path, &mut networks, &mut unseen);
        }
        networks.sort_by(|a, b| {
            (&a.network, &a.instance, &a.place).cmp(&(&b.network, &b.instance, &b.place))
        });
        (networks, unseen)
    }

    /// What this boot knows of etcd, where a database has something out of cluster-wide pools.
    ///
    /// # Errors
    /// If a database cannot be read.
    pub fn contact(&self) -> Result<Option<(BootState, Backlog)>, StoreError> {
        for path in self.databases.iter().filter(|path| self.at(path).exists()) {
            if let Some(known) = database::contact(self, path)? {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    /// How many calls of plugins there were, and how long they took; with databases only.
    pub fn calls(&self) -> Vec<Calls> {
        self.databases.iter().flat_map(|path| database::calls(self, path)).collect()
    }

    /// Every database and whether it can be used.
    pub fn health(&self) -> Vec<(PathBuf, Health)> {
        self.databases
            .iter()
            .map(|path| (path.clone(), database::health(self, path, false)))
            .collect()
    }

    /// The same after a close look, index against table: what a damaged page can hide takes longer.
    pub fn examine(&self) -> Vec<(PathBuf, Health)> {
        self.databases
            .iter()
            .map(|path| (path.clone(), database::health(self, path, true)))
            .collect()
    }

    /// Who held the address before, latest last; databases only.
    ///
    /// # Errors
    /// If a database cannot be read.
    pub fn history(&self, addr: Addr) -> Result<Vec<(NetworkState, Past)>, StoreError> {
        let mut past = Vec::new();
        for path in &self.databases {
            past.extend(database::history(self, path, addr)?);
        }
        past.sort_by_key(|(_, past)| past.until);
        Ok(past)
    }

    /// Frees those of the allocations that are, under the lock, still exactly as they were seen, and tells
    /// which. `lock_timeout` is for how long another call is waited for.
    ///
    /// # Errors
    /// If the store fails; some may have been freed then.
    pub fn free(
        &self,
        network: &NetworkState,
        allocations: &[Allocation],
        lock_timeout: Duration,
    ) -> Result<Vec<Addr>, StoreError> {
        match &network.place {
            Place::Dir(_) => dir::free(self, network, allocations, lock_timeout),
            Place::Database(path) => database::free(self, path, network, allocations, lock_timeout),
        }
    }

    /// Notes that the network's ranges are made with this node index from now on, though it holds
    /// addresses of another one.
    ///
    /// # Errors
    /// If the store fails; nothing is changed then.
    pub fn set_pin(
        &self,
        network: &NetworkState,
        index: u32,
        lock_timeout: Duration,
    ) -> Result<(), StoreError> {
        match &network.place {
            Place::Dir(path) => dir::set_pin(self, path, index, lock_timeout),
            Place::Database(path) => database::set_pin(self, path, network, index, lock_timeout),
        }
    }

    /// Adds what the networks hold to a database, in one transaction, and tells how many addresses. An
    /// address that the same holder has there already is no error; one that another has is, and then
    /// nothing is changed.
    ///
    /// # Errors
    /// If an address is held by another, or the database cannot be used.
    pub fn write_database(
        &self,
        database: &Path,
        networks: &[NetworkState],
        lock_timeout: Duration,
    ) -> Result<usize, StoreError> {
        database::write(self, database, networks, lock_timeout)
    }

    /// Adds what the network holds to its directory below a dataDir, with its marks, all or nothing, and
    /// tells how many addresses; as [`Survey::write_database`].
    ///
    /// # Errors
    /// If an address is held by another, or a file cannot be written.
    pub fn write_dir(
        &self,
        data_dir: &Path,
        network: &NetworkState,
        lock_timeout: Duration,
    ) -> Result<usize, StoreError> {
        dir::write(self, data_dir, network, lock_timeout)
    }

    /// Sets a database aside, if there is one, and makes a new one that holds exactly this; tells where the
    /// old one is now. This is what ends [`Health::Lost`], [`Health::Restored`] and [`Health::Corrupt`].
    ///
    /// # Errors
    /// If the new one cannot be written; the old one stays in its place then.
    pub fn rebuild(
        &self,
        database: &Path,
        networks: &[NetworkState],
        lock_timeout: Duration,
    ) -> Result<Option<PathBuf>, StoreError> {
        database::rebuild(self, database, networks, lock_timeout)
    }

    /// Looks at one network directory, root applied already, whatever its dataDir; `None` if it is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn directory(&self, path: &Path) -> Result<Option<NetworkState>, StoreError> {
        dir::one(self, path)
    }

    /// Puts away those faults that are still there and whose removal loses nothing, and tells which: empty
    /// reservations where no other node uses the place, the rest of a crash, a mark that is as it was seen
    /// (its address is the fault's, or it is none), a wrong index; free space that does not add up is made anew.
    ///
    /// # Errors
    /// If the store fails; some may be gone then.
    pub fn repair(
        &self,
        network: &NetworkState,
        faults: &[Fault],
        lock_timeout: Duration,
    ) -> Result<Vec<Fault>, StoreError> {
        match &network.place {
            Place::Dir(_) => dir::repair(self, network, faults, lock_timeout),
            Place::Database(path) => {
                let broken: Vec<Fault> = faults
                    .iter()
                    .filter(|fault| fault.kind == FaultKind::Extents)
                    .cloned()
                    .collect();
                if !broken.is_empty() {
                    database::mend_extents(self, path, network, lock_timeout)?;
                }
                Ok(broken)
            }
        }
    }

    /// Hands what a network directory holds to `copy`, under its lock, and gives the directory the name
    /// `aside` within its dataDir then; tells where it is now. If `copy` fails, nothing is changed.
    ///
    /// # Errors
    /// The error of `copy`, or that the directory could not be read or renamed.
    pub fn take_over<E: From<StoreError>>(
        &self,
        path: &Path,
        aside: &str,
        lock_timeout: Duration,
        copy: impl FnOnce(NetworkState) -> Result<(), E>,
    ) -> Result<Option<PathBuf>, E> {
        dir::take_over(self, path, aside, lock_timeout, copy)
    }

    /// The dataDirs that networks are remembered to have used, before `root` is applied.
    pub fn places(&self) -> Vec<(Network, PathBuf)> {
        Places::everywhere(&self.at(&self.state.durable))
    }

    /// Forgets that a network has used a dataDir, if its directory is not there.
    pub fn forget_place(&self, network: &Network, data_dir: &Path) {
        let places = Places::new(&self.at(&self.state.durable), network);
        let place = Remembered::DataDir(data_dir.to_path_buf());
        places.forget_if_gone(&place, &self.at(data_dir).join(network.as_str()));
    }

    /// Adds the places that the state directory remembers: dataDirs other than the default one, and every
    /// database of this boot.
    fn remembered(&mut self) {
        for (_, data_dir) in self.places() {
            self.add_data_dir(&data_dir);
        }
        self.add_database(&self.state.volatile.join(DEFAULT_DATABASE));
        for marker in Marker::all(&self.at(&self.state.durable)) {
            if marker.path.is_absolute() {
                self.add_database(&marker.path);
            }
        }
    }
}

/// The default database, within the volatile state directory.
const DEFAULT_DATABASE: &str = "plat.db";
