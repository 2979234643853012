use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;

/// A root directory with one PCI network device.
struct Root(PathBuf);

impl Root {
    fn new(tag: &str) -> Self {
        let root = std::env::temp_dir().join(format!("plat-why-{tag}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        let root = Self(root);
        root.write("sys/bus/pci/devices/0000:00:04.0/class", "0x020000\n");
        root
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, name: &str, to: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
    }

    /// The device is the kernel's, with these flags.
    fn has_netdev(&self, flags: &str) {
        self.write("sys/bus/pci/devices/0000:00:04.0/virtio0/net/eth1/flags", flags);
        self.write("sys/class/net/eth1/flags", flags);
        self.write("sys/class/net/eth1/address", "02:00:00:00:04:00\n");
        self.link("sys/bus/pci/devices/0000:00:04.0/driver", "../../drivers/virtio-pci");
    }

    fn why(&self, selector: &Selector) -> Why {
        let dumped = Dumped { interfaces: Vec::new(), sources: Vec::new(), tables: Vec::new() };
        why(selector, &dumped, &self.0)
    }

    fn reasons(&self) -> Vec<String> {
        self.why(&Selector::Pci("0000:00:04.0".parse().unwrap())).reasons
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_device_that_is_not_there() {
    let root = Root::new("absent");
    let selector = Selector::Pci("0000:00:09.0".parse().unwrap());
    let why = root.why(&selector);
    assert_eq!(why.reasons, ["there is no PCI device 0000:00:09.0 on this host"]);
    assert_eq!(why.sentence(), "there is no PCI device 0000:00:09.0 on this host; VPP has nothing");
    assert!(why.details().contains("plat vpp nics"));
    root.write("sys/bus/pci/devices/0000:00:09.0/class", "0x010802\n");
    let reasons = root.why(&selector).reasons;
    assert_eq!(reasons, ["PCI device 0000:00:09.0 is no network interface"]);
}

#[test]
fn a_device_without_driver() {
    let root = Root::new("no-driver");
    assert_eq!(root.reasons(), ["no driver is bound to 0000:00:04.0"]);
}

#[test]
fn a_device_that_the_kernel_has() {
    let root = Root::new("kernel");
    root.has_netdev("0x1003\n");
    let up = "it is still up in the kernel, as eth1: VPP leaves such a device alone";
    assert_eq!(root.reasons(), [up]);
    // By its Ethernet address, or by the name that VPP would give it, it is the same device.
    let by_mac = root.why(&Selector::Mac("02:00:00:00:04:00".parse().unwrap()));
    assert_eq!(by_mac.reasons, [up]);
    let by_name = root.why(&Selector::Name("GigabitEthernet0/4/0".to_owned()));
    assert_eq!(by_name.reasons, [up]);
    root.write("sys/class/net/eth1/flags", "0x1002\n");
    assert_eq!(root.reasons(), ["the kernel still has it, as eth1, which is down"]);
    root.link("sys/class/net/eth1/master", "../bond0");
    assert_eq!(root.reasons(), ["the kernel has it as eth1, which belongs to bond0"]);
    root.write(
        "proc/net/route",
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
         eth1\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
    );
    assert_eq!(
        root.reasons(),
        ["the kernel has it as eth1, which carries the host's default route"]
    );
}

#[test]
fn the_default_route_of_ipv6_counts_too() {
    let root = Root::new("default6");
    root.has_netdev("0x1003\n");
    let zeros = "0".repeat(32);
    let line = |device: &str| {
        format!(
            "{zeros} 00 {zeros} 00 fe800000000000000000000000000001 00000400 1 0 00000003 {device}\n"
        )
    };
    root.write("proc/net/ipv6_route", &line("lo"));
    assert!(!has_default_route("eth1", &root.0));
    root.write("proc/net/ipv6_route", &line("eth1"));
    assert!(has_default_route("eth1", &root.0));
}

#[test]
fn drivers() {
    for (driver, expected) in [
        ("vfio-pci", "0000:00:04.0 is bound to vfio-pci, as it should be"),
        ("pci-stub", "0000:00:04.0 is bound to pci-stub, which is no driver for VPP"),
    ] {
        let root = Root::new(driver);
        root.link("sys/bus/pci/devices/0000:00:04.0/driver", &format!("../../drivers/{driver}"));
        let reasons = root.reasons();
        assert!(reasons[0].starts_with(expected), "{reasons:?}");
    }
}

#[test]
fn startup_configurations() {
    let address: PciAddress = "0000:00:04.0".parse().unwrap();
    for (text, expected) in [
        ("", Startup::default()),
        (
            "unix { nodaemon }\ndpdk {\n  # dev 0000:00:09.0\n  dev 0000:00:04.0 { name up0 }\n}\n",
            Startup { has_dpdk: true, no_pci: false, devices: [address].into() },
        ),
        ("dpdk{no-pci}", Startup { has_dpdk: true, no_pci: true, devices: BTreeSet::new() }),
        (
            "dpdk { dev default { num-rx-queues 2 } dev 00:04.0 }",
            Startup { has_dpdk: true, no_pci: false, devices: [address].into() },
        ),
        ("plugins { plugin dpdk { dev 00:04.0 } } }}}", Startup::default()),
    ] {
        assert_eq!(Startup::of(text), expected, "{text}");
    }
}

#[test]
fn what_the_startup_configuration_says_comes_first() {
    let root = Root::new("startup");
    root.has_netdev("0x1002\n");
    for (text, expected) in [
        ("unix { }", "/etc/vpp/startup.conf has no section dpdk { ... }"),
        ("dpdk { no-pci }", "/etc/vpp/startup.conf has no-pci in dpdk { ... }"),
        (
            "dpdk { dev 0000:00:05.0 }",
            "/etc/vpp/startup.conf names other devices in dpdk { dev ... }, not 0000:00:04.0",
        ),
        ("dpdk { dev 0000:00:04.0 }", "the kernel still has it, as eth1, which is down"),
    ] {
        root.write("etc/vpp/startup.conf", text);
        assert_eq!(root.reasons()[0], expected);
    }
}

#[test]
fn other_ways_to_name_it() {
    let root = Root::new("other");
    let by_tag = root.why(&Selector::Tag("main".to_owned()));
    assert!(by_tag.details().contains("{ tag main }"), "{}", by_tag.details());
    let by_name = root.why(&Selector::Name("Ethernet0".to_owned()));
    assert!(by_name.details().contains("vdev"), "{}", by_name.details());
    let by_mac = root.why(&Selector::Mac("02:00:00:00:00:99".parse().unwrap()));
    let expected = "neither VPP nor the kernel has an interface with 02:00:00:00:00:99";
    assert_eq!(by_mac.reasons, [expected]);
}

#[test]
fn a_device_is_found_in_a_path_of_sysfs() {
    for (path, expected) in [
        ("/sys/devices/pci0000:00/0000:00:1c.0/0000:02:00.0/virtio3", Some("0000:02:00.0")),
        ("/sys/devices/virtual/net/veth0", None),
    ] {
        let found = pci_of(Path::new(path)).map(|address| address.to_string());
        assert_eq!(found.as_deref(), expected, "{path}");
    }
}
