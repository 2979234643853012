/*!
The pod's side, in its network namespace: the interface that is there gets its addresses, routes and neighbours.

No process and no PID is needed: a netlink socket of the namespace, and one thread that enters it for kernel
parameters and the offload.
*/

mod look;
pub(crate) mod plan;

use ipnet::IpNet;
use kernel::{Error, LinkChange, Namespace, Netlink, Route, RouteChange, ethtool, sysctl};

pub(crate) use look::{Pod, differences};
use plan::PodSide;

use crate::record::PodRoute;

/// What of IPv6 is set on the pod's interface before it is up, in the order it is set: routers are not listened to,
/// which VPP is without saying so, and its own addresses are usable at once.
const IPV6: [(&str, &str); 4] =
    [("disable_ipv6", "0"), ("accept_ra", "0"), ("autoconf", "0"), ("accept_dad", "0")];

/// Configures the pod's interface. All of it may be done again.
///
/// `completes_checksums`: whether the interface has to complete checksums itself, because nobody does on the other
/// end of a veth pair.
///
/// # Errors
/// What the kernel refuses.
pub(crate) fn configure(
    namespace: &Namespace,
    netlink: &mut Netlink,
    side: &PodSide,
    completes_checksums: bool,
) -> Result<(), Error> {
    let has_ipv6 = side.addresses.iter().any(std::net::IpAddr::is_ipv6);
    namespace.run(|| {
        if has_ipv6 {
            set("lo", "disable_ipv6", "0")?;
            for (key, value) in IPV6 {
                set(&side.ifname, key, value)?;
            }
        }
        if completes_checksums {
            ethtool::set_tx_checksum(&side.ifname, false)?;
        }
        Ok::<(), Error>(())
    })??;
    let index = index_of(netlink, &side.ifname)?;
    let loopback = index_of(netlink, "lo")?;
    netlink.change_link(loopback, &LinkChange { up: Some(true), ..LinkChange::default() })?;
    netlink.change_link(
        index,
        &LinkChange {
            up: Some(true),
            mtu: Some(side.mtu),
            alias: Some(&side.alias),
            ..LinkChange::default()
        },
    )?;
    for address in &side.addresses {
        netlink.set_address(index, IpNet::from(*address))?;
    }
    for next_hop in &side.next_hops {
        netlink.set_neighbor(index, *next_hop, side.vpp_mac)?;
    }
    let link_routes = side.next_hops.iter().map(|next_hop| Route::to(IpNet::from(*next_hop)));
    let link_routes = link_routes.map(|route| RouteChange::Set(route.device(index)));
    let routes = side.routes.iter().map(|route| RouteChange::Set(kernel_route(route, index)));
    let changes: Vec<RouteChange> = link_routes.chain(routes).collect();
    for result in netlink.change_routes(&changes)? {
        result?;
    }
    Ok(())
}

/// A route as the kernel takes it.
fn kernel_route(route: &PodRoute, index: u32) -> Route {
    let mut made = Route::to(route.destination).via(route.via).device(index).metric(route.metric);
    if let Some(table) = route.table {
        made = made.table(table);
    }
    made.scope = route.scope;
    made.mtu = route.mtu;
    made.advmss = route.advmss;
    made
}

fn index_of(netlink: &mut Netlink, name: &str) -> Result<u32, Error> {
    match netlink.link(name)? {
        Some(link) => Ok(link.index),
        None => Err(not_there(name)),
    }
}

/// What the kernel says of a link that is not there.
fn not_there(name: &str) -> Error {
    Error::Refused {
        what: format!("find the link {name}"),
        source: std::io::Error::from_raw_os_error(rustix::io::Errno::NODEV.raw_os_error()),
        detail: None,
    }
}

/// Sets a parameter of a link where it is another: `/proc/sys` may be read-only, and right. What IPv6 lacks for an
/// older kernel is no harm, but that it is off.
fn set(link: &str, key: &str, value: &str) -> Result<(), Error> {
    let name = sysctl::of_link("ipv6", link, key);
    match sysctl::get(&name)? {
        Some(now) if now == value => Ok(()),
        None if key != "disable_ipv6" => Ok(()),
        _ => sysctl::set(&name, value),
    }
}
