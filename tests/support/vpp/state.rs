//! What a VPP remembers.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::Values;
use super::prefix::Prefix;
use super::setup::{Devices, Setup, TapWanted};

/// VPP's numbers for what it refuses.
pub(super) mod errno {
    pub(in super::super) const UNSPECIFIED: i32 = -1;
    pub(in super::super) const INVALID_SW_IF_INDEX: i32 = -2;
    pub(in super::super) const NO_SUCH_FIB: i32 = -3;
    pub(in super::super) const NO_SUCH_ENTRY: i32 = -6;
    pub(in super::super) const INVALID_VALUE: i32 = -7;
    pub(in super::super) const UNIMPLEMENTED: i32 = -9;
    pub(in super::super) const INVALID_SW_IF_INDEX_2: i32 = -10;
    pub(in super::super) const SYSCALL_1: i32 = -11;
    pub(in super::super) const SYSCALL_2: i32 = -12;
    pub(in super::super) const SYSCALL_4: i32 = -14;
    pub(in super::super) const INVALID_REGISTRATION: i32 = -31;
    pub(in super::super) const NO_PATHS: i32 = -52;
    pub(in super::super) const NO_MATCHING_INTERFACE: i32 = -54;
    pub(in super::super) const ADDRESS_NOT_FOUND: i32 = -60;
    pub(in super::super) const IP6_NOT_ENABLED: i32 = -62;
    pub(in super::super) const SUBIF_EXISTS: i32 = -68;
    pub(in super::super) const INVALID_INTERFACE: i32 = -71;
    pub(in super::super) const INVALID_ARGUMENT: i32 = -73;
    pub(in super::super) const UNEXPECTED_STATE: i32 = -74;
    pub(in super::super) const IF_EXISTS: i32 = -79;
    pub(in super::super) const VALUE_EXISTS: i32 = -81;
    pub(in super::super) const ADDRESS_IN_USE: i32 = -105;
    pub(in super::super) const ADDRESS_FOUND: i32 = -114;
    pub(in super::super) const ENTRY_EXISTS: i32 = -116;
    pub(in super::super) const UNSUPPORTED: i32 = -126;
    pub(in super::super) const DUPLICATE_ADDRESS: i32 = -127;
    pub(in super::super) const PREFIX_LENGTH: i32 = -171;
}

/// What an interface is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `local0`.
    Local,
    /// A device of the setup, by its place there.
    Hardware(usize),
    /// A loopback of this number.
    Loopback(u32),
    /// On a network device.
    AfPacket {
        /// Its name.
        device: String,
        /// Whether the device it was made on is gone: nothing comes through any more.
        dead: bool,
        /// Bytes of pinned memory that its rings take.
        memory: u64,
    },
    /// A tap.
    Tap {
        /// Its number.
        id: u32,
        /// The request that made it.
        request: Box<Values>,
        /// The device's Ethernet address.
        host_mac: [u8; 6],
    },
    /// A memif.
    Memif {
        /// The request that made it.
        request: Box<Values>,
    },
}

/// An interface.
#[derive(Clone, Debug, PartialEq)]
pub struct Interface {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it would have a link.
    pub link: bool,
    /// The largest packets: of layer 3, IPv4, IPv6, MPLS.
    pub mtu: [u32; 4],
    /// The largest frame.
    pub link_mtu: u16,
    /// Its tag.
    pub tag: String,
    /// Its tables: of IPv4 and of IPv6.
    pub tables: [u32; 2],
    /// Its addresses.
    pub addresses: Vec<Prefix>,
    /// Whose addresses it borrows.
    pub unnumbered: Option<u32>,
    /// Whether IPv6 was turned on.
    pub ip6: bool,
    /// Whether it sends no router advertisements.
    pub ra_silent: bool,
    /// How it receives: 1 polling, 2 interrupt, 3 adaptive.
    pub rx_mode: u32,
    /// Features that were turned on.
    pub features: BTreeSet<String>,
}

/// A neighbour.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbor {
    /// Its Ethernet address.
    pub mac: Vec<u8>,
    /// 1 static, 2 without a host route.
    pub flags: u32,
}

/// A route of one source.
#[derive(Clone, Debug, PartialEq)]
pub struct Paths {
    /// The prefix as it was written.
    pub written: Prefix,
    /// Its paths, as they were written.
    pub paths: Vec<Values>,
}

/// A table and a prefix without host bits.
pub type Destination = (u32, Prefix);

/// A tap of the kernel that persists.
pub type KernelTaps = BTreeMap<(String, String), [u8; 6]>;

/// What a VPP remembers.
#[derive(Debug)]
pub struct State {
    pub(super) setup: Setup,
    /// Interfaces by number.
    pub interfaces: BTreeMap<u32, Interface>,
    /// Numbers of deleted interfaces; the last is used first.
    pub(super) freed: Vec<u32>,
    /// Tables but 0: number and family (IPv6), and their names.
    pub tables: BTreeMap<(u32, bool), String>,
    /// Routes that were made, by destination and source.
    pub routes: BTreeMap<Destination, BTreeMap<u8, Paths>>,
    /// FIB sources that were made: number, priority, name.
    pub sources: Vec<(u8, u8, String)>,
    /// Neighbours by interface and address.
    pub neighbors: BTreeMap<(u32, std::net::IpAddr), Neighbor>,
    /// memif sockets by number.
    pub memif_sockets: BTreeMap<u32, String>,
    /// Addresses that ND or ARP is answered for, in words.
    pub proxied: BTreeSet<String>,
    /// Taps of the kernel that outlive VPP.
    pub kernel_taps: KernelTaps,
    /// What a VPP would have logged as a mistake of its client.
    pub complaints: Vec<String>,
    pub(super) events: Vec<(u32, u32, bool)>,
    random: u32,
}

impl State {
    /// That of a VPP that has just started.
    pub(super) fn new(setup: &Setup, kernel_taps: KernelTaps) -> Self {
        let mut state = Self {
            setup: setup.clone(),
            interfaces: BTreeMap::new(),
            freed: Vec::new(),
            tables: BTreeMap::new(),
            routes: BTreeMap::new(),
            sources: Vec::new(),
            neighbors: BTreeMap::new(),
            memif_sockets: BTreeMap::from([(0, "/run/vpp/memif.sock".to_owned())]),
            proxied: BTreeSet::new(),
            kernel_taps,
            complaints: Vec::new(),
            events: Vec::new(),
            random: 0x5eed,
        };
        state.add(Interface::new(Kind::Local, "local0", [0; 6]));
        for (place, hardware) in setup.hardware.iter().enumerate() {
            let mut interface = Interface::new(Kind::Hardware(place), &hardware.name, hardware.mac);
            interface.tag.clone_from(&hardware.tag);
            interface.link = hardware.link;
            state.add(interface);
        }
        state.events.clear();
        state
    }

    /// A number that nobody expects.
    pub(super) fn random(&mut self) -> u32 {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.random
    }

    /// Notes a mistake of the client.
    pub(super) fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }

    /// A new interface: down, and with the number that was freed last.
    pub(super) fn add(&mut self, interface: Interface) -> u32 {
        let next = u32::try_from(self.interfaces.len()).expect("few interfaces");
        let index = self.freed.pop().unwrap_or(next);
        self.interfaces.insert(index, interface);
        self.events.push((index, 0, false));
        index
    }

    /// Deletes an interface with its addresses and neighbours. Its routes stay.
    pub(super) fn remove(&mut self, index: u32) {
        self.interfaces.remove(&index);
        self.freed.push(index);
        self.neighbors.retain(|(on, _), _| *on != index);
        for interface in self.interfaces.values_mut() {
            interface.unnumbered = interface.unnumbered.filter(|owner| *owner != index);
        }
        self.events.push((index, 0, true));
    }

    /// The interface of this name.
    pub fn named(&self, name: &str) -> Option<(u32, &Interface)> {
        let mut all = self.interfaces.iter().map(|(index, interface)| (*index, interface));
        all.find(|(_, interface)| interface.name == name)
    }

    /// Interfaces with this tag.
    pub fn tagged(&self, tag: &str) -> Vec<u32> {
        let tagged = self.interfaces.iter().filter(|(_, interface)| interface.tag == tag);
        tagged.map(|(index, _)| *index).collect()
    }

    /// Whether there is such a table.
    pub(super) fn has_table(&self, id: u32, v6: bool) -> bool {
        id == 0 || self.tables.contains_key(&(id, v6))
    }

    /// Whether there is such a network device.
    pub(super) fn has_device(&self, name: &str) -> bool {
        match &self.setup.devices {
            Devices::Any => true,
            Devices::Named(names) => names.contains(name),
            // The thread's own namespace, which it has from where it was started.
            Devices::Real => std::fs::read_to_string("/proc/thread-self/net/dev")
                .expect("the kernel's list of devices")
                .lines()
                .any(|line| line.split_once(':').is_some_and(|(device, _)| device.trim() == name)),
        }
    }

    /// What happens when VPP ends: taps that do not persist go with it.
    pub(super) fn end(&mut self) -> KernelTaps {
        let persistent = |request: &Values| request.number("tap_flags") & 4 != 0;
        for interface in self.interfaces.values() {
            if let Kind::Tap { request, host_mac, .. } = &interface.kind {
                let key = super::tap::key(request);
                if persistent(request) {
                    self.kernel_taps.insert(key, *host_mac);
                } else {
                    self.kernel_taps.remove(&key);
                    self.make_tap(request, *host_mac, true);
                }
            }
        }
        std::mem::take(&mut self.kernel_taps)
    }

    /// Has the kernel make a tap, or delete it.
    pub(super) fn make_tap(&self, request: &Values, mac: [u8; 6], delete: bool) -> i32 {
        let (namespace, device) = super::tap::key(request);
        let mtu = if request.truth("host_mtu_set") { request.number("host_mtu_size") } else { 0 };
        let wanted = TapWanted { device, namespace, mac, mtu, delete };
        self.setup.tap_maker.as_ref().map_or(0, |make| make(&wanted))
    }
}

impl Interface {
    /// A new one: down, in table 0.
    pub(super) fn new(kind: Kind, name: &str, mac: [u8; 6]) -> Self {
        let rx_mode = if matches!(kind, Kind::AfPacket { .. }) { 2 } else { 1 };
        Self {
            kind,
            name: name.to_owned(),
            mac,
            up: false,
            link: true,
            mtu: [9000, 0, 0, 0],
            link_mtu: 9000,
            tag: String::new(),
            tables: [0; 2],
            addresses: Vec::new(),
            unnumbered: None,
            ip6: false,
            ra_silent: false,
            rx_mode,
            features: BTreeSet::new(),
        }
    }

    /// What VPP calls such a device. Taps are a plugin's from 26.02 on, with another name.
    pub(super) fn dev_type(&self, release: &str) -> &'static str {
        match self.kind {
            Kind::Local => "local",
            Kind::Hardware(_) => "dpdk",
            Kind::Loopback(_) => "Loopback",
            Kind::AfPacket { .. } => "af-packet",
            Kind::Tap { .. } if release >= "26.02" => "tap",
            Kind::Tap { .. } => "virtio",
            Kind::Memif { .. } => "memif",
        }
    }
}
