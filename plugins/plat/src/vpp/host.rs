/*!
Reads what a node has: network devices, PCI devices, memory, kernel modules. Below a root directory, so that
a test, or a copy of another system, can be looked at.

What cannot be read is left out: a file of `/sys` that is not there tells as much as one that says no.
*/

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::names::{DeviceId, PLACES, product};
use super::nic::{Device, Inventory, PciDevice};
use super::pci::PciAddress;
use super::routes::{default_v4, default_v6};

/// The files of a node, below a directory.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    root: PathBuf,
}

/// Pages of one size that the kernel has set aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HugePages {
    /// The size of one, in KiB.
    pub(crate) size: u64,
    /// How many there are.
    pub(crate) total: u64,
    /// How many of them nobody uses.
    pub(crate) free: u64,
}

/// What of a node matters to VPP, beside network devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Huge pages, for each size.
    pub(crate) huge_pages: Vec<HugePages>,
    /// Memory that can be had, in KiB, if the kernel tells.
    pub(crate) available: Option<u64>,
    /// Whether `/dev/vhost-net` is there.
    pub(crate) vhost_net: bool,
    /// Whether `/dev/net/tun` is there.
    pub(crate) tun: bool,
    /// Of [`MODULES`] those that are loaded.
    pub(crate) loaded: BTreeSet<&'static str>,
    /// Of [`MODULES`] those that could be loaded.
    pub(crate) loadable: BTreeSet<&'static str>,
    /// Whether the kernel uses an IOMMU: it has groups.
    pub(crate) iommu: bool,
    /// Whether vfio-pci may be used without an IOMMU, if it can be at all.
    pub(crate) no_iommu_mode: Option<bool>,
    /// Whether the kernel is locked down, as it is where the firmware checks signatures (Secure Boot).
    pub(crate) locked_down: bool,
    /// Whether VPP's plugins have DPDK's among them; unknown if none are found where packages put them.
    pub(crate) dpdk_plugin: Option<bool>,
    /// Whether a group `vpp` is there.
    pub(crate) vpp_group: bool,
    /// Processors.
    pub(crate) processors: usize,
}

/// Modules that are asked for.
pub(crate) const MODULES: [&str; 4] = ["vfio-pci", "uio_pci_generic", "igb_uio", "vhost_net"];

/// The most that is read of a file; `modules.dep` and `pci.ids` have less than two MiB.
const LARGEST: u64 = 8 << 20;

impl Files {
    /// Those below a directory.
    pub(crate) const fn below(root: PathBuf) -> Self {
        Self { root }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn text(&self, path: &str) -> Option<String> {
        text(&self.at(path))
    }

    /// Network devices, PCI devices and default routes.
    pub(crate) fn inventory(&self) -> Inventory {
        let routes = |path| self.text(path).unwrap_or_default();
        Inventory {
            devices: entries(&self.at("/sys/class/net")).iter().filter_map(|p| device(p)).collect(),
            pci: entries(&self.at("/sys/bus/pci/devices")).iter().filter_map(|p| pci(p)).collect(),
            defaults: (
                default_v4(&routes("/proc/net/route")),
                default_v6(&routes("/proc/net/ipv6_route")),
            ),
        }
    }

    /// The rest.
    pub(crate) fn machine(&self) -> Machine {
        let release = self.text("/proc/sys/kernel/osrelease").unwrap_or_default();
        let modules = ["modules.dep", "modules.builtin"]
            .map(|list| self.text(&format!("/lib/modules/{release}/{list}")).unwrap_or_default());
        let is_loaded = |module: &&'static str| {
            self.at(&format!("/sys/module/{}", module.replace('-', "_"))).exists()
        };
        let is_loadable = |module: &&'static str| modules.iter().any(|list| lists(list, module));
        let memory = self.text("/proc/meminfo").unwrap_or_default();
        let lockdown = self.text("/sys/kernel/security/lockdown").unwrap_or_default();
        let groups = self.text("/etc/group").unwrap_or_default();
        let processors = self.text("/proc/cpuinfo").unwrap_or_default();
        Machine {
            huge_pages: entries(&self.at("/sys/kernel/mm/hugepages"))
                .iter()
                .filter_map(|path| huge_pages(path))
                .collect(),
            available: meminfo(&memory, "MemAvailable"),
            vhost_net: self.at("/dev/vhost-net").exists(),
            tun: self.at("/dev/net/tun").exists(),
            loaded: MODULES.iter().filter(|m| is_loaded(m)).copied().collect(),
            loadable: MODULES.iter().filter(|m| is_loadable(m)).copied().collect(),
            iommu: !entries(&self.at("/sys/kernel/iommu_groups")).is_empty(),
            no_iommu_mode: self
                .text("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode")
                .map(|says| says == "Y"),
            locked_down: !lockdown.is_empty() && !lockdown.contains("[none]"),
            dpdk_plugin: self.dpdk_plugin(),
            vpp_group: groups.lines().any(|line| line.starts_with("vpp:")),
            processors: processors.lines().filter(|line| line.starts_with("processor")).count(),
        }
    }

    /// Looks where Debian's packages put plugins, and where others do.
    fn dpdk_plugin(&self) -> Option<bool> {
        let mut places = entries(&self.at("/usr/lib"));
        places.extend(["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(|path| self.at(path)));
        let directory = |path: &PathBuf| path.join("vpp_plugins");
        let mut found = places.iter().map(directory).filter(|path| path.is_dir()).peekable();
        found.peek()?;
        Some(found.any(|path| path.join("dpdk_plugin.so").exists()))
    }

    /// The database of PCI devices' names, if the node has one.
    pub(crate) fn names(&self) -> Option<String> {
        PLACES.iter().find_map(|path| {
            let bytes = bytes(&self.at(path))?;
            // Names of products are in whatever encoding; numbers are ASCII.
            Some(String::from_utf8_lossy(&bytes).into_owned())
        })
    }
}

/// The name of a device's product, by a database that may be absent.
pub(crate) fn product_name(names: Option<&str>, pci: Option<&PciDevice>) -> Option<String> {
    product(names?, pci?.id?)
}

/// The paths in a directory, by name; none of one that cannot be read.
fn entries(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

fn bytes(path: &Path) -> Option<Vec<u8>> {
    // A pipe in the place of a file would be waited for when it is opened.
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The text of a file without space at its ends. Files of `/sys` may refuse (the speed of a device that is
/// down does).
fn text(path: &Path) -> Option<String> {
    let text = String::from_utf8(bytes(path)?).ok()?;
    Some(text.trim().to_owned())
}

/// The last part of what a symbolic link leads to.
fn link(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

fn device(path: &Path) -> Option<Device> {
    const IFF_UP: u32 = 1;
    // `bonding_masters` is a file beside the devices.
    if !path.is_dir() {
        return None;
    }
    let of = |name: &str| text(&path.join(name));
    let real = fs::canonicalize(path).ok()?;
    let flags = of("flags").and_then(|flags| hexadecimal(&flags)).unwrap_or(0);
    let lower = entries(path)
        .into_iter()
        .filter_map(|entry| entry.file_name()?.to_str()?.strip_prefix("lower_").map(str::to_owned));
    Some(Device {
        name: path.file_name()?.to_string_lossy().into_owned(),
        pci: pci_of(&real),
        is_virtual: real.parent().is_some_and(|parent| parent.ends_with("devices/virtual/net")),
        driver: link(&path.join("device/driver")),
        up: flags & IFF_UP != 0,
        state: of("operstate").unwrap_or_else(|| "unknown".to_owned()),
        mac: of("address").filter(|mac| !mac.is_empty()),
        speed: of("speed").and_then(|speed| speed.parse().ok()).filter(|speed| *speed > 0),
        mtu: of("mtu").and_then(|mtu| mtu.parse().ok()),
        controller: link(&path.join("master")),
        lower: lower.collect(),
    })
}

/// The PCI address in the path of a device, `.../0000:00:04.0/virtio2/net/eth0`: the innermost one.
fn pci_of(real: &Path) -> Option<PciAddress> {
    let parts = real.components().rev().filter_map(|part| part.as_os_str().to_str());
    parts.filter_map(canonical_address).next()
}

/// A PCI address as the kernel writes them: always with the domain.
fn canonical_address(text: &str) -> Option<PciAddress> {
    text.parse().ok().filter(|address: &PciAddress| address.to_string() == text)
}

fn pci(path: &Path) -> Option<PciDevice> {
    let number = |name: &str| text(&path.join(name)).and_then(|number| hexadecimal(&number));
    let short = |name: &str| u16::try_from(number(name)?).ok();
    let id = short("vendor").zip(short("device"));
    Some(PciDevice {
        address: canonical_address(path.file_name()?.to_str()?)?,
        class: number("class").unwrap_or(0),
        id: id.map(|(vendor, device)| DeviceId { vendor, device }),
        driver: link(&path.join("driver")),
        iommu_group: link(&path.join("iommu_group")).and_then(|group| group.parse().ok()),
    })
}

/// `0x1003`, as most numbers of `/sys` are.
fn hexadecimal(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// `/sys/kernel/mm/hugepages/hugepages-2048kB`.
fn huge_pages(path: &Path) -> Option<HugePages> {
    let name = path.file_name()?.to_str()?;
    let size = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    let count = |name: &str| text(&path.join(name)).and_then(|n| n.parse().ok()).unwrap_or(0);
    Some(HugePages { size, total: count("nr_hugepages"), free: count("free_hugepages") })
}

/// A number of `/proc/meminfo`, in KiB.
fn meminfo(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Whether a list of the kernel's modules, `kernel/drivers/vfio/pci/vfio-pci.ko.xz: ...`, has one.
fn lists(list: &str, module: &str) -> bool {
    let is_it = |line: &str| {
        let path = line.split(':').next().unwrap_or_default();
        let file = path.rsplit('/').next().unwrap_or_default();
        let (name, _) = file.split_once(".ko").unwrap_or_default();
        // The file's name may have either sign.
        name.len() == module.len() && name.replace('-', "_") == module.replace('-', "_")
    };
    list.lines().any(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A made-up tree, removed when dropped.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("plat-sys-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, path: &str, content: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        fn link(&self, path: &str, target: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_virtio_device_behind_a_bridge_is_read() {
        let tree = Tree::new("virtio");
        let pci = "sys/devices/pci0000:00/0000:00:04.0";
        let net = format!("{pci}/virtio2/net/eth1");
        for (file, content) in
            [("class", "0x020000\n"), ("vendor", "0x1af4\n"), ("device", "0x1000\n")]
        {
            tree.write(&format!("{pci}/{file}"), content);
        }
        tree.link(&format!("{pci}/driver"), "../../../bus/pci/drivers/virtio-pci");
        tree.link(&format!("{pci}/iommu_group"), "../../../kernel/iommu_groups/7");
        tree.write("sys/kernel/iommu_groups/7/type", "DMA");
        tree.link(&format!("{pci}/virtio2/driver"), "../../../../bus/virtio/drivers/virtio_net");
        for (file, content) in [
            ("flags", "0x1002\n"),
            ("operstate", "down\n"),
            ("address", "52:54:00:00:00:04\n"),
            ("mtu", "9000\n"),
            ("speed", "-1\n"),
        ] {
            tree.write(&format!("{net}/{file}"), content);
        }
        tree.link(&format!("{net}/device"), "../../../virtio2");
        tree.link(&format!("{net}/master"), "../../../../../virtual/net/br0");
        tree.write("sys/devices/virtual/net/br0/flags", "0x1003\n");
        tree.link("sys/devices/virtual/net/br0/lower_eth1", &format!("../../../../../{net}"));
        tree.link("sys/class/net/eth1", "../../devices/pci0000:00/0000:00:04.0/virtio2/net/eth1");
        tree.link("sys/class/net/br0", "../../devices/virtual/net/br0");
        tree.write("sys/class/net/bonding_masters", "");
        tree.link("sys/bus/pci/devices/0000:00:04.0", "../../../devices/pci0000:00/0000:00:04.0");
        tree.write("proc/net/route", "Iface\nbr0\t00000000\t0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n");

        let inventory = Files::below(tree.0.clone()).inventory();
        assert_eq!(
            inventory.pci,
            [PciDevice {
                address: "0000:00:04.0".parse().unwrap(),
                class: 0x02_0000,
                id: Some(DeviceId { vendor: 0x1af4, device: 0x1000 }),
                driver: Some("virtio-pci".to_owned()),
                iommu_group: Some(7),
            }]
        );
        let [bridge, eth1] = inventory.devices.as_slice() else { panic!("{inventory:?}") };
        assert_eq!(
            *eth1,
            Device {
                name: "eth1".to_owned(),
                pci: Some("0000:00:04.0".parse().unwrap()),
                is_virtual: false,
                driver: Some("virtio_net".to_owned()),
                up: false,
                state: "down".to_owned(),
                mac: Some("52:54:00:00:00:04".to_owned()),
                speed: None,
                mtu: Some(9000),
                controller: Some("br0".to_owned()),
                lower: BTreeSet::new(),
            }
        );
        assert!(bridge.is_virtual && bridge.up && bridge.lower.contains("eth1"));
        let nics = inventory.nics();
        assert!(nics[0].default_route.v4, "by the bridge");
        assert!(Files::below(tree.0.clone()).machine().iommu);
    }

    #[test]
    fn a_machine_is_read() {
        let tree = Tree::new("machine");
        assert_eq!(Files::below(tree.0.clone()).machine(), Machine::default());
        tree.write("proc/meminfo", "MemTotal: 8 kB\nMemAvailable:    4096 kB\n");
        tree.write("proc/sys/kernel/osrelease", "6.1.0-plat\n");
        tree.write("proc/cpuinfo", "processor\t: 0\nmodel\t: x\nprocessor\t: 1\n");
        tree.write("lib/modules/6.1.0-plat/modules.dep",
            "kernel/drivers/vfio/pci/vfio-pci.ko.xz: kernel/drivers/vfio/vfio.ko.xz\nkernel/drivers/uio/uio.ko:\n");
        tree.write("lib/modules/6.1.0-plat/modules.builtin", "kernel/drivers/vhost/vhost_net.ko\n");
        tree.write("sys/module/uio_pci_generic/version", "1");
        tree.write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N\n");
        tree.write("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
        tree.write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "512\n");
        tree.write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "500\n");
        tree.write("etc/group", "root:x:0:\nvpp:x:998:\n");
        tree.write("dev/vhost-net", "");
        tree.write("usr/lib/x86_64-linux-gnu/vpp_plugins/ping_plugin.so", "");
        assert_eq!(
            Files::below(tree.0.clone()).machine(),
            Machine {
                huge_pages: vec![HugePages { size: 2048, total: 512, free: 500 }],
                available: Some(4096),
                vhost_net: true,
                tun: false,
                loaded: BTreeSet::from(["uio_pci_generic"]),
                loadable: BTreeSet::from(["vfio-pci", "vhost_net"]),
                iommu: false,
                no_iommu_mode: Some(false),
                locked_down: true,
                dpdk_plugin: Some(false),
                vpp_group: true,
                processors: 2,
            }
        );
        tree.write("usr/lib/x86_64-linux-gnu/vpp_plugins/dpdk_plugin.so", "");
        assert_eq!(Files::below(tree.0.clone()).machine().dpdk_plugin, Some(true));
    }
}
