/*!
The keys in etcd.

Addresses are written in hexadecimal of fixed width (8 digits for IPv4, 32 for IPv6), so that the order of
keys is the order of numbers and a block is a range of keys. One key per address and one per block are all
that allocation needs; the rest says whose they are.

```text
<prefix>/meta                         what wrote all this, and which cluster it is
<prefix>/s/<space>/pools              the pools of an address space, one document
<prefix>/s/<space>/b/4/0a400340       the block that begins at 10.64.3.64
<prefix>/s/<space>/a/4/0a400345       the address 10.64.3.69
<prefix>/s/<space>/x/4/0a400345       it is used outside the node that holds its block
<prefix>/s/<space>/k/<hash>           the addresses that a pod's interface had last
<prefix>/n/<uuid>                     a node
<prefix>/o/<uuid>                     the boot ID that writes for the node
<prefix>/nn/<name>                    the UUID of the node of this name
<prefix>/ni/<index, 10 digits>        the UUID of the node of this index
<prefix>/l/<uuid>                     an agent runs there; dies with its lease
<prefix>/t/<uuid>                     the node was removed
<prefix>/q/<uuid>/<space>/4/0a400345  somebody asks the node to reserve an address of its block
```
*/

use ipam_core::addr::{Addr, Cidr, Family, Interval};

/// Where everything lies, unless told otherwise.
pub const DEFAULT_PREFIX: &str = "/plat/v1";

/// A range of keys: first, and the end, exclusive.
pub type KeyRange = (Vec<u8>, Vec<u8>);

/// Makes and reads keys below one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
}

/// What a key is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The cluster.
    Meta,
    /// The pools of a space.
    Pools {
        /// The space.
        space: String,
    },
    /// A block.
    Block {
        /// The space.
        space: String,
        /// Its first address.
        first: Addr,
    },
    /// An address.
    Address {
        /// The space.
        space: String,
        /// The address.
        addr: Addr,
    },
    /// An address that is used outside the node that holds its block.
    Exception {
        /// The space.
        space: String,
        /// The address.
        addr: Addr,
    },
    /// What a pod's interface had last.
    Sticky {
        /// The space.
        space: String,
        /// The hash of the pod's interface.
        hash: String,
    },
    /// A node.
    Node {
        /// Its UUID.
        uuid: String,
    },
    /// The boot that writes for a node.
    Boot {
        /// The node's UUID.
        uuid: String,
    },
    /// The node of a name.
    Name {
        /// The name.
        name: String,
    },
    /// The node of an index.
    Index {
        /// The index.
        index: u32,
    },
    /// A node's agent runs.
    Live {
        /// The node's UUID.
        uuid: String,
    },
    /// A node was removed.
    Tombstone {
        /// The node's UUID.
        uuid: String,
    },
    /// A request to a node.
    Request {
        /// The node's UUID.
        uuid: String,
        /// The space.
        space: String,
        /// The address.
        addr: Addr,
    },
}

impl Default for Keys {
    fn default() -> Self {
        Self::new(DEFAULT_PREFIX)
    }
}

impl Keys {
    /// The keys below a prefix; slashes at its end do not count.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.trim_end_matches('/').to_owned() }
    }

    /// The prefix, without a slash at its end.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn key(&self, rest: std::fmt::Arguments<'_>) -> Vec<u8> {
        format!("{}/{rest}", self.prefix).into_bytes()
    }

    /// Everything.
    pub fn all(&self) -> KeyRange {
        below(self.key(format_args!("")))
    }

    /// The cluster.
    pub fn meta(&self) -> Vec<u8> {
        self.key(format_args!("meta"))
    }

    /// Every space.
    pub fn spaces(&self) -> KeyRange {
        below(self.key(format_args!("s/")))
    }

    /// The pools of a space.
    pub fn pools(&self, space: &str) -> Vec<u8> {
        self.key(format_args!("s/{space}/pools"))
    }

    /// A block, by its first address.
    pub fn block(&self, space: &str, first: Addr) -> Vec<u8> {
        self.key(format_args!("s/{space}/b/{}", Hex(first)))
    }

    /// The blocks that begin in an interval.
    pub fn blocks(&self, space: &str, within: Interval) -> KeyRange {
        span(self.block(space, within.first()), self.block(space, within.last()))
    }

    /// Every block of a space.
    pub fn all_blocks(&self, space: &str) -> KeyRange {
        below(self.key(format_args!("s/{space}/b/")))
    }

    /// An address.
    pub fn address(&self, space: &str, addr: Addr) -> Vec<u8> {
        self.key(format_args!("s/{space}/a/{}", Hex(addr)))
    }

    /// The addresses of an interval.
    pub fn addresses(&self, space: &str, within: Interval) -> KeyRange {
        span(self.address(space, within.first()), self.address(space, within.last()))
    }

    /// Every address of a space.
    pub fn all_addresses(&self, space: &str) -> KeyRange {
        below(self.key(format_args!("s/{space}/a/")))
    }

    /// That an address is used outside the node that holds its block.
    pub fn exception(&self, space: &str, addr: Addr) -> Vec<u8> {
        self.key(format_args!("s/{space}/x/{}", Hex(addr)))
    }

    /// The exceptions of an interval.
    pub fn exceptions(&self, space: &str, within: Interval) -> KeyRange {
        span(self.exception(space, within.first()), self.exception(space, within.last()))
    }

    /// Every exception of a space.
    pub fn all_exceptions(&self, space: &str) -> KeyRange {
        below(self.key(format_args!("s/{space}/x/")))
    }

    /// What a pod's interface had last.
    pub fn sticky(&self, space: &str, hash: &str) -> Vec<u8> {
        self.key(format_args!("s/{space}/k/{hash}"))
    }

    /// A node.
    pub fn node(&self, uuid: &str) -> Vec<u8> {
        self.key(format_args!("n/{uuid}"))
    }

    /// Every node.
    pub fn all_nodes(&self) -> KeyRange {
        below(self.key(format_args!("n/")))
    }

    /// The boot that writes for a node.
    pub fn boot(&self, uuid: &str) -> Vec<u8> {
        self.key(format_args!("o/{uuid}"))
    }

    /// The node of a name.
    pub fn name(&self, name: &str) -> Vec<u8> {
        self.key(format_args!("nn/{name}"))
    }

    /// The node of an index.
    pub fn index(&self, index: u32) -> Vec<u8> {
        self.key(format_args!("ni/{index:010}"))
    }

    /// Every index in use.
    pub(crate) fn all_indexes(&self) -> KeyRange {
        below(self.key(format_args!("ni/")))
    }

    /// A node's agent runs.
    pub fn live(&self, uuid: &str) -> Vec<u8> {
        self.key(format_args!("l/{uuid}"))
    }

    /// Every agent that runs.
    pub(crate) fn all_live(&self) -> KeyRange {
        below(self.key(format_args!("l/")))
    }

    /// A node was removed.
    pub fn tombstone(&self, uuid: &str) -> Vec<u8> {
        self.key(format_args!("t/{uuid}"))
    }

    /// Every removed node.
    pub(crate) fn all_tombstones(&self) -> KeyRange {
        below(self.key(format_args!("t/")))
    }

    /// A request to a node about an address of its block.
    pub fn request(&self, uuid: &str, space: &str, addr: Addr) -> Vec<u8> {
        self.key(format_args!("q/{uuid}/{space}/{}", Hex(addr)))
    }

    /// The requests to a node.
    pub fn requests(&self, uuid: &str) -> KeyRange {
        below(self.key(format_args!("q/{uuid}/")))
    }

    /// What a key is about; `None` if it is none of ours.
    pub fn parse(&self, key: &[u8]) -> Option<Key> {
        let text = std::str::from_utf8(key).ok()?;
        let rest = text.strip_prefix(self.prefix.as_str())?.strip_prefix('/')?;
        let parts: Vec<&str> = rest.split('/').collect();
        let own = |text: &&str| (*text).to_owned();
        Some(match parts.as_slice() {
            ["meta"] => Key::Meta,
            ["s", space, "pools"] => Key::Pools { space: own(space) },
            ["s", space, "b", family, hex] => {
                Key::Block { space: own(space), first: parse_hex(family, hex)? }
            }
            ["s", space, "a", family, hex] => {
                Key::Address { space: own(space), addr: parse_hex(family, hex)? }
            }
            ["s", space, "x", family, hex] => {
                Key::Exception { space: own(space), addr: parse_hex(family, hex)? }
            }
            ["s", space, "k", hash] => Key::Sticky { space: own(space), hash: own(hash) },
            ["n", uuid] => Key::Node { uuid: own(uuid) },
            ["o", uuid] => Key::Boot { uuid: own(uuid) },
            ["nn", name] => Key::Name { name: own(name) },
            ["ni", index] => Key::Index { index: index.parse().ok()? },
            ["l", uuid] => Key::Live { uuid: own(uuid) },
            ["t", uuid] => Key::Tombstone { uuid: own(uuid) },
            ["q", uuid, space, family, hex] => {
                Key::Request { uuid: own(uuid), space: own(space), addr: parse_hex(family, hex)? }
            }
            _ => return None,
        })
    }
}

/// An address as two parts of a key: its family and its number.
struct Hex(Addr);

impl std::fmt::Display for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.family() {
            Family::V4 => write!(f, "4/{:08x}", self.0.number()),
            Family::V6 => write!(f, "6/{:032x}", self.0.number()),
        }
    }
}

fn parse_hex(family: &str, hex: &str) -> Option<Addr> {
    let (family, width) = match family {
        "4" => (Family::V4, 8),
        "6" => (Family::V6, 32),
        _ => return None,
    };
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if hex.len() != width || !hex.bytes().all(lower) {
        return None;
    }
    Addr::new(family, u128::from_str_radix(hex, 16).ok()?)
}

/// Every key that begins so. Keys are UTF-8: a last byte of 255 does not occur.
fn below(prefix: Vec<u8>) -> KeyRange {
    let mut end = prefix.clone();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    (prefix, end)
}

/// From one key to another, both included.
fn span(first: Vec<u8>, last: Vec<u8>) -> KeyRange {
    let mut end = last;
    end.push(0);
    (first, end)
}

/// The block of this prefix length that contains the address.
pub fn block_of(addr: Addr, prefix: u8) -> Option<Cidr> {
    let first = Cidr::new(addr, prefix)?.network().first();
    Cidr::new(first, prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Addr {
        Addr::parse(text).unwrap()
    }

    #[test]
    fn keys_are_read_again() {
        let keys = Keys::new("/plat/v1/");
        let text = |key: Vec<u8>| String::from_utf8(key).unwrap();
        for (key, written, parsed) in [
            (keys.meta(), "/plat/v1/meta", Key::Meta),
            (
                keys.block("default", addr("10.64.3.64")),
                "/plat/v1/s/default/b/4/0a400340",
                Key::Block { space: "default".to_owned(), first: addr("10.64.3.64") },
            ),
            (
                keys.address("blue", addr("fd00::1")),
                "/plat/v1/s/blue/a/6/fd000000000000000000000000000001",
                Key::Address { space: "blue".to_owned(), addr: addr("fd00::1") },
            ),
            (keys.index(17), "/plat/v1/ni/0000000017", Key::Index { index: 17 }),
            (
                keys.request("u-1", "default", addr("10.0.0.1")),
                "/plat/v1/q/u-1/default/4/0a000001",
                Key::Request {
                    uuid: "u-1".to_owned(),
                    space: "default".to_owned(),
                    addr: addr("10.0.0.1"),
                },
            ),
        ] {
            assert_eq!(text(key.clone()), written);
            assert_eq!(keys.parse(&key), Some(parsed), "{written}");
        }
        for foreign in [
            &b"/plat/v1"[..],
            b"/plat/v1/",
            b"/plat/v1/s/default/b/4/0A400340",
            b"/plat/v1/s/default/b/4/0a4003400",
            b"/plat/v1/s/default/b/5/0a400340",
            b"/plat/v2/meta",
            b"\xff",
        ] {
            assert_eq!(keys.parse(foreign), None);
        }
    }

    #[test]
    fn ranges_hold_what_lies_in_them() {
        let keys = Keys::default();
        let block = Interval::new(addr("10.0.0.64"), addr("10.0.0.127")).unwrap();
        let (first, end) = keys.addresses("default", block);
        for (text, inside) in [
            ("10.0.0.63", false),
            ("10.0.0.64", true),
            ("10.0.0.100", true),
            ("10.0.0.127", true),
            ("10.0.0.128", false),
        ] {
            let key = keys.address("default", addr(text));
            assert_eq!(first <= key && key < end, inside, "{text}");
        }
        let (first, end) = keys.all_nodes();
        assert!(first < keys.node("z") && keys.node("z") < end && keys.index(0) >= end);
        assert_eq!(block_of(addr("10.0.0.100"), 26).unwrap().addr(), addr("10.0.0.64"));
    }
}
