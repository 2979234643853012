//! Chains that drop forwarded packets, and rules that let those of this node's pods through: decided here.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use kernel::Family;
use serde_json::{Value, json};

use super::firewall::{COMMENT, Chain, Place, Side, protocol};
use super::spans::{self, Span};
use super::{Measure, Verb};

/// What is wanted of the chains.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    /// The networks of this node's pods. What a node forwards comes from one of its pods, or goes to one.
    pub(super) own: &'a [IpNet],
    /// Whether rules are made.
    pub(super) accept: bool,
    /// Whether all of the networks are known; if not, no rule is removed.
    pub(super) complete: bool,
}

/// What is done about a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is put before all others.
    Insert(Place, Side, IpNet),
    /// One of this program's goes: by its number, or by what it accepts.
    Delete(Place, u64, Option<(Side, Span)>),
    /// It is there.
    Keep(Place, Side, IpNet),
}

/// What is done, and what is wrong, a sentence each.
pub(super) fn decide(chains: &[Chain], wish: Wish<'_>) -> (Vec<Step>, Vec<String>) {
    let (mut steps, mut findings) = (Vec::new(), Vec::new());
    for chain in chains {
        let mut wanted: BTreeMap<(Side, Span), IpNet> = BTreeMap::new();
        let mut dropped: Vec<(Side, IpNet)> = Vec::new();
        if chain.drops().is_some() {
            for net in wish.own.iter().filter(|net| chain.place.sees(Family::of(net.addr()))) {
                for side in Side::BOTH {
                    if wish.accept {
                        wanted.insert((side, spans::span(*net)), *net);
                    } else if !chain.lets_through(side, *net) {
                        dropped.push((side, *net));
                    }
                }
            }
        }
        for rule in chain.rules.iter().filter(|rule| rule.ours) {
            let accepts = rule.accepts();
            match accepts.and_then(|key| Some((key, wanted.remove(&key)?))) {
                Some(((side, _), net)) => steps.push(Step::Keep(chain.place.clone(), side, net)),
                None if wish.accept && !wish.complete => {}
                None => steps.push(Step::Delete(chain.place.clone(), rule.handle, accepts)),
            }
        }
        let new = wanted.into_iter();
        steps.extend(new.map(|((side, _), net)| Step::Insert(chain.place.clone(), side, net)));
        findings.extend(finding(chain, &dropped));
    }
    (steps, findings)
}

fn finding(chain: &Chain, dropped: &[(Side, IpNet)]) -> Option<String> {
    let (place, drops) = (&chain.place, chain.drops()?);
    let (_, net) = *dropped.first()?;
    let sides = dropped.iter().filter(|(_, of)| *of == net).map(|(side, _)| *side);
    let sides: Vec<Side> = sides.collect();
    let words: Vec<&str> = sides.iter().map(|side| side.word()).collect();
    let cure: Vec<String> = sides.iter().map(|side| place.by_hand(*side, net)).collect();
    let others =
        dropped.iter().map(|(_, net)| net).collect::<BTreeSet<_>>().len().saturating_sub(1);
    let more = if others > 0 { format!(" and {others} more networks") } else { String::new() };
    Some(format!(
        "packets of pods are dropped: {place} {drops}, and nothing in it accepts those {} {net}{more}; \
         \"forwardAccept\": true in the sink makes rules that do, or by hand: {}",
        words.join(" and "),
        cure.join("; ")
    ))
}

impl Step {
    /// As it is told.
    pub(super) fn measure(&self) -> Measure {
        let what = |place: &Place, side: Side, net: &dyn std::fmt::Display| {
            format!("accept what comes {} {net} in {place}", side.word())
                .replace("comes to", "goes to")
        };
        match self {
            Self::Insert(place, side, net) => Measure::new(
                Verb::Add,
                what(place, *side, net),
                "the chain drops what nothing accepts, and \"forwardAccept\" is set",
            ),
            Self::Keep(place, side, net) => {
                Measure::new(Verb::Keep, what(place, *side, net), "\"forwardAccept\" is set")
            }
            Self::Delete(place, handle, accepts) => {
                let what = match accepts {
                    Some((side, span)) => {
                        let network = net_of(*span).map_or_else(
                            || format!("{}-{}", span.0, span.1),
                            |net| net.to_string(),
                        );
                        what(place, *side, &network)
                    }
                    None => format!("rule {handle} in {place}"),
                };
                Measure::new(Verb::Remove, what, "ours, and not wanted any more")
            }
        }
    }

    /// As nft has it (libnftables-json(5)); none if it is nothing for nft.
    pub(super) fn command(&self) -> Option<Value> {
        match self {
            Self::Insert(Place::Nft { family, table, chain }, side, net) => {
                Some(json!({"insert": {"rule": {
                    "family": family, "table": table, "chain": chain, "comment": COMMENT,
                    "expr": [
                        {"match": {
                            "op": "==",
                            "left": {"payload": {"protocol": protocol(*net), "field": side.field()}},
                            "right": spans::element(*net),
                        }},
                        {"counter": null},
                        {"accept": null},
                    ],
                }}}))
            }
            Self::Delete(Place::Nft { family, table, chain }, handle, _) => {
                Some(json!({"delete": {"rule": {
                    "family": family, "table": table, "chain": chain, "handle": handle,
                }}}))
            }
            _ => None,
        }
    }

    /// As iptables-legacy has it: whether it is IPv6's, and the arguments.
    pub(super) fn arguments(&self) -> Option<(bool, Vec<String>)> {
        let rule = |verb: &str, side: Side, net: String| {
            let words = [
                verb,
                "FORWARD",
                side.flag(),
                &net,
                "-m",
                "comment",
                "--comment",
                COMMENT,
                "-j",
                "ACCEPT",
            ];
            words.map(str::to_owned).to_vec()
        };
        match self {
            Self::Insert(Place::Legacy { v6 }, side, net) => {
                Some((*v6, rule("-I", *side, net.to_string())))
            }
            // One of another form would not be found by its words: it stays.
            Self::Delete(Place::Legacy { v6 }, _, Some((side, span))) => {
                Some((*v6, rule("-D", *side, net_of(*span)?.to_string())))
            }
            _ => None,
        }
    }
}

/// The network that a span is.
fn net_of((first, last): Span) -> Option<IpNet> {
    let most = if first.is_ipv4() { 32 } else { 128 };
    (0..=most).find_map(|length| {
        let net = IpNet::new(first, length).ok()?.trunc();
        (spans::span(net) == (first, last)).then_some(net)
    })
}

#[cfg(test)]
mod tests {
    use super::super::firewall::legacy_chain;
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn told(text: &str, wish: Wish<'_>) -> (Vec<String>, Vec<String>) {
        let (steps, findings) = decide(&[legacy_chain(text, false)], wish);
        let shown = |step: &Step| {
            let measure = step.measure();
            format!("{:?} {}", measure.action, measure.what).to_lowercase()
        };
        (steps.iter().map(shown).collect(), findings)
    }

    const OURS: &str = "-A FORWARD -s 10.1.1.0/24 -m comment --comment plat-agent -j ACCEPT\n\
         -A FORWARD -d 10.1.9.0/24 -m comment --comment plat-agent -j ACCEPT\n";

    #[test]
    fn what_is_dropped_is_told_or_accepted() {
        let own = nets(&["10.1.1.0/24", "fd10:1::/64"]);
        let wish = Wish { own: &own, accept: false, complete: true };
        let (steps, findings) = told("-P FORWARD DROP\n", wish);
        assert!(steps.is_empty());
        assert_eq!(
            findings,
            [
                "packets of pods are dropped: chain FORWARD of iptables-legacy has the policy drop, and nothing in it \
              accepts those from and to 10.1.1.0/24; \"forwardAccept\": true in the sink makes rules that do, or \
              by hand: iptables-legacy -I FORWARD -s 10.1.1.0/24 -j ACCEPT; \
              iptables-legacy -I FORWARD -d 10.1.1.0/24 -j ACCEPT"
            ]
        );
        // Somebody has done so.
        let by_hand = "-P FORWARD DROP\n-A FORWARD -s 10.1.0.0/16 -j ACCEPT\n-A FORWARD -d 10.1.0.0/16 -j ACCEPT\n";
        assert_eq!(told(by_hand, wish), (vec![], vec![]));
        assert_eq!(told("-P FORWARD ACCEPT\n", wish), (vec![], vec![]));

        let wish = Wish { accept: true, ..wish };
        let (steps, findings) = told(&format!("-P FORWARD DROP\n{OURS}"), wish);
        assert!(findings.is_empty());
        let of = "in chain forward of iptables-legacy";
        assert_eq!(
            steps,
            [
                format!("keep accept what comes from 10.1.1.0/24 {of}"),
                format!("remove accept what goes to 10.1.9.0/24 {of}"),
                format!("add accept what goes to 10.1.1.0/24 {of}"),
            ]
        );
        // While not everything is known, nothing is removed.
        let (steps, _) =
            told(&format!("-P FORWARD DROP\n{OURS}"), Wish { complete: false, ..wish });
        assert_eq!(steps.len(), 2, "{steps:?}");
        // A chain that drops no more needs none, and neither does somebody who does not want them.
        assert_eq!(told(&format!("-P FORWARD ACCEPT\n{OURS}"), wish).0.len(), 2);
        let off = Wish { own: &[], accept: false, complete: false };
        assert_eq!(told(&format!("-P FORWARD DROP\n{OURS}"), off).0.len(), 2);
    }

    #[test]
    fn steps_as_commands() {
        let place = Place::Legacy { v6: false };
        let net: IpNet = "10.1.1.0/24".parse().unwrap();
        let (v6, words) = Step::Insert(place.clone(), Side::From, net).arguments().unwrap();
        assert!(!v6);
        assert_eq!(
            words.join(" "),
            "-I FORWARD -s 10.1.1.0/24 -m comment --comment plat-agent -j ACCEPT"
        );
        let gone = Step::Delete(place, 0, Some((Side::To, spans::span(net))));
        assert_eq!(
            gone.arguments().unwrap().1.join(" "),
            "-D FORWARD -d 10.1.1.0/24 -m comment --comment plat-agent -j ACCEPT"
        );
        assert_eq!(gone.command(), None);
        for text in ["10.1.1.9/32", "0.0.0.0/0", "fd10::/64", "::/0"] {
            let net: IpNet = text.parse().unwrap();
            assert_eq!(net_of(spans::span(net)), Some(net));
        }
    }
}
