//! A real VPP, where there is one: `VPP_API_SOCK`, and `VPP_UPLINK` for the name of an interface that may be
//! changed. Everything is in a table of the test's own, and taken away again.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kernel::{Namespace, Netlink};
use serde_json::{Value, json};
use support::Scratch;
use vpp_api::msg::{self, IpRouteAddDelV2, SwInterfaceIp6EnableDisable, SwInterfaceSetTable};
use vpp_api::types::RouteV2;
use vpp_api::{Client, Family, FibPath, Options, Table};
use vpp_plugin::node::{Place, Ready, Wanted, differences, ensure, ours};

use super::{prefix, setup};

const TABLE: u32 = 7777;

struct Real {
    client: Client,
    scratch: Scratch,
}

impl Real {
    fn connect(test: &str) -> Option<Self> {
        let Some(socket) = std::env::var_os("VPP_API_SOCK").map(PathBuf::from) else {
            // Not by `skip_unless`: where nothing may be skipped there is no VPP either.
            let _ = writeln!(std::io::stderr(), "SKIPPED {test}: needs a VPP, and VPP_API_SOCK");
            return None;
        };
        let options = Options { timeout: Duration::from_secs(20), ..Options::new("suite") };
        let client = Client::connect(&socket, &options).unwrap();
        Some(Self { client, scratch: Scratch::new("vpp-node-real") })
    }

    fn call<T>(
        &mut self,
        config: &Value,
        work: impl FnOnce(&mut Client, &Wanted<'_>, &Place<'_>) -> T,
    ) -> T {
        let setup = setup(config, 1);
        let gateways = ["10.77.1.1", "fd00:77:1::1"].map(|text| text.parse().unwrap());
        let wanted = Wanted { setup: &setup, network: "pods", table: TABLE, gateways: &gateways };
        let run_dir = self.scratch.join("run");
        let deadline = Instant::now() + Duration::from_secs(20);
        let place = Place { run_dir: &run_dir, root: "/".as_ref(), deadline };
        work(&mut self.client, &wanted, &place)
    }

    fn ensure(&mut self, config: &Value) -> Ready {
        self.call(config, |client, wanted, place| ensure(client, wanted, place, None))
            .unwrap_or_else(|error| panic!("{error}: {}", error.details()))
    }

    fn differences(&mut self, config: &Value) -> Vec<String> {
        let all =
            self.call(config, |client, wanted, place| differences(client, wanted, place, None));
        let all = all.unwrap().into_iter().filter(|difference| !difference.is_note());
        all.map(|difference| difference.to_string()).collect()
    }

    /// Takes everything away: as it was before, but for the sources.
    fn clean(&mut self, uplink: Option<&str>) {
        self.ensure(&json!({}));
        let mut mine: Vec<_> = ours(&mut self.client).unwrap().interfaces;
        mine.retain(|it| it.tag == format!("plat/gateway/{TABLE}"));
        for interface in mine {
            let sw_if_index = interface.index;
            self.client.call(&msg::DeleteLoopback { sw_if_index }).unwrap();
        }
        let uplink = uplink.map(|name| self.client.interface_named(name).unwrap().unwrap());
        if let Some(uplink) = uplink {
            let sw_if_index = uplink.sw_if_index;
            for address in self.client.addresses(sw_if_index).unwrap() {
                self.client.delete_address(sw_if_index, address).unwrap();
            }
            self.client.call(&SwInterfaceIp6EnableDisable { sw_if_index, enable: false }).unwrap();
            for is_ipv6 in [false, true] {
                let back = SwInterfaceSetTable { sw_if_index, is_ipv6, vrf_id: 0 };
                self.client.call(&back).unwrap();
            }
        }
        for family in Family::BOTH {
            let table = Table::new(TABLE, family);
            self.client.call(&msg::IpTableAddDel { is_add: false, table }).unwrap();
        }
    }
}

/// Run it with `VPP_API_SOCK=/run/vpp/api.sock VPP_UPLINK=Ethernet0`.
#[test]
fn a_real_vpp_is_made_as_wanted() {
    let name = "vpp_node::real::a_real_vpp_is_made_as_wanted";
    let Some(mut real) = Real::connect(name) else { return };
    let uplink = std::env::var("VPP_UPLINK").ok();
    let mut config = json!({
        "routes": [
            {"dst": "10.76.0.0/16", "gw": "192.168.77.200"},
            {"dst": "10.75.0.0/16", "gw": "10.76.0.1"},
        ],
        "peers": [
            {"nodes": "1-4", "subnet": "10.77.{peer}.0/24", "via": "192.168.77.{peer}"},
            {"nodes": "1-4", "subnet": "fd00:77:{peer:x}::/64", "via": "fd00:16::{peer:x}"},
        ],
    });
    if let Some(uplink) = &uplink {
        config["uplink"] = json!({
            "name": uplink,
            "address": ["192.168.77.{i}/24", "fd00:16::{i:x}/64"],
            "mtu": 1400,
            "gateway": ["192.168.77.254", "fe80::1"],
        });
    }
    let begun = Instant::now();
    let ready = real.ensure(&config);
    println!("made in {:?}: {ready:?}", begun.elapsed());
    assert_eq!(real.differences(&config), [""; 0]);
    let before = real.client.round_trips();
    let begun = Instant::now();
    real.ensure(&config);
    println!("verified in {:?}", begun.elapsed());
    assert_eq!(real.client.round_trips(), before + 2);
    for interface in ours(&mut real.client).unwrap().interfaces {
        println!("{interface:?}");
    }
    for command in [
        format!("show ip fib table {TABLE}"),
        format!("show ip6 fib table {TABLE}"),
        "show interface addr".to_owned(),
        "show ip6 interface".to_owned(),
        "show fib source".to_owned(),
    ] {
        println!("--- {command}\n{}", real.client.cli(&command).unwrap());
    }

    // Somebody changes things.
    let path = FibPath::via("192.168.77.9".parse().unwrap(), TABLE);
    let other = RouteV2::new(ready.source, TABLE, prefix("10.77.2.0/24"), vec![path]);
    real.client.call(&IpRouteAddDelV2::add(other)).unwrap();
    real.client.set_up(ready.gateway, false).unwrap();
    real.client.delete_address(ready.gateway, prefix("10.77.1.1/32")).unwrap();
    let gateway = real.client.interfaces().unwrap();
    let gateway = gateway.into_iter().find(|it| it.sw_if_index == ready.gateway).unwrap();
    let gateway = gateway.interface_name.to_string();
    assert_eq!(
        real.differences(&config),
        [
            format!("{gateway} is down"),
            format!("{gateway} has no address 10.77.1.1/32"),
            "the route to 10.77.2.0/24 leads to 192.168.77.9, not 192.168.77.2".to_owned(),
        ]
    );
    real.ensure(&config);
    assert_eq!(real.differences(&config), [""; 0]);
    // An operator's route is better than ours.
    let path = FibPath::via("192.168.77.9".parse().unwrap(), TABLE);
    let api = RouteV2::new(msg::FibSource::API, TABLE, prefix("10.77.3.0/24"), vec![path]);
    real.client.call(&IpRouteAddDelV2::add(api)).unwrap();
    let notes = real.ensure(&config).notes;
    println!("{notes:?}");
    assert!(notes.iter().any(|note| note.contains("10.77.3.0/24 is already routed")), "{notes:?}");
    let delete = IpRouteAddDelV2::delete(msg::FibSource::API, TABLE, prefix("10.77.3.0/24"));
    real.client.call(&delete).unwrap();
    real.clean(uplink.as_deref());
}

/// How long a thousand peers take.
#[test]
fn a_real_vpp_takes_a_thousand_peers() {
    let name = "vpp_node::real::a_real_vpp_takes_a_thousand_peers";
    let Some(mut real) = Real::connect(name) else { return };
    let config = json!({
        "peers": {
            "nodes": "1-1001",
            "subnet": "10.{peer/256}.{peer%256}.0/24",
            "via": "192.168.{peer/256}.{peer%256}",
        },
    });
    let before = real.client.round_trips();
    let begun = Instant::now();
    real.ensure(&config);
    println!("added in {:?}, {} round trips", begun.elapsed(), real.client.round_trips() - before);
    let begun = Instant::now();
    real.ensure(&config);
    println!("verified in {:?}", begun.elapsed());
    assert_eq!(ours(&mut real.client).unwrap().routes.len(), 1000);
    let begun = Instant::now();
    real.clean(None);
    println!("deleted in {:?}", begun.elapsed());
}

/// Run it also with `VPP_NETNS=/run/netns/NAME`, where VPP's network namespace is not this one.
#[test]
fn a_real_vpp_and_its_host_reach_each_other() {
    let name = "vpp_node::real::a_real_vpp_and_its_host_reach_each_other";
    let Some(mut real) = Real::connect(name) else { return };
    let namespace = match std::env::var_os("VPP_NETNS") {
        Some(path) => Namespace::open(path.as_ref()).unwrap(),
        None => Namespace::current().unwrap(),
    };
    let config = json!({
        "hostLink": {
            "vpp": ["172.30.77.1/30", "fd00:30::1/126"],
            "host": ["172.30.77.2/30", "fd00:30::2/126"],
            "routes": ["10.77.0.0/16", "fd00:77::/32"],
            "hostAddresses": ["192.168.56.1"],
        },
    });
    namespace
        .run(|| {
            let begun = Instant::now();
            let ready = real.ensure(&config);
            println!("made in {:?}: {ready:?}", begun.elapsed());
            assert_eq!(real.differences(&config), [""; 0]);
            for address in ["172.30.77.2", "fd00:30::2"] {
                let ping = format!("ping {address} table-id {TABLE} repeat 5 interval 0.2");
                let told = real.client.cli(&ping).unwrap();
                println!("{told}");
                assert!(told.contains("bytes from"), "{told}");
            }
            let mut netlink = Netlink::open().unwrap();
            let link = netlink.link("vpp-h1e61").unwrap().unwrap();
            // The pair is lost: VPP's end is dead, and made again.
            netlink.delete_link(link.index).unwrap();
            assert!(!real.differences(&config).is_empty());
            real.ensure(&config);
            assert_eq!(real.differences(&config), [""; 0]);
            let ping = format!("ping 172.30.77.2 table-id {TABLE} repeat 5 interval 0.2");
            let told = real.client.cli(&ping).unwrap();
            assert!(told.contains("bytes from"), "{told}");
            real.client.delete_af_packet("vpp-v1e61").unwrap();
            let link = netlink.link("vpp-h1e61").unwrap().unwrap();
            netlink.delete_link(link.index).unwrap();
        })
        .unwrap();
    real.clean(None);
}
