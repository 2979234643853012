//! Tables, routes, their sources, and neighbours.

use std::net::IpAddr;

use super::basic::gone;
use crate::client::Client;
use crate::error::Error;
use crate::msg::{self, FibSource, Neighbor};
use crate::retval::Retval;
use crate::types::{Family, IfIndex, Mac, NeighborFlags, Prefix, RouteV2, Table};
use crate::wire::Text;

impl Client {
    /// Makes sure that a table is there.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn add_table(&mut self, table: &Table) -> Result<(), Error> {
        self.call(&msg::IpTableAddDel { is_add: true, table: table.clone() })
    }

    /// The source of this name, made if it is not there; one or two round trips. VPP does not look for the
    /// name itself, and cannot delete sources: whoever calls this holds a lock, or there will be two.
    ///
    /// `priority`: the smaller, the better; VPP's API and debug commands have 0x80. A source is lost when
    /// VPP restarts.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn fib_source(&mut self, name: &str, priority: u8) -> Result<u8, Error> {
        let text = Text::new(name)?;
        if let Some(source) = self.find_fib_source(name)? {
            return Ok(source);
        }
        let src = FibSource { priority, id: 0, name: text };
        Ok(self.call(&msg::FibSourceAdd { src })?.id)
    }

    /// The FIB source of this name, if it is there.
    ///
    /// # Errors
    ///
    /// As [`Client::dump`].
    pub fn find_fib_source(&mut self, name: &str) -> Result<Option<u8>, Error> {
        let sources = self.dump(&msg::FibSourceDump {})?;
        // The first, should there be two: whoever asks gets the same.
        let found = sources.into_iter().map(|it| it.src).filter(|source| source.name == name);
        Ok(found.map(|source| source.id).min())
    }

    /// The routes of a source in a table, 0 for all sources.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn routes(
        &mut self,
        source: u8,
        table_id: u32,
        family: Family,
    ) -> Result<Vec<RouteV2>, Error> {
        let table = Table::new(table_id, family);
        let routes = self.dump(&msg::IpRouteV2Dump { src: source, table })?;
        Ok(routes.into_iter().map(|details| details.route).collect())
    }

    /// Adds or deletes any number of routes in one round trip; an error for each that VPP refuses.
    ///
    /// # Errors
    ///
    /// What can become of a connection; [`Error::Missing`].
    pub fn change_routes(
        &mut self,
        changes: &[msg::IpRouteAddDelV2],
    ) -> Result<Vec<(Prefix, Error)>, Error> {
        let mut batch = self.batch();
        let mut tickets = Vec::with_capacity(changes.len());
        for change in changes {
            tickets.push((change.route.prefix, batch.call(change)?));
        }
        let mut answers = batch.send()?;
        let refused = |(prefix, ticket)| Some((prefix, answers.reply(ticket).err()?));
        Ok(tickets.into_iter().filter_map(refused).collect())
    }

    /// Sets a static neighbour. Idempotent.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn set_neighbor(
        &mut self,
        sw_if_index: IfIndex,
        address: IpAddr,
        mac: Mac,
    ) -> Result<(), Error> {
        self.call(&msg::IpNeighborAddDel::set(sw_if_index, address, mac)).map(|_| ())
    }

    /// Deletes a neighbour; whether it was there.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn delete_neighbor(
        &mut self,
        sw_if_index: IfIndex,
        ip_address: IpAddr,
        mac_address: Mac,
    ) -> Result<bool, Error> {
        let flags = NeighborFlags::NONE;
        let neighbor = Neighbor { sw_if_index, flags, mac_address, ip_address };
        gone(self.call(&msg::IpNeighborAddDel { is_add: false, neighbor }), Retval::NO_SUCH_ENTRY)
    }
}
