//! Routing tables (VPP: `ip.api`).

use super::messages;
use crate::types::Table;

messages! { Core, TABLE,
    /// Makes a table or deletes one. A table that is there stays as it is, with its name. One that is
    /// deleted must be empty: VPP says 0, and logs a bug in itself.
    call IpTableAddDel = "ip_table_add_del" 0x0ffd_aec0 => () = 0xe8d4_e804 {
        /// Whether to make it.
        is_add: bool,
        /// Which one.
        table: Table,
    }

    /// The same, from 24.10 on: the multicast table can be left out.
    call IpTableAddDelV2 = "ip_table_add_del_v2" 0x14e5_081f => () = 0xe8d4_e804 {
        /// Which one.
        table: Table,
        /// Whether it gets a multicast table, too.
        create_mfib: bool,
        /// Whether to make it.
        is_add: bool,
    }

    /// Asks for all tables, of both families.
    dump IpTableDump = "ip_table_dump" 0x5107_7d14 -> IpTableDetails {}

    /// A table.
    details IpTableDetails = "ip_table_details" 0xc79f_ca0f {
        /// The table.
        table: Table,
    }

    /// Deletes every route that somebody has put into a table by the API.
    call IpTableFlush = "ip_table_flush" 0xb9d2_e09e => () = 0xe8d4_e804 {
        /// Which one.
        table: Table,
    }
}
