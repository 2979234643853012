/*!
`plat vpp`, pointed at a system of the test's own by `--root`: made-up `/sys` and `/proc`, and a VPP in miniature.

With `VPP_API_SOCK` set, what only reads is asked of a real VPP, too.
*/

mod looking;
mod preparing;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use support::vpp::{Setup, Vpp};
use support::{Answer, Scratch, binary};

/// A root directory of a test's own.
struct System {
    scratch: Scratch,
}

/// A finding of `plat vpp preflight --json`.
#[track_caller]
fn check<'a>(document: &'a Value, name: &str) -> &'a Value {
    let checks = document["checks"].as_array().expect("a list of checks");
    checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("no check {name}"))
}

impl System {
    fn new() -> Self {
        Self { scratch: Scratch::new("plat-vpp") }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.scratch.join(path)
    }

    fn write(&self, path: &str, content: &str) {
        self.scratch.write(path, content);
    }

    fn link(&self, path: &str, target: &str) {
        symlink(target, self.at(path)).expect("a symbolic link");
    }

    /// A network card as the kernel shows it.
    fn card(&self, address: &str, name: &str, up: bool) {
        let device = format!("sys/devices/pci0000:00/{address}");
        self.write(&format!("{device}/class"), "0x020000\n");
        self.write(&format!("{device}/vendor"), "0x8086\n");
        self.write(&format!("{device}/device"), "0x100e\n");
        self.link(&format!("{device}/driver"), "../../../bus/pci/drivers/e1000");
        self.link(&format!("sys/bus/pci/devices/{address}"), &format!("../../../../{device}"));
        let net = format!("{device}/net/{name}");
        for (file, content) in [
            ("flags", if up { "0x1003\n" } else { "0x1002\n" }),
            ("operstate", if up { "up\n" } else { "down\n" }),
            ("address", "52:54:00:00:00:04\n"),
            ("speed", "1000\n"),
            ("mtu", "1500\n"),
        ] {
            self.write(&format!("{net}/{file}"), content);
        }
        self.link(&format!("{net}/device"), &format!("../../../{address}"));
        self.link(&format!("sys/class/net/{name}"), &format!("../../../{net}"));
    }

    /// Two cards, eth0 with the default route and eth1 down, on a node that lacks nothing.
    fn two_cards() -> Self {
        let system = Self::new();
        system.card("0000:00:03.0", "eth0", true);
        system.card("0000:00:04.0", "eth1", false);
        system.write(
            "proc/net/route",
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
             eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
        );
        system.write("proc/meminfo", "MemAvailable: 8000000 kB\n");
        system.write("proc/cpuinfo", "processor: 0\nprocessor: 1\nprocessor: 2\nprocessor: 3\n");
        system.write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "512\n");
        system.write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "512\n");
        system.write("sys/module/uio_pci_generic/version", "1\n");
        system.write("usr/lib/x86_64-linux-gnu/vpp_plugins/dpdk_plugin.so", "");
        system.write("dev/vhost-net", "");
        system.write("dev/net/tun", "");
        system.write("etc/group", "root:x:0:\nvpp:x:998:\n");
        system
    }

    /// A VPP in miniature with its usual socket on this system.
    fn vpp(&self, setup: Setup) -> Vpp {
        let vpp = Vpp::start_at(&self.at("run/vpp/api.sock"), setup);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o770);
        fs::set_permissions(vpp.path(), mode).expect("its mode can be set");
        vpp
    }

    fn plat(&self, arguments: &[&str]) -> Answer {
        Answer::of(
            Command::new(binary("plat"))
                .arg("--root")
                .arg(self.scratch.path())
                .arg("vpp")
                .args(arguments)
                .env_remove("PLAT_STATE_DIR")
                .env_remove("PLAT_RUN_DIR"),
        )
    }
}
