//! Pools, keys and records of a cluster, as anybody may have written them into etcd.

use ipam_core::range::Range;
use ipam_pool::key::{Key, Keys};
use ipam_pool::node::{Block, BlockState, PoolId};
use ipam_pool::pool::{Part, Pool, PoolSpec};
use ipam_pool::record::{self, AddressRecord, BlockRecord, Meta, Mode, NodeRecord, Tombstone};
use ipam_pool::txn::Kv;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A key is read as what it was made of; a record is written again as it was read, with fields that nobody here
/// knows; a pool that is accepted gives out only what it has.
pub fn pool(input: &[u8]) {
    key(input);
    again::<AddressRecord>(input);
    again::<BlockRecord>(input);
    again::<NodeRecord>(input);
    again::<Tombstone>(input);
    again::<Meta>(input);
    again::<PoolSpec>(input);
    let Ok(spec) = serde_json::from_slice::<PoolSpec>(input) else { return };
    let Ok(pool) = Pool::try_from(&spec) else { return };
    assert_eq!(pool.differences(&pool), []);
    for part in [pool.v4, pool.v6].into_iter().flatten() {
        blocks(&pool, part);
    }
}

fn key(input: &[u8]) {
    let keys = Keys::default();
    let Some(key) = keys.parse(input) else { return };
    let made = match &key {
        Key::Meta => keys.meta(),
        Key::Pools { space } => keys.pools(space),
        Key::Block { space, first } => keys.block(space, *first),
        Key::Address { space, addr } => keys.address(space, *addr),
        Key::Exception { space, addr } => keys.exception(space, *addr),
        Key::Sticky { space, hash } => keys.sticky(space, hash),
        Key::Node { uuid } => keys.node(uuid),
        Key::Boot { uuid } => keys.boot(uuid),
        Key::Name { name } => keys.name(name),
        // Written with ten digits, read with any number of them.
        Key::Index { index } => {
            assert_eq!(keys.parse(&keys.index(*index)), Some(key));
            return;
        }
        Key::Live { uuid } => keys.live(uuid),
        Key::Tombstone { uuid } => keys.tombstone(uuid),
        Key::Request { uuid, space, addr } => keys.request(uuid, space, *addr),
    };
    assert_eq!(made, input, "{key:?}");
}

fn again<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(input: &[u8]) {
    let kv = |value: Vec<u8>| Kv { key: b"k".to_vec(), value, ..Kv::default() };
    let Ok(read) = record::read::<T>(&kv(input.to_vec())) else { return };
    let written = record::write(&read);
    assert_eq!(record::read::<T>(&kv(written)).as_ref(), Ok(&read));
}

fn blocks(pool: &Pool, part: Part) {
    let last = part.blocks() - 1;
    assert_eq!(part.block_at(last + 1), None);
    for position in [0, 1, last / 2, last] {
        let Some(cidr) = part.block_at(position) else {
            assert!(position > last);
            continue;
        };
        let network = cidr.network();
        assert_eq!(part.position_of(network.first()), Some(position));
        assert_eq!(part.position_of(network.last()), Some(position));
        let block = Block {
            id: PoolId { space: "default".to_owned(), pool: pool.name.clone() },
            first: network.first(),
            prefix: part.block,
            fence: 1,
            mode: Mode::Local,
            autonomy: 0,
            state: BlockState::Held,
        };
        let set = pool.range_set(std::iter::once(&block));
        let ranges = set.iter().flat_map(|set| set.ranges());
        let usable: Vec<_> = ranges.flat_map(Range::usable).collect();
        assert_eq!(pool.gives(cidr), !usable.is_empty(), "{cidr}");
        for interval in usable {
            for addr in [interval.first(), interval.last()] {
                assert!(network.contains(addr), "{addr} of {cidr}");
                let (address, gateway) = pool.answer(addr).expect("an address of the pool");
                assert_eq!(address.addr(), addr);
                assert_ne!(gateway, Some(addr), "a gateway is given out");
            }
        }
    }
}
