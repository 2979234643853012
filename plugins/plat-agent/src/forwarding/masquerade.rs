/*!
Packets that leave the cluster, in the name of this node: a table of nftables of this program's own.

```text
table inet plat-agent {
    set pods4    { type ipv4_addr; flags interval; }    this node's pods
    set cluster4 { type ipv4_addr; flags interval; }    all pods, all nodes, and what is excepted
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr @pods4 ip daddr != @cluster4 counter masquerade comment "plat-agent"
    }
}
```

and the same for IPv6. Whenever anything of it differs it is made anew, in one transaction.
*/

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::firewall::{COMMENT, objects};
use super::spans::{self, Span};
use super::{Measure, Verb};

/// The table's name; its family is `inet`.
pub(super) const TABLE: &str = "plat-agent";
const CHAIN: &str = "postrouting";
/// nftables' number for `srcnat`.
const PRIORITY: i32 = 100;
/// Never anybody's single address: these packets are not masqueraded.
const GROUPS: [&str; 2] = ["224.0.0.0/4", "ff00::/8"];

/// The addresses of the table, merged and in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// Whose packets are masqueraded.
    pods: Vec<Span>,
    /// Which destinations they keep their address for.
    cluster: Vec<Span>,
}

/// What is there under the table's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum There {
    Nothing,
    /// Such a table.
    Whole(Table),
    /// It has been changed by somebody, or was made by another version.
    Other,
}

impl Table {
    /// The table for this node's pods, the networks of the cluster, and the addresses of nodes.
    pub(super) fn new(own: &[IpNet], nets: &[IpNet], nodes: &[IpAddr], except: &[IpNet]) -> Self {
        let groups = GROUPS.iter().filter_map(|text| text.parse().ok());
        let all = own.iter().chain(nets).chain(except).copied();
        let nodes = nodes.iter().copied().map(IpNet::from);
        Self {
            pods: spans::merged(own.iter().copied().map(spans::span).collect()),
            cluster: spans::merged(all.chain(nodes).chain(groups).map(spans::span).collect()),
        }
    }

    /// With what another one has, too.
    fn with(mut self, other: &Self) -> Self {
        self.pods = spans::merged([self.pods, other.pods.clone()].concat());
        self.cluster = spans::merged([self.cluster, other.cluster.clone()].concat());
        self
    }

    fn sets(&self) -> [(&'static str, &'static str, Vec<Span>); 4] {
        let of = |spans: &[Span], v4: bool| -> Vec<Span> {
            spans.iter().filter(|(first, _)| first.is_ipv4() == v4).copied().collect()
        };
        [
            ("pods4", "ipv4_addr", of(&self.pods, true)),
            ("cluster4", "ipv4_addr", of(&self.cluster, true)),
            ("pods6", "ipv6_addr", of(&self.pods, false)),
            ("cluster6", "ipv6_addr", of(&self.cluster, false)),
        ]
    }

    /// What makes it, in the place of what is there.
    pub(super) fn commands(&self) -> Vec<Value> {
        let mut commands = removal();
        commands.push(json!({"add": {"table": {"family": "inet", "name": TABLE}}}));
        for (name, kind, spans) in self.sets() {
            let mut set = json!({
                "family": "inet", "table": TABLE, "name": name, "type": kind, "flags": ["interval"],
            });
            // An empty list is a mistake to nft.
            if let Some(set) = set.as_object_mut().filter(|_| !spans.is_empty()) {
                set.insert("elem".to_owned(), spans.into_iter().map(spans::range).collect());
            }
            commands.push(json!({"add": {"set": set}}));
        }
        commands.push(json!({"add": {"chain": {
            "family": "inet", "table": TABLE, "name": CHAIN, "type": "nat", "hook": "postrouting",
            "prio": PRIORITY, "policy": "accept",
        }}}));
        for (protocol, pods, cluster) in RULES {
            commands.push(json!({"add": {"rule": {
                "family": "inet", "table": TABLE, "chain": CHAIN, "comment": COMMENT,
                "expr": [
                    matching(protocol, "saddr", "==", pods),
                    matching(protocol, "daddr", "!=", cluster),
                    {"counter": null},
                    {"masquerade": null},
                ],
            }}}));
        }
        commands
    }
}

const RULES: [(&str, &str, &str); 2] =
    [("ip", "@pods4", "@cluster4"), ("ip6", "@pods6", "@cluster6")];

fn matching(protocol: &str, field: &str, op: &str, set: &str) -> Value {
    json!({"match": {
        "op": op, "left": {"payload": {"protocol": protocol, "field": field}}, "right": set,
    }})
}

/// What removes the table, whether it is there or not.
pub(super) fn removal() -> Vec<Value> {
    let table = json!({"table": {"family": "inet", "name": TABLE}});
    vec![json!({"add": table}), json!({"delete": table})]
}

/// Reads `nft -j list table inet plat-agent`.
///
/// # Errors
/// If it is no such document.
pub(super) fn read(text: &str) -> Result<There, String> {
    let (sets, chains) = (objects(text, "set")?, objects(text, "chain")?);
    let rules = objects(text, "rule")?;
    let mut table = Table::default();
    let mut whole = sets.len() == 4 && chains.len() == 1 && rules.len() == RULES.len();
    for set in &sets {
        let spans = set.get("elem").map_or_else(|| Some(Vec::new()), spans::parse);
        let target = match set.get("name").and_then(Value::as_str) {
            Some("pods4" | "pods6") => &mut table.pods,
            Some("cluster4" | "cluster6") => &mut table.cluster,
            _ => return Ok(There::Other),
        };
        match spans {
            Some(spans) => target.extend(spans),
            None => whole = false,
        }
    }
    for chain in &chains {
        whole &= chain.get("hook").and_then(Value::as_str) == Some("postrouting")
            && chain.get("type").and_then(Value::as_str) == Some("nat");
    }
    for ((protocol, pods, cluster), rule) in RULES.iter().zip(&rules) {
        let parts = rule.get("expr").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let has = |wanted: &Value| parts.contains(wanted);
        whole &= has(&matching(protocol, "saddr", "==", pods))
            && has(&matching(protocol, "daddr", "!=", cluster))
            && parts.iter().any(|part| part.get("masquerade").is_some());
    }
    if !whole {
        return Ok(There::Other);
    }
    table.pods = spans::merged(table.pods);
    table.cluster = spans::merged(table.cluster);
    Ok(There::Whole(table))
}

/// What is done about the table; none if there is nothing to do nor to tell. `complete` says whether all
/// networks are known: if not, those that are in the table stay.
pub(super) fn decide(
    there: &There,
    wanted: Option<Table>,
    complete: bool,
) -> Option<(Measure, Vec<Value>)> {
    const WHAT: &str = "masquerade what leaves the cluster, by nftables' table inet plat-agent";
    let measure = |action: Verb, why: &str| Measure::new(action, WHAT.to_owned(), why);
    let Some(wanted) = wanted else {
        let gone = || (measure(Verb::Remove, "ours, and not wanted any more"), removal());
        return (*there != There::Nothing).then(gone);
    };
    Some(match there {
        There::Nothing => (measure(Verb::Add, "\"masquerade\" is set"), wanted.commands()),
        There::Other => {
            let why = "something else is there under its name";
            (measure(Verb::Replace, why), wanted.commands())
        }
        There::Whole(table) => {
            let wanted = if complete { wanted } else { wanted.with(table) };
            if wanted == *table {
                (measure(Verb::Keep, "\"masquerade\" is set"), Vec::new())
            } else {
                (measure(Verb::Replace, "networks have changed"), wanted.commands())
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(own: &[&str], nets: &[&str]) -> Table {
        let parse =
            |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<IpNet>>();
        let nodes = ["192.168.16.1".parse().unwrap(), "192.168.16.2".parse().unwrap()];
        Table::new(&parse(own), &parse(nets), &nodes, &parse(&["172.16.0.0/12"]))
    }

    /// What nft lists of what was made.
    fn listed(table: &Table) -> String {
        let made: Vec<Value> = table
            .commands()
            .into_iter()
            .skip(2)
            .filter_map(|command| command.get("add").cloned())
            .collect();
        json!({ "nftables": made }).to_string()
    }

    #[test]
    fn it_is_made_once() {
        let wanted = table(&["10.1.1.0/24", "fd10:1::/64"], &["10.1.2.0/24", "10.1.3.0/24"]);
        let verb = |there: &There, wanted: Option<Table>, complete| {
            decide(there, wanted, complete)
                .map(|(measure, commands)| (measure.action, !commands.is_empty()))
        };
        assert_eq!(verb(&There::Nothing, None, true), None);
        assert_eq!(verb(&There::Nothing, Some(wanted.clone()), true), Some((Verb::Add, true)));
        let there = read(&listed(&wanted)).unwrap();
        assert_eq!(there, There::Whole(wanted.clone()));
        assert_eq!(verb(&there, Some(wanted.clone()), true), Some((Verb::Keep, false)));
        let less = table(&["10.1.1.0/24", "fd10:1::/64"], &["10.1.2.0/24"]);
        assert_eq!(verb(&there, Some(less.clone()), true), Some((Verb::Replace, true)));
        assert_eq!(
            verb(&there, Some(less), false),
            Some((Verb::Keep, false)),
            "not all networks are known"
        );
        assert_eq!(verb(&there, None, false), Some((Verb::Remove, true)));
        assert_eq!(verb(&There::Other, Some(wanted), true), Some((Verb::Replace, true)));
        // Four sets with nothing in them but groups.
        assert_eq!(read(&listed(&table(&[], &[]))).unwrap(), There::Whole(table(&[], &[])));
    }

    #[test]
    fn what_somebody_has_changed_is_no_such_table() {
        let wanted = table(&["10.1.1.0/24"], &[]);
        let text = listed(&wanted);
        for (from, to) in [
            ("hook\":\"postrouting", "hook\":\"output"),
            ("\"!=\"", "\"==\""),
            ("masquerade", "accept"),
            ("@pods6", "@pods4"),
            ("\"name\":\"pods4\"", "\"name\":\"pods\""),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text, "{from}");
            assert_eq!(read(&changed).unwrap(), There::Other, "{from}");
        }
        assert!(read("").is_err());
    }
}
