//! The CNI operations over a configuration and a store.

use std::path::PathBuf;

use cni::{About, Added, Call, Code, Error, Plugin};
use ipam_core::allocator::Request;
use ipam_core::config::{Config, Place, StoreKind};
use ipam_core::identity::{Instance, Network};
use ipam_core::ipam;
use ipam_core::rules::Rules;
use ipam_core::store::Store;
use ipam_stores::{
    AnyStore, DEFAULT_DATA_DIR, Database, DirStore, Location, Places, Remembered, SqliteLocation,
    SqliteStore, StoreError,
};

use crate::call::{
    attachment, data_dir, database_path, default_database, network, previous_addresses, result,
    state_dirs, valid_attachments,
};
use crate::errors::{
    check_result, config_error, not_ready, reserve_error, store_error, unavailable_store,
};
use crate::{Purpose, Source, admin, resolv_conf};

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
        let rules = admin::rules(call)?;
        admin::check_ipam(rules.as_deref(), &call.config)?;
        let prepared = self.source.prepare(call, Purpose::Add)?;
        let config = prepared.config;
        self.check_rules(rules.as_deref(), &config)?;
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
        let ips = answer.ips.iter().map(|ip| (ip.address, ip.gateway));
        let result = result(ips, &answer.routes, dns);
        let undo = Box::new(move || {
            // A failure leaves the reservation to the DEL that the runtime sends after a failed ADD.
            let _ = store.undo(&attachment, &answer.choices);
        });
        Ok(Added { result: result.into(), undo })
    }

    fn del(&self, call: &Call) -> Result<(), Error> {
        let (place, warnings) = Place::parse(&call.config);
        let network = network(call)?;
        let (place, left_out) = admin::permitted(call, &network, &place);
        for warning in warnings.iter().chain(&left_out) {
            call.warn(warning);
        }
        let attachment = attachment(call)?;
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
        match Places::new(&state_dirs(&call.environment).durable, &network).all() {
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
        // What is recorded decides; a file that may not be read is not needed for that.
        let prepared = match admin::may_follow(call) {
            true => self.source.prepare_check(call)?,
            false => None,
        };
        let (place, sets) = match &prepared {
            Some(prepared) => (prepared.config.place.clone(), prepared.config.sets.as_slice()),
            None => (Place::parse(&call.config).0, &[][..]),
        };
        let place = self.permitted(call, &place)?;
        let expected = previous_addresses(&call.config)?;
        let attachment = attachment(call)?;
        let mut store = self.open(call, &place)?;
        let checked = ipam::check(&mut store, &attachment, sets, &expected);
        warn_all(call, &mut store);
        let checked = checked.map_err(|e| store_error(&e))?;
        check_result(self.about().name, &attachment, &checked)
    }

    fn gc(&self, call: &Call) -> Result<(), Error> {
        let Some(valid) = valid_attachments(&call.config)? else { return Ok(()) };
        let (place, _) = Place::parse(&call.config);
        let place = match self.permitted(call, &place) {
            Ok(place) => place,
            Err(error) => {
                // Nothing of ours is there.
                call.warn(&error.message);
                return Ok(());
            }
        };
        let mut store = self.open(call, &place)?;
        let freed = store.retain(&valid);
        warn_all(call, &mut store);
        freed.map(|_| ()).map_err(|e| store_error(&e))
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        let refused = |e: Error| Error { code: Code::NotAvailable, ..e };
        let rules = admin::rules(call).map_err(refused)?;
        admin::check_ipam(rules.as_deref(), &call.config).map_err(refused)?;
        let prepared = self.source.prepare(call, Purpose::Status)?;
        self.check_rules(rules.as_deref(), &prepared.config).map_err(refused)?;
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
        match reason.map_err(|e| unavailable_store(&e))? {
            None => Ok(()),
            Some(reason) => Err(not_ready(reason)),
        }
    }
}

impl<S: Source> Ipam<S> {
    /// Whether the administrator's rules allow what a configuration came to.
    fn check_rules(&self, rules: Option<&Rules>, config: &Config) -> Result<(), Error> {
        let Some(rules) = rules else { return Ok(()) };
        let judged = rules.ranges(&config.sets).and_then(|()| rules.requested(&config.requested));
        judged.map_err(|e| config_error(&e))
    }

    /// The place of a configuration as far as it may be looked at.
    fn permitted(&self, call: &Call, place: &Place) -> Result<Place, Error> {
        let (permitted, left_out) = admin::permitted(call, &network(call)?, place);
        // What the store does not use is only left out.
        if self.chosen(call, &permitted) == self.chosen(call, place) {
            return Ok(permitted);
        }
        Err(admin::never_used(&left_out))
    }

    /// The store that a configuration means.
    fn kind(&self, place: &Place) -> StoreKind {
        place.store.unwrap_or_else(|| self.source.store())
    }

    /// Whose rows of a database are meant.
    fn instance(&self, place: &Place) -> Result<Instance, Error> {
        let name = self.about().name;
        let instance = match &place.instance {
            None => Instance::new(name),
            Some(instance) => Instance::new(format!("{name}@{instance}")),
        };
        instance.map_err(|e| Error::new(Code::Internal, format!("the plugin's name {e}")))
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
        let places = Places::new(&state_dirs(&call.environment).durable, &network);
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
        let state = state_dirs(&call.environment);
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
                    instance: self.instance(place)?,
                    elsewhere: !expected,
                    // What others have left in the directory is the first one's business.
                    import: place.instance.is_none().then(|| data_dir(call, place)),
                };
                let database = Database::new(path.clone(), state, lock_timeout);
                AnyStore::Sqlite(SqliteStore::new(database, location).guarded())
            }
        })
    }
}

fn warn_all(call: &Call, store: &mut AnyStore) {
    for warning in store.take_warnings() {
        call.warn(&warning);
    }
}
