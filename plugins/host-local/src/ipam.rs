//! The CNI operations over a configuration and a store.

use std::path::{Path, PathBuf};

use cni::{About, Added, Call, Code, Dns, Error, IpConfig, IpamResult, Plugin, Route};
use ipam_core::addr::{Addr, Cidr};
use ipam_core::allocator::Request;
use ipam_core::config::json::shown;
use ipam_core::config::{Place, StoreKind};
use ipam_core::identity::{Attachment, ContainerId, IfName, Instance, Network};
use ipam_core::ipam::{self, Answer, Checked};
use ipam_core::store::Store;
use ipam_stores::{
    AnyStore, DEFAULT_DATA_DIR, Database, DirStore, Location, Places, Remembered, SqliteLocation,
    SqliteStore, StateDirs, StoreError,
};
use serde_json::Value;

use crate::errors::{config_error, not_ready, reserve_error, store_error};
use crate::paths::absolute;
use crate::{Purpose, Source, resolv_conf};

/// An IPAM plugin: everything but where its ranges come from.
#[derive(Debug)]
pub struct Ipam<S> {
    source: S,
}

impl<S: Source> Ipam<S> {
    /// The plugin with this source.
    pub const fn new(source: S) -> Self {
        Self { source }
    }
}

impl<S: Source> Plugin for Ipam<S> {
    fn about(&self) -> About {
        self.source.about()
    }

    fn add(&self, call: &Call) -> Result<Added, Error> {
        let prepared = self.source.prepare(call, Purpose::Add)?;
        let config = prepared.config;
        for warning in &config.warnings {
            call.warn(warning);
        }
        let dns = match &config.resolv_conf {
            Some(path) => resolv_conf::read(path)?,
            None => prepared.dns.unwrap_or_default(),
        };
        let attachment = attachment(call)?;
        let kind = self.kind(&config.place);
        config.place.allows(kind, config.policy).map_err(|e| config_error(&e))?;
        self.check_one_database(call, &config.place)?;
        let mut store = self.open(call, &config.place)?;
        let request = Request {
            attachment: &attachment,
            sets: &config.sets,
            requested: &config.requested,
            repeat: self.source.repeat(),
            pin: prepared.pin,
            policy: config.policy,
            owner: &config.owner,
        };
        let caller = call.caller;
        let answer = ipam::add(&mut store, &request, &config.routes, &mut || caller.is_waiting());
        warn_all(call, &mut store);
        let answer = answer.map_err(|e| reserve_error(&e))?;
        let result = result(&answer, dns);
        let undo = Box::new(move || {
            // A failure leaves the reservation to the DEL that the runtime sends after a failed ADD.
            let _ = store.undo(&attachment, &answer.choices);
        });
        Ok(Added { result, undo })
    }

    fn del(&self, call: &Call) -> Result<(), Error> {
        let (place, warnings) = Place::parse(&call.config);
        for warning in &warnings {
            call.warn(warning);
        }
        let attachment = attachment(call)?;
        let network = network(call)?;
        // The configuration may have lost or changed its store since the ADD: every place that this network
        // has used is looked at. The attachment's identity is unique in all of them.
        let mut places = vec![Remembered::DataDir(data_dir(call, &place))];
        let default = Remembered::DataDir(PathBuf::from(DEFAULT_DATA_DIR));
        if self.kind(&place) == StoreKind::Sqlite {
            places.push(Remembered::Database(database_path(call, &place)));
        }
        if self.source.store() == StoreKind::Sqlite {
            places.push(Remembered::Database(default_database(call)));
        }
        places.push(default);
        let mut failure = None;
        match Places::new(&state_dirs(call).durable, &network).all() {
            Ok(remembered) => places.extend(remembered),
            Err(error) => failure = Some(store_error(&error)),
        }
        let mut seen: Vec<&Remembered> = Vec::new();
        for at in &places {
            if seen.contains(&at) {
                continue;
            }
            seen.push(at);
            let mut store = self.store_at(call, at, network.clone(), &place)?;
            if let Err(error) = store.release(&attachment) {
                failure.get_or_insert(store_error(&error));
            }
            warn_all(call, &mut store);
        }
        failure.map_or(Ok(()), Err)
    }

    fn check(&self, call: &Call) -> Result<(), Error> {
        let prepared = self.source.prepare_check(call)?;
        let (place, sets) = match &prepared {
            Some(prepared) => (prepared.config.place.clone(), prepared.config.sets.as_slice()),
            None => (Place::parse(&call.config).0, &[][..]),
        };
        let expected = previous_addresses(&call.config)?;
        let attachment = attachment(call)?;
        let mut store = self.open(call, &place)?;
        let checked = ipam::check(&mut store, &attachment, sets, &expected);
        warn_all(call, &mut store);
        let name = self.about().name;
        match checked.map_err(|e| store_error(&e))? {
            Checked::Fine => Ok(()),
            Checked::Nothing => Err(Error::new(
                Code::UnknownContainer,
                format!(
                    "{name}: Failed to find address added by container {}",
                    attachment.container
                ),
            )
            .with_details(format!("nothing is reserved for interface {}", attachment.ifname))),
            Checked::Differs { missing, unknown } => {
                let list = |addrs: &[Addr]| {
                    addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
                };
                let mut differences = Vec::new();
                if !missing.is_empty() {
                    differences.push(format!("{} not reserved", list(&missing)));
                }
                if !unknown.is_empty() {
                    differences.push(format!("{} reserved but not in prevResult", list(&unknown)));
                }
                Err(Error::new(
                    Code::Inconsistent,
                    format!("{name}: {attachment}: {}", differences.join(", ")),
                )
                .with_details("what is recorded is not what the runtime believes"))
            }
        }
    }

    fn gc(&self, call: &Call) -> Result<(), Error> {
        let Some(valid) = valid_attachments(&call.config)? else { return Ok(()) };
        let (place, _) = Place::parse(&call.config);
        let mut store = self.open(call, &place)?;
        let freed = store.retain(&valid);
        warn_all(call, &mut store);
        freed.map(|_| ()).map_err(|e| store_error(&e))
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        let prepared = self.source.prepare(call, Purpose::Status)?;
        if let Some(path) = &prepared.config.resolv_conf {
            resolv_conf::read(path).map_err(|e| Error { code: Code::NotAvailable, ..e })?;
        }
        let config = &prepared.config;
        let unavailable = |e: Error| Error { code: Code::NotAvailable, ..e };
        let kind = self.kind(&config.place);
        config.place.allows(kind, config.policy).map_err(|e| unavailable(config_error(&e)))?;
        self.check_one_database(call, &config.place).map_err(unavailable)?;
        let mut store = self.open(call, &config.place)?;
        let cooldown = config.policy.cooldown;
        let reason = ipam::status(&mut store, &config.sets, cooldown, prepared.pin);
        warn_all(call, &mut store);
        let unavailable = |e: StoreError| {
            let affected = e.affects_existing();
            let code = if affected { Code::LimitedConnectivity } else { Code::NotAvailable };
            Error { code, ..store_error(&e) }
        };
        match reason.map_err(unavailable)? {
            None => Ok(()),
            Some(reason) => Err(not_ready(reason)),
        }
    }
}

impl<S: Source> Ipam<S> {
    /// The store that a configuration means.
    fn kind(&self, place: &Place) -> StoreKind {
        place.store.unwrap_or_else(|| self.source.store())
    }

    /// Where the configuration keeps its state.
    fn chosen(&self, call: &Call, place: &Place) -> Remembered {
        match self.kind(place) {
            StoreKind::Dir => Remembered::DataDir(data_dir(call, place)),
            StoreKind::Sqlite => Remembered::Database(database_path(call, place)),
        }
    }

    fn open(&self, call: &Call, place: &Place) -> Result<AnyStore, Error> {
        self.store_at(call, &self.chosen(call, place), network(call)?, place)
    }

    /// After a change of the store or the database, what the network holds in another database must not be
    /// given out again here. (What a directory holds is taken over, or is the reference's business.)
    fn check_one_database(&self, call: &Call, place: &Place) -> Result<(), Error> {
        let chosen = self.chosen(call, place);
        let network = network(call)?;
        let places = Places::new(&state_dirs(call).durable, &network);
        let mut others = places.all().map_err(|e| store_error(&e))?;
        if self.source.store() == StoreKind::Sqlite {
            others.push(Remembered::Database(default_database(call)));
        }
        for other in others.iter().filter(|other| **other != chosen) {
            let AnyStore::Sqlite(mut store) = self.store_at(call, other, network.clone(), place)?
            else {
                continue;
            };
            let held = match store.held() {
                Err(StoreError::NotOurs { .. }) => continue,
                held => held.map_err(|e| store_error(&e))?,
            };
            if held > 0 {
                let path = other.path().display();
                let addresses = if held == 1 { "address" } else { "addresses" };
                return Err(Error::new(
                    Code::InvalidConfig,
                    format!(
                        "network {network} holds {held} {addresses} in {path}, and the configuration \
                         names another store"
                    ),
                )
                .with_details(format!(
                    "take them over with `plat export {network} --to dir --move`, delete the \
                     attachments first, or go back to {path}"
                )));
            }
        }
        Ok(())
    }

    fn store_at(
        &self,
        call: &Call,
        at: &Remembered,
        network: Network,
        place: &Place,
    ) -> Result<AnyStore, Error> {
        let Place { shared, lock_timeout, .. } = *place;
        let state = state_dirs(call);
        Ok(match at {
            Remembered::DataDir(data_dir) => {
                let data_dir = data_dir.clone();
                let location = Location { data_dir, network, shared, lock_timeout };
                AnyStore::Dir(DirStore::new(location, state))
            }
            Remembered::Database(path) => {
                // Without configuration only this one is looked into.
                let expected =
                    self.source.store() == StoreKind::Sqlite && *path == default_database(call);
                let location = SqliteLocation {
                    network,
                    instance: Instance::new(self.about().name).map_err(|e| {
                        Error::new(Code::Internal, format!("the plugin's name {e}"))
                    })?,
                    elsewhere: !expected,
                    import: Some(data_dir(call, place)),
                };
                let database = Database::new(path.clone(), state, lock_timeout);
                AnyStore::Sqlite(SqliteStore::new(database, location))
            }
        })
    }
}

/// The database of this node and boot.
fn default_database(call: &Call) -> PathBuf {
    state_dirs(call).volatile.join("plat.db")
}

fn database_path(call: &Call, place: &Place) -> PathBuf {
    let path = place.database.as_deref().map(|path| absolute(path, Path::new("/")));
    path.unwrap_or_else(|| default_database(call))
}

fn warn_all(call: &Call, store: &mut AnyStore) {
    for warning in store.take_warnings() {
        call.warn(&warning);
    }
}

/// The state directories: an operator may move them by the environment of the runtime.
fn state_dirs(call: &Call) -> StateDirs {
    let StateDirs { durable, volatile } = StateDirs::default();
    let place = |variable: &str, default: PathBuf| match call.environment.value(variable) {
        "" => default,
        path => PathBuf::from(path),
    };
    StateDirs {
        durable: place("PLAT_STATE_DIR", durable),
        volatile: place("PLAT_RUN_DIR", volatile),
    }
}

fn data_dir(call: &Call, place: &Place) -> PathBuf {
    let Some(path) = &place.data_dir else { return PathBuf::from(DEFAULT_DATA_DIR) };
    let working_dir = std::env::current_dir().unwrap_or_else(|error| {
        call.warn(&format!("the working directory is unknown ({error}), / is taken"));
        PathBuf::from("/")
    });
    absolute(path, &working_dir)
}

fn network(call: &Call) -> Result<Network, Error> {
    Network::new(call.network.as_str())
        .map_err(|e| Error::new(Code::InvalidConfig, format!("the network name {e}")))
}

fn attachment(call: &Call) -> Result<Attachment, Error> {
    let wrong = |what: &str, e: &dyn std::fmt::Display| {
        Error::new(Code::InvalidEnvironment, format!("{what} {e}"))
    };
    Ok(Attachment {
        container: ContainerId::new(call.container_id())
            .map_err(|e| wrong("CNI_CONTAINERID", &e))?,
        ifname: IfName::new(call.ifname()).map_err(|e| wrong("CNI_IFNAME", &e))?,
    })
}

fn result(answer: &Answer, dns: Dns) -> IpamResult {
    let ips = answer.ips.iter().map(|ip| IpConfig {
        address: ip.address.addr().into(),
        prefix: ip.address.prefix(),
        gateway: ip.gateway.map(Into::into),
    });
    let routes = answer.routes.iter().map(|route| Route {
        dst: route.dst.to_string(),
        gw: route.gw.map(Into::into),
        mtu: route.mtu,
        advmss: route.advmss,
        priority: route.priority,
        table: route.table,
        scope: route.scope,
    });
    IpamResult { ips: ips.collect(), routes: routes.collect(), dns }
}

/// The addresses of prevResult, of any form from 0.3.0 on; none where there is no prevResult.
fn previous_addresses(config: &Value) -> Result<Vec<Addr>, Error> {
    let root = ipam_core::config::json::At::root(config);
    let read = || {
        let Some(previous) = root.get("prevResult")? else { return Ok(Vec::new()) };
        let Some(ips) = previous.get("ips")? else { return Ok(Vec::new()) };
        let mut addresses = Vec::new();
        for ip in ips.list()? {
            let Some(address) = ip.get("address")? else { continue };
            let text = address.string()?;
            let cidr = Cidr::parse(text).ok_or_else(|| {
                address.wrong(format!("invalid CIDR address: {}", shown(text)), "ADDRESS/PREFIX")
            })?;
            addresses.push(cidr.addr());
        }
        Ok(addresses)
    };
    read().map_err(|e| config_error(&e))
}

/// The attachments that the runtime knows; `None` if it did not say, which frees nothing.
fn valid_attachments(config: &Value) -> Result<Option<Vec<Attachment>>, Error> {
    let root = ipam_core::config::json::At::root(config);
    let read = || {
        // libcni sends the list under its first, mistaken name too.
        let list = match root.get("cni.dev/valid-attachments")? {
            None => root.get("cni.dev/attachments")?,
            some => some,
        };
        let Some(list) = list else { return Ok(None) };
        let mut valid = Vec::new();
        for entry in list.list()? {
            let wrong = || {
                entry.wrong(
                    format!("{entry}: no attachment"),
                    "an object with \"containerID\" and \"ifname\"",
                )
            };
            let text = |key: &str| -> Result<String, ipam_core::config::ConfigError> {
                Ok(entry.get(key)?.ok_or_else(wrong)?.string()?.to_owned())
            };
            valid.push(Attachment {
                container: ContainerId::new(text("containerID")?).map_err(|_| wrong())?,
                ifname: IfName::new(text("ifname")?).map_err(|_| wrong())?,
            });
        }
        Ok(Some(valid))
    };
    read().map_err(|e| config_error(&e))
}
