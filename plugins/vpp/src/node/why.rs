/*!
Why a device is probably not in VPP.

VPP starts without a device that it cannot get, and says so in its log only. What the system knows of the
device is in sysfs and procfs below a root directory, VPP's wish for it in its startup configuration.
*/

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use vpp_api::Mac;

use super::pci::PciAddress;
use super::seen::Dumped;
use super::spec::Selector;

/// What VPP has, and what is known of the device that it does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Why {
    /// VPP's interfaces but local0, with what they are.
    pub has: Vec<String>,
    /// What is probably wrong, a sentence each; the most likely first.
    pub reasons: Vec<String>,
    /// What to do.
    pub advice: Vec<String>,
}

/// A device of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Netdev {
    name: String,
    up: bool,
    /// Whether the host's default route goes through it.
    default_route: bool,
    /// The bond or bridge that it is in.
    controller: Option<String>,
}

impl Why {
    /// The most likely reason, and what VPP has.
    pub(super) fn sentence(&self) -> String {
        let has = if self.has.is_empty() { "nothing".to_owned() } else { self.has.join(", ") };
        match self.reasons.first() {
            Some(reason) => format!("{reason}; VPP has {has}"),
            None => format!("VPP has {has}"),
        }
    }

    /// The other reasons, and what to do.
    pub(super) fn details(&self) -> String {
        let further = self.reasons.iter().skip(1);
        further.chain(&self.advice).cloned().collect::<Vec<_>>().join("; ")
    }
}

/// What is known of an interface that VPP does not have. `root`: where `/sys`, `/proc` and `/etc` are.
pub(super) fn why(selector: &Selector, dumped: &Dumped, root: &Path) -> Why {
    let has = dumped
        .interfaces
        .iter()
        .filter(|interface| interface.interface_name != "local0")
        .map(|interface| {
            let tag = match interface.tag.to_string() {
                tag if tag.is_empty() => tag,
                tag => format!(", tag {tag}"),
            };
            let mac = interface.l2_address;
            format!("{} ({}, {mac}{tag})", interface.interface_name, interface.interface_dev_type)
        })
        .collect();
    let mut why = Why { has, ..Why::default() };
    match selector {
        Selector::Pci(address) => why.of_pci(*address, root),
        Selector::Mac(mac) => why.of_mac(*mac, root),
        Selector::Name(name) => match PciAddress::of_interface(name) {
            Some(address) => why.of_pci(address, root),
            None => why.advise(
                "interfaces of a vdev or of a plugin are named in VPP's startup configuration or its \
                 exec script: `vppctl show interface` lists what came of it",
            ),
        },
        Selector::Tag(tag) => why.advise(&format!(
            "VPP's startup configuration gives the tag: dpdk {{ dev ADDRESS {{ tag {tag} }} }}"
        )),
    }
    why
}

impl Why {
    fn reason(&mut self, reason: String) {
        self.reasons.push(reason);
    }

    fn advise(&mut self, advice: &str) {
        self.advice.push(advice.to_owned());
    }

    fn of_pci(&mut self, address: PciAddress, root: &Path) {
        let device = root.join("sys/bus/pci/devices").join(address.to_string());
        if !device.exists() {
            self.reason(format!("there is no PCI device {address} on this host"));
            self.advise(
                "`lspci -D` lists the devices, `plat vpp nics` the network interfaces among them",
            );
            return;
        }
        let class = read(&device.join("class"));
        if class.as_deref().is_some_and(|class| !class.starts_with("0x02")) {
            self.reason(format!("PCI device {address} is no network interface"));
            return;
        }
        let devices = names_in(&device.join("net"))
            .into_iter()
            // A virtio device is one level below.
            .chain(
                names_in(&device)
                    .into_iter()
                    .filter(|name| name.starts_with("virtio"))
                    .flat_map(|virtio| names_in(&device.join(virtio).join("net"))),
            );
        let devices: Vec<Netdev> = devices.map(|name| netdev(&name, root)).collect();
        for netdev in &devices {
            self.of_netdev(netdev);
        }
        self.of_driver(address, &device, devices.is_empty());
        self.of_startup(address, root);
    }

    fn of_mac(&mut self, mac: Mac, root: &Path) {
        let class = root.join("sys/class/net");
        let with_mac = names_in(&class).into_iter().filter(|name| {
            read(&class.join(name).join("address")).and_then(|text| text.parse().ok()) == Some(mac)
        });
        let devices: Vec<Netdev> = with_mac.map(|name| netdev(&name, root)).collect();
        if devices.is_empty() {
            self.reason(format!("neither VPP nor the kernel has an interface with {mac}"));
        }
        for netdev in &devices {
            let device = fs::canonicalize(class.join(&netdev.name).join("device")).ok();
            let place = device.as_deref().and_then(pci_of);
            self.of_netdev(netdev);
            if let Some(address) = place {
                self.of_startup(address, root);
            }
        }
    }

    /// The kernel still has it.
    fn of_netdev(&mut self, netdev: &Netdev) {
        let Netdev { name, up, default_route, controller } = netdev;
        if *default_route {
            self.reason(format!(
                "the kernel has it as {name}, which carries the host's default route"
            ));
            self.advise(&format!(
                "use another interface: without {name} the host would be cut off from the network"
            ));
        } else if let Some(controller) = controller {
            self.reason(format!("the kernel has it as {name}, which belongs to {controller}"));
            self.advise(&format!("take {name} out of {controller}, or use another interface"));
        } else if *up {
            self.reason(format!(
                "it is still up in the kernel, as {name}: VPP leaves such a device alone"
            ));
            self.advise(&format!("`ip link set {name} down`, then restart VPP"));
        } else {
            self.reason(format!("the kernel still has it, as {name}, which is down"));
        }
    }

    fn of_driver(&mut self, address: PciAddress, device: &Path, no_netdev: bool) {
        const USER: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];
        let driver = fs::read_link(device.join("driver"));
        let driver = driver.ok().and_then(|link| Some(link.file_name()?.to_str()?.to_owned()));
        match driver.as_deref() {
            None => {
                self.reason(format!("no driver is bound to {address}"));
                self.advise(
                    "load vfio-pci or uio_pci_generic (`modprobe vfio-pci`), then restart VPP",
                );
            }
            Some(driver) if USER.contains(&driver) => {
                self.reason(format!(
                    "{address} is bound to {driver}, as it should be: VPP may not have been restarted \
                     since, may not have hugepages or memory for it, or DPDK may not know it"
                ));
                self.advise("VPP's log tells: `vppctl show logging`");
            }
            Some(driver) if no_netdev => {
                self.reason(format!("{address} is bound to {driver}, which is no driver for VPP"));
                self.advise("bind it to vfio-pci or uio_pci_generic");
            }
            // The kernel's own, which VPP replaces itself.
            Some(_) => {}
        }
    }

    fn of_startup(&mut self, address: PciAddress, root: &Path) {
        const FILE: &str = "/etc/vpp/startup.conf";
        let advice = format!("`plat vpp startup-conf --pci {address}` writes one");
        let Some(text) = read(&root.join(FILE.trim_start_matches('/'))) else { return };
        let startup = Startup::of(&text);
        if !startup.devices.contains(&address) && !startup.devices.is_empty() {
            self.reasons.insert(
                0,
                format!("{FILE} names other devices in dpdk {{ dev ... }}, not {address}"),
            );
            self.advise(&advice);
        } else if startup.no_pci {
            self.reasons.insert(0, format!("{FILE} has no-pci in dpdk {{ ... }}"));
            self.advise(&advice);
        } else if !startup.has_dpdk {
            self.reasons.insert(0, format!("{FILE} has no section dpdk {{ ... }}"));
            self.advise(&advice);
        } else if startup.devices.contains(&address) && self.reasons.is_empty() {
            self.reason(format!(
                "{FILE} names {address}, and VPP may not have been restarted since"
            ));
        }
    }
}

/// What VPP's startup configuration says of devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Startup {
    has_dpdk: bool,
    no_pci: bool,
    devices: BTreeSet<PciAddress>,
}

impl Startup {
    /// Reads sections and words; `#` begins a comment.
    fn of(text: &str) -> Self {
        let mut startup = Self::default();
        let spaced: String = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default())
            .flat_map(|line| [line, "\n"])
            .collect::<String>()
            .replace('{', " { ")
            .replace('}', " } ");
        let mut sections: Vec<&str> = Vec::new();
        let mut before = "";
        for word in spaced.split_ascii_whitespace() {
            match word {
                "{" => sections.push(before),
                "}" => {
                    sections.pop();
                }
                _ => {
                    let in_dpdk = sections.as_slice() == ["dpdk"];
                    startup.no_pci |= in_dpdk && word == "no-pci";
                    if in_dpdk && before == "dev" {
                        startup.devices.extend(word.parse::<PciAddress>());
                    }
                }
            }
            startup.has_dpdk |= word == "{" && sections.as_slice() == ["dpdk"];
            before = word;
        }
        startup
    }
}

/// A device of the kernel.
fn netdev(name: &str, root: &Path) -> Netdev {
    const IFF_UP: u32 = 1;
    let at = root.join("sys/class/net").join(name);
    let flags = read(&at.join("flags"));
    let flags = flags.and_then(|text| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok());
    let controller = fs::read_link(at.join("master"));
    let controller = controller.ok().and_then(|link| Some(printable(link.file_name()?.to_str()?)));
    Netdev {
        name: printable(name),
        up: flags.is_some_and(|flags| flags & IFF_UP != 0),
        default_route: has_default_route(name, root),
        controller,
    }
}

/// A name that a terminal can be shown: the kernel lets a device's have control characters.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// From `/proc/net/route` and `/proc/net/ipv6_route`.
fn has_default_route(name: &str, root: &Path) -> bool {
    let v4 = read(&root.join("proc/net/route")).unwrap_or_default();
    let v6 = read(&root.join("proc/net/ipv6_route")).unwrap_or_default();
    let v4 = v4.lines().any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        matches!(fields.as_slice(), [device, "00000000", _, _, _, _, _, "00000000", ..] if *device == name)
    });
    let v6 = v6.lines().any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let everything = |text: &str| text.bytes().all(|byte| byte == b'0');
        match fields.as_slice() {
            // The kernel's entry for what is refused is on lo.
            [destination, "00", .., device] => everything(destination) && *device == name,
            _ => false,
        }
    });
    v4 || v6
}

/// The PCI device in a path of sysfs: the last, as devices may be behind bridges.
fn pci_of(path: &Path) -> Option<PciAddress> {
    path.iter().rev().find_map(|part| {
        let text = part.to_str()?;
        // A full address only: parts such as `virtio0` and `net` are none.
        (text.matches(':').count() == 2).then(|| text.parse().ok())?
    })
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests;
