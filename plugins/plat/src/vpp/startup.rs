/*!
VPP's startup configuration as a text: for VPP to take what it is told to take, and nothing else.

Without a `dev` line and without `no-pci`, VPP takes every network device that is down. So there is always one
of the two.
*/

use std::fmt::Write as _;

use super::pci::PciAddress;

/// What a startup configuration is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Startup {
    /// Devices that VPP takes over, in their order; none: no device of the PCI bus at all.
    pub(crate) pci: Vec<PciAddress>,
    /// Whether VPP has its plugin for DPDK: it does not start with settings of one that it lacks.
    pub(crate) dpdk: bool,
    /// Whether there are huge pages to use.
    pub(crate) huge_pages: bool,
    /// Threads that forward beside the main one, which forwards if there are none.
    pub(crate) workers: u16,
    /// Whether the node has a group `vpp`; VPP does not start with one that is not there.
    pub(crate) group: bool,
    /// VPP's socket for programs.
    pub(crate) socket: String,
}

impl Startup {
    /// The file.
    pub(crate) fn render(&self) -> String {
        let mut text = String::with_capacity(4096);
        // Writing to a String does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        out.push_str(
            "# VPP's startup configuration for pods, made by `plat vpp startup-conf`. VPP reads it when it starts.\n\
             # `plat vpp preflight` tells whether the node has what it asks for.\n\n",
        );
        self.unix(out)?;
        self.api(out)?;
        self.memory(out);
        self.cpu(out)?;
        self.plugins(out)?;
        if self.dpdk { self.dpdk(out) } else { Ok(()) }
    }

    fn unix(&self, out: &mut String) -> std::fmt::Result {
        out.push_str(
            "unix {\n\
             \x20 nodaemon\n\
             \x20 nosyslog\n\
             \x20 log /var/log/vpp/vpp.log\n\
             \x20 cli-listen /run/vpp/cli.sock\n",
        );
        if self.group {
            out.push_str("  # Members of this group may use VPP's sockets.\n  gid vpp\n");
        }
        out.push_str(
            "  # The main thread sleeps so many microseconds in each round instead of filling a processor. Each\n\
             \x20 # packet that it forwards may wait so long; delete the line if that is too long.\n\
             \x20 poll-sleep-usec 100\n\
             }\n\n",
        );
        Ok(())
    }

    fn api(&self, out: &mut String) -> std::fmt::Result {
        out.push_str(
            "# What VPP was told last, for `vppctl show api trace-status` and bug reports.\n\
             api-trace { on }\n\n",
        );
        if self.group {
            out.push_str("api-segment { gid vpp }\n\n");
        }
        writeln!(
            out,
            "# The socket that the plugin talks to (\"socket\" in its configuration).\nsocksvr {{ socket-name {} }}\n",
            self.socket
        )?;
        // The default size is backed by huge pages nowhere, but asks for more than small nodes have.
        out.push_str("# Counters, for `vpp_get_stats` and exporters.\n");
        out.push_str(if self.huge_pages {
            "statseg { default }\n\n"
        } else {
            "statseg {\n  default\n  size 32m\n  page-size 4k\n}\n\n"
        });
        Ok(())
    }

    fn memory(&self, out: &mut String) {
        out.push_str(if self.huge_pages {
            "memory {\n\
             \x20 # Interfaces, routes, neighbours. It is taken as it is needed.\n\
             \x20 main-heap-size 1G\n\
             }\n\n\
             buffers {\n\
             \x20 # Packets on their way, about 2.5 KiB each, for each NUMA node. Many pods and workers need more.\n\
             \x20 buffers-per-numa 32768\n\
             \x20 page-size default-hugepage\n\
             }\n\n"
        } else {
            "# Without huge pages: ordinary pages of 4 KiB. VPP takes about 200 MiB so, and forwards less.\n\
             memory {\n\
             \x20 main-heap-size 192M\n\
             \x20 main-heap-page-size 4k\n\
             }\n\n\
             buffers {\n\
             \x20 # Packets on their way, about 2.5 KiB each, for each NUMA node.\n\
             \x20 buffers-per-numa 8192\n\
             \x20 page-size 4k\n\
             }\n\n"
        });
    }

    fn cpu(&self, out: &mut String) -> std::fmt::Result {
        match self.workers {
            0 => out.push_str(
                "# The main thread forwards. For more: cpu { workers N }, each of which fills a processor.\n\
                 cpu { }\n\n",
            ),
            workers => {
                writeln!(
                    out,
                    "cpu {{\n\
                     \x20 # Threads that forward, each on a processor of its own, which it fills. The main thread and\n\
                     \x20 # they are put on processors one after another; main-core and corelist-workers say which.\n\
                     \x20 workers {workers}\n\
                     }}\n"
                )?;
            }
        }
        Ok(())
    }

    fn plugins(&self, out: &mut String) -> std::fmt::Result {
        out.push_str(
            "# Every plugin takes memory and time to start; these are the ones that attach pods. For another one add\n\
             # a line, or delete `plugin default { disable }`. One that VPP has built in, or lacks, does no harm.\n\
             plugins {\n\
             \x20 plugin default { disable }\n",
        );
        let dpdk = self.dpdk.then_some("dpdk");
        for plugin in dpdk.into_iter().chain(["af_packet", "tap", "memif", "ping"]) {
            writeln!(out, "  plugin {plugin}_plugin.so {{ enable }}")?;
        }
        out.push_str("}\n");
        out.push_str(if self.dpdk {
            "\n"
        } else {
            "\n# VPP takes no network card: its plugin for DPDK (package vpp-plugin-dpdk) is not installed.\n"
        });
        Ok(())
    }

    fn dpdk(&self, out: &mut String) -> std::fmt::Result {
        out.push_str(
            "# Needs the package vpp-plugin-dpdk: without it VPP does not start (unknown input `dpdk').\ndpdk {\n",
        );
        if self.pci.is_empty() {
            out.push_str(
                "  # No device of the PCI bus. Without this line and without a `dev` line VPP takes every network\n\
                 \x20 # device that is down.\n\
                 \x20 no-pci\n",
            );
        } else {
            out.push_str(
                "  # VPP takes these devices and no others. Each has to be down when VPP starts; VPP starts without\n\
                 \x20 # one that is up, is not there, or has no driver. It binds them to vfio-pci or uio_pci_generic\n\
                 \x20 # itself if the module is loaded.\n",
            );
            for address in &self.pci {
                writeln!(out, "  dev {address}")?;
            }
        }
        if !self.huge_pages {
            out.push_str(
                "  # Without huge pages a device of the PCI bus works only behind an IOMMU.\n\
                 \x20 no-hugetlb\n\
                 \x20 iova-mode va\n",
            );
        }
        out.push_str(
            "  # Each VPP on a machine needs a name of its own here.\n\
             \x20 file-prefix vpp\n\
             }\n",
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup() -> Startup {
        Startup {
            pci: vec!["0000:00:04.0".parse().unwrap()],
            dpdk: true,
            huge_pages: true,
            workers: 0,
            group: true,
            socket: "/run/vpp/api.sock".to_owned(),
        }
    }

    /// The words that VPP reads, without comments, in one line.
    fn words(text: &str) -> String {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_usual_file() {
        assert_eq!(
            words(&startup().render()),
            "unix { nodaemon nosyslog log /var/log/vpp/vpp.log cli-listen /run/vpp/cli.sock gid vpp poll-sleep-usec 100 } \
             api-trace { on } api-segment { gid vpp } socksvr { socket-name /run/vpp/api.sock } statseg { default } \
             memory { main-heap-size 1G } buffers { buffers-per-numa 32768 page-size default-hugepage } cpu { } \
             plugins { plugin default { disable } plugin dpdk_plugin.so { enable } plugin af_packet_plugin.so { enable } \
             plugin tap_plugin.so { enable } plugin memif_plugin.so { enable } plugin ping_plugin.so { enable } } \
             dpdk { dev 0000:00:04.0 file-prefix vpp }"
        );
    }

    /// Settings of a plugin that VPP does not have would keep it from starting.
    #[test]
    fn without_the_plugin_for_dpdk_nothing_is_said_to_it() {
        let text = Startup { pci: Vec::new(), dpdk: false, ..startup() }.render();
        assert!(!words(&text).contains("dpdk"), "{text}");
    }

    /// Whatever is asked for, VPP is told which devices it may take.
    #[test]
    fn devices_are_always_named() {
        for pci in [vec![], vec!["0000:00:04.0"], vec!["0000:00:04.0", "0000:00:05.0"]] {
            for (huge_pages, workers, group) in [(true, 0, true), (false, 2, false)] {
                let pci: Vec<PciAddress> = pci.iter().map(|a| a.parse().unwrap()).collect();
                let text =
                    Startup { pci: pci.clone(), huge_pages, workers, group, ..startup() }.render();
                let words = words(&text);
                let (_, dpdk) = words.split_once("dpdk {").expect("a section");
                assert_eq!(dpdk.contains("no-pci"), pci.is_empty(), "{text}");
                assert_eq!(dpdk.matches("dev ").count(), pci.len(), "{text}");
                assert_eq!(dpdk.contains("no-hugetlb iova-mode va"), !huge_pages);
                assert_eq!(words.contains("page-size 4k"), !huge_pages);
                assert_eq!(words.contains("default-hugepage"), huge_pages);
                assert_eq!(words.contains("workers 2"), workers == 2);
                assert_eq!(words.contains("gid vpp"), group);
                assert_eq!(words.matches('{').count(), words.matches('}').count());
            }
        }
    }
}
