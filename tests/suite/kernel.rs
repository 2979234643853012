/*!
lib/kernel on a real kernel: namespaces of the tests' own, veth pairs between them, and ip(8) as the witness.

Everything is made in namespaces that end with their holders: nothing is left behind, whatever happens.
*/

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use kernel::{IpNet, Link, LinkChange, Mac, Namespace, Netlink, VethEnd};
use serde_json::Value;
use support::{have, is_root, program, skip_unless};

mod addresses;
mod links;
mod lists;
mod monitors;
mod namespaces;
mod neighbors;
mod rights;
mod routes;
mod switches;

/// Whether namespaces can be made; otherwise says that the test is skipped.
fn can_run(test: &str) -> bool {
    let needs = [
        (is_root(), "root"),
        (have("unshare"), "unshare"),
        (have("nsenter"), "nsenter"),
        (have("ip"), "ip"),
    ];
    skip_unless(test, &needs)
}

/// A network namespace, held by a process that reads from a pipe of ours: it ends with the test.
struct Place {
    holder: Child,
    namespace: Namespace,
    netlink: Netlink,
}

impl Place {
    fn new() -> Self {
        let mut holder = Command::new(program("unshare"))
            .args(["--net", "--", "/bin/sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare can be started");
        // The line says that the namespace has been entered.
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("stdout is a pipe");
        let read = BufReader::new(stdout).read_line(&mut line);
        let path = PathBuf::from(format!("/proc/{}/ns/net", holder.id()));
        let opened = Namespace::open(&path).and_then(|namespace| {
            assert!(!namespace.is_same(&Namespace::current()?), "a namespace of its own");
            Ok((Netlink::open_in(&namespace)?, namespace))
        });
        match (read, opened) {
            (Ok(1), Ok((netlink, namespace))) => Self { holder, namespace, netlink },
            (read, opened) => {
                let _ = holder.kill();
                let _ = holder.wait();
                panic!("no network namespace: {read:?}, {:?}", opened.err());
            }
        }
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.holder.id()))
    }

    /// What ip(8) says inside.
    fn ip(&self, arguments: &str) -> String {
        let output = Command::new(program("nsenter"))
            .arg(format!("--net={}", self.path().display()))
            .arg(program("ip"))
            .args(arguments.split_whitespace())
            .stdin(Stdio::null())
            .output()
            .expect("nsenter can be started");
        assert!(
            output.status.success(),
            "ip {arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("ip prints text")
    }

    /// What ip(8) says inside, as JSON.
    fn ip_json(&self, arguments: &str) -> Value {
        let text = self.ip(&format!("-json -details {arguments}"));
        if text.trim().is_empty() {
            return Value::Array(Vec::new());
        }
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("ip {arguments}: {e}: {text}"))
    }

    fn link(&mut self, name: &str) -> Link {
        self.netlink.link(name).expect("an answer").unwrap_or_else(|| panic!("no link {name}"))
    }

    fn up(&mut self, name: &str) -> u32 {
        let index = self.link(name).index;
        let up = LinkChange { up: Some(true), ..LinkChange::default() };
        self.netlink.change_link(index, &up).expect("up");
        index
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Two namespaces with a veth pair between them, `one` and `two`, both up. Both have an address of both
/// families.
struct Pair {
    one: Place,
    two: Place,
    /// The index of `one`.
    index: u32,
}

impl Pair {
    fn new() -> Self {
        let (mut one, mut two) = (Place::new(), Place::new());
        one.netlink
            .create_veth(
                &VethEnd { name: "one", ..VethEnd::default() },
                &VethEnd { name: "two", namespace: Some(&two.namespace), ..VethEnd::default() },
            )
            .expect("a veth pair");
        let index = one.up("one");
        let other = two.up("two");
        for (place, index, addresses) in [
            (&mut one, index, ["10.0.0.1/24", "fd00::1/64"]),
            (&mut two, other, ["10.0.0.2/24", "fd00::2/64"]),
        ] {
            for address in addresses {
                place.netlink.set_address(index, net(address)).expect("an address");
            }
        }
        Self { one, two, index }
    }
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}
