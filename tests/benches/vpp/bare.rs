//! The requests that an attachment by veth needs of VPP and the kernel, and nothing else.

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bench_report::Outcome;
use kernel::{IpNet, LinkChange, Namespace, Netlink, Route, RouteChange, VethEnd, ethtool, sysctl};
use vpp_api::msg::{self, Neighbor};
use vpp_api::types::{InterfaceFlags, NeighborFlags, RouteV2};
use vpp_api::wire::Text;
use vpp_api::{AfPacket, Client, FibPath, IfIndex, Mac, Options, Prefix};

/// The first argument of a process that does this.
pub(crate) const BARE: &str = "--bare";

const HOST_MAC: Mac = Mac([2, 0xfe, 0, 0, 0, 1]);
const POD_MAC: Mac = Mac([2, 0xfe, 0, 0, 0, 2]);
const VPP_MAC: Mac = Mac([2, 0xfe, 0, 0, 0, 3]);

/// What the process is told.
#[derive(Clone, Debug)]
pub(crate) struct Bare {
    pub(crate) socket: PathBuf,
    pub(crate) namespace: PathBuf,
    /// The name of the host's end.
    pub(crate) device: String,
    /// The gateway loopback.
    pub(crate) gateway: IfIndex,
    /// The FIB source of pods' routes.
    pub(crate) source: u8,
    /// The pod's addresses.
    pub(crate) addresses: [IpAddr; 2],
    /// The pod's gateways.
    pub(crate) gateways: [IpAddr; 2],
}

/// How long the process took from start to end, and what was made in it.
pub(crate) struct Took {
    pub(crate) all: Duration,
    /// The veth pair.
    pub(crate) pair: Duration,
    /// VPP's interface on it.
    pub(crate) interface: Duration,
}

impl Bare {
    /// Runs the process.
    pub(crate) fn run(&self, this: &Path) -> Outcome<Took> {
        let mut command = Command::new(this);
        command.arg(BARE).arg(&self.socket).arg(&self.namespace).arg(&self.device);
        command.args([self.gateway.0.to_string(), self.source.to_string()]);
        command.args(self.addresses.iter().chain(&self.gateways).map(ToString::to_string));
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn().map_err(|e| e.to_string())?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("no stdout")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|e| e.to_string())?;
        let status = child.wait().map_err(|e| e.to_string())?;
        let all = start.elapsed();
        if !status.success() {
            return Err(format!("the bare client: {status}"));
        }
        let told: Vec<u64> = line.split_whitespace().filter_map(|it| it.parse().ok()).collect();
        let [pair, interface] = told[..] else { return Err(format!("{line:?}")) };
        let [pair, interface] = [pair, interface].map(Duration::from_micros);
        Ok(Took { all, pair, interface })
    }

    /// Takes back what the process has made.
    pub(crate) fn undo(&self) -> Outcome<()> {
        let text = |e: vpp_api::Error| e.to_string();
        let mut vpp = Client::connect(&self.socket, &Options::new("bench")).map_err(text)?;
        for address in self.addresses {
            let prefix = Prefix::host(address);
            vpp.call(&msg::IpRouteAddDelV2::delete(self.source, 0, prefix)).map_err(text)?;
        }
        vpp.delete_af_packet(&self.device).map_err(text)?;
        let mut netlink = Netlink::open().map_err(|e| e.to_string())?;
        if let Some(link) = netlink.link(&self.device).map_err(|e| e.to_string())? {
            netlink.delete_link(link.index).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn parse(arguments: &[String]) -> Option<Self> {
        let [socket, namespace, device, gateway, source, one, other, via_one, via_other] =
            arguments
        else {
            return None;
        };
        Some(Self {
            socket: socket.into(),
            namespace: namespace.into(),
            device: device.clone(),
            gateway: IfIndex(gateway.parse().ok()?),
            source: source.parse().ok()?,
            addresses: [one.parse().ok()?, other.parse().ok()?],
            gateways: [via_one.parse().ok()?, via_other.parse().ok()?],
        })
    }

    /// How long the pair took.
    fn in_kernel(&self) -> Result<Duration, kernel::Error> {
        let namespace = Namespace::open(&self.namespace)?;
        let mut host = Netlink::open()?;
        let end = VethEnd {
            name: &self.device,
            mac: Some(kernel::Mac(HOST_MAC.0)),
            mtu: Some(1500),
            namespace: None,
            alias: None,
            queues: None,
        };
        let peer = VethEnd {
            name: "eth0",
            mac: Some(kernel::Mac(POD_MAC.0)),
            namespace: Some(&namespace),
            ..end
        };
        let start = Instant::now();
        host.create_veth(&end, &peer)?;
        let took = start.elapsed();
        for (family, key, value) in [("ipv6", "disable_ipv6", "1"), ("ipv4", "rp_filter", "1")] {
            sysctl::set(&sysctl::of_link(family, &self.device, key), value)?;
        }
        let up = LinkChange { up: Some(true), ..LinkChange::default() };
        if let Some(link) = host.link(&self.device)? {
            host.change_link(link.index, &up)?;
        }
        namespace.run(|| {
            for key in ["accept_ra", "autoconf", "accept_dad"] {
                sysctl::set(&sysctl::of_link("ipv6", "eth0", key), "0")?;
            }
            ethtool::set_tx_checksum("eth0", false)
        })??;
        let mut pod = Netlink::open_in(&namespace)?;
        for name in ["lo", "eth0"] {
            if let Some(link) = pod.link(name)? {
                pod.change_link(link.index, &up)?;
            }
        }
        let index = pod.link("eth0")?.map_or(0, |link| link.index);
        let mut routes = Vec::new();
        for (address, gateway) in self.addresses.iter().zip(&self.gateways) {
            pod.set_address(index, IpNet::from(*address))?;
            pod.set_neighbor(index, *gateway, kernel::Mac(VPP_MAC.0))?;
            routes.push(RouteChange::Set(Route::to(IpNet::from(*gateway)).device(index)));
        }
        for gateway in &self.gateways {
            let all = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
            let Ok(all) = all.parse() else { continue };
            routes.push(RouteChange::Set(Route::to(all).via(*gateway).device(index)));
        }
        pod.change_routes(&routes)?.into_iter().collect::<Result<(), _>>()?;
        Ok(took)
    }

    /// How long the interface took.
    fn in_vpp(&self) -> Result<Duration, vpp_api::Error> {
        let mut vpp = Client::connect(&self.socket, &Options::new("bare"))?;
        let start = Instant::now();
        let sw_if_index =
            vpp.create_af_packet(&AfPacket::small(&self.device, VPP_MAC))?.sw_if_index;
        let took = start.elapsed();
        let mut batch = vpp.batch();
        let tag = Text::new("bench")?;
        let tag = batch.call(&msg::SwInterfaceTagAddDel { is_add: true, sw_if_index, tag })?;
        let mtu = batch.call(&msg::SwInterfaceSetMtu { sw_if_index, mtu: [1500, 0, 0, 0] })?;
        let borrow = batch.call(&msg::SwInterfaceSetUnnumbered {
            sw_if_index: self.gateway,
            unnumbered_sw_if_index: sw_if_index,
            is_add: true,
        })?;
        let ip6 = batch.call(&msg::SwInterfaceIp6EnableDisable { sw_if_index, enable: true })?;
        let silent = batch.call(&msg::SwInterfaceIp6ndRaConfig::silent(sw_if_index))?;
        let flags = InterfaceFlags::ADMIN_UP;
        let up = batch.call(&msg::SwInterfaceSetFlags { sw_if_index, flags })?;
        let mut reach = Vec::new();
        for ip_address in self.addresses {
            let flags = NeighborFlags(NeighborFlags::STATIC.0 | NeighborFlags::NO_FIB_ENTRY.0);
            let neighbor = Neighbor { sw_if_index, flags, mac_address: POD_MAC, ip_address };
            let neighbor = batch.call(&msg::IpNeighborAddDel { is_add: true, neighbor })?;
            let paths = vec![FibPath::via_on(ip_address, sw_if_index)];
            let route = RouteV2::new(self.source, 0, Prefix::host(ip_address), paths);
            reach.push((neighbor, batch.call(&msg::IpRouteAddDelV2::add(route))?));
        }
        let mut answers = batch.send()?;
        answers.reply(tag)?;
        answers.reply(mtu)?;
        answers.reply(borrow)?;
        // That it was on already is no failure.
        let _ = answers.reply(ip6);
        answers.reply(silent)?;
        answers.reply(up)?;
        for (neighbor, route) in reach {
            answers.reply(neighbor)?;
            answers.reply(route)?;
        }
        Ok(took)
    }
}

/// The process: the kernel's part, then VPP's. Its output is the microseconds that the pair and the interface took.
pub(crate) fn bare(arguments: &[String]) -> Outcome<()> {
    let bare =
        Bare::parse(arguments).ok_or("socket, namespace, device, gateway, source, addresses")?;
    let pair = bare.in_kernel().map_err(|e| e.to_string())?;
    let interface = bare.in_vpp().map_err(|e| e.to_string())?;
    println!("{} {}", pair.as_micros(), interface.as_micros());
    Ok(())
}
