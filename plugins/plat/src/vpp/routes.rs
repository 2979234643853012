//! Default routes, as the kernel lists routes in `/proc/net/route` and `/proc/net/ipv6_route`.

use std::collections::BTreeSet;

/// A way out of the node by a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Families {
    /// For IPv4.
    pub(crate) v4: bool,
    /// For IPv6.
    pub(crate) v6: bool,
}

impl Families {
    /// Whether there is any.
    pub(crate) const fn any(self) -> bool {
        self.v4 || self.v6
    }

    /// `IPv4`, `IPv6`, `IPv4 and IPv6`, or nothing.
    pub(crate) const fn as_str(self) -> &'static str {
        match (self.v4, self.v6) {
            (true, true) => "IPv4 and IPv6",
            (true, false) => "IPv4",
            (false, true) => "IPv6",
            (false, false) => "",
        }
    }
}

/// Whether a route is usable, and not one that refuses.
const RTF_UP: u32 = 1;
const RTF_REJECT: u32 = 0x200;

/// The devices that IPv4 default routes lead to, of `/proc/net/route`.
pub(crate) fn default_v4(text: &str) -> BTreeSet<String> {
    let device = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let device = fields.next()?;
        let destination = fields.next()?;
        let flags = u32::from_str_radix(fields.nth(1)?, 16).ok()?;
        let mask = fields.nth(3)?;
        let is_default = destination == "00000000" && mask == "00000000" && is_way(flags);
        is_default.then(|| device.to_owned())
    };
    text.lines().skip(1).filter_map(device).collect()
}

/// The devices that IPv6 default routes lead to, of `/proc/net/ipv6_route`. The kernel's own route that
/// refuses, on `lo`, is none.
pub(crate) fn default_v6(text: &str) -> BTreeSet<String> {
    let device = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [destination, length, .., flags, device] = fields.as_slice() else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let is_default = destination.bytes().all(|b| b == b'0') && *length == "00";
        (is_default && is_way(flags) && *device != "lo").then(|| (*device).to_owned())
    };
    text.lines().filter_map(device).collect()
}

const fn is_way(flags: u32) -> bool {
    flags & RTF_UP != 0 && flags & RTF_REJECT == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_found() {
        let v4 = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth1\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth2\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0
eth3\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0
broken
";
        assert_eq!(default_v4(v4).into_iter().collect::<Vec<_>>(), ["eth0"]);
        assert!(default_v4("").is_empty());
        let zero = "0".repeat(32);
        let v6 = format!(
            "fd{} 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth0\n\
             {zero} 00 {zero} 00 fd{} 00000400 00000003 00000000 00000003     eth1\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n\
             x\n",
            "0".repeat(30),
            "0".repeat(30),
        );
        assert_eq!(default_v6(&v6).into_iter().collect::<Vec<_>>(), ["eth1"]);
    }
}
