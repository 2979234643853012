use proptest::prelude::*;

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn entry(prefix: &str, node: &str, via: &str) -> Entry {
    Entry {
        prefix: net(prefix),
        node: node.to_owned(),
        via: via.parse().ok(),
        own: false,
        borrowed: false,
        source: 0,
        origin: "test".to_owned(),
    }
}

fn facts(entries: Vec<Entry>) -> Facts {
    let near = |text: &str| {
        let net = net(text);
        Connected { network: net.trunc(), address: net.addr(), link: "eth0".to_owned() }
    };
    let connected = vec![near("192.168.16.1/24"), near("fd16::1/64"), near("10.1.1.1/24")];
    Facts { entries, connected, complete: true }
}

fn own(prefix: &str) -> Entry {
    Entry { own: true, ..entry(prefix, "me", "192.168.16.1") }
}

/// The destinations of routes, those that are held, and the reasons of refusals.
fn decided(entries: Vec<Entry>) -> (Vec<String>, Vec<String>, Vec<String>) {
    let result = desired(&facts(entries));
    let routes = result.routes.iter().map(|(net, route)| format!("{net} via {}", route.via));
    let held = result.held.keys().map(ToString::to_string);
    let refused =
        result.refused.iter().map(|refused| format!("{}: {}", refused.prefix, refused.reason));
    (routes.collect(), held.collect(), refused.collect())
}

#[test]
fn other_nodes_are_routed_to() {
    let (routes, held, refused) = decided(vec![
        own("10.1.1.0/24"),
        entry("10.1.2.0/24", "b", "192.168.16.2"),
        entry("fd10:2::/64", "b", "fd16::2"),
        entry("10.1.2.0/24", "b", "192.168.16.2"),
    ]);
    assert_eq!(routes, ["10.1.2.0/24 via 192.168.16.2", "fd10:2::/64 via fd16::2"]);
    assert!(held.is_empty() && refused.is_empty(), "{refused:?}");
}

#[test]
fn what_cannot_be_right_is_refused_and_stops_nothing() {
    for (wrong, reason) in [
        (entry("0.0.0.0/0", "b", "192.168.16.2"), "a default route is never set"),
        (entry("::/0", "b", "fd16::2"), "a default route is never set"),
        (entry("127.1.0.0/16", "b", "192.168.16.2"), "no addresses that packets are routed to"),
        (entry("224.1.0.0/16", "b", "192.168.16.2"), "no addresses that packets are routed to"),
        (entry("fe80:1::/64", "b", "fd16::2"), "no addresses that packets are routed to"),
        (
            entry("10.1.1.0/25", "b", "192.168.16.2"),
            "overlaps 10.1.1.0/24, which is this node's own",
        ),
        (
            entry("10.1.0.0/16", "b", "192.168.16.2"),
            "overlaps 10.1.1.0/24, which is this node's own",
        ),
        (
            entry("192.168.0.0/16", "b", "192.168.17.2"),
            "it overlaps 192.168.16.0/24, in which this node is with eth0",
        ),
        (entry("10.1.5.0/24", "b", "fd16::2"), "is of the other family"),
        (entry("10.1.5.0/24", "b", ""), "node b has no IPv4 address that is known"),
        (entry("fd10:5::/64", "b", ""), "node b has no IPv6 address that is known"),
        (entry("10.1.5.0/24", "b", "192.168.16.1"), "this node's own address on eth0"),
        (entry("10.1.5.0/24", "b", "127.0.0.1"), "is no address of a node"),
        (entry("fd10:5::/64", "b", "fe80::1"), "is no address of a node"),
        (entry("10.1.5.0/24", "b", "10.1.5.1"), "lies in it"),
    ] {
        let prefix = wrong.prefix;
        let good = entry("10.1.2.0/24", "c", "192.168.16.3");
        let (routes, held, refused) = decided(vec![own("10.1.1.0/24"), wrong, good]);
        assert_eq!(routes, ["10.1.2.0/24 via 192.168.16.3"], "{prefix}");
        assert!(held.is_empty(), "{prefix}");
        assert_eq!(refused.len(), 1, "{prefix}");
        assert!(refused[0].contains(reason), "{} has no {reason:?}", refused[0]);
    }
}

#[test]
fn the_first_source_counts_and_within_one_nothing_does() {
    let later = |entry: Entry| Entry { source: 1, ..entry };
    let b = || entry("10.1.2.0/24", "b", "192.168.16.2");
    let c = || entry("10.1.2.0/24", "c", "192.168.16.3");
    let (routes, held, refused) = decided(vec![later(c()), b()]);
    assert_eq!(routes, ["10.1.2.0/24 via 192.168.16.2"]);
    assert!(held.is_empty());
    assert!(refused[0].contains("node b claims it too, by 192.168.16.2 (test)"), "{refused:?}");
    let (routes, held, refused) = decided(vec![c(), b()]);
    assert!(routes.is_empty());
    assert_eq!(held, ["10.1.2.0/24"]);
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|why| why.contains("nothing is changed until one gives it up")));

    let wide = || entry("10.1.0.0/16", "c", "192.168.16.3");
    let mut far = facts(vec![wide(), b()]);
    far.connected.truncate(2);
    let both = desired(&far);
    assert!(both.routes.is_empty() && both.held.len() == 2 && both.refused.len() == 2);
    far.entries = vec![later(wide()), b()];
    let one = desired(&far);
    assert_eq!(one.routes.keys().collect::<Vec<_>>(), [&net("10.1.2.0/24")]);
    assert_eq!(one.refused[0].prefix, net("10.1.0.0/16"));
    assert!(one.held.is_empty());
}

#[test]
fn borrowed_addresses_lie_within_other_networks() {
    let borrowed = |entry: Entry| Entry { borrowed: true, ..entry };
    let (routes, _, refused) = decided(vec![
        own("10.1.1.0/24"),
        entry("10.1.2.0/24", "b", "192.168.16.2"),
        borrowed(entry("10.1.1.7/32", "b", "192.168.16.2")),
        borrowed(entry("10.1.2.7/32", "c", "192.168.16.3")),
    ]);
    assert_eq!(refused, [""; 0]);
    assert_eq!(
        routes,
        [
            "10.1.1.7/32 via 192.168.16.2",
            "10.1.2.0/24 via 192.168.16.2",
            "10.1.2.7/32 via 192.168.16.3"
        ]
    );
}

fn some_entry() -> impl Strategy<Value = Entry> {
    (0u8..4, 14u8..=32, any::<u8>(), 1u8..6, 0usize..2, any::<bool>(), 0u8..8).prop_map(
        |(third, len, last, node, source, borrowed, own)| {
            let len = if borrowed { 32 } else { len };
            let prefix = format!("10.1.{third}.{last}/{len}").parse::<IpNet>().unwrap().trunc();
            Entry {
                prefix,
                node: format!("n{node}"),
                via: Some(IpAddr::from([192, 168, 16, node])),
                own: own == 0,
                borrowed,
                source,
                origin: String::new(),
            }
        },
    )
}

proptest! {
    /// Whatever is told: no route is the default one, covers what is this node's own, or leads to two nodes.
    #[test]
    fn routes_never_contradict_each_other(entries in proptest::collection::vec(some_entry(), 0..30)) {
        let told = facts(entries.clone());
        let result = desired(&told);
        let shared = entries.iter().filter(|e| !e.own).count();
        prop_assert!(result.routes.len() + result.refused.len() <= shared);
        for (prefix, route) in &result.routes {
            prop_assert!(prefix.prefix_len() > 0 && !result.held.contains_key(prefix));
            for mine in entries.iter().filter(|e| e.own) {
                prop_assert!(!prefix.contains(&mine.prefix), "{prefix} covers {}", mine.prefix);
            }
            for (other, second) in &result.routes {
                let inside = prefix != other && prefix.contains(other);
                let borrowed = entries.iter().any(|e| e.borrowed && e.prefix == *other);
                prop_assert!(!inside || borrowed || route.node == second.node, "{other} in {prefix}");
            }
        }
    }

    #[test]
    fn the_order_of_entries_does_not_matter(
        (one, other) in proptest::collection::vec(some_entry(), 0..12)
            .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))
    ) {
        let (one, other) = (desired(&facts(one)), desired(&facts(other)));
        let hops = |it: &Desired| it.routes.iter().map(|(net, r)| (*net, r.via)).collect::<Vec<_>>();
        prop_assert_eq!(hops(&one), hops(&other));
        prop_assert_eq!(one.held.keys().collect::<Vec<_>>(), other.held.keys().collect::<Vec<_>>());
    }
}
