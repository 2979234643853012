/*!
Pools: as written, and checked.
*/

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ipam_core::addr::{Addr, Cidr, Family, Interval};
use ipam_core::identity::Network;
use ipam_core::range::{Exclude, RangeSet, RangeSpec};
use serde::{Deserialize, Serialize};

use crate::node::Block;
use crate::record::{Mode, Rest};

/// For how long a node may go on without etcd, unless the pool says otherwise.
const DEFAULT_AUTONOMY: u64 = 24 * 60 * 60;

/// How many blocks of a family a node may hold, unless the pool says otherwise.
const DEFAULT_MAX_BLOCKS: u32 = 20;

/// `s/<space>/pools`: the pools of an address space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolsRecord {
    /// Counts changes.
    #[serde(default, rename = "gen")]
    pub generation: u64,
    /// The pools, by name.
    #[serde(default)]
    pub pools: Vec<PoolSpec>,
    /// What a later version has added.
    #[serde(flatten)]
    pub rest: Rest,
}

/// A pool as it is written, in etcd and in configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolSpec {
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its IPv4 addresses, as CIDR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// Its IPv6 addresses, as CIDR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr6: Option<String>,
    /// The prefix length of IPv4 blocks: 26, or the pool's if that is longer.
    #[serde(default, rename = "blk", alias = "block", skip_serializing_if = "Option::is_none")]
    pub block: Option<u8>,
    /// The prefix length of IPv6 blocks: 122, or the pool's if that is longer.
    #[serde(default, rename = "blk6", alias = "block6", skip_serializing_if = "Option::is_none")]
    pub block6: Option<u8>,
    /// How addresses are given out.
    #[serde(default)]
    pub mode: Mode,
    /// Whether a node never uses addresses of another node's block.
    #[serde(default, skip_serializing_if = "is_false")]
    pub strict: bool,
    /// How many blocks of a family a node may hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_blocks: Option<u32>,
    /// For how long a freed address rests, in seconds.
    #[serde(default, rename = "cool", alias = "cooldown", skip_serializing_if = "is_zero")]
    pub cooldown: u64,
    /// The gateway: `none`, `first` (the first address of the pool), `block` (the first address of each
    /// block), or one address for each family, separated by commas.
    #[serde(default, rename = "gw", alias = "gateway", skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Addresses that are never given out: an address, a CIDR or `FIRST-LAST`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// For how long a node may go on without etcd, in seconds; 0: for ever. 24 hours if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autonomy: Option<u64>,
    /// What a later version has added.
    #[serde(flatten)]
    pub rest: Rest,
}

const fn is_false(value: &bool) -> bool {
    !*value
}

const fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// What is wrong with a pool: the key of [`PoolSpec`], and one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadPool {
    /// The key.
    pub key: &'static str,
    /// What is wrong, with the value.
    pub message: String,
    /// What would be right.
    pub expected: &'static str,
}

/// Where an address's gateway is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Gateway {
    /// There is none.
    #[default]
    None,
    /// The first address of the pool, which is never given out.
    First,
    /// The first address of each block, which is never given out; addresses have the block's prefix length.
    Block,
    /// These addresses, never given out.
    Fixed(Vec<Addr>),
}

/// The addresses of one family of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// All of them.
    pub cidr: Cidr,
    /// The prefix length of a block.
    pub block: u8,
}

impl Part {
    /// How many blocks there are.
    pub const fn blocks(self) -> u128 {
        1_u128 << self.block.saturating_sub(self.cidr.prefix())
    }

    /// The block at this position.
    pub fn block_at(self, position: u128) -> Option<Cidr> {
        let bits = self.cidr.addr().family().bits().saturating_sub(self.block);
        let offset = position.checked_mul(1_u128.checked_shl(u32::from(bits))?)?;
        if position >= self.blocks() {
            return None;
        }
        Cidr::new(self.cidr.network().first().offset(offset)?, self.block)
    }

    /// The position of the block that contains the address.
    pub fn position_of(self, addr: Addr) -> Option<u128> {
        let network = self.cidr.network();
        if !network.contains(addr) {
            return None;
        }
        let bits = self.cidr.addr().family().bits().saturating_sub(self.block);
        let offset = addr.number().checked_sub(network.first().number())?;
        Some(offset.checked_shr(u32::from(bits)).unwrap_or_default())
    }
}

/// A checked pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its IPv4 addresses.
    pub v4: Option<Part>,
    /// Its IPv6 addresses.
    pub v6: Option<Part>,
    /// How addresses are given out.
    pub mode: Mode,
    /// Whether a node never uses addresses of another node's block.
    pub strict: bool,
    /// How many blocks of a family a node may hold.
    pub max_blocks: u32,
    /// For how long a freed address rests.
    pub cooldown: Duration,
    /// Where the gateway is.
    pub gateway: Gateway,
    /// Addresses that are never given out.
    pub exclude: Arc<[Exclude]>,
    /// For how long a node may go on without etcd, in seconds; 0: for ever.
    pub autonomy: u64,
}

impl TryFrom<&PoolSpec> for Pool {
    type Error = BadPool;

    fn try_from(spec: &PoolSpec) -> Result<Self, BadPool> {
        let wrong = |key, message: String, expected| BadPool { key, message, expected };
        Network::new(spec.name.as_str()).map_err(|error| {
            wrong("name", format!("the pool's name {error}"), "letters, digits, '_', '.' and '-'")
        })?;
        let v4 = part(Family::V4, "cidr", spec.cidr.as_deref(), "blk", spec.block)?;
        let v6 = part(Family::V6, "cidr6", spec.cidr6.as_deref(), "blk6", spec.block6)?;
        if v4.is_none() && v6.is_none() {
            return Err(wrong(
                "cidr",
                format!("pool {} has no addresses", spec.name),
                "a \"cidr\" such as 10.64.0.0/12, a \"cidr6\", or both",
            ));
        }
        let parts: Vec<Part> = [v4, v6].into_iter().flatten().collect();
        let gateway = gateway(&spec.gateway, &parts)?;
        let mut exclude = Vec::with_capacity(spec.exclude.len());
        for text in &spec.exclude {
            exclude.push(Exclude::parse(text).ok_or_else(|| {
                wrong(
                    "exclude",
                    format!("cannot exclude {text:?}"),
                    "an address, a CIDR or FIRST-LAST",
                )
            })?);
        }
        let max_blocks = spec.max_blocks.unwrap_or(DEFAULT_MAX_BLOCKS);
        if max_blocks == 0 {
            return Err(wrong(
                "maxBlocks",
                format!("no node may hold a block of pool {}", spec.name),
                "a number from 1 on",
            ));
        }
        Ok(Self {
            name: spec.name.clone(),
            v4,
            v6,
            mode: spec.mode,
            strict: spec.strict,
            max_blocks,
            cooldown: Duration::from_secs(spec.cooldown),
            gateway,
            exclude: exclude.into(),
            autonomy: spec.autonomy.unwrap_or(DEFAULT_AUTONOMY),
        })
    }
}

fn part(
    family: Family,
    key: &'static str,
    cidr: Option<&str>,
    block_key: &'static str,
    block: Option<u8>,
) -> Result<Option<Part>, BadPool> {
    let (usual, example) = match family {
        Family::V4 => (26, "an IPv4 network such as 10.64.0.0/12"),
        Family::V6 => (122, "an IPv6 network such as fd00:64::/96"),
    };
    let Some(text) = cidr else {
        return match block {
            None => Ok(None),
            Some(_) => Err(BadPool {
                key: block_key,
                message: format!("{block_key} without {key}"),
                expected: example,
            }),
        };
    };
    let wrong = |message| BadPool { key, message, expected: example };
    let cidr = Cidr::parse(text)
        .filter(|cidr| cidr.addr().family() == family && !cidr.is_mapped())
        .ok_or_else(|| wrong(format!("{key} {text:?} is no such network")))?;
    let first = cidr.network().first();
    if first != cidr.addr() {
        return Err(wrong(format!(
            "{key} {text} has host bits set: write {first}/{}",
            cidr.prefix()
        )));
    }
    let block = block.unwrap_or_else(|| cidr.prefix().max(usual));
    // Positions are counted in 64 bits and more; a hash spreads over them. More blocks than this help nobody.
    if block < cidr.prefix() || block > family.bits() || block - cidr.prefix() > 64 {
        return Err(BadPool {
            key: block_key,
            message: format!("blocks of /{block} do not fit {key} {text}"),
            expected: "a prefix length from the pool's to the family's, at most 64 longer than the pool's",
        });
    }
    Ok(Some(Part { cidr, block }))
}

fn gateway(text: &str, parts: &[Part]) -> Result<Gateway, BadPool> {
    let wrong = |message: String| BadPool {
        key: "gw",
        message,
        expected: "none, first, block, or one address of the pool for each family, separated by commas",
    };
    let small = |prefix: u8, part: &Part| prefix > part.cidr.addr().family().bits() - 2;
    match text {
        "" | "none" => Ok(Gateway::None),
        "first" => match parts.iter().find(|part| small(part.cidr.prefix(), part)) {
            Some(part) => Err(wrong(format!("{} has no room for a gateway", part.cidr))),
            None => Ok(Gateway::First),
        },
        "block" => match parts.iter().find(|part| small(part.block, part)) {
            Some(part) => {
                Err(wrong(format!("blocks of /{} have no room for a gateway", part.block)))
            }
            None => Ok(Gateway::Block),
        },
        addresses => {
            let mut fixed: Vec<Addr> = Vec::new();
            for text in addresses.split(',') {
                let addr = Addr::parse(text.trim())
                    .ok_or_else(|| wrong(format!("the gateway {text:?} is no address")))?;
                if !parts.iter().any(|part| part.cidr.network().contains(addr)) {
                    return Err(wrong(format!("the gateway {addr} is no address of the pool")));
                }
                if fixed.iter().any(|other| other.family() == addr.family()) {
                    return Err(wrong(format!("{addresses}: two gateways of one family")));
                }
                fixed.push(addr);
            }
            Ok(Gateway::Fixed(fixed))
        }
    }
}

impl Pool {
    /// Its addresses of a family.
    pub const fn part(&self, family: Family) -> Option<Part> {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    /// The families that it has.
    pub fn families(&self) -> impl Iterator<Item = Family> {
        [(Family::V4, self.v4), (Family::V6, self.v6)]
            .into_iter()
            .filter(|(_, part)| part.is_some())
            .map(|(family, _)| family)
    }

    /// All its addresses.
    pub fn intervals(&self) -> impl Iterator<Item = Interval> {
        [self.v4, self.v6].into_iter().flatten().map(|part| part.cidr.network())
    }

    /// What is never given out, whatever the block: excludes, network and broadcast address, the gateway.
    pub fn withheld(&self) -> Vec<Exclude> {
        let mut withheld: Vec<Exclude> = self.exclude.to_vec();
        let mut single = |addr: Addr| withheld.extend(Exclude::parse(&addr.to_string()));
        for part in [self.v4, self.v6].into_iter().flatten() {
            let (family, network) = (part.cidr.addr().family(), part.cidr.network());
            let has_ends = part.cidr.prefix() <= family.bits() - 2;
            // The unspecified address is nobody's, in a pool without a network address of its own, too.
            if has_ends || network.first() == family.whole().first() {
                single(network.first());
            }
            if has_ends && family == Family::V4 {
                single(network.last());
            }
            if self.gateway == Gateway::First
                && let Some(first) = network.first().next()
            {
                single(first);
            }
        }
        if let Gateway::Fixed(addrs) = &self.gateway {
            addrs.iter().copied().for_each(single);
        }
        withheld
    }

    /// The address with its prefix length, and its gateway: what a CNI result says.
    pub fn answer(&self, addr: Addr) -> Option<(Cidr, Option<Addr>)> {
        let part = self.part(addr.family())?;
        let prefix = if self.gateway == Gateway::Block { part.block } else { part.cidr.prefix() };
        let gateway = match &self.gateway {
            Gateway::None => None,
            Gateway::First => part.cidr.network().first().next(),
            Gateway::Block => Cidr::new(addr, part.block)?.network().first().next(),
            Gateway::Fixed(addrs) => {
                addrs.iter().copied().find(|gateway| gateway.family() == addr.family())
            }
        };
        Some((Cidr::new(addr, prefix)?, gateway))
    }

    /// What may be given out of these blocks, as a range set; `None` without blocks.
    pub fn range_set<'a>(&self, blocks: impl Iterator<Item = &'a Block>) -> Option<RangeSet> {
        let withheld: Arc<[Exclude]> = self.withheld().into();
        let specs: Vec<RangeSpec> = blocks
            .filter_map(|block| {
                let cidr = block.cidr()?;
                let network = cidr.network();
                let (mut exclude, mut gateway) = (Vec::new(), None);
                if self.gateway == Gateway::Block {
                    gateway = network.first().next();
                    exclude.extend(Exclude::parse(&network.first().to_string()));
                    if network.family() == Family::V4 {
                        exclude.extend(Exclude::parse(&network.last().to_string()));
                    }
                }
                // Without one a range takes its first address as gateway; this one is in no pool.
                let nowhere = network.family().whole().first();
                Some(RangeSpec {
                    subnet: Some(cidr),
                    start: Some(network.first()),
                    end: Some(network.last()),
                    gateway: gateway.or(Some(nowhere)),
                    exclude,
                    exclude_everywhere: Arc::clone(&withheld),
                    small: true,
                })
            })
            .collect();
        RangeSet::new(&specs).ok()
    }

    /// Whether anything may be given out of a block.
    pub fn gives(&self, block: Cidr) -> bool {
        let network = block.network();
        let mut withheld: Vec<Interval> =
            self.withheld().iter().map(|exclude| exclude.interval()).collect();
        if self.gateway == Gateway::Block {
            let ends = [Some(network.first()), network.first().next()];
            withheld.extend(ends.into_iter().flatten().map(Interval::single));
            if network.family() == Family::V4 {
                withheld.push(Interval::single(network.last()));
            }
        }
        withheld.retain(|hole| hole.overlaps(network));
        withheld.sort_unstable();
        let mut next = Some(network.first());
        for hole in withheld {
            match next {
                Some(addr) if hole.first() <= addr => {
                    next = hole
                        .last()
                        .next()
                        .map_or(next.filter(|_| false), |after| Some(after.max(addr)));
                }
                _ => break,
            }
        }
        next.is_some_and(|addr| network.contains(addr))
    }

    /// How two pools differ: the key, and both values; nothing if they are the same.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let part =
            |part: Option<Part>| part.map_or_else(|| "none".to_owned(), |p| p.cidr.to_string());
        let block = |part: Option<Part>| {
            part.map_or_else(|| "none".to_owned(), |p| format!("/{}", p.block))
        };
        let exclude = |pool: &Self| {
            let mut intervals: Vec<Interval> =
                pool.exclude.iter().map(|exclude| exclude.interval()).collect();
            intervals.sort_unstable();
            let texts: Vec<String> =
                intervals.iter().map(|i| format!("{}-{}", i.first(), i.last())).collect();
            if texts.is_empty() { "none".to_owned() } else { texts.join(" ") }
        };
        [
            ("cidr", part(self.v4), part(other.v4)),
            ("cidr6", part(self.v6), part(other.v6)),
            ("blk", block(self.v4), block(other.v4)),
            ("blk6", block(self.v6), block(other.v6)),
            ("mode", self.mode.as_str().to_owned(), other.mode.as_str().to_owned()),
            ("strict", self.strict.to_string(), other.strict.to_string()),
            ("maxBlocks", self.max_blocks.to_string(), other.max_blocks.to_string()),
            (
                "cool",
                format!("{} s", self.cooldown.as_secs()),
                format!("{} s", other.cooldown.as_secs()),
            ),
            ("gw", self.gateway.to_string(), other.gateway.to_string()),
            ("exclude", exclude(self), exclude(other)),
            ("autonomy", format!("{} s", self.autonomy), format!("{} s", other.autonomy)),
        ]
        .into_iter()
        .filter(|(_, one, two)| one != two)
        .map(|(key, one, two)| Difference { key, one, two })
        .collect()
    }
}

/// A key in which two pools differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: &'static str,
    /// The value of the first.
    pub one: String,
    /// The value of the second.
    pub two: String,
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::First => f.write_str("first"),
            Self::Block => f.write_str("block"),
            Self::Fixed(addrs) => {
                let texts: Vec<String> = addrs.iter().map(ToString::to_string).collect();
                f.write_str(&texts.join(","))
            }
        }
    }
}
