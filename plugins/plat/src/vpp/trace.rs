/*!
VPP's packet trace: the text of `show trace`, cut into packets and the nodes of VPP's graph that each went through.

```text
------------------- Start of thread 0 vpp_main -------------------
Packet 1

00:03:36:397387: af-packet-input
  af_packet: hw_if_index 2 rx-queue 0 next-index 4
00:03:36:397587: ethernet-input
  IP4: f6:9c:8b:c3:e0:58 -> 02:fe:0f:08:1e:36
00:03:36:397587: ip4-input
  TCP: 10.1.1.7 -> 10.9.9.9
```
*/

use std::collections::BTreeSet;

/// A packet's way through VPP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// The thread that had it.
    pub(crate) thread: String,
    /// Where it went.
    pub(crate) steps: Vec<Step>,
}

/// A node of VPP's graph that a packet went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// When, since VPP started: hours, minutes, seconds, microseconds.
    pub(crate) time: String,
    /// The node.
    pub(crate) node: String,
    /// What it says of the packet.
    pub(crate) lines: Vec<String>,
}

/// Cuts the text of `show trace`. What is not understood is left out.
pub(crate) fn packets(text: &str) -> Vec<Packet> {
    let mut packets: Vec<Packet> = Vec::new();
    let mut thread = String::new();
    for line in text.lines() {
        if line.starts_with("---") {
            line.trim_matches(['-', ' ']).trim_start_matches("Start of ").clone_into(&mut thread);
        } else if is_packet(line) {
            packets.push(Packet { thread: thread.clone(), steps: Vec::new() });
        } else if let Some(packet) = packets.last_mut() {
            if let Some((time, node)) = step(line) {
                packet.steps.push(Step { time, node, lines: Vec::new() });
            } else if let Some(step) = packet.steps.last_mut()
                && !line.trim().is_empty()
            {
                step.lines.push(line.trim().to_owned());
            }
        }
    }
    packets.retain(|packet| !packet.steps.is_empty());
    packets
}

fn is_packet(line: &str) -> bool {
    line.strip_prefix("Packet ")
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// `00:03:36:397587: ethernet-input`.
fn step(line: &str) -> Option<(String, String)> {
    let (time, node) = line.split_once(": ")?;
    let is_time = time.len() >= 15
        && time.split(':').count() == 4
        && time.bytes().all(|b| b.is_ascii_digit() || b == b':');
    (is_time && !node.is_empty()).then(|| (time.to_owned(), node.trim().to_owned()))
}

impl Packet {
    /// Whether any node names one of these: an Ethernet or IP address, as a word of its own.
    pub(crate) fn names(&self, words: &BTreeSet<String>) -> bool {
        let lines = self.steps.iter().flat_map(|step| &step.lines);
        lines
            .flat_map(|line| line.split([' ', '/', ',']))
            .any(|word| words.contains(word.trim_end_matches(':')))
    }

    /// What it is, in a line: `TCP: 10.1.1.7 -> 10.9.9.9, 49368 -> 80 SYN`.
    pub(crate) fn title(&self) -> String {
        let lines = || self.steps.iter().flat_map(|step| &step.lines);
        let is_pair = |line: &&String| line.contains(" -> ");
        // IP if there is any; else ARP, whose node tells who wants to know what; else Ethernet.
        let is_ip = |step: &&Step| step.node.starts_with("ip4-") || step.node.starts_with("ip6-");
        let Some(step) =
            self.steps.iter().find(|s| is_ip(s) && s.lines.iter().any(|l| is_pair(&l)))
        else {
            let arp = self.steps.iter().find(|step| step.node.starts_with("arp-"));
            return match arp {
                Some(arp) => format!("ARP: {}", arp.lines.join(", ")),
                None => lines().find(is_pair).cloned().unwrap_or_default(),
            };
        };
        let mut pairs = step.lines.iter().filter(is_pair);
        let mut title = pairs.next().cloned().unwrap_or_default();
        if let Some((_, ports)) = pairs.next().and_then(|line| line.split_once(": ")) {
            title.push_str(", ");
            title.push_str(ports);
        }
        let flags = step.lines.iter().find_map(|line| line.strip_prefix("flags 0x"));
        if let Some((_, flags)) = flags.and_then(|f| f.split(',').next()?.split_once(' ')) {
            title.push(' ');
            title.push_str(flags);
        }
        let kind =
            step.lines.iter().find(|line| line.starts_with("ICMP ") || line.starts_with("ICMP6 "));
        if let Some(kind) = kind.and_then(|line| line.split(" checksum").next()?.split_once(' ')) {
            title.push_str(", ");
            title.push_str(kind.1);
        }
        title
    }

    /// The nodes, in their order.
    pub(crate) fn path(&self) -> String {
        let nodes: Vec<&str> = self.steps.iter().map(|step| step.node.as_str()).collect();
        nodes.join(" > ")
    }

    /// What became of it.
    pub(crate) fn end(&self) -> End {
        let Some(last) = self.steps.last() else { return End::Elsewhere(String::new()) };
        if let Some(interface) = last.node.strip_suffix("-tx") {
            return End::Sent(interface.to_owned());
        }
        let why = last.lines.first().cloned().unwrap_or_default();
        match last.node.as_str() {
            "drop" | "error-drop" => End::Dropped { why: self.reason(&why) },
            "punt" | "error-punt" => {
                End::Dropped { why: format!("it is for VPP itself, where nobody takes it ({why})") }
            }
            node => End::Elsewhere(node.to_owned()),
        }
    }

    /// Whether it is of no interest: what every interface sends to groups of IPv6, where nobody listens.
    pub(crate) fn is_noise(&self) -> bool {
        matches!(self.end(), End::Dropped { why } if why.contains("Multicast RPF check failed"))
    }

    /// Why it was dropped: by where it was, where VPP's own word says nothing.
    fn reason(&self, says: &str) -> String {
        let was = |node: &str| self.steps.iter().any(|step| step.node == node);
        let dropped_by_route = was("ip4-drop") || was("ip6-drop");
        if was("ip4-arp") || was("ip4-glean") || was("ip6-glean") || was("ip6-discover-neighbor") {
            return format!("the next hop has not answered yet who it is ({says})");
        }
        let looked_up = was("ip4-lookup") || was("ip6-lookup");
        if dropped_by_route && looked_up && (says.is_empty() || says.ends_with("no error")) {
            return "no route leads there".to_owned();
        }
        says.to_owned()
    }
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It left by an interface.
    Sent(String),
    /// It went no further.
    Dropped {
        /// Why, as far as VPP tells.
        why: String,
    },
    /// The trace ends at a node.
    Elsewhere(String),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sent(interface) => write!(f, "sent by {interface}"),
            Self::Dropped { why } if why.is_empty() => f.write_str("dropped"),
            Self::Dropped { why } => write!(f, "dropped: {why}"),
            Self::Elsewhere(node) => write!(f, "ends at {node}"),
        }
    }
}

/// The nodes by which packets come in, for VPP's kinds of devices. A tap of VPP 26.02 and later is of kind `tap`.
pub(crate) fn input_nodes<'a>(devices: impl Iterator<Item = &'a str>) -> BTreeSet<&'static str> {
    let node = |device: &str| match device {
        "af-packet" => Some("af-packet-input"),
        "virtio" => Some("virtio-input"),
        "tap" | "tun" => Some("tap-input"),
        "memif" => Some("memif-input"),
        "dpdk" => Some("dpdk-input"),
        "vmxnet3" => Some("vmxnet3-input"),
        "avf" => Some("avf-input"),
        "rdma" => Some("rdma-input"),
        _ => None,
    };
    devices.filter_map(node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "\
------------------- Start of thread 0 vpp_main -------------------
Packet 1

00:03:35:393468: af-packet-input
  af_packet: hw_if_index 2 rx-queue 0 next-index 4
    block 0:
      address 0x7fbe1ed44000 version 2 seq_num 1 pkt_num 0
00:03:35:393684: ethernet-input
  ARP: f6:9c:8b:c3:e0:58 -> ff:ff:ff:ff:ff:ff
00:03:35:393701: arp-input
  request, type ethernet/IP4, address size 6/4
  f6:9c:8b:c3:e0:58/10.1.1.7 -> 00:00:00:00:00:00/10.1.1.1
00:03:35:393893: host-pvp1h-tx
  af_packet: hw_if_index 2 tx-queue 0

Packet 2

00:03:36:397387: af-packet-input
  af_packet: hw_if_index 2 rx-queue 0 next-index 4
00:03:36:397576: ethernet-input
  IP4: f6:9c:8b:c3:e0:58 -> 02:fe:0f:08:1e:36
00:03:36:397587: ip4-input
  TCP: 10.1.1.7 -> 10.9.9.9
    tos 0x00, ttl 64, length 60, checksum 0x2851 dscp CS0 ecn NON_ECN
    fragment id 0xf451, flags DONT_FRAGMENT
  TCP: 49368 -> 80
    seq. 0x298063e7 ack 0x00000000
    flags 0x02 SYN, tcp header: 40 bytes
00:03:36:397593: ip4-lookup
  fib 0 dpo-idx 0 flow hash: 0x00000000
00:03:36:397604: ip4-drop
    fib:0 adj:0 flow:0x00000000
00:03:36:397607: error-drop
  rx:host-pvp1h
00:03:36:397609: drop
  ethernet-input: no error

Packet 3

00:03:35:511374: af-packet-input
  x
00:03:35:511586: ip6-input
  ICMP6: :: -> ff02::1:ff46:2941
    tos 0x00, flow label 0x0, hop limit 255, payload length 32
  ICMP neighbor_solicitation checksum 0xe75a
00:03:35:511618: ip6-drop
    fib:0 adj:4 flow:0x00000000
00:03:35:511630: drop
  ip6-input: Multicast RPF check failed

";

    #[test]
    fn a_trace_is_cut_into_packets() {
        let packets = packets(TEXT);
        assert_eq!(packets.len(), 3);
        let [arp, tcp, icmp] = packets.as_slice() else { panic!("three packets") };
        assert_eq!(arp.thread, "thread 0 vpp_main");
        assert_eq!(arp.end(), End::Sent("host-pvp1h".to_owned()));
        assert!(arp.title().starts_with("ARP: request"), "{}", arp.title());
        assert!(arp.title().contains("10.1.1.7 -> "), "{}", arp.title());
        assert_eq!(tcp.title(), "TCP: 10.1.1.7 -> 10.9.9.9, 49368 -> 80 SYN");
        assert_eq!(tcp.end().to_string(), "dropped: no route leads there");
        assert_eq!(
            tcp.path(),
            "af-packet-input > ethernet-input > ip4-input > ip4-lookup > ip4-drop > error-drop > drop"
        );
        assert_eq!(icmp.title(), "ICMP6: :: -> ff02::1:ff46:2941, neighbor_solicitation");
        assert!(icmp.is_noise() && !tcp.is_noise());
        assert_eq!(icmp.end().to_string(), "dropped: ip6-input: Multicast RPF check failed");
        let names = |word: &str| {
            packets.iter().map(|p| p.names(&BTreeSet::from([word.to_owned()]))).collect::<Vec<_>>()
        };
        assert_eq!(names("10.1.1.7"), [true, true, false]);
        assert_eq!(names("10.1.1"), [false, false, false]);
        assert_eq!(names("f6:9c:8b:c3:e0:58"), [true, true, false]);
    }

    #[test]
    fn devices_have_input_nodes() {
        let nodes =
            input_nodes(["local", "af-packet", "dpdk", "tap", "Loopback", "dpdk"].into_iter());
        assert_eq!(
            nodes.into_iter().collect::<Vec<_>>(),
            ["af-packet-input", "dpdk-input", "tap-input"]
        );
    }

    proptest! {
        #[test]
        fn no_text_harms(text in "(Packet 1\n|00:00:00:000000: [a-z]{0,3}\n|[ -~]{0,20}\n){0,12}") {
            for packet in packets(&text) {
                let _ = (packet.title(), packet.path(), packet.end().to_string());
            }
        }
    }
}
