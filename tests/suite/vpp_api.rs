/*!
The client of VPP's API against a VPP in miniature, and what only reads against a real one.

The miniature has its own idea of the messages, taken from VPP's descriptions: where the client and it agree,
both agree with VPP's layout.
*/

use std::net::IpAddr;
use std::time::Duration;

use support::vpp::{Setup, Vpp};
use vpp_api::{Client, Error, IfIndex, Mac, Options, Prefix, Retval};

mod events;
mod failures;
mod leave;
mod messages;
mod pipelining;
mod quirks;
mod real;
mod releases;
mod strict;

/// A miniature and a client of it.
struct Bench {
    vpp: Vpp,
    client: Client,
}

impl Bench {
    fn new() -> Self {
        Self::with(Setup::default())
    }

    fn with(setup: Setup) -> Self {
        let vpp = Vpp::start(setup);
        let client = connect(&vpp);
        Self { vpp, client }
    }

    /// A loopback without address.
    fn loopback(&mut self) -> IfIndex {
        self.client.create_loopback(None, None).expect("a loopback")
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

/// Far more than anything takes here.
fn options() -> Options {
    Options { timeout: Duration::from_secs(60), ..Options::new("suite") }
}

fn connect(vpp: &Vpp) -> Client {
    Client::connect(vpp.path(), &options()).expect("the miniature answers")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn prefix(text: &str) -> Prefix {
    let (address, len) = text.split_once('/').expect("a prefix");
    Prefix::new(ip(address), len.parse().expect("a length")).expect("a prefix")
}

fn mac(last: u8) -> Mac {
    Mac([2, 0xfe, 0, 0, 0, last])
}

/// VPP's refusal.
#[track_caller]
fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> i32 {
    match result.expect_err("VPP refuses").retval() {
        Some(Retval(number)) => number,
        None => panic!("not refused by VPP"),
    }
}
