/*!
Chains that packets pass on their way through this node, as nft and iptables tell of them.

nft lists what iptables-nft has made, too; what iptables-legacy has made only that one knows. A rule that
cannot be understood is one with further conditions: it accepts nothing for sure.
*/

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
use kernel::Family;
use serde_json::Value;

use super::spans::{self, Span};

/// What tells this program's rules from others': their comment.
pub(super) const COMMENT: &str = "plat-agent";
/// How deep chains call each other, at most.
const DEPTH: u8 = 8;

/// Where a chain is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In nftables.
    Nft { family: String, table: String, chain: String },
    /// FORWARD of iptables-legacy's filter table.
    Legacy { v6: bool },
}

impl Place {
    /// Whether packets of a family pass it.
    pub(super) fn sees(&self, family: Family) -> bool {
        match self {
            Self::Nft { family: of, .. } => match of.as_str() {
                "inet" => true,
                "ip" => family == Family::V4,
                "ip6" => family == Family::V6,
                _ => false,
            },
            Self::Legacy { v6 } => *v6 == (family == Family::V6),
        }
    }

    /// What somebody types who accepts packets there.
    pub(super) fn by_hand(&self, side: Side, net: IpNet) -> String {
        let flag = side.flag();
        let iptables = |v6: bool| if v6 { "ip6tables" } else { "iptables" };
        match self {
            Self::Legacy { v6 } => {
                format!("{}-legacy -I FORWARD {flag} {net} -j ACCEPT", iptables(*v6))
            }
            Self::Nft { family, table, chain } if table == "filter" && chain == "FORWARD" => {
                format!("{} -I FORWARD {flag} {net} -j ACCEPT", iptables(family == "ip6"))
            }
            Self::Nft { family, table, chain } => {
                let (protocol, field) = (protocol(net), side.field());
                format!("nft insert rule {family} {table} {chain} {protocol} {field} {net} accept")
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Legacy { v6: false } => f.write_str("chain FORWARD of iptables-legacy"),
            Self::Legacy { v6: true } => f.write_str("chain FORWARD of ip6tables-legacy"),
            Self::Nft { family, table, chain } => {
                write!(f, "chain {chain} of nftables' table {family} {table}")
            }
        }
    }
}

/// Which address of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// Where it comes from.
    From,
    /// Where it goes.
    To,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::From, Self::To];

    /// iptables' option.
    pub(super) const fn flag(self) -> &'static str {
        match self {
            Self::From => "-s",
            Self::To => "-d",
        }
    }

    /// nft's name.
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::From => "saddr",
            Self::To => "daddr",
        }
    }

    /// For people.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
        }
    }
}

/// What nft calls a network's protocol.
pub(super) const fn protocol(net: IpNet) -> &'static str {
    match net {
        IpNet::V4(_) => "ip",
        IpNet::V6(_) => "ip6",
    }
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    Drop,
    /// Another chain decides, and this one goes on if it does not.
    Jump(String),
    /// Nothing that ends its way.
    Other,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// The addresses that packets come from, if it asks for that.
    from: Option<Vec<Span>>,
    /// The addresses that packets go to, if it asks for that.
    to: Option<Vec<Span>>,
    /// Whether it asks for anything else.
    narrow: bool,
    verdict: Verdict,
    /// Whether this program has made it.
    pub(super) ours: bool,
    /// Its number in nftables.
    pub(super) handle: u64,
}

impl Rule {
    const fn is_for_all(&self) -> bool {
        self.from.is_none() && self.to.is_none() && !self.narrow
    }

    fn side(&self, side: Side) -> Option<&[Span]> {
        match side {
            Side::From => self.from.as_deref(),
            Side::To => self.to.as_deref(),
        }
    }

    /// What it accepts, if it is of this program's form.
    pub(super) fn accepts(&self) -> Option<(Side, Span)> {
        if self.narrow || self.verdict != Verdict::Accept {
            return None;
        }
        match (self.from.as_deref(), self.to.as_deref()) {
            (Some([one]), None) => Some((Side::From, *one)),
            (None, Some([one])) => Some((Side::To, *one)),
            _ => None,
        }
    }
}

/// A chain that forwarded packets pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) place: Place,
    /// Whether its policy is to drop.
    policy: bool,
    pub(super) rules: Vec<Rule>,
    /// The others of its table.
    others: BTreeMap<String, Vec<Rule>>,
}

impl Chain {
    /// Why packets that nothing accepts do not get through, if so.
    pub(super) fn drops(&self) -> Option<&'static str> {
        if self.policy {
            return Some("has the policy drop");
        }
        let end = |rule: &Rule| rule.is_for_all() && rule.verdict == Verdict::Drop;
        self.rules.iter().any(end).then_some("ends with a rule that drops or rejects everything")
    }

    /// Whether somebody else's rule lets all packets of a network through.
    pub(super) fn lets_through(&self, side: Side, net: IpNet) -> bool {
        self.walk(&self.rules, side, &spans::span(net), DEPTH) == Some(true)
    }

    /// Whether rules accept all of the packets, or drop some; `None` if they leave them to others.
    fn walk(&self, rules: &[Rule], side: Side, net: &Span, depth: u8) -> Option<bool> {
        for rule in rules.iter().filter(|rule| !rule.ours) {
            let all = rule.is_for_all() || {
                let other = if side == Side::From { Side::To } else { Side::From };
                let spans = rule.side(side).unwrap_or_default();
                !rule.narrow
                    && rule.side(other).is_none()
                    && spans.iter().any(|span| spans::contains(span, net))
            };
            if !all {
                continue;
            }
            match &rule.verdict {
                Verdict::Accept => return Some(true),
                Verdict::Drop => return Some(false),
                Verdict::Jump(chain) if depth > 0 => {
                    let rules = self.others.get(chain).map_or(&[][..], Vec::as_slice);
                    if let Some(decided) = self.walk(rules, side, net, depth.saturating_sub(1)) {
                        return Some(decided);
                    }
                }
                Verdict::Jump(_) | Verdict::Other => {}
            }
        }
        None
    }
}

/// The base chains of `nft -j list chains` that forwarded packets pass, with whether their policy is to drop.
///
/// # Errors
/// If it is no such document.
pub(super) fn nft_chains(text: &str) -> Result<Vec<(Place, bool)>, String> {
    let mut places = Vec::new();
    for chain in objects(text, "chain")? {
        let string = |key: &str| chain.get(key).and_then(Value::as_str);
        let (Some(family), Some(table), Some(name)) =
            (string("family"), string("table"), string("name"))
        else {
            continue;
        };
        let relevant = matches!(family, "ip" | "ip6" | "inet")
            && string("hook") == Some("forward")
            && string("type") == Some("filter");
        if relevant {
            let place = Place::Nft {
                family: family.to_owned(),
                table: table.to_owned(),
                chain: name.to_owned(),
            };
            places.push((place, string("policy") == Some("drop")));
        }
    }
    Ok(places)
}

/// A base chain with the chains of its table, of `nft -j -a list table`.
///
/// # Errors
/// If it is no such document.
pub(super) fn nft_chain(text: &str, place: Place, policy: bool) -> Result<Chain, String> {
    let mut others: BTreeMap<String, Vec<Rule>> = BTreeMap::new();
    for rule in objects(text, "rule")? {
        if let Some(chain) = rule.get("chain").and_then(Value::as_str) {
            others.entry(chain.to_owned()).or_default().push(nft_rule(&rule));
        }
    }
    let rules = match &place {
        Place::Nft { chain, .. } => others.remove(chain).unwrap_or_default(),
        Place::Legacy { .. } => Vec::new(),
    };
    Ok(Chain { place, policy, rules, others })
}

/// The objects of a kind in a document of nft.
///
/// # Errors
/// If it is none.
pub(super) fn objects(text: &str, kind: &str) -> Result<Vec<Value>, String> {
    let document: Value =
        serde_json::from_str(text).map_err(|error| format!("nft's answer is no JSON: {error}"))?;
    let Some(list) = document.get("nftables").and_then(Value::as_array) else {
        return Err("nft's answer has no \"nftables\"".to_owned());
    };
    Ok(list.iter().filter_map(|object| object.get(kind)).cloned().collect())
}

fn nft_rule(rule: &Value) -> Rule {
    let comment = rule.get("comment").and_then(Value::as_str);
    let mut it = Rule {
        from: None,
        to: None,
        narrow: false,
        verdict: Verdict::Other,
        ours: comment == Some(COMMENT),
        handle: rule.get("handle").and_then(Value::as_u64).unwrap_or_default(),
    };
    let none = Vec::new();
    for part in rule.get("expr").and_then(Value::as_array).unwrap_or(&none) {
        let Some((kind, value)) = part.as_object().and_then(|part| part.iter().next()) else {
            it.narrow = true;
            continue;
        };
        let target = || value.get("target").and_then(Value::as_str).unwrap_or_default().to_owned();
        match kind.as_str() {
            "counter" | "log" | "comment" => {}
            "accept" => it.verdict = Verdict::Accept,
            "drop" | "reject" => it.verdict = Verdict::Drop,
            "jump" | "goto" => it.verdict = Verdict::Jump(target()),
            "match" => it.add_match(value),
            // What iptables-nft makes of a comment.
            "xt" if value.get("name").and_then(Value::as_str) == Some("comment") => {}
            _ => it.narrow = true,
        }
    }
    it
}

impl Rule {
    fn add_match(&mut self, value: &Value) {
        let field = value.pointer("/left/payload/field").and_then(Value::as_str);
        let equal = matches!(value.get("op").and_then(Value::as_str), Some("==" | "in"));
        let spans = value.get("right").filter(|_| equal).and_then(spans::parse);
        match (field, spans) {
            (Some("saddr"), Some(spans)) if self.from.is_none() => self.from = Some(spans),
            (Some("daddr"), Some(spans)) if self.to.is_none() => self.to = Some(spans),
            _ => self.narrow = true,
        }
    }
}

/// FORWARD with the chains beside it, of `iptables-legacy -S`.
pub(super) fn legacy_chain(text: &str, v6: bool) -> Chain {
    let mut policy = false;
    let mut others: BTreeMap<String, Vec<Rule>> = BTreeMap::new();
    for line in text.lines() {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["-P", "FORWARD", verdict] => policy = *verdict == "DROP",
            ["-A", chain, rest @ ..] => {
                others.entry((*chain).to_owned()).or_default().push(legacy_rule(rest));
            }
            _ => {}
        }
    }
    let rules = others.remove("FORWARD").unwrap_or_default();
    Chain { place: Place::Legacy { v6 }, policy, rules, others }
}

fn legacy_rule(words: &[&str]) -> Rule {
    let mut it = Rule {
        from: None,
        to: None,
        narrow: false,
        verdict: Verdict::Other,
        ours: false,
        handle: 0,
    };
    let net = |text: &str| -> Option<Vec<Span>> {
        let net =
            text.parse::<IpNet>().or_else(|_| text.parse().map(|ip: std::net::IpAddr| ip.into()));
        net.ok().map(|net| vec![spans::span(net)])
    };
    let mut rest = words;
    while let [first, behind @ ..] = rest {
        rest = behind;
        let Some((value, after)) = behind.split_first() else {
            it.narrow = true;
            continue;
        };
        match (*first, *value) {
            ("-s", text) if it.from.is_none() && net(text).is_some() => it.from = net(text),
            ("-d", text) if it.to.is_none() && net(text).is_some() => it.to = net(text),
            ("-m", "comment") => {}
            ("--comment", text) => it.ours = text == COMMENT,
            ("-j" | "-g", target) => {
                it.verdict = match target {
                    "ACCEPT" => Verdict::Accept,
                    "DROP" | "REJECT" => Verdict::Drop,
                    "LOG" | "RETURN" | "MARK" | "CONNMARK" | "NFLOG" => Verdict::Other,
                    chain => Verdict::Jump(chain.to_owned()),
                };
            }
            ("--reject-with", _) if it.verdict == Verdict::Drop => {}
            _ => {
                it.narrow = true;
                continue;
            }
        }
        rest = after;
    }
    it
}

/// The words of a line as iptables quotes them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut begun) = (String::new(), false, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => word.extend(chars.next()),
            '"' => (quoted, begun) = (!quoted, true),
            c if c.is_whitespace() && !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests;
