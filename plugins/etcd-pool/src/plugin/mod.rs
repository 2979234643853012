//! The CNI operations.

mod add;
mod check;
mod status;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use cni::{About, Added, Call, Code, Error, Plugin};
use host_local::call::{attachment, database_path, network, state_dirs, valid_attachments};
use host_local::errors::store_error;
use host_local::{admin, config_error, resolv_conf};
use ipam_core::addr::Family;
use ipam_core::config::Place;
use ipam_pool::ops;
use ipam_stores::{Command, PoolLedger};

use crate::client::Connection;
use crate::config::{Config, ETCD_VARIABLE, etcd_file};
use crate::errors::etcd_error;
use crate::flusher::{self, Start};
use crate::home;
use crate::identity::now;

/// For how long an ADD may wait for etcd.
const BUDGET: Duration = Duration::from_secs(5);

/// The plugin.
#[derive(Debug, Default)]
pub struct EtcdPool {
    /// What is to be written to etcd after the answer.
    start: Rc<RefCell<Option<Start>>>,
}

impl EtcdPool {
    /// Starts what writes to etcd behind this call, if there is anything to write.
    pub(crate) fn start_flusher(&self) {
        if let Some(start) = self.start.take() {
            start.start();
        }
    }

    /// Something may be left to write: after the answer.
    fn flush(&self, call: &Call, database: &Path, connection: Option<&Connection>) {
        *self.start.borrow_mut() = Some(start(call, database, connection));
    }

    /// The same where something was left before and could not be written.
    fn flush_leftover(&self, call: &Call, database: &Path, connection: Option<&Connection>) {
        if flusher::is_failing(&state_dirs(&call.environment).volatile) {
            self.flush(call, database, connection);
        }
    }
}

impl Plugin for EtcdPool {
    fn about(&self) -> About {
        About { name: "etcd-pool", version: env!("CARGO_PKG_VERSION") }
    }

    fn add(&self, call: &Call) -> Result<Added, Error> {
        let config = allowed(call)?;
        for warning in &config.warnings {
            call.warn(warning);
        }
        let dns = match &config.resolv_conf {
            Some(path) => resolv_conf::read(path)?,
            None => cni::Dns::default(),
        };
        let connection = connection(call, &config)?;
        let database = database_path(call, &config.place);
        // Not where it is the file's: that may say something else by then.
        let own = config.etcd.as_ref();
        let added = add::add(call, &config, &connection, &database, dns);
        let (given, done) = added.map_err(|failed| {
            if config.flush && failed.afterwards.flush {
                self.flush(call, &database, own);
            }
            failed.error
        })?;
        if config.flush {
            if done.flush {
                self.flush(call, &database, own);
            } else {
                self.flush_leftover(call, &database, own);
            }
            let (slot, wanted) = (Rc::clone(&self.start), start(call, &database, own));
            let undo = Box::new(move || {
                (given.undo)();
                *slot.borrow_mut() = Some(wanted);
            });
            return Ok(Added { result: given.result, undo });
        }
        Ok(given)
    }

    fn del(&self, call: &Call) -> Result<(), Error> {
        let (place, warnings) = Place::parse(&call.config);
        let (attachment, network) = (attachment(call)?, network(call)?);
        let (place, left_out) = admin::permitted(call, &network, &place);
        for warning in warnings.iter().chain(&left_out) {
            call.warn(warning);
        }
        let (flush, own) = leftover(call);
        let (databases, mut failure) = home::databases(call, &place)?;
        let mut last = None;
        for database in &databases {
            let mut ledger =
                home::ledger(call, database, place.lock_timeout).lenient().counting(Command::Del);
            match ops::release(&mut ledger, now(), None, &network, &attachment) {
                Ok(freed) if freed.is_empty() => {}
                Ok(_) => last = Some(database),
                Err(error) => {
                    failure.get_or_insert(store_error(&error));
                }
            }
            warn_all(call, &mut ledger);
            ledger.forget_if_gone(&network);
        }
        match last {
            _ if !flush => {}
            Some(database) => self.flush(call, database, own.as_ref()),
            None => self.flush_leftover(call, &database_path(call, &place), own.as_ref()),
        }
        failure.map_or(Ok(()), Err)
    }

    fn check(&self, call: &Call) -> Result<(), Error> {
        let config = parse(call)?;
        permitted(call, &config.place)?;
        check::check(self.about().name, call, &config)
    }

    fn gc(&self, call: &Call) -> Result<(), Error> {
        let Some(valid) = valid_attachments(&call.config)? else { return Ok(()) };
        let place = Place::parse(&call.config).0;
        if let Err(error) = permitted(call, &place) {
            // Nothing of ours is there.
            call.warn(&error.message);
            return Ok(());
        }
        let (flush, own) = leftover(call);
        let database = database_path(call, &place);
        let mut ledger = home::ledger(call, &database, place.lock_timeout).counting(Command::Gc);
        let freed = ops::retain(&mut ledger, now(), None, &network(call)?, &valid);
        warn_all(call, &mut ledger);
        let freed = freed.map_err(|e| store_error(&e))?;
        if flush && !freed.is_empty() {
            self.flush(call, &database, own.as_ref());
        } else if flush {
            self.flush_leftover(call, &database, own.as_ref());
        }
        Ok(())
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        let config = allowed(call).map_err(|e| match admin::standing(&call.environment) {
            admin::Standing::Free if e.code != Code::Io => e,
            _ => Error { code: Code::NotAvailable, ..e },
        })?;
        let ready = status::status(call, &config);
        if config.flush {
            let database = database_path(call, &config.place);
            self.flush_leftover(call, &database, config.etcd.as_ref());
        }
        ready
    }
}

fn start(call: &Call, database: &Path, connection: Option<&Connection>) -> Start {
    Start::new(&state_dirs(&call.environment).volatile, database, connection)
}

fn parse(call: &Call) -> Result<Config, Error> {
    Config::parse(&call.config, call.args()).map_err(|e| config_error(&e))
}

/// The configuration of a call that gives something out, as far as the administrator allows it.
fn allowed(call: &Call) -> Result<Config, Error> {
    let rules = admin::rules(call)?;
    admin::check_ipam(rules.as_deref(), &call.config)?;
    let config = parse(call)?;
    let Some(rules) = rules else { return Ok(config) };
    let judge = || {
        rules.pool(&config.id.space, &config.id.pool, config.described.is_some())?;
        rules.requested(&config.requested)?;
        let parts = config.described.iter().flat_map(|(_, pool)| {
            [Family::V4, Family::V6].into_iter().filter_map(|family| pool.part(family))
        });
        for part in parts {
            rules.subnet(part.cidr, || "ipam.pool".to_owned())?;
        }
        Ok(())
    };
    judge().map_err(|e| config_error(&e))?;
    Ok(config)
}

/// Whether the database of a configuration may be looked at.
fn permitted(call: &Call, place: &Place) -> Result<(), Error> {
    let (permitted, left_out) = admin::permitted(call, &network(call)?, place);
    if permitted.database == place.database {
        return Ok(());
    }
    Err(admin::never_used(&left_out))
}

/// Whether a call that needs no configuration may start what writes to etcd, and where its configuration
/// says that etcd is.
fn leftover(call: &Call) -> (bool, Option<Connection>) {
    let ipam = call.config.get("ipam");
    let of = |key: &str| ipam.and_then(|ipam| ipam.get(key));
    let flush = of("flush").and_then(serde_json::Value::as_bool);
    // Where the administrator does not let it say that, the node's file does.
    let own = of("etcd").filter(|_| admin::may_follow(call));
    (flush.unwrap_or(true), own.and_then(|etcd| Connection::parse(etcd).ok()))
}

/// Where etcd is: what the configuration says, else the node's file.
fn connection(call: &Call, config: &Config) -> Result<Connection, Error> {
    match &config.etcd {
        Some(connection) => Ok(connection.clone()),
        None => Connection::read(&etcd_file(call.environment.value(ETCD_VARIABLE)))
            .map_err(|e| etcd_error(&e)),
    }
}

fn warn_all(call: &Call, ledger: &mut PoolLedger) {
    for warning in ledger.take_warnings() {
        call.warn(&warning);
    }
}
