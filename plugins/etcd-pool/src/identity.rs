/*!
Who this node is, and which boot: read from the system, for `ipam_pool` to decide with.
*/

use std::fs::File;
use std::hash::Hasher as _;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr, UdpSocket};

use ipam_core::layout::Fnv;
use ipam_pool::op::Now;
use ipam_pool::ops::Facts;
use ipam_stores::{Boot, Moment};

use crate::client::Connection;

/// The most that is read of a file that identifies the machine.
const LIMIT: u64 = 4096;

/// Addresses of documentation, RFC 5737 and RFC 3849: the way there is the way to anywhere.
const ANYWHERE: [&str; 2] = ["192.0.2.1:9", "[2001:db8::1]:9"];

/// The time, by both clocks.
pub fn now() -> Now {
    let Moment { boot, unix } = Moment::now();
    Now { boot: u64::try_from(boot.as_millis()).unwrap_or(u64::MAX), unix }
}

/// This boot: the kernel's ID, and the start of process 1, which tells restarts of a node in a container.
pub fn boot() -> String {
    let Boot { id, init } = Boot::current();
    format!("{id}-{init}")
}

/// Random bytes of the kernel's.
///
/// # Errors
/// If there are none.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A name for an allocation: 16 hexadecimal digits, made at random.
///
/// # Errors
/// If there is no chance.
pub fn nonce() -> io::Result<String> {
    Ok(format!("{:016x}", u64::from_be_bytes(random()?)))
}

/// A random UUID, version 4 of RFC 9562.
pub fn uuid(random: [u8; 16]) -> String {
    let bits = u128::from_be_bytes(random);
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    // Digits only: every position is a boundary.
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// What tells a machine from a copy of its disk: the firmware's UUID, which is not on the disk, with the
/// installation's. Empty where there is neither. Hashed: both are meant to stay on the machine.
pub fn fingerprint(product: &str, installation: &str) -> String {
    let (product, installation) = (product.trim(), installation.trim());
    if product.is_empty() && installation.is_empty() {
        return String::new();
    }
    let mut hash = Fnv::default();
    for text in [product, installation] {
        hash.write(text.to_ascii_lowercase().as_bytes());
        hash.write_u8(b'\n');
    }
    format!("{:016x}", hash.finish())
}

fn machine() -> String {
    let read = |path: &str| {
        let mut text = String::new();
        let read = File::open(path).and_then(|f| f.take(LIMIT).read_to_string(&mut text));
        read.map(|_| text).unwrap_or_default()
    };
    fingerprint(&read("/sys/class/dmi/id/product_uuid"), &read("/etc/machine-id"))
}

/// This node's host name.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What the node knows of itself, with the index that it would like to have.
///
/// # Errors
/// If there is no chance.
pub fn facts(index: Option<u32>, connection: &Connection) -> io::Result<Facts> {
    let [a4, a6] = addresses(&connection.endpoints);
    Ok(Facts {
        uuid: uuid(random()?),
        machine: machine(),
        name: host_name(),
        index,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        a4,
        a6,
        connection: serde_json::to_value(connection).unwrap_or_default(),
        random: u64::from_be_bytes(random()?),
    })
}

/// This node's addresses for others, IPv4 and IPv6: those that it speaks to etcd with, else those that it
/// speaks to anywhere with; empty where there are none. Nothing is sent, and no name is resolved.
fn addresses(endpoints: &[String]) -> [String; 2] {
    let members = endpoints.iter().filter_map(|endpoint| {
        endpoint.split_once("://")?.1.trim_end_matches('/').parse::<SocketAddr>().ok()
    });
    let anywhere = ANYWHERE.iter().filter_map(|text| text.parse().ok());
    let mut found = [String::new(), String::new()];
    for target in members.chain(anywhere) {
        let [v4, v6] = &mut found;
        let place = if target.is_ipv4() { v4 } else { v6 };
        if place.is_empty()
            && let Some(addr) = source(target)
        {
            *place = addr.to_string();
        }
    }
    found
}

/// The address that this machine speaks to another one with.
fn source(target: SocketAddr) -> Option<IpAddr> {
    let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(target).ok()?;
    let addr = socket.local_addr().ok()?.ip();
    let link_local = matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local());
    (!addr.is_loopback() && !addr.is_unspecified() && !link_local).then_some(addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_have_their_version() {
        for (bytes, text) in [
            ([0; 16], "00000000-0000-4000-8000-000000000000"),
            ([0xff; 16], "ffffffff-ffff-4fff-bfff-ffffffffffff"),
        ] {
            assert_eq!(uuid(bytes), text);
        }
        assert_ne!(uuid(random().unwrap()), uuid(random().unwrap()));
    }

    #[test]
    fn a_copied_disk_is_another_machine() {
        let (one, two) = (fingerprint("AAAA\n", "1234\n"), fingerprint("BBBB\n", "1234\n"));
        assert_ne!(one, two);
        assert_eq!(one, fingerprint("aaaa", "1234"));
        assert_ne!(fingerprint("", "1234"), fingerprint("1234", ""));
        assert_eq!(fingerprint(" ", "\n"), "");
        assert!(!one.contains("1234") && one.len() == 16);
    }

    #[test]
    fn loopback_is_no_address_for_others() {
        let [a4, a6] =
            addresses(&["http://127.0.0.1:2379".to_owned(), "http://[::1]:1".to_owned()]);
        for addr in [a4, a6] {
            assert!(addr.is_empty() || !addr.parse::<IpAddr>().unwrap().is_loopback(), "{addr}");
        }
    }

    #[test]
    fn a_boot_and_a_nonce_have_a_form() {
        assert_eq!(boot(), boot());
        assert!(boot().len() > 37, "{}", boot());
        assert_eq!(nonce().unwrap().len(), 16);
    }
}
