//! Network devices: what the kernel says of them, put together.

use std::collections::{BTreeMap, BTreeSet};

use super::names::DeviceId;
use super::pci::PciAddress;
use super::routes::Families;

/// A network device of the kernel, as `/sys/class/net` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Device {
    /// Its name.
    pub(crate) name: String,
    /// Where it is on the PCI bus, if it is.
    pub(crate) pci: Option<PciAddress>,
    /// Whether no hardware is behind it.
    pub(crate) is_virtual: bool,
    /// The driver.
    pub(crate) driver: Option<String>,
    /// Whether it is administratively up.
    pub(crate) up: bool,
    /// What the kernel says of its operation: `up`, `down`, `dormant`, `unknown`, ...
    pub(crate) state: String,
    /// Its Ethernet address.
    pub(crate) mac: Option<String>,
    /// In Mbit/s, while it has a link.
    pub(crate) speed: Option<u32>,
    /// Its MTU in bytes.
    pub(crate) mtu: Option<u32>,
    /// The bond, bridge or VRF that it is a port of.
    pub(crate) controller: Option<String>,
    /// The devices that it is made of: a VLAN's device, a bridge's ports.
    pub(crate) lower: BTreeSet<String>,
}

/// A device on the PCI bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PciDevice {
    /// Where it is.
    pub(crate) address: PciAddress,
    /// Its class: `0x02....` is a network controller, `0x06....` a bridge of buses.
    pub(crate) class: u32,
    /// Its numbers.
    pub(crate) id: Option<DeviceId>,
    /// The driver that it is bound to.
    pub(crate) driver: Option<String>,
    /// The IOMMU group that it is in.
    pub(crate) iommu_group: Option<u32>,
}

impl PciDevice {
    const fn is_network(&self) -> bool {
        self.class >> 16 == 2
    }

    const fn is_bridge(&self) -> bool {
        self.class >> 16 == 6
    }
}

/// Drivers that hand a device to a program such as VPP. A device of theirs has no name in the kernel.
pub(crate) const HANDED_OVER: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];

/// Whether DPDK uses a device beside this driver of the kernel, which stays.
pub(crate) fn is_shared_driver(driver: &str) -> bool {
    ["mlx5_core", "mlx4_core"].contains(&driver)
}

/// What the kernel knows of its network devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inventory {
    /// Network devices.
    pub(crate) devices: Vec<Device>,
    /// PCI devices, of all kinds.
    pub(crate) pci: Vec<PciDevice>,
    /// The devices that default routes lead to: of IPv4, of IPv6.
    pub(crate) defaults: (BTreeSet<String>, BTreeSet<String>),
}

/// A network interface controller, or another network device: what `plat vpp nics` lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nic<'a> {
    /// What the kernel has of it by name; none while its driver is one of [`HANDED_OVER`], or none.
    pub(crate) device: Option<&'a Device>,
    /// What is on the PCI bus.
    pub(crate) pci: Option<&'a PciDevice>,
    /// Default routes that lead to it, or to what it is a part of.
    pub(crate) default_route: Families,
    /// The device that has the default route, if it is another one: a bridge, a bond, a VLAN.
    pub(crate) default_by: Option<&'a str>,
    /// Devices that stand on it: VLANs, bridges.
    pub(crate) upper: Vec<&'a str>,
}

impl<'a> Nic<'a> {
    /// Its driver in the kernel: that of the network device, else that on the PCI bus.
    pub(crate) fn driver(&self) -> Option<&'a str> {
        let device = self.device.and_then(|device| device.driver.as_deref());
        device.or_else(|| self.pci?.driver.as_deref())
    }

    /// Whether a program may have it already: its driver is one of [`HANDED_OVER`].
    pub(crate) fn is_handed_over(&self) -> bool {
        let driver = self.pci.and_then(|pci| pci.driver.as_deref());
        driver.is_some_and(|driver| HANDED_OVER.contains(&driver))
    }

    /// Its address on the PCI bus.
    pub(crate) fn address(&self) -> Option<PciAddress> {
        self.pci.map(|pci| pci.address).or_else(|| self.device?.pci)
    }

    /// Name or address, for a sentence.
    pub(crate) fn title(&self) -> String {
        match (self.device, self.address()) {
            (Some(device), Some(address)) => format!("{} ({address})", device.name),
            (Some(device), None) => device.name.clone(),
            (None, Some(address)) => address.to_string(),
            (None, None) => "?".to_owned(),
        }
    }
}

impl Inventory {
    /// Every network device, by PCI address and name: those on the PCI bus first, virtual ones last. A port of
    /// a device with several (one PCI address, several names) is one each.
    pub(crate) fn nics(&self) -> Vec<Nic<'_>> {
        let known: BTreeMap<PciAddress, &PciDevice> =
            self.pci.iter().map(|pci| (pci.address, pci)).collect();
        let mut nics: Vec<Nic<'_>> = self
            .devices
            .iter()
            .map(|device| {
                let pci = device.pci.and_then(|address| known.get(&address).copied());
                self.nic(Some(device), pci)
            })
            .collect();
        let named: BTreeSet<PciAddress> =
            self.devices.iter().filter_map(|device| device.pci).collect();
        let nameless = self.pci.iter().filter(|pci| pci.is_network());
        let nameless = nameless.filter(|pci| !named.contains(&pci.address));
        nics.extend(nameless.map(|pci| self.nic(None, Some(pci))));
        nics.sort_by_key(|nic| {
            let is_virtual = nic.device.is_some_and(|device| device.is_virtual);
            let address = nic.address();
            (is_virtual, address.is_none(), address, nic.device.map(|device| &device.name))
        });
        nics
    }

    fn nic<'a>(&'a self, device: Option<&'a Device>, pci: Option<&'a PciDevice>) -> Nic<'a> {
        let name = device.map(|device| device.name.as_str());
        let all_above: BTreeSet<&str> = name.map(|name| self.above(name)).unwrap_or_default();
        let has = |names: &'a BTreeSet<String>| {
            let own = name.filter(|name| names.contains(*name));
            own.or_else(|| names.iter().map(String::as_str).find(|n| all_above.contains(n)))
        };
        let (v4, v6) = (has(&self.defaults.0), has(&self.defaults.1));
        let others = [v4, v6].into_iter().flatten();
        Nic {
            device,
            pci,
            default_route: Families { v4: v4.is_some(), v6: v6.is_some() },
            default_by: others.into_iter().find(|by| Some(*by) != name),
            upper: name.map(|name| self.directly_above(name)).unwrap_or_default(),
        }
    }

    fn directly_above(&self, name: &str) -> Vec<&str> {
        let stands_on = |device: &&Device| device.lower.contains(name);
        self.devices.iter().filter(stands_on).map(|device| device.name.as_str()).collect()
    }

    /// Every device that stands on this one, on whatever number of others.
    fn above(&self, name: &str) -> BTreeSet<&str> {
        let mut found: BTreeSet<&str> = BTreeSet::new();
        let mut waiting = self.directly_above(name);
        while let Some(next) = waiting.pop() {
            // Each is looked at once, whatever the kernel says.
            if found.insert(next) {
                waiting.extend(self.directly_above(next));
            }
        }
        found
    }

    /// Devices of another owner in the same IOMMU group: all of them have to be handed over together.
    pub(crate) fn group_mates(&self, pci: &PciDevice) -> Vec<&PciDevice> {
        let Some(group) = pci.iommu_group else { return Vec::new() };
        let is_mate = |other: &&PciDevice| {
            let handed = other.driver.as_deref().is_none_or(|driver| HANDED_OVER.contains(&driver));
            other.iommu_group == Some(group)
                && other.address != pci.address
                && !other.is_bridge()
                && !handed
        };
        self.pci.iter().filter(is_mate).collect()
    }
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// A device of the kernel on the PCI bus, up.
    pub(crate) fn device(name: &str, pci: Option<&str>) -> Device {
        Device {
            name: name.to_owned(),
            pci: pci.map(|address| address.parse().unwrap()),
            is_virtual: pci.is_none(),
            driver: Some("e1000".to_owned()),
            up: true,
            state: "up".to_owned(),
            mac: Some("52:54:00:00:00:01".to_owned()),
            speed: Some(1000),
            mtu: Some(1500),
            ..Device::default()
        }
    }

    /// A network controller.
    pub(crate) fn controller(address: &str, driver: Option<&str>, group: Option<u32>) -> PciDevice {
        PciDevice {
            address: address.parse().unwrap(),
            class: 0x02_0000,
            id: Some(DeviceId { vendor: 0x8086, device: 0x100e }),
            driver: driver.map(str::to_owned),
            iommu_group: group,
        }
    }

    /// eth0 with the default route by a bridge, eth1 down, a third one handed over, and a VLAN on the bridge.
    pub(crate) fn inventory() -> Inventory {
        let mut eth1 = device("eth1", Some("0000:00:04.0"));
        eth1.up = false;
        let mut bridge = device("br0", None);
        bridge.lower.insert("eth0".to_owned());
        let mut vlan = device("br0.5", None);
        vlan.lower.insert("br0".to_owned());
        let mut eth0 = device("eth0", Some("0000:00:03.0"));
        eth0.controller = Some("br0".to_owned());
        Inventory {
            devices: vec![device("lo", None), vlan, bridge, eth1, eth0],
            pci: vec![
                controller("0000:00:05.0", Some("vfio-pci"), None),
                controller("0000:00:03.0", Some("e1000"), None),
                controller("0000:00:04.0", Some("e1000"), None),
            ],
            defaults: (BTreeSet::from(["br0.5".to_owned()]), BTreeSet::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::*;
    use super::*;

    #[test]
    fn devices_are_put_together_and_ordered() {
        let inventory = inventory();
        let nics = inventory.nics();
        let titles: Vec<String> = nics.iter().map(Nic::title).collect();
        assert_eq!(
            titles,
            ["eth0 (0000:00:03.0)", "eth1 (0000:00:04.0)", "0000:00:05.0", "br0", "br0.5", "lo"]
        );
        let carries: Vec<bool> = nics.iter().map(|nic| nic.default_route.v4).collect();
        assert_eq!(carries, [true, false, false, true, true, false]);
        assert_eq!(nics[0].default_by, Some("br0.5"));
        assert_eq!(nics[4].default_by, None);
        assert_eq!(nics[0].upper, ["br0"]);
        assert!(nics[2].is_handed_over() && !nics[1].is_handed_over());
    }

    #[test]
    fn devices_that_stand_on_each_other_in_a_circle_end() {
        let mut a = device("a", None);
        a.lower.insert("b".to_owned());
        let mut b = device("b", None);
        b.lower.insert("a".to_owned());
        let inventory = Inventory {
            devices: vec![a, b],
            defaults: (BTreeSet::from(["b".to_owned()]), BTreeSet::new()),
            ..Inventory::default()
        };
        assert!(inventory.nics().iter().all(|nic| nic.default_route.v4));
    }

    #[test]
    fn an_iommu_group_is_shared_with_what_others_use() {
        let group = Some(7);
        let mut bridge = controller("0000:00:1c.0", Some("pcieport"), group);
        bridge.class = 0x06_0400;
        let own = controller("0000:00:04.0", Some("e1000"), group);
        let inventory = Inventory {
            pci: vec![
                own.clone(),
                bridge,
                controller("0000:00:04.1", Some("e1000"), group),
                controller("0000:00:04.2", Some("vfio-pci"), group),
                controller("0000:00:04.3", None, group),
                controller("0000:00:05.0", Some("e1000"), Some(8)),
            ],
            ..Inventory::default()
        };
        let mates: Vec<String> =
            inventory.group_mates(&own).iter().map(|mate| mate.address.to_string()).collect();
        assert_eq!(mates, ["0000:00:04.1"]);
    }
}
