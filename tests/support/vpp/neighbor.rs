//! Neighbours.

use super::answer::Answer;
use super::layout::{Value, Values};
use super::prefix::{address_of, bytes_of};
use super::state::{Neighbor, State, errno};

/// Does what a request asks for, if it is about neighbours.
pub(super) fn handle(state: &mut State, message: &str, m: &Values) -> Option<Answer> {
    Some(match message {
        "ip_neighbor_add_del" => Answer::stats(change(state, m)),
        "ip_neighbor_dump" => dump(state, m),
        _ => return None,
    })
}

fn change(state: &mut State, m: &Values) -> Result<(), i32> {
    const STATIC: u32 = 1;
    let index = m.number("neighbor.sw_if_index");
    let v6 = m.truth("neighbor.ip_address.af");
    let key = (index, address_of(v6, m.bytes("neighbor.ip_address.un")));
    if !state.interfaces.contains_key(&index) {
        return Err(errno::INVALID_SW_IF_INDEX);
    }
    if !m.truth("is_add") {
        return state.neighbors.remove(&key).map(|_| ()).ok_or(errno::NO_SUCH_ENTRY);
    }
    let new = Neighbor {
        mac: m.bytes("neighbor.mac_address").to_vec(),
        flags: m.number("neighbor.flags"),
    };
    let there = state.neighbors.get(&key);
    if there.is_some_and(|there| there.flags & STATIC != 0 && new.flags & STATIC == 0) {
        return Err(errno::INVALID_SW_IF_INDEX);
    }
    state.neighbors.insert(key, new);
    Ok(())
}

fn dump(state: &State, m: &Values) -> Answer {
    let (index, v6) = (m.number("sw_if_index"), m.truth("af"));
    let wanted = state.neighbors.iter().filter(|((on, address), _)| {
        (index == u32::MAX || *on == index) && address.is_ipv6() == v6
    });
    let details = wanted.map(|((on, address), neighbor)| {
        Values::default()
            .with("age", Value::Float(1.5))
            .with("neighbor.sw_if_index", *on)
            .with("neighbor.flags", neighbor.flags)
            .with("neighbor.mac_address", neighbor.mac.clone())
            .with("neighbor.ip_address.af", v6)
            .with("neighbor.ip_address.un", bytes_of(*address))
    });
    Answer::Details("ip_neighbor_details", details.collect())
}
