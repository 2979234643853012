//! Checks of the node: user, memory, kernel.

use super::super::host::{HugePages, Machine};
use super::super::nic::is_shared_driver;
use super::{Asked, Facts, Finding};

/// What VPP needs to start with the settings for nodes without huge pages, and what it had better have, in MiB.
const LEAST: u64 = 300;
const ENOUGH: u64 = 1024;
/// What VPP's usual configuration takes of huge pages, in KiB: buffers, and DPDK's own memory.
const HUGE: u64 = 128 << 10;

pub(super) fn root(facts: &Facts<'_>) -> Finding {
    if facts.is_root {
        return Finding::fine("root", "this is root");
    }
    Finding::warning(
        "root",
        "this is not root: not everything can be seen",
        "run this as root, as runtimes run plugins",
    )
}

pub(super) fn checks(facts: &Facts<'_>) -> [Finding; 5] {
    [huge_pages(facts), memory(facts), vhost_net(facts.machine), dpdk(facts), drivers(facts)]
}

fn huge_pages(facts: &Facts<'_>) -> Finding {
    const CHECK: &str = "hugepages";
    let list: Vec<String> =
        facts.machine.huge_pages.iter().filter(|pages| pages.total > 0).map(describe).collect();
    let free: u64 = facts.machine.huge_pages.iter().map(|pages| pages.size * pages.free).sum();
    if list.is_empty() {
        let advice = "VPP sets some aside itself when it starts, if memory is not in pieces by then; to be sure: \
                      sysctl -w vm.nr_hugepages=512 (1 GiB), and a file in /etc/sysctl.d. Or do without: plat vpp \
                      startup-conf --hugepages no";
        return Finding::warning(CHECK, "no huge pages are set aside", advice);
    }
    let found = list.join("; ");
    if facts.running().is_none() && free < HUGE {
        let advice = format!(
            "VPP takes about {} MiB: sysctl -w vm.nr_hugepages=N with a larger N, or end who uses them",
            HUGE >> 10
        );
        return Finding::warning(CHECK, found, advice);
    }
    Finding::fine(CHECK, found)
}

fn describe(pages: &HugePages) -> String {
    let size = match pages.size {
        size if size >= 1 << 20 => format!("{} GiB", size >> 20),
        size => format!("{} MiB", size >> 10),
    };
    format!("{} huge pages of {size}, {} of them free", pages.total, pages.free)
}

fn memory(facts: &Facts<'_>) -> Finding {
    const CHECK: &str = "memory";
    let Some(available) = facts.machine.available else {
        return Finding::skipped(CHECK, "the kernel does not tell how much can be had");
    };
    let available = available >> 10;
    let found = format!("{available} MiB can be had");
    if facts.running().is_some() {
        // It has what it needs; each pod takes 1 to 2 MiB more.
        return match available {
            0..64 => Finding::warning(CHECK, found, "each attached pod takes VPP 1 to 2 MiB"),
            _ => Finding::fine(CHECK, found),
        };
    }
    match available {
        0..LEAST => Finding::failure(
            CHECK,
            found,
            format!("VPP needs {LEAST} MiB at least, with startup-conf --hugepages no"),
        ),
        LEAST..ENOUGH => Finding::warning(
            CHECK,
            found,
            "enough for startup-conf --hugepages no only: VPP takes 200 MiB so, and 1 GiB as it is packaged",
        ),
        _ => Finding::fine(CHECK, found),
    }
}

fn vhost_net(machine: &Machine) -> Finding {
    const CHECK: &str = "vhost-net";
    if machine.vhost_net && machine.tun {
        return Finding::fine(CHECK, "/dev/vhost-net is there: \"kind\": \"auto\" makes taps");
    }
    let lacking = if machine.vhost_net { "/dev/net/tun" } else { "/dev/vhost-net" };
    let load = if !machine.vhost_net && machine.loadable.contains("vhost_net") {
        "modprobe vhost_net, and echo vhost_net > /etc/modules-load.d/vhost_net.conf; "
    } else {
        ""
    };
    let advice = format!(
        "{load}without it pods are attached by veth, which is slower. VPP in a container needs the device, too"
    );
    Finding::warning(CHECK, format!("{lacking} is not there: VPP can make no taps"), advice)
}

/// VPP's part that drives network cards, a package of its own.
fn dpdk(facts: &Facts<'_>) -> Finding {
    const CHECK: &str = "dpdk";
    match facts.machine.dpdk_plugin {
        Some(true) => Finding::fine(CHECK, "VPP's plugin for DPDK is installed"),
        Some(false) => trouble(
            facts,
            CHECK,
            "VPP's plugin for DPDK is not installed: VPP takes no network card".to_owned(),
            "apt-get install vpp-plugin-dpdk".to_owned(),
        ),
        None => Finding::skipped(
            CHECK,
            "VPP is not installed where packages put it; in a container, perhaps",
        ),
    }
}

/// A driver that hands a device of the PCI bus to VPP. VPP binds the device itself, if the module is loaded.
fn drivers(facts: &Facts<'_>) -> Finding {
    const CHECK: &str = "drivers";
    let machine = facts.machine;
    let nic = facts.asked.find(facts.inventory);
    if let Some(driver) = nic.as_ref().and_then(super::Nic::driver).filter(|d| is_shared_driver(d))
    {
        return Finding::fine(
            CHECK,
            format!(
                "DPDK uses the device beside the kernel's driver {driver}: no other one is needed"
            ),
        );
    }
    let is_loaded = |module| machine.loaded.contains(module);
    let of_kernel = if machine.iommu { "the kernel uses an IOMMU" } else { "no IOMMU is in use" };
    if machine.iommu && is_loaded("vfio-pci") {
        return Finding::fine(CHECK, format!("{of_kernel}, and vfio-pci is loaded"));
    }
    if !machine.iommu && machine.locked_down {
        let advice = "turn the IOMMU on: in the firmware (VT-d, AMD-Vi), and intel_iommu=on on the kernel's command \
                      line; or turn Secure Boot off";
        let found = format!("{of_kernel}, and the kernel is locked down: programs get no device");
        return trouble(facts, CHECK, found, advice.to_owned());
    }
    if !machine.iommu {
        for module in ["uio_pci_generic", "igb_uio"] {
            if is_loaded(module) {
                return Finding::fine(CHECK, format!("{of_kernel}, and {module} is loaded"));
            }
        }
        match machine.no_iommu_mode {
            Some(_) if is_loaded("vfio-pci") => {
                let found = format!(
                    "{of_kernel}; vfio-pci is loaded and has a mode without, which VPP turns on"
                );
                return Finding::fine(CHECK, found);
            }
            _ => {}
        }
    }
    let wanted: &[&str] =
        if machine.iommu { &["vfio-pci"] } else { &["vfio-pci", "uio_pci_generic", "igb_uio"] };
    match wanted.iter().find(|module| machine.loadable.contains(**module)) {
        Some(module) => Finding::warning(
            CHECK,
            format!("{of_kernel}, and no module that hands a device to VPP is loaded"),
            format!(
                "before VPP starts: modprobe {module}, and echo {module} > /etc/modules-load.d/vpp.conf"
            ),
        ),
        None => {
            let found = format!("{of_kernel}, and this kernel has none of {}", wanted.join(", "));
            let advice = "a kernel with one of these modules (linux-modules-extra on Ubuntu); in a virtual machine \
                          without, an uplink by af_packet";
            trouble(facts, CHECK, found, advice.to_owned())
        }
    }
}

/// What is bad if a device is to be handed over, and good to know otherwise.
fn trouble(facts: &Facts<'_>, check: &'static str, found: String, advice: String) -> Finding {
    match facts.asked {
        Asked::Nothing => Finding::warning(check, found, advice),
        _ => Finding::failure(check, found, advice),
    }
}
