//! Routes and their paths (VPP: `fib_types.api`, `ip.api`).

use std::net::IpAddr;

use super::{Family, IfIndex, Prefix, address_bytes, address_of};
use crate::wire::{DecodeError, Field, Reader, below};

/// Bytes of the MPLS labels at the end of each path: 16 of 7 bytes.
const LABELS: usize = 16 * 7;

/// One way to a destination: 167 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FibPath {
    /// The interface that it leaves through; none if the next hop is to be looked up (a recursive path).
    pub sw_if_index: IfIndex,
    /// The table in which the next hop is looked up.
    pub table_id: u32,
    /// For multicast only.
    pub rpf_id: u32,
    /// Its share among paths of one preference; VPP takes 0 for 1.
    pub weight: u8,
    /// Paths with the least are used.
    pub preference: u8,
    /// What happens on it: one of the associated constants.
    pub kind: u32,
    /// VPP's flags.
    pub flags: u32,
    /// The family of the next hop: 0 IPv4, 1 IPv6; above that not IP.
    pub proto: u32,
    /// The next hop's address, as `proto` says; all zero if there is none.
    pub next_hop: [u8; 16],
    /// The next hop's MPLS label.
    pub via_label: u32,
    /// The next hop's object.
    pub obj_id: u32,
    /// The next hop's classify table.
    pub classify_table_index: u32,
    /// How many MPLS labels it has. The labels themselves are not kept; sent as what it says, all zero.
    pub n_labels: u8,
}

impl FibPath {
    /// Packets are forwarded.
    pub const NORMAL: u32 = 0;
    /// Packets are for VPP itself.
    pub const LOCAL: u32 = 1;
    /// Packets are dropped.
    pub const DROP: u32 = 2;
    /// Packets are answered by ICMP unreachable.
    pub const UNREACHABLE: u32 = 5;
    /// Packets are answered by ICMP prohibited.
    pub const PROHIBIT: u32 = 6;

    const fn plain(family: Family) -> Self {
        Self {
            sw_if_index: IfIndex::NONE,
            table_id: 0,
            rpf_id: 0,
            weight: 1,
            preference: 0,
            kind: Self::NORMAL,
            flags: 0,
            proto: match family {
                Family::V4 => 0,
                Family::V6 => 1,
            },
            next_hop: [0; 16],
            via_label: 0,
            obj_id: 0,
            classify_table_index: 0,
            n_labels: 0,
        }
    }

    /// By a next hop that VPP looks up in a table: it follows what the table says later.
    pub fn via(next_hop: IpAddr, table_id: u32) -> Self {
        let path = Self::plain(Family::of(next_hop));
        Self { next_hop: address_bytes(next_hop), table_id, ..path }
    }

    /// By a next hop on an interface. It stays with the interface's number when that is reused.
    pub fn via_on(next_hop: IpAddr, sw_if_index: IfIndex) -> Self {
        Self { sw_if_index, ..Self::via(next_hop, 0) }
    }

    /// Through an interface, without a next hop.
    pub const fn through(sw_if_index: IfIndex, family: Family) -> Self {
        let mut path = Self::plain(family);
        path.sw_if_index = sw_if_index;
        path
    }

    /// Dropped.
    pub const fn dropped(family: Family) -> Self {
        let mut path = Self::plain(family);
        path.kind = Self::DROP;
        path
    }

    /// The next hop's address, if it has one of either family.
    pub fn next_hop(&self) -> Option<IpAddr> {
        let family = match self.proto {
            0 => Family::V4,
            1 => Family::V6,
            _ => return None,
        };
        let address = address_of(family, self.next_hop);
        (!address.is_unspecified()).then_some(address)
    }
}

impl Field for FibPath {
    fn write(&self, out: &mut Vec<u8>) {
        self.sw_if_index.write(out);
        self.table_id.write(out);
        self.rpf_id.write(out);
        self.weight.write(out);
        self.preference.write(out);
        self.kind.write(out);
        self.flags.write(out);
        self.proto.write(out);
        self.next_hop.write(out);
        self.via_label.write(out);
        self.obj_id.write(out);
        self.classify_table_index.write(out);
        self.n_labels.write(out);
        [0u8; LABELS].write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let path = Self {
            sw_if_index: IfIndex::read(from)?,
            table_id: u32::read(from)?,
            rpf_id: u32::read(from)?,
            weight: u8::read(from)?,
            preference: u8::read(from)?,
            kind: u32::read(from)?,
            flags: u32::read(from)?,
            proto: u32::read(from)?,
            next_hop: from.array()?,
            via_label: u32::read(from)?,
            obj_id: u32::read(from)?,
            classify_table_index: u32::read(from)?,
            n_labels: u8::read(from)?,
        };
        from.take(LABELS)?;
        Ok(path)
    }

    fn layout(name: &str, out: &mut Vec<String>) {
        let parts = [
            "sw_if_index:u32",
            "table_id:u32",
            "rpf_id:u32",
            "weight:u8",
            "preference:u8",
            "type:u32",
            "flags:u32",
            "proto:u32",
            "nh.address:u8[16]",
            "nh.via_label:u32",
            "nh.obj_id:u32",
            "nh.classify_table_index:u32",
            "n_labels:u8",
            "label_stack:{is_uniform:u8 label:u32 ttl:u8 exp:u8}[16]",
        ];
        out.extend(parts.iter().map(|part| below(name, part)));
    }
}

/// A route: where a prefix leads in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The table.
    pub table_id: u32,
    /// VPP's counter for it; ignored in requests.
    pub stats_index: u32,
    /// The destination. A dump gives it with the host bits it was made with.
    pub prefix: Prefix,
    /// Its paths; only the first 255 are sent.
    pub paths: Vec<FibPath>,
}

/// A route that also says whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteV2 {
    /// The table.
    pub table_id: u32,
    /// VPP's counter for it; ignored in requests.
    pub stats_index: u32,
    /// The destination. A dump gives it with the host bits it was made with.
    pub prefix: Prefix,
    /// The FIB source that it belongs to; see [`crate::msg::FibSourceAdd`].
    pub src: u8,
    /// Its paths; only the first 255 are sent.
    pub paths: Vec<FibPath>,
}

impl RouteV2 {
    /// A route of a source.
    pub const fn new(src: u8, table_id: u32, prefix: Prefix, paths: Vec<FibPath>) -> Self {
        Self { table_id, stats_index: 0, prefix, src, paths }
    }
}

/// The count of paths, and those that it counts.
fn counted(paths: &[FibPath]) -> (u8, impl Iterator<Item = &FibPath>) {
    (u8::try_from(paths.len()).unwrap_or(u8::MAX), paths.iter().take(u8::MAX.into()))
}

fn read_paths(count: u8, from: &mut Reader<'_>) -> Result<Vec<FibPath>, DecodeError> {
    (0..count).map(|_| FibPath::read(from)).collect()
}

/// The layout of both kinds of route.
fn layout(name: &str, has_source: bool, out: &mut Vec<String>) {
    u32::layout(&below(name, "table_id"), out);
    u32::layout(&below(name, "stats_index"), out);
    Prefix::layout(&below(name, "prefix"), out);
    u8::layout(&below(name, "n_paths"), out);
    if has_source {
        u8::layout(&below(name, "src"), out);
    }
    let mut path = Vec::new();
    FibPath::layout("", &mut path);
    out.push(format!(
        "{}:{{{}}}[{}]",
        below(name, "paths"),
        path.join(" "),
        below(name, "n_paths")
    ));
}

impl Field for Route {
    fn write(&self, out: &mut Vec<u8>) {
        self.table_id.write(out);
        self.stats_index.write(out);
        self.prefix.write(out);
        let (count, paths) = counted(&self.paths);
        count.write(out);
        paths.for_each(|path| path.write(out));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (table_id, stats_index) = (u32::read(from)?, u32::read(from)?);
        let prefix = Prefix::read(from)?;
        let count = u8::read(from)?;
        Ok(Self { table_id, stats_index, prefix, paths: read_paths(count, from)? })
    }

    fn layout(name: &str, out: &mut Vec<String>) {
        layout(name, false, out);
    }
}

impl Field for RouteV2 {
    fn write(&self, out: &mut Vec<u8>) {
        self.table_id.write(out);
        self.stats_index.write(out);
        self.prefix.write(out);
        let (count, paths) = counted(&self.paths);
        count.write(out);
        self.src.write(out);
        paths.for_each(|path| path.write(out));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (table_id, stats_index) = (u32::read(from)?, u32::read(from)?);
        let prefix = Prefix::read(from)?;
        let count = u8::read(from)?;
        let src = u8::read(from)?;
        Ok(Self { table_id, stats_index, prefix, src, paths: read_paths(count, from)? })
    }

    fn layout(name: &str, out: &mut Vec<String>) {
        layout(name, true, out);
    }
}
