use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use vpp_api::error::{Missing, MissingReason};
use vpp_api::table::Component;

use super::super::host::HugePages;
use super::super::nic::samples::{controller, device, inventory};
use super::*;

/// A node on which everything is fine.
struct Node {
    machine: Machine,
    inventory: Inventory,
    answer: Answer,
    asked: Asked,
    access: Option<Access>,
    is_root: bool,
    networks: Vec<Network>,
}

fn missing(component: Component, reason: MissingReason) -> Missing {
    Missing { message: "tap_create_v3", crc: 1, component, reason }
}

impl Node {
    fn fine() -> Self {
        Self {
            machine: Machine {
                huge_pages: vec![HugePages { size: 2048, total: 512, free: 400 }],
                available: Some(4 << 20),
                vhost_net: true,
                tun: true,
                loaded: BTreeSet::from(["vfio-pci"]),
                loadable: BTreeSet::new(),
                iommu: true,
                no_iommu_mode: Some(false),
                locked_down: false,
                dpdk_plugin: Some(true),
                vpp_group: true,
                processors: 4,
            },
            inventory: inventory(),
            answer: Answer::Running(Running {
                version: "26.06-release".to_owned(),
                messages: 877,
                lacks: BTreeMap::new(),
                interfaces: vec!["local0".to_owned(), "GigabitEthernet0/4/0".to_owned()],
            }),
            asked: Asked::Name("eth1".to_owned()),
            access: Some(Access { mode: 0o660, owner: 0, group: 998 }),
            is_root: true,
            networks: Vec::new(),
        }
    }

    fn findings(&self) -> Vec<Finding> {
        preflight(&Facts {
            is_root: self.is_root,
            socket: Path::new("/run/vpp/api.sock"),
            socket_is_named: false,
            access: self.access,
            answer: &self.answer,
            machine: &self.machine,
            inventory: &self.inventory,
            asked: &self.asked,
            networks: &self.networks,
        })
    }

    fn running(&mut self) -> &mut Running {
        match &mut self.answer {
            Answer::Running(running) => running,
            _ => panic!("it runs"),
        }
    }
}

#[test]
fn on_a_good_node_everything_is_fine() {
    for finding in Node::fine().findings() {
        assert_eq!(finding.verdict, Verdict::Fine, "{finding:?}");
        assert!(finding.advice.is_empty() && !finding.found.is_empty(), "{finding:?}");
    }
}

/// One thing is changed at a time: the check that is about it tells, and says what to do.
#[test]
fn each_check_finds_what_it_is_for() {
    type Change = fn(&mut Node);
    let table: [(&str, Change, Verdict, &str, &str); 29] = [
        ("root", |n| n.is_root = false, Verdict::Warning, "not root", "as root"),
        ("socket", |n| n.answer = Answer::NoSocket, Verdict::Warning, "does not run", "--socket"),
        ("socket", |n| n.answer = Answer::Nobody, Verdict::Failure, "nobody", "log"),
        ("socket", |n| n.answer = Answer::Refused, Verdict::Failure, "may not", "root"),
        (
            "socket",
            |n| n.answer = Answer::Odd("no VPP".into()),
            Verdict::Failure,
            "no VPP",
            "stalled",
        ),
        (
            "permissions",
            |n| n.access.as_mut().unwrap().mode = 0o777,
            Verdict::Warning,
            "777",
            "gid",
        ),
        ("permissions", |n| n.access = None, Verdict::Skipped, "no socket", ""),
        ("version", |n| n.running().version = "20.09".into(), Verdict::Failure, "older", "21.06"),
        ("version", |n| n.running().version = "28.02".into(), Verdict::Fine, "newer", ""),
        ("version", |n| n.answer = Answer::NoSocket, Verdict::Skipped, "not answer", ""),
        (
            "messages",
            |n| {
                let lacks = vec![missing(Component::Core, MissingReason::OtherLayout(7)); 3];
                n.running().lacks.insert(Component::Core, lacks);
            },
            Verdict::Failure,
            "2 more",
            "21.06 to 26.06",
        ),
        (
            "tap",
            |n| {
                let lacks = vec![missing(Component::Tap, MissingReason::NotLoaded)];
                n.running().lacks.insert(Component::Tap, lacks);
            },
            Verdict::Warning,
            "not loaded",
            "tap_plugin.so { enable }",
        ),
        (
            "tap",
            |n| {
                for component in [Component::Tap, Component::AfPacket, Component::Memif] {
                    n.running()
                        .lacks
                        .insert(component, vec![missing(component, MissingReason::NotLoaded)]);
                }
            },
            Verdict::Failure,
            "not loaded",
            "tap_plugin.so { enable }",
        ),
        (
            "hugepages",
            |n| n.machine.huge_pages.clear(),
            Verdict::Warning,
            "no huge",
            "--hugepages no",
        ),
        (
            "hugepages",
            |n| {
                n.machine.huge_pages[0].free = 3;
                n.answer = Answer::NoSocket;
            },
            Verdict::Warning,
            "3 of them",
            "nr_hugepages",
        ),
        (
            "memory",
            |n| {
                n.machine.available = Some(200 << 10);
                n.answer = Answer::NoSocket;
            },
            Verdict::Failure,
            "200 MiB",
            "300 MiB",
        ),
        ("vhost-net", |n| n.machine.vhost_net = false, Verdict::Warning, "/dev/vhost-net", "veth"),
        ("drivers", |n| n.machine.loaded.clear(), Verdict::Failure, "none of vfio-pci", "kernel"),
        (
            "dpdk",
            |n| n.machine.dpdk_plugin = Some(false),
            Verdict::Failure,
            "not installed",
            "vpp-plugin-dpdk",
        ),
        ("dpdk", |n| n.machine.dpdk_plugin = None, Verdict::Skipped, "not installed", ""),
        (
            "drivers",
            |n| {
                n.machine.loaded.clear();
                n.machine.loadable.insert("vfio-pci");
            },
            Verdict::Warning,
            "loaded",
            "modprobe vfio-pci",
        ),
        (
            "drivers",
            |n| {
                n.machine.iommu = false;
                n.machine.locked_down = true;
            },
            Verdict::Failure,
            "locked down",
            "IOMMU",
        ),
        (
            "nic",
            |n| n.asked = Asked::Name("eth7".into()),
            Verdict::Failure,
            "eth7",
            "plat vpp nics",
        ),
        ("nic", |n| n.asked = Asked::Name("br0".into()), Verdict::Failure, "PCI bus", "af_packet"),
        (
            "nic-driver",
            |n| {
                n.inventory.devices.iter_mut().for_each(|d| d.driver = Some("tg3".into()));
                n.inventory.pci.iter_mut().for_each(|p| p.driver = Some("tg3".into()));
            },
            Verdict::Warning,
            "tg3",
            "supported",
        ),
        (
            "nic-down",
            |n| n.inventory.devices.iter_mut().for_each(|d| d.up = true),
            Verdict::Warning,
            "eth1 is up",
            "ip link set eth1 down",
        ),
        (
            "nic-default-route",
            |n| n.asked = Asked::Name("eth0".into()),
            Verdict::Failure,
            "IPv4 default route, by br0.5",
            "cut the node off",
        ),
        (
            "nic-member",
            |n| n.asked = Asked::Name("eth0".into()),
            Verdict::Failure,
            "port of br0",
            "nomaster",
        ),
        (
            "nic-in-vpp",
            |n| {
                n.running().interfaces.pop();
            },
            Verdict::Warning,
            "does not have it",
            "dev 0000:00:04.0",
        ),
    ];
    for (check, change, verdict, found, advice) in table {
        let mut node = Node::fine();
        change(&mut node);
        let findings = node.findings();
        let finding = findings.iter().find(|finding| finding.check == check).unwrap();
        assert_eq!(finding.verdict, verdict, "{finding:?}");
        assert!(finding.found.contains(found), "{finding:?}");
        assert!(finding.advice.contains(advice), "{finding:?}");
        let names: BTreeSet<&str> = findings.iter().map(|finding| finding.check).collect();
        assert_eq!((names.len(), findings.len()), (22, 22), "each check once, whatever is so");
    }
}

#[test]
fn without_an_iommu_other_drivers_do_and_huge_pages_are_needed() {
    let mut node = Node::fine();
    node.machine.iommu = false;
    let verdict = |node: &Node, check: &str| {
        node.findings()
            .into_iter()
            .find(|f| f.check == check)
            .map(|f| (f.verdict, f.found))
            .unwrap()
    };
    assert_eq!(verdict(&node, "drivers").0, Verdict::Fine, "vfio-pci has a mode without");
    node.machine.no_iommu_mode = None;
    assert_eq!(verdict(&node, "drivers").0, Verdict::Failure);
    node.machine.loaded = BTreeSet::from(["uio_pci_generic"]);
    assert_eq!(verdict(&node, "drivers").0, Verdict::Fine);
    assert_eq!(verdict(&node, "nic-memory").0, Verdict::Fine);
    node.machine.huge_pages.clear();
    assert_eq!(verdict(&node, "nic-memory").0, Verdict::Warning);
    node.machine.iommu = true;
    assert_eq!(verdict(&node, "nic-memory").0, Verdict::Fine);
    // Who asks for no device is told what the node lacks, and not that it cannot work.
    node.machine.loaded.clear();
    node.asked = Asked::Nothing;
    assert_eq!(verdict(&node, "drivers").0, Verdict::Warning);
}

#[test]
fn a_device_that_dpdk_shares_with_the_kernel_needs_nothing() {
    let mut node = Node::fine();
    node.machine.loaded.clear();
    node.machine.huge_pages.clear();
    for device in &mut node.inventory.devices {
        device.driver = Some("mlx5_core".to_owned());
        device.up = true;
    }
    for pci in &mut node.inventory.pci {
        pci.driver = Some("mlx5_core".to_owned());
    }
    for finding in node.findings().iter().filter(|f| f.check != "hugepages") {
        assert_eq!(finding.verdict, Verdict::Fine, "{finding:?}");
    }
}

#[test]
fn a_group_that_is_shared_is_named() {
    let mut node = Node::fine();
    node.inventory = Inventory {
        devices: vec![device("eth1", Some("0000:00:04.0"))],
        pci: vec![
            controller("0000:00:04.0", Some("e1000"), Some(9)),
            controller("0000:00:04.1", Some("nvme"), Some(9)),
        ],
        ..Inventory::default()
    };
    let findings = node.findings();
    let group = findings.iter().find(|f| f.check == "nic-iommu-group").unwrap();
    assert_eq!(group.verdict, Verdict::Failure);
    assert_eq!(group.found, "its IOMMU group 9 has 0000:00:04.1 (nvme), too");
    assert_eq!(worst(&findings), Verdict::Failure);
}

/// Whether pods are attached by veth follows from the configurations, and without any from what `auto` makes.
#[test]
fn pods_by_veth_are_warned_of_where_vpp_has_the_fault() {
    const STOPS: &str = "stops for good when sixteen veth ends have a packet at the same moment";
    type Change = fn(&mut Node);
    type Networks = &'static [(&'static str, Option<&'static str>)];
    let table: [(Networks, Change, Verdict, &str); 14] = [
        (&[], |_| {}, Verdict::Fine, "\"auto\" attaches no pod by veth"),
        (&[], |n| n.machine.vhost_net = false, Verdict::Warning, "\"auto\" attaches by veth here"),
        (&[("a", Some("veth"))], |_| {}, Verdict::Warning, "network a attaches by veth"),
        (
            &[("a", Some("veth")), ("b", None), ("c", Some("veth"))],
            |_| {},
            Verdict::Warning,
            "networks a, c attach by veth",
        ),
        (&[("a", Some("tap")), ("b", Some("memif"))], |_| {}, Verdict::Fine, "no network"),
        (
            &[("a", Some("memif"))],
            |n| n.machine.vhost_net = false,
            Verdict::Fine,
            "no network attaches pods by veth",
        ),
        (&[("a", None)], |n| n.machine.vhost_net = false, Verdict::Warning, "network a attaches"),
        (&[("a", Some("auto"))], |_| {}, Verdict::Fine, "no network attaches pods by veth"),
        (
            &[("a", None)],
            |n| {
                let lacks = vec![missing(Component::Tap, MissingReason::NotLoaded)];
                n.running().lacks.insert(Component::Tap, lacks);
            },
            Verdict::Warning,
            "network a attaches",
        ),
        (
            &[("a", Some("veth"))],
            |n| {
                let lacks = vec![missing(Component::AfPacket, MissingReason::NotLoaded)];
                n.running().lacks.insert(Component::AfPacket, lacks);
            },
            Verdict::Fine,
            "no pod by veth",
        ),
        (
            &[("a", Some("veth"))],
            |n| n.running().version = "25.02-release".into(),
            Verdict::Fine,
            "any number",
        ),
        (
            &[("a", Some("veth"))],
            |n| n.running().version = "26.10-release".into(),
            Verdict::Fine,
            "any number",
        ),
        (
            &[("a", Some("veth"))],
            |n| n.running().version = "odd".into(),
            Verdict::Skipped,
            "no version",
        ),
        (
            &[("a", Some("veth"))],
            |n| n.answer = Answer::NoSocket,
            Verdict::Skipped,
            "does not answer",
        ),
    ];
    for (networks, change, verdict, found) in table {
        let mut node = Node::fine();
        node.networks = networks.iter().map(|(name, kind)| Network::new(name, *kind)).collect();
        change(&mut node);
        let findings = node.findings();
        let finding = findings.iter().find(|finding| finding.check == "veth-burst").unwrap();
        assert_eq!(finding.verdict, verdict, "{finding:?}");
        assert!(finding.found.contains(found), "{finding:?}");
        let warns = verdict == Verdict::Warning;
        assert_eq!(finding.found.contains(STOPS), warns, "{finding:?}");
        assert_eq!(finding.advice.contains("docs/vpp.md"), warns, "{finding:?}");
    }
}
