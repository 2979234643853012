//! Routes listed and changed: requests and their answers.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;

use super::message::{self, read};
use super::{Family, Route, RouteFilter};
use crate::error::{ENOENT, ESRCH};
use crate::netlink::{Request, refusal};
use crate::{Error, Netlink};

/// A change of a route, one of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteChange {
    /// As [`Netlink::set_route`].
    Set(Route),
    /// As [`Netlink::add_route`].
    Add(Route),
    /// As [`Netlink::delete_route`]; that it was not there is no error.
    Delete(Route),
}

impl RouteChange {
    /// The route.
    pub const fn route(&self) -> &Route {
        match self {
            Self::Set(route) | Self::Add(route) | Self::Delete(route) => route,
        }
    }

    fn what(&self) -> String {
        let verb = match self {
            Self::Set(_) => "set",
            Self::Add(_) => "add",
            Self::Delete(_) => "delete",
        };
        format!("{verb} the route {}", self.route())
    }

    pub(super) fn request(&self) -> Result<Request, Error> {
        self.route().checked().map_err(|reason| Error::invalid(self.what(), reason))?;
        let (message, flags) = match self {
            Self::Set(route) => (message::new(route), NLM_F_CREATE | NLM_F_REPLACE),
            Self::Add(route) => (message::new(route), NLM_F_CREATE | NLM_F_EXCL),
            Self::Delete(route) => (message::delete(route), 0),
        };
        Ok(Request { message, flags })
    }
}

impl Netlink {
    /// The routes that a filter lets through, of both families. The kernel sorts out by table, protocol and
    /// link (Linux 4.20), an older one sends everything, and here is looked again.
    ///
    /// # Errors
    ///
    /// There is no link of the filter's index (`is_not_found`), or the routes change without end.
    pub fn routes(&mut self, filter: &RouteFilter) -> Result<Vec<Route>, Error> {
        let mut routes = Vec::new();
        for family in Family::BOTH.into_iter().filter(|f| filter.family.is_none_or(|g| g == *f)) {
            let request = RouteNetlinkMessage::GetRoute(message::list(family, filter));
            let what = || format!("list the {family} routes");
            let list = self.list(&request, what, |frame| {
                read(frame).filter(|r| family.has(r.destination.addr()) && filter.has(r))
            });
            match list {
                Ok(list) => routes.extend(list),
                // A table is there when something was in it.
                Err(e) if filter.table.is_some() && e.errno() == Some(ENOENT) => (),
                Err(e) => return Err(e),
            }
        }
        Ok(routes)
    }

    /// Makes a route, or replaces the one with the same table, destination and metric, whoever made that:
    /// who must not take over another's looks first.
    ///
    /// # Errors
    ///
    /// The router cannot be reached directly, there is no such link (`is_not_found`), the process may not.
    pub fn set_route(&mut self, route: &Route) -> Result<(), Error> {
        self.change_route(&RouteChange::Set(route.clone()))
    }

    /// Makes a route.
    ///
    /// # Errors
    ///
    /// There is one with the same table, destination and metric (`is_exists`), or as for
    /// [`Netlink::set_route`].
    pub fn add_route(&mut self, route: &Route) -> Result<(), Error> {
        self.change_route(&RouteChange::Add(route.clone()))
    }

    /// Deletes a route that agrees in destination, table, kind, protocol, and, where it tells them, metric
    /// (not 0), `via`, `device` and `source`; never another protocol's, unless `protocol` is 0. False if
    /// there was none. An IPv4 metric of 0 stands for any, of several the lowest: who has the same
    /// destination at several metrics looks before.
    ///
    /// # Errors
    ///
    /// The process may not.
    pub fn delete_route(&mut self, route: &Route) -> Result<bool, Error> {
        match self.change_route(&RouteChange::Delete(route.clone())) {
            Ok(()) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn change_route(&mut self, change: &RouteChange) -> Result<(), Error> {
        let request = change.request()?;
        self.change(request, || change.what())
    }

    /// Many changes in few system calls, in this order; one result each. One that is refused stops nothing.
    ///
    /// # Errors
    ///
    /// The socket fails: nothing is known of any of them then. A single answer that was lost is an
    /// [`Error::Lost`] among the results.
    pub fn change_routes(
        &mut self,
        changes: &[RouteChange],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let mut requests = Vec::with_capacity(changes.len());
        let mut results: Vec<Option<Result<(), Error>>> = Vec::with_capacity(changes.len());
        for change in changes {
            match change.request() {
                Ok(request) => {
                    requests.push(request);
                    results.push(None);
                }
                Err(e) => results.push(Some(Err(e))),
            }
        }
        let mut verdicts =
            self.change_many(requests, || format!("change {} routes", changes.len()))?.into_iter();
        let all = results.into_iter().zip(changes).map(|(result, change)| {
            result.unwrap_or_else(|| match verdicts.next().flatten() {
                Some(verdict) if verdict.errno == 0 => Ok(()),
                Some(verdict)
                    if verdict.errno == ESRCH && matches!(change, RouteChange::Delete(_)) =>
                {
                    Ok(())
                }
                Some(verdict) => Err(refusal(verdict, change.what())),
                None => Err(Error::Lost { what: change.what() }),
            })
        });
        Ok(all.collect())
    }
}
