//! Checks of the device that is to become VPP's uplink.

use super::super::nic::{Nic, PciDevice, is_shared_driver};
use super::{Asked, Facts, Finding};

/// The kernel's drivers of devices that DPDK has a driver for, too.
const SUPPORTED: [&str; 26] = [
    "atlantic",
    "bnxt_en",
    "cxgb4",
    "e1000",
    "e1000e",
    "ena",
    "enic",
    "gve",
    "hns3",
    "i40e",
    "iavf",
    "ice",
    "igb",
    "igbvf",
    "igc",
    "ionic",
    "ixgbe",
    "ixgbevf",
    "mlx4_core",
    "mlx5_core",
    "nfp",
    "qede",
    "sfc",
    "virtio-pci",
    "virtio_net",
    "vmxnet3",
];

/// The checks that a device goes through once it is found.
const CHECKS: [&str; 7] = [
    "nic-driver",
    "nic-down",
    "nic-default-route",
    "nic-member",
    "nic-iommu-group",
    "nic-memory",
    "nic-in-vpp",
];

pub(super) fn checks(facts: &Facts<'_>) -> Vec<Finding> {
    let (found, nic) = nic(facts);
    let mut findings = vec![found];
    match nic {
        Some(nic) => findings.extend([
            driver(&nic),
            down(&nic),
            default_route(&nic),
            member(&nic),
            iommu_group(facts, &nic),
            memory(facts, &nic),
            in_vpp(facts, &nic),
        ]),
        None => findings.extend(CHECKS.map(|check| {
            let why = match facts.asked {
                Asked::Nothing => "no device is named",
                _ => "there is no such device",
            };
            Finding::skipped(check, why)
        })),
    }
    findings
}

fn nic<'a>(facts: &Facts<'a>) -> (Finding, Option<Nic<'a>>) {
    const CHECK: &str = "nic";
    let missing = match facts.asked {
        Asked::Nothing => {
            let why = "no device is named: --pci or --interface; plat vpp nics lists what is there";
            return (Finding::skipped(CHECK, why), None);
        }
        Asked::Pci(address) => format!("there is no network device at {address}"),
        Asked::Name(name) => format!("there is no network device {name}"),
    };
    let Some(nic) = facts.asked.find(facts.inventory) else {
        let advice = match facts.asked {
            Asked::Name(_) => {
                "plat vpp nics lists what is there; one that VPP has got has no name any more: give its PCI address"
            }
            _ => "plat vpp nics lists what is there",
        };
        return (Finding::failure(CHECK, missing, advice), None);
    };
    if nic.pci.is_none() {
        let found = format!("{} is not on the PCI bus: VPP cannot take it over", nic.title());
        let advice = "a device on the PCI bus; or leave this one to the kernel, and give VPP an interface on it by \
                      af_packet";
        return (Finding::failure(CHECK, found, advice), None);
    }
    let id = nic.pci.and_then(|pci| pci.id).map(|id| format!(", {id}")).unwrap_or_default();
    (Finding::fine(CHECK, format!("{} is there{id}", nic.title())), Some(nic))
}

fn driver(nic: &Nic<'_>) -> Finding {
    const CHECK: &str = "nic-driver";
    let bus = nic.pci.and_then(|pci| pci.driver.as_deref());
    match (bus, nic.driver()) {
        (Some(driver), _) if nic.is_handed_over() => {
            Finding::fine(CHECK, format!("it is bound to {driver}, for VPP or another program"))
        }
        (None, _) => Finding::fine(CHECK, "no driver of the kernel has it: VPP can bind it"),
        (Some(bus), device) => {
            let known = [Some(bus), device].into_iter().flatten();
            let driver = device.unwrap_or(bus);
            if known.clone().any(is_shared_driver) {
                let found = format!(
                    "{driver}: DPDK uses it beside the kernel, which needs VPP's RDMA support"
                );
                Finding::fine(CHECK, found)
            } else if known.clone().any(|driver| SUPPORTED.contains(&driver)) {
                Finding::fine(CHECK, format!("{driver}: DPDK has a driver for such devices"))
            } else {
                let advice = "look at https://core.dpdk.org/supported/nics; VPP starts without a device that DPDK does \
                              not know";
                let found = format!("{driver}: it is not known here whether DPDK has a driver");
                Finding::warning(CHECK, found, advice)
            }
        }
    }
}

/// VPP takes a device over only while it is down.
fn down(nic: &Nic<'_>) -> Finding {
    const CHECK: &str = "nic-down";
    let Some(device) = nic.device else {
        return Finding::fine(CHECK, "the kernel has no interface of it that could be up");
    };
    if !device.up {
        return Finding::fine(CHECK, format!("{} is down", device.name));
    }
    if nic.driver().is_some_and(is_shared_driver) {
        return Finding::fine(CHECK, format!("{} is up, and may be with this driver", device.name));
    }
    let advice = format!(
        "VPP starts without a device that is up: ip link set {} down, before VPP starts, and keep the node's network \
         configuration (netplan, NetworkManager, ifupdown) from setting it up again",
        device.name
    );
    let found = format!("{} is up in the kernel", device.name);
    // What carries the default route must not be set down.
    if nic.default_route.any() {
        return Finding::failure(CHECK, found, "");
    }
    Finding::warning(CHECK, found, advice)
}

fn default_route(nic: &Nic<'_>) -> Finding {
    const CHECK: &str = "nic-default-route";
    if !nic.default_route.any() {
        return Finding::fine(CHECK, "the node's default route is elsewhere");
    }
    let by = nic.default_by.map(|by| format!(", by {by}")).unwrap_or_default();
    Finding::failure(
        CHECK,
        format!(
            "{} carries the node's {} default route{by}",
            nic.title(),
            nic.default_route.as_str()
        ),
        "VPP would cut the node off: take another device; plat vpp nics shows which one carries what",
    )
}

fn member(nic: &Nic<'_>) -> Finding {
    const CHECK: &str = "nic-member";
    let Some(device) = nic.device else {
        return Finding::fine(CHECK, "nothing stands on it");
    };
    if let Some(controller) = &device.controller {
        return Finding::failure(
            CHECK,
            format!("{} is a port of {controller}", device.name),
            format!("take it out, if nothing needs it there: ip link set {} nomaster", device.name),
        );
    }
    if !nic.upper.is_empty() {
        return Finding::failure(
            CHECK,
            format!("{} stands on {}", nic.upper.join(", "), device.name),
            "VLANs and the like go when VPP takes the device: delete them, if nothing needs them",
        );
    }
    Finding::fine(CHECK, "it is in no bond or bridge, and nothing stands on it")
}

fn iommu_group(facts: &Facts<'_>, nic: &Nic<'_>) -> Finding {
    const CHECK: &str = "nic-iommu-group";
    let Some((pci, group)) = nic.pci.and_then(|pci| Some((pci, pci.iommu_group?))) else {
        return Finding::fine(CHECK, "it is in no IOMMU group");
    };
    let mates: Vec<String> = facts.inventory.group_mates(pci).into_iter().map(mate).collect();
    if mates.is_empty() {
        return Finding::fine(CHECK, format!("nobody else uses its IOMMU group {group}"));
    }
    Finding::failure(
        CHECK,
        format!("its IOMMU group {group} has {}, too", mates.join(", ")),
        "a group is handed over as a whole: unbind these from their drivers, or put the card into another slot",
    )
}

fn mate(pci: &PciDevice) -> String {
    format!("{} ({})", pci.address, pci.driver.as_deref().unwrap_or("no driver"))
}

/// Without an IOMMU a device needs memory that stays where it is: huge pages.
fn memory(facts: &Facts<'_>, nic: &Nic<'_>) -> Finding {
    const CHECK: &str = "nic-memory";
    let machine = facts.machine;
    if machine.huge_pages.iter().any(|pages| pages.total > 0) {
        return Finding::fine(CHECK, "there are huge pages for its buffers");
    }
    if machine.iommu || nic.driver().is_some_and(is_shared_driver) {
        return Finding::fine(CHECK, "it can do without huge pages");
    }
    Finding::warning(
        CHECK,
        "there are neither huge pages nor an IOMMU",
        "DPDK drives devices without huge pages only behind an IOMMU: sysctl -w vm.nr_hugepages=512, or turn the \
         IOMMU on",
    )
}

fn in_vpp(facts: &Facts<'_>, nic: &Nic<'_>) -> Finding {
    const CHECK: &str = "nic-in-vpp";
    let Some((running, address)) = facts.running().zip(nic.address()) else {
        return Finding::skipped(CHECK, "VPP does not answer");
    };
    if let Some(name) = running.interfaces.iter().find(|name| address.is_named(name)) {
        return Finding::fine(CHECK, format!("VPP has it as {name}"));
    }
    Finding::warning(
        CHECK,
        "VPP does not have it, by the name that DPDK gives",
        format!(
            "startup.conf dpdk {{ dev {address} }} (plat vpp startup-conf --pci {address}), the device down, and restart \
             VPP; it may have another name there: plat vpp show"
        ),
    )
}
