/*!
The node's part of VPP against a VPP in miniature: uplink, routes to peers, gateway, and the host link with a
real veth pair.
*/

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipam_core::config::json::At;
use ipam_core::node::NodeIdentity;
use serde_json::{Value, json};
use support::Scratch;
use support::vpp::{Setup, Vpp};
use vpp_api::{Client, Options, Prefix};
use vpp_plugin::node::{
    Difference, NodeError, NodeSetup, NodeSpec, Place, Ready, Wanted, differences, ensure,
};

mod crash;
mod host_link;
mod real;
mod routes;
mod uplink;

/// A miniature, and node 1 of a cluster.
struct Bench {
    vpp: Vpp,
    client: Client,
    scratch: Scratch,
}

impl Bench {
    fn new() -> Self {
        Self::with(Setup::default())
    }

    fn with(setup: Setup) -> Self {
        let vpp = Vpp::start(setup);
        let client = connect(&vpp);
        Self { vpp, client, scratch: Scratch::new("vpp-node") }
    }

    fn call<T>(
        &mut self,
        config: &Value,
        gateways: &[&str],
        work: impl FnOnce(&mut Client, &Wanted<'_>, &Place<'_>) -> T,
    ) -> T {
        let setup = setup(config, 1);
        let gateways: Vec<IpAddr> = gateways.iter().map(|text| text.parse().unwrap()).collect();
        let table = config["table"].as_u64().map_or(0, |table| u32::try_from(table).unwrap());
        let network = config["name"].as_str().unwrap_or("pods");
        let wanted = Wanted { setup: &setup, network, table, gateways: &gateways };
        let (run_dir, root) = (self.scratch.join("run"), self.scratch.join("root"));
        let deadline = Instant::now() + Duration::from_secs(60);
        let place = Place { run_dir: &run_dir, root: &root, deadline };
        work(&mut self.client, &wanted, &place)
    }

    fn try_ensure(&mut self, config: &Value, gateways: &[&str]) -> Result<Ready, NodeError> {
        self.call(config, gateways, |client, wanted, place| ensure(client, wanted, place, None))
    }

    fn ensure(&mut self, config: &Value, gateways: &[&str]) -> Ready {
        self.try_ensure(config, gateways)
            .unwrap_or_else(|error| panic!("{error}: {}", error.details()))
    }

    /// What is not as wanted, and would be changed.
    fn differences(&mut self, config: &Value, gateways: &[&str]) -> Vec<String> {
        let all = self.call(config, gateways, |client, wanted, place| {
            differences(client, wanted, place, None)
        });
        let all = all.unwrap().into_iter().filter(|difference: &Difference| !difference.is_note());
        all.map(|difference| difference.to_string()).collect()
    }

    /// What is there and stays.
    fn notes(&mut self, config: &Value, gateways: &[&str]) -> Vec<String> {
        let all = self.call(config, gateways, |client, wanted, place| {
            differences(client, wanted, place, None)
        });
        all.unwrap().iter().filter(|it| it.is_note()).map(ToString::to_string).collect()
    }

    /// Nothing is changed by another call, and nothing is asked but two rounds of dumps.
    fn is_settled(&mut self, config: &Value, gateways: &[&str]) {
        assert_eq!(self.differences(config, gateways), [""; 0]);
        let before = self.client.round_trips();
        self.vpp.take_journal();
        self.ensure(config, gateways);
        assert_eq!(self.client.round_trips(), before + 2);
        let reading = |message: &String| {
            message.ends_with("_dump") || message.contains("_get_") || message == "control_ping"
        };
        let journal = self.vpp.take_journal();
        assert!(journal.iter().all(reading), "{journal:?}");
    }
}

/// VPP would have logged nothing that its client did wrong.
impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.vpp.complaints(), [""; 0]);
        }
    }
}

fn connect(vpp: &Vpp) -> Client {
    let options = Options { timeout: Duration::from_secs(60), ..Options::new("suite") };
    Client::connect(vpp.path(), &options).unwrap()
}

fn setup(config: &Value, index: u32) -> NodeSetup {
    let node = NodeIdentity { index, name: format!("vm-{index}"), source: "the test".to_owned() };
    let spec = NodeSpec::parse(&At::root(config)).unwrap();
    spec.render(Some(&node)).unwrap()
}

fn prefix(text: &str) -> Prefix {
    let (address, len) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), len.parse().unwrap()).unwrap()
}

/// The cluster of the examples.
fn cluster() -> Value {
    json!({
        "uplink": {
            "pci": "0000:00:04.0",
            "address": ["192.168.16.{i}/24", "fd00:16::{i:x}/64"],
            "mtu": 1500,
            "gateway": "192.168.16.254",
        },
        "routes": [{"dst": "10.99.0.0/16", "gw": "192.168.16.200"}],
        "peers": [
            {"nodes": "1-4", "subnet": "10.1.{peer}.0/24", "via": "192.168.16.{peer}"},
            {"nodes": "1-4", "subnet": "fd00:1:{peer:x}::/64", "via": "fd00:16::{peer:x}"},
        ],
    })
}

const GATEWAYS: &[&str] = &["10.1.1.1", "fd00:1:1::1"];
