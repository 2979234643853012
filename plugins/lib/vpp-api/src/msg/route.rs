//! Routes and FIB sources (VPP: `ip.api`, `fib.api`).
//!
//! Routes outlive their interface, and then belong to the next one that gets its number: they are to be
//! deleted first.

use super::messages;
use crate::types::{Prefix, Route, RouteV2, Table};
use crate::wire::Text;

messages! { Core, ROUTE,
    /// Adds or deletes a route of the source that VPP keeps for its API. -3 no such table, -52 no path,
    /// -54 no such interface; a next hop that cannot be reached is accepted.
    call IpRouteAddDel = "ip_route_add_del" 0xb8ec_fe0d => RouteMade = 0x1992_deab {
        /// Whether to add it. Deleting what is not there is no error.
        is_add: bool,
        /// Whether it is about these paths only. If not, adding replaces all, and deleting takes all.
        is_multipath: bool,
        /// The route.
        route: Route,
    }

    /// The same for a source that the route names.
    call IpRouteAddDelV2 = "ip_route_add_del_v2" 0x521e_f330 => RouteMade = 0x1992_deab {
        /// Whether to add it. Deleting what is not there is no error.
        is_add: bool,
        /// Whether it is about these paths only. If not, adding replaces all, and deleting takes all.
        is_multipath: bool,
        /// The route.
        route: RouteV2,
    }

    /// Asks for all routes of a table. Of a table that is not there nothing comes.
    dump IpRouteDump = "ip_route_dump" 0xb9d2_e09e -> IpRouteDetails {
        /// Which table.
        table: Table,
    }

    /// A route.
    details IpRouteDetails = "ip_route_details" 0xbda8_f315 {
        /// The route.
        route: Route,
    }

    /// Asks for the routes of a source. A prefix comes only if its best source is the one that is asked
    /// for: one below an interface's own is not seen.
    dump IpRouteV2Dump = "ip_route_v2_dump" 0xd16f_72e6 -> IpRouteV2Details {
        /// Which source; 0 for all.
        src: u8,
        /// Which table.
        table: Table,
    }

    /// A route.
    details IpRouteV2Details = "ip_route_v2_details" 0xb09a_a6c0 {
        /// The route.
        route: RouteV2,
    }

    /// Asks where a prefix leads.
    call IpRouteLookup = "ip_route_lookup" 0x710d_6471 => RouteFound = 0x5d8f_ebcb {
        /// In which table.
        table_id: u32,
        /// Whether only the prefix itself counts (1), or what covers it, too (0).
        exact: u8,
        /// The prefix.
        prefix: Prefix,
    }

    /// Makes a source for routes. Not idempotent: each call makes another, and none can be deleted.
    call FibSourceAdd = "fib_source_add" 0xb3ac_2aec => FibSourceMade = 0x604f_d6f1 {
        /// The source.
        src: FibSource,
    }

    /// Asks for all sources.
    dump FibSourceDump = "fib_source_dump" 0x5107_7d14 -> FibSourceDetails {}

    /// A source.
    details FibSourceDetails = "fib_source_details" 0x8668_acdb {
        /// The source.
        src: FibSource,
    }
}

super::fields! {
    /// A route was added.
    RouteMade {
        /// VPP's counter for it.
        stats_index: u32,
    }

    /// A route was found.
    RouteFound {
        /// The route.
        route: Route,
    }

    /// A source was made.
    FibSourceMade {
        /// Its number.
        id: u8,
    }
}

super::fields! {
    /// Who may have put routes into VPP (VPP: `fib_source_t`).
    #[derive(Eq)]
    FibSource {
        /// The smaller, the better: of a prefix's sources the best one counts. API and CLI have 0x80.
        priority: u8,
        /// Its number; not part of a request.
        id: u8,
        /// Its name.
        name: Text<64>,
    }
}

impl FibSource {
    /// VPP's own routes.
    pub const SPECIAL: u8 = 1;
    /// Subnets and addresses of interfaces.
    pub const INTERFACE: u8 = 4;
    /// Routes of [`IpRouteAddDel`].
    pub const API: u8 = 8;
    /// Routes of debug commands.
    pub const CLI: u8 = 9;
    /// Neighbours.
    pub const ADJACENCY: u8 = 15;
    /// What a table begins with.
    pub const DEFAULT: u8 = 20;
}

impl IpRouteAddDelV2 {
    /// Adds a route in place of what its source had for the prefix. Idempotent.
    pub const fn add(route: RouteV2) -> Self {
        Self { is_add: true, is_multipath: false, route }
    }

    /// Deletes what a source has for a prefix. Idempotent.
    pub const fn delete(src: u8, table_id: u32, prefix: Prefix) -> Self {
        let route = RouteV2::new(src, table_id, prefix, Vec::new());
        Self { is_add: false, is_multipath: false, route }
    }
}
