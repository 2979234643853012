/*!
What an administrator lets network configurations say: the policy file.

In many clusters tenants write network definitions, and a plugin runs as root on every node. With a policy file
a configuration may name only what the file allows. A rule that is not in the file forbids nothing; a list that is
empty allows only what a configuration says by leaving the key out.

This module decides. Where the file is, and which place a path leads to, is told by the caller.
*/

mod read;

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::addr::{Addr, Cidr};
use crate::config::ConfigError;
use crate::config::json::{At, shown};
use crate::range::RangeSet;

pub use read::RulesError;

/// The keys of VPP's node part, of which no tenant's network has any.
const NODE_KEYS: [&str; 4] = ["uplink", "routes", "peers", "hostLink"];

/// Where a path leads to, symbolic links followed as far as there is something; `None` if that cannot be told.
pub type Resolve<'a> = &'a dyn Fn(&Path) -> Option<PathBuf>;

/// A key whose value is a path on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKey {
    /// `ipam.dataDir`.
    DataDir,
    /// `ipam.database`.
    Database,
    /// `ipam.resolvConf`.
    ResolvConf,
    /// `ipam.cfgDir`, or `cfgDir` of a chain.
    CfgDir,
    /// `socket` of vpp.
    Socket,
    /// `memif.directory` of vpp.
    MemifDirectory,
    /// The files of `ipam.etcd`: `caCert`, `cert` and `key`.
    EtcdFile,
}

impl PathKey {
    /// The rule that judges it, as written in the file.
    const fn rule(self) -> &'static str {
        match self {
            Self::DataDir => "dataDir",
            Self::Database => "database",
            Self::ResolvConf => "resolvConf",
            Self::CfgDir => "cfgDir",
            Self::Socket => "socket",
            Self::MemifDirectory => "memifDirectory",
            Self::EtcdFile => "etcdFiles",
        }
    }
}

/// The rules of a policy file, validated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The file, for errors.
    file: String,
    networks: Option<Vec<Pattern>>,
    data_dir: Option<Vec<PathBuf>>,
    database: Option<Vec<PathBuf>>,
    resolv_conf: Option<Vec<PathBuf>>,
    cfg_dir: Option<Vec<PathBuf>>,
    cfg: Option<Vec<Pattern>>,
    node_index: Option<bool>,
    subnets: Option<Vec<Cidr>>,
    requested_addresses: Option<bool>,
    pools: Option<Vec<Pattern>>,
    pool_descriptions: Option<bool>,
    etcd_endpoints: Option<Vec<String>>,
    etcd_files: Option<Vec<PathBuf>>,
    socket: Option<Vec<PathBuf>>,
    memif_directory: Option<Vec<PathBuf>>,
    tables: Option<Vec<u32>>,
    node_settings: Option<bool>,
}

/// A name, or the beginning of names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// This one.
    Whole(String),
    /// Everything that begins so: written with `*` at its end.
    Start(String),
}

impl Pattern {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Whole(name) => name == text,
            Self::Start(start) => text.starts_with(start.as_str()),
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(name) => f.write_str(name),
            Self::Start(start) => write!(f, "{start}*"),
        }
    }
}

impl Rules {
    /// The file that they are from.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Judges the name of a network.
    ///
    /// # Errors
    /// The name, and the rule that it does not keep.
    pub fn network(&self, net: &Value) -> Result<(), ConfigError> {
        let Some(allowed) = &self.networks else { return Ok(()) };
        let root = At::root(net);
        let Some(at) = root.get("name")? else { return Ok(()) };
        if allowed.iter().any(|pattern| pattern.matches(at.string().unwrap_or_default())) {
            return Ok(());
        }
        Err(self.denied(&at, "networks", &one_of("a network named", allowed)))
    }

    /// Judges what an ipam section says about places and about which node this is.
    ///
    /// # Errors
    /// The first value that is not allowed, and the rule that it does not keep.
    pub fn ipam(&self, net: &Value, resolve: Resolve<'_>) -> Result<(), ConfigError> {
        self.network(net)?;
        let root = At::root(net);
        let Some(ipam) = root.get("ipam")? else { return Ok(()) };
        for (key, name) in [
            (PathKey::DataDir, "dataDir"),
            (PathKey::Database, "database"),
            (PathKey::ResolvConf, "resolvConf"),
        ] {
            self.path(&ipam, name, key, resolve)?;
        }
        self.node(&ipam, resolve)?;
        self.etcd(&ipam, resolve)
    }

    /// Judges what says which node this is, and what is read for it: in an ipam section, or at the top of a chain.
    ///
    /// # Errors
    /// As [`Rules::ipam`].
    pub fn node(&self, section: &At<'_>, resolve: Resolve<'_>) -> Result<(), ConfigError> {
        self.path(section, "cfgDir", PathKey::CfgDir, resolve)?;
        if let (Some(allowed), Some(at)) = (&self.cfg, section.get("cfg")?)
            && !allowed.iter().any(|name| name.matches(at.string().unwrap_or_default()))
        {
            let expected = one_of("no \"cfg\", or a template named", allowed);
            return Err(self.denied(&at, "cfg", &expected));
        }
        if self.node_index == Some(false) {
            for key in ["index", "hostname"] {
                if let Some(at) = section.get(key)? {
                    let expected = format!("no {key:?}: the node says itself which one it is");
                    return Err(self.denied(&at, "nodeIndex", &expected));
                }
            }
        }
        Ok(())
    }

    /// Judges where a configuration says that etcd is.
    fn etcd(&self, ipam: &At<'_>, resolve: Resolve<'_>) -> Result<(), ConfigError> {
        let Some(etcd) = ipam.get("etcd")? else { return Ok(()) };
        if let Some(allowed) = &self.etcd_endpoints {
            // What is no object, or no list of texts, is refused for that elsewhere.
            let expected = || match allowed.as_slice() {
                [] => "no \"etcd\": the node's file says where it is".to_owned(),
                some => format!("endpoints out of {}", some.join(", ")),
            };
            let Some(endpoints) = etcd.object().ok().and(etcd.get("endpoints").ok().flatten())
            else {
                return Err(self.denied(&etcd, "etcdEndpoints", &expected()));
            };
            for at in endpoints.list()? {
                let url = at.string()?;
                if !allowed.iter().any(|one| trimmed(one) == trimmed(url)) {
                    return Err(self.denied(&at, "etcdEndpoints", &expected()));
                }
            }
        }
        if self.etcd_files.is_some() {
            for key in ["caCert", "cert", "key"] {
                self.path(&etcd, key, PathKey::EtcdFile, resolve)?;
            }
        }
        Ok(())
    }

    /// Judges the range sets that a configuration came to on this node.
    ///
    /// # Errors
    /// The first subnet that lies in none of those that are allowed.
    pub fn ranges(&self, sets: &[RangeSet]) -> Result<(), ConfigError> {
        let subnets = sets.iter().enumerate().flat_map(|(i, set)| {
            set.ranges().iter().enumerate().map(move |(j, range)| (i, j, range.subnet()))
        });
        for (i, j, subnet) in subnets {
            self.subnet(subnet, || format!("range {j} of range set {i}"))?;
        }
        Ok(())
    }

    /// Judges one subnet out of which addresses are to be given. `what` is its place, for people.
    ///
    /// # Errors
    /// If it lies in none of those that are allowed.
    pub fn subnet(&self, subnet: Cidr, what: impl Fn() -> String) -> Result<(), ConfigError> {
        let Some(allowed) = &self.subnets else { return Ok(()) };
        let wanted = subnet.network();
        let lies_in = |outer: &Cidr| {
            let outer = outer.network();
            outer.contains(wanted.first()) && outer.contains(wanted.last())
        };
        if allowed.iter().any(lies_in) {
            return Ok(());
        }
        let found = subnet.to_string();
        let message = format!(
            "{}: the subnet {found} is not allowed by the rule \"subnets\" of {}",
            what(),
            self.file
        );
        let expected = if allowed.is_empty() {
            "no range at all".to_owned()
        } else {
            format!("a subnet in {}", list(allowed))
        };
        Err(ConfigError { message, path: "the subnet".to_owned(), found, expected })
    }

    /// Judges the addresses that are asked for.
    ///
    /// # Errors
    /// If there are any, and none may be asked for.
    pub fn requested(&self, requested: &[Addr]) -> Result<(), ConfigError> {
        let (Some(false), Some(first)) = (self.requested_addresses, requested.first()) else {
            return Ok(());
        };
        Err(ConfigError {
            message: format!(
                "the address {first} is asked for, which the rule \"requestedAddresses\" of {} does not allow",
                self.file
            ),
            path: "the requested address".to_owned(),
            found: first.to_string(),
            expected: "no address in CNI_ARGS, args.cni.ips or runtimeConfig.ips".to_owned(),
        })
    }

    /// Judges the use of a pool. `described`: whether the configuration says what it is made of.
    ///
    /// # Errors
    /// If it is not one of those that are allowed, or may not be described.
    pub fn pool(&self, space: &str, pool: &str, described: bool) -> Result<(), ConfigError> {
        let denied = |rule: &str, what: &str, expected: String| ConfigError {
            message: format!(
                "ipam.pool: {what} is not allowed by the rule {rule:?} of {}",
                self.file
            ),
            path: "ipam.pool".to_owned(),
            found: format!("{:?}", shown(pool)),
            expected,
        };
        if let Some(allowed) = &self.pools {
            let name = format!("{space}/{pool}");
            if !allowed.iter().any(|pattern| pattern.matches(&name)) {
                let expected = one_of("a pool out of", allowed);
                return Err(denied("pools", &format!("the pool {:?}", shown(&name)), expected));
            }
        }
        if described && self.pool_descriptions == Some(false) {
            let expected = "the name of a pool that an administrator has made".to_owned();
            return Err(denied("poolDescriptions", "the description of a pool", expected));
        }
        Ok(())
    }

    /// Judges the keys of a configuration of vpp.
    ///
    /// # Errors
    /// As [`Rules::ipam`].
    pub fn vpp(&self, net: &Value, resolve: Resolve<'_>) -> Result<(), ConfigError> {
        self.network(net)?;
        let root = At::root(net);
        self.path(&root, "socket", PathKey::Socket, resolve)?;
        if let Some(memif) = root.get("memif")? {
            self.path(&memif, "directory", PathKey::MemifDirectory, resolve)?;
        }
        if let (Some(allowed), Some(at)) = (&self.tables, root.get("table")?) {
            let table = at.value().as_u64();
            if !allowed.iter().any(|number| Some(u64::from(*number)) == table) {
                let expected = if allowed.is_empty() {
                    "no \"table\"".to_owned()
                } else {
                    format!("no \"table\", or one of {}", list(allowed))
                };
                return Err(self.denied(&at, "tables", &expected));
            }
        }
        if self.node_settings == Some(false) {
            for key in NODE_KEYS {
                if let Some(at) = root.get(key)? {
                    let expected = format!("no {key:?}: the node's part is an administrator's");
                    return Err(self.denied(&at, "nodeSettings", &expected));
                }
            }
        }
        // The node's part is rendered with the index that the ipam section may name.
        match root.get("ipam")? {
            Some(ipam) if ipam.value().is_object() => self.node(&ipam, resolve),
            _ => Ok(()),
        }
    }

    /// Judges one path of a section; the key left out, or the empty text, is what the plugin does by itself.
    ///
    /// # Errors
    /// If it leads to a place that is not allowed, or nobody can tell where to.
    pub fn path(
        &self,
        section: &At<'_>,
        name: &str,
        key: PathKey,
        resolve: Resolve<'_>,
    ) -> Result<(), ConfigError> {
        let Some(allowed) = self.places(key) else { return Ok(()) };
        let Some(at) = section.get(name)? else { return Ok(()) };
        // Another type is refused elsewhere, by who reads it.
        let text = at.string()?;
        if text.is_empty() || leads_into(Path::new(text), allowed, resolve) {
            return Ok(());
        }
        let expected = match allowed {
            [] => format!("no {name:?}"),
            some => {
                let places: Vec<String> = some.iter().map(|p| p.display().to_string()).collect();
                format!("a path without .. at or below {}", places.join(", "))
            }
        };
        Err(self.denied(&at, key.rule(), &expected))
    }

    const fn places(&self, key: PathKey) -> Option<&[PathBuf]> {
        let places = match key {
            PathKey::DataDir => &self.data_dir,
            PathKey::Database => &self.database,
            PathKey::ResolvConf => &self.resolv_conf,
            PathKey::CfgDir => &self.cfg_dir,
            PathKey::Socket => &self.socket,
            PathKey::MemifDirectory => &self.memif_directory,
            PathKey::EtcdFile => &self.etcd_files,
        };
        match places {
            Some(places) => Some(places.as_slice()),
            None => None,
        }
    }

    fn denied(&self, at: &At<'_>, rule: &str, expected: &str) -> ConfigError {
        let found = shown(&at.value().to_string());
        at.wrong(
            format!("{at}: {found} is not allowed by the rule {rule:?} of {}", self.file),
            expected,
        )
    }
}

/// Whether a path leads to one of these places or below it. A `..` may lead anywhere once a link is before it.
fn leads_into(path: &Path, allowed: &[PathBuf], resolve: Resolve<'_>) -> bool {
    if path.components().any(|component| component == Component::ParentDir) {
        return false;
    }
    let Some(real) = resolve(path) else { return false };
    allowed.iter().any(|place| resolve(place).is_some_and(|place| real.starts_with(place)))
}

fn trimmed(url: &str) -> &str {
    url.strip_suffix('/').unwrap_or(url)
}

fn list(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn one_of(what: &str, patterns: &[Pattern]) -> String {
    if patterns.is_empty() {
        "none at all".to_owned()
    } else {
        format!("{what} {}", list(patterns))
    }
}

#[cfg(test)]
mod tests;
