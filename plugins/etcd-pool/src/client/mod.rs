/*!
etcd, as far as a pool needs it.

One channel for each endpoint and short deadlines, instead of the client crate's balancer: that one does not
drop an endpoint that is dead, and a hung one costs each call its whole time. `rounds` decides whom to ask
and when; `endpoint` is one endpoint; `errors` makes sentences of what may go wrong.

Everything here blocks; the runtime that the client crate needs belongs to [`Etcd`] and runs on the calling
thread, which must not be one of another such runtime.
*/

mod connection;
mod endpoint;
mod errors;
mod rounds;
mod run;
mod tls;
mod watch;
mod wire;

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

use etcd_client::{Client, LeaseGrantOptions, StatusResponse};
use ipam_pool::txn::{Reply, Txn};
use tokio::runtime::Runtime;

pub use connection::Connection;
pub use errors::{EtcdError, Kind};
pub(crate) use run::ask;
pub use run::run;
pub use watch::Change;

use connection::Url;
use endpoint::{Call, Endpoint};
use errors::{Fault, Phase};
use rounds::{Asking, Question};
use watch::Watch;

/// A client. Nothing is connected until something is asked.
pub struct Etcd {
    endpoints: Vec<Endpoint>,
    preferred: usize,
    /// How long an answer is waited for at first.
    patience: Duration,
    /// Whether a copy of what was asked last may be carried out even now: one was sent and not answered.
    at_large: bool,
    /// Made when something is asked first.
    runtime: Option<Runtime>,
}

/// A member of the cluster, as one endpoint tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// The endpoint.
    pub endpoint: String,
    /// Why it did not answer, or what is wrong with it.
    pub problem: Option<String>,
    /// The version of etcd.
    pub version: String,
    /// The size of its database, in bytes.
    pub size: i64,
    /// Whether it is the leader.
    pub leader: bool,
    /// Alarms that are raised, such as `NOSPACE`.
    pub alarms: Vec<String>,
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<String> = self.endpoints.iter().map(|e| e.url.to_string()).collect();
        f.debug_struct("Etcd")
            .field("endpoints", &endpoints)
            .field("preferred", &self.preferred)
            .finish_non_exhaustive()
    }
}

impl Etcd {
    /// Checks the description; files must be there and be readable, a key by its owner only.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(connection: &Connection) -> Result<Self, EtcdError> {
        connection.check()?;
        let files = tls::Files::read(connection)?;
        let mut endpoints = Vec::new();
        for url in &connection.endpoints {
            endpoints.push(Endpoint::new(Url::parse(url)?, connection, files.as_ref())?);
        }
        let patience = rounds::CALL;
        Ok(Self { endpoints, preferred: 0, patience, at_large: false, runtime: None })
    }

    /// Carries out a transaction before the deadline. It may be sent more than once.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn txn(&mut self, txn: &Txn, deadline: Instant) -> Result<Reply, EtcdError> {
        let call = |client: Client| -> Call<etcd_client::TxnResponse> {
            let request = wire::request(txn);
            let mut kv = client.kv_client().max_decoding_message_size(usize::MAX);
            Box::pin(async move { kv.txn(request).await })
        };
        let good = etcd_client::TxnResponse::succeeded;
        let response = self.ask(&call, good, deadline)?;
        Ok(wire::reply(&response, self.at_large))
    }

    /// Each endpoint by itself.
    pub fn members(&mut self, timeout: Duration) -> Vec<Member> {
        let Ok(runtime) = runtime(&mut self.runtime) else {
            return self.endpoints.iter().map(|e| unasked(&e.url)).collect();
        };
        let call = |client: Client| -> Call<StatusResponse> {
            let mut maintenance = client.maintenance_client();
            Box::pin(async move { maintenance.status().await })
        };
        let endpoints = &self.endpoints;
        runtime.block_on(async {
            // All at a time: together they take no longer than one.
            let mut attempts: Vec<_> = endpoints
                .iter()
                .enumerate()
                .map(|(position, e)| e.attempt(position, &call, false, timeout))
                .collect();
            let mut members: Vec<Member> = endpoints.iter().map(|e| unasked(&e.url)).collect();
            let all = async {
                while !attempts.is_empty() {
                    let (attempt, (_, result)) = rounds::landed(&mut attempts).await;
                    if let Some(member) = members.get_mut(attempt.position) {
                        match result {
                            Ok(status) => tell(member, &status),
                            Err(fault) => member.problem = Some(fault.text),
                        }
                    }
                }
            };
            // Who has not answered by then has "no answer in time" as its problem.
            let _ = tokio::time::timeout(timeout, all).await;
            members
        })
    }

    /// Tells each change of a range from a revision on, until `each` returns false or the deadline is over.
    /// Each is told once, in the order of revisions.
    ///
    /// # Errors
    /// If the changes from this revision on are compacted away, or etcd is lost for some seconds.
    pub fn watch(
        &mut self,
        range: (Vec<u8>, Vec<u8>),
        from: i64,
        deadline: Option<Instant>,
        each: &mut dyn FnMut(Change) -> bool,
    ) -> Result<(), EtcdError> {
        let runtime = runtime(&mut self.runtime)?;
        let watch = Watch { range, next: from, told: HashSet::new(), deadline, each };
        runtime.block_on(watch.run(&mut self.endpoints, &mut self.preferred))
    }

    /// Grants a lease, or renews the one that is given; tells which, and for how many seconds.
    ///
    /// # Errors
    /// As [`Etcd::txn`].
    pub fn lease(
        &mut self,
        lease: Option<i64>,
        seconds: i64,
        deadline: Instant,
    ) -> Result<(i64, i64), EtcdError> {
        if let Some(id) = lease {
            let renew =
                move |client: Client| -> Call<Option<i64>> { Box::pin(renewed(client, id)) };
            if let Some(seconds) = self.ask(&renew, |_| true, deadline)? {
                return Ok((id, seconds));
            }
        }
        // An ID of our own: a second copy of the request must not grant a second lease.
        let id = i64::try_from(rounds::random() >> 1).unwrap_or(1).max(1);
        let grant = move |client: Client| -> Call<i64> { Box::pin(granted(client, id, seconds)) };
        let seconds = self.ask(&grant, |_| true, deadline)?;
        Ok((id, seconds))
    }

    /// The position of the endpoint that answered last: where the next client should begin.
    pub const fn preferred(&self) -> usize {
        self.preferred
    }

    /// Begins with this endpoint.
    pub const fn prefer(&mut self, position: usize) {
        if position < self.endpoints.len() {
            self.preferred = position;
        }
    }

    /// Waits so long for an answer before the same is asked once more, and not a second: for who would notice a copy.
    pub const fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    fn ask<T>(
        &mut self,
        call: &dyn Fn(Client) -> Call<T>,
        good: fn(&T) -> bool,
        deadline: Instant,
    ) -> Result<T, EtcdError> {
        let runtime = runtime(&mut self.runtime)?;
        let asking = Asking::new(&mut self.endpoints, &mut self.preferred, &mut self.at_large);
        runtime.block_on(asking.ask(&Question { call, good, deadline, patience: self.patience }))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // A name that is still being looked up in a thread is not waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn runtime(place: &mut Option<Runtime>) -> Result<&mut Runtime, EtcdError> {
    let runtime = match place.take() {
        Some(runtime) => runtime,
        None => {
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| {
                EtcdError {
                    kind: Kind::Unreachable,
                    message: format!("nothing can be asked of etcd: {e}"),
                    advice: "the process may have too many files open",
                }
            })?
        }
    };
    Ok(place.insert(runtime))
}

fn unasked(url: &Url) -> Member {
    let problem = Some(Fault::silent(Phase::Asked).text);
    Member { endpoint: url.to_string(), problem, ..Member::default() }
}

fn tell(member: &mut Member, status: &StatusResponse) {
    let id = status.header().map_or(0, etcd_client::ResponseHeader::member_id);
    member.problem = None;
    member.version = errors::visible(status.version());
    member.size = status.db_size();
    member.leader = id != 0 && status.leader() == id;
    for error in status.errors() {
        // Alarms are told as "memberID:8 alarm:NOSPACE", of all members by each of them.
        match error.split_once("alarm:") {
            Some((of, alarm)) => {
                let name = errors::visible(alarm.trim());
                if of.contains(&format!("memberID:{id} ")) && !member.alarms.contains(&name) {
                    member.alarms.push(name);
                }
            }
            None => {
                member.problem = Some(errors::visible(error.trim_start_matches("etcdserver: ")));
            }
        }
    }
}

/// For how many seconds a lease goes on; `None` if it is over.
async fn renewed(client: Client, id: i64) -> Result<Option<i64>, etcd_client::Error> {
    let mut leases = client.lease_client();
    let (mut keeper, mut answers) = match leases.keep_alive(id).await {
        Ok(pair) => pair,
        Err(etcd_client::Error::LeaseKeepAliveError(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    // The first answer is consumed by the crate, which does not tell its time.
    keeper.keep_alive().await?;
    let seconds = answers.message().await?.map_or(0, |answer| answer.ttl());
    Ok((seconds > 0).then_some(seconds))
}

async fn granted(client: Client, id: i64, seconds: i64) -> Result<i64, etcd_client::Error> {
    let options = LeaseGrantOptions::new().with_id(id);
    match client.lease_client().grant(seconds, Some(options)).await {
        Ok(granted) => Ok(granted.ttl()),
        Err(etcd_client::Error::GRpcStatus(status))
            if status.message().contains("lease already exists") =>
        {
            Ok(seconds)
        }
        Err(error) => Err(error),
    }
}
