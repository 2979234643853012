//! What a VPP in miniature has, and what it does wrong.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A device that VPP has taken from the kernel, or made of one.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// VPP's name for it.
    pub name: String,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Its tag, from VPP's startup configuration.
    pub tag: String,
    /// Whether it has a link when it is up.
    pub link: bool,
    /// The largest frame that it can; -7 above it.
    pub largest: u16,
    /// Whether it can tell of packets by interrupts; -9 if not.
    pub interrupts: bool,
}

impl Hardware {
    /// A DPDK device.
    pub fn dpdk(name: &str, mac: [u8; 6]) -> Self {
        Self {
            name: name.to_owned(),
            mac,
            tag: String::new(),
            link: true,
            largest: 9206,
            interrupts: false,
        }
    }
}

/// Which network devices there are for af_packet.
#[derive(Clone, Debug, Default)]
pub enum Devices {
    /// Whatever is asked for.
    #[default]
    Any,
    /// These.
    Named(BTreeSet<String>),
    /// Those of the network namespace in which [`super::Vpp::start`] was called.
    Real,
}

/// A tap that VPP wants from the kernel.
#[derive(Clone, Debug)]
pub struct TapWanted {
    /// The device's name.
    pub device: String,
    /// The namespace as it was given; empty for VPP's own.
    pub namespace: String,
    /// The device's Ethernet address.
    pub mac: [u8; 6],
    /// The device's MTU, or 0.
    pub mtu: u32,
    /// Whether it is to be deleted instead.
    pub delete: bool,
}

/// Makes a device in the place of the kernel's tap; its number below zero is VPP's answer.
pub type TapMaker = Arc<dyn Fn(&TapWanted) -> i32 + Send + Sync>;

/// What a VPP in miniature has.
#[derive(Clone)]
pub struct Setup {
    /// Its release: 22.10, 24.06 or 26.06.
    pub release: String,
    /// Plugins that are not loaded, by their API files: `af_packet`, `tapv2`, `memif`.
    pub without: Vec<&'static str>,
    /// Messages that have another CRC than they should.
    pub strange: Vec<&'static str>,
    /// Its devices.
    pub hardware: Vec<Hardware>,
    /// Whether `/dev/vhost-net` is there.
    pub vhost_net: bool,
    /// Devices for af_packet.
    pub devices: Devices,
    /// Makes taps; without it they are only remembered.
    pub tap_maker: Option<TapMaker>,
    /// How many messages it has that nobody asks for: 800 with six plugins, 2,000 with all.
    pub other_messages: u16,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            release: "26.06".to_owned(),
            without: Vec::new(),
            strange: Vec::new(),
            hardware: vec![Hardware::dpdk("GigabitEthernet0/4/0", [2, 0, 0, 0, 4, 0])],
            vhost_net: true,
            devices: Devices::Any,
            tap_maker: None,
            other_messages: 800,
        }
    }
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VPP {} without {:?}", self.release, self.without)
    }
}

impl Setup {
    /// Another release.
    pub fn release(release: &str) -> Self {
        Self { release: release.to_owned(), ..Self::default() }
    }
}

/// What goes wrong at a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// VPP throws it away.
    Ignore,
    /// VPP refuses it with this number, and does nothing; not for dumps, which cannot be refused.
    Refuse(i32),
    /// VPP is busy for so long before it.
    Busy(Duration),
    /// VPP dies before it does it.
    DieBefore,
    /// VPP dies when it has done it, before it answers.
    DieAfter,
    /// VPP dies in the middle of the answer.
    DieAnswering,
    /// The answer has another layout: it ends early.
    ShortAnswer,
}

/// Trouble at some messages.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// The message's name; none: any.
    pub(super) message: Option<String>,
    /// How many such messages go well before.
    pub(super) after: usize,
    /// How often it happens then.
    pub(super) times: usize,
    pub(super) trouble: Trouble,
}
