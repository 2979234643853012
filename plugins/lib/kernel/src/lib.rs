/*!
Linux networking for plugins: rtnetlink, network namespaces, kernel parameters, ethtool. Synchronous, without
a runtime: a plugin starts, does a few system calls and ends.

```no_run
use kernel::{LinkChange, Namespace, Netlink, Route, VethEnd};

# fn main() -> Result<(), kernel::Error> {
let pod = Namespace::open("/run/netns/pod".as_ref())?;
let mut host = Netlink::open()?;
let inside = VethEnd { name: "eth0", namespace: Some(&pod), ..VethEnd::default() };
host.create_veth(&VethEnd { name: "veth1", ..VethEnd::default() }, &inside)?;

// A socket stays with the namespace in which it was opened, whichever thread uses it.
let mut pod = Netlink::open_in(&pod)?;
if let Some(eth0) = pod.link("eth0")? {
    pod.set_address(eth0.index, kernel::IpNet::new([10, 0, 0, 2].into(), 32).expect("short"))?;
    pod.change_link(eth0.index, &LinkChange { up: Some(true), ..LinkChange::default() })?;
    let all = kernel::IpNet::new([0, 0, 0, 0].into(), 0).expect("short");
    pod.add_route(&Route::to(all).via([10, 0, 0, 1].into()).device(eth0.index).onlink())?;
}
# Ok(())
# }
```

| room | what is in it |
|---|---|
| [`Namespace`] | opened and checked; threads that work inside |
| [`Netlink`] | the socket: requests, lists that are repeated when they change meanwhile, thousands of changes at a time |
| [`Link`], [`Address`], [`Route`], [`Neighbor`] | what there is, and the messages that ask for it and change it |
| [`Monitor`] | what others change |
| [`sysctl`], [`ethtool`] | parameters and offloads, of the calling thread's namespace |
| `wire` | framing: pure, every read is checked |
| `ioctl` | the one module with `unsafe` |

Nothing here prints. An [`Error`] says what was tried, on what, and what the kernel said.
*/

mod address;
mod error;
pub mod ethtool;
mod ioctl;
mod link;
mod mac;
mod monitor;
mod namespace;
mod neighbor;
mod netlink;
mod route;
pub mod sysctl;
mod wire;

pub use address::Address;
pub use error::Error;
pub use ipnet::IpNet;
pub use link::{Link, LinkChange, VethEnd};
pub use mac::{Mac, MacError};
pub use monitor::{Event, Groups, Monitor};
pub use namespace::Namespace;
pub use neighbor::Neighbor;
pub use netlink::Netlink;
pub use route::{
    Family, IPV6_METRIC, MAIN_TABLE, NextHop, Route, RouteChange, RouteFilter, RouteKind,
};
