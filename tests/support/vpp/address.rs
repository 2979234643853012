//! Addresses of interfaces, tables of interfaces, and who answers for which address.

use super::answer::Answer;
use super::interface::of;
use super::layout::Values;
use super::prefix::{Prefix, address_of};
use super::state::{State, errno};

/// Does what a request asks for, if it is about addresses.
pub(super) fn handle(state: &mut State, message: &str, m: &Values) -> Option<Answer> {
    Some(match message {
        "sw_interface_add_del_address" => Answer::of(change(state, m)),
        "ip_address_dump" => dump(state, m),
        "sw_interface_set_unnumbered" => Answer::of(set_unnumbered(state, m)),
        "ip_unnumbered_dump" => dump_unnumbered(state, m),
        "sw_interface_set_table" => Answer::of(set_table(state, m)),
        "sw_interface_get_table" => match of(state, m) {
            Ok(interface) => {
                let table = interface.tables[usize::from(m.truth("is_ipv6"))];
                Answer::Reply(0, Values::default().with("vrf_id", table))
            }
            Err(retval) => Answer::verdict(retval),
        },
        "sw_interface_ip6nd_ra_config" => Answer::of(set_ra(state, m)),
        "ip6nd_proxy_add_del" => {
            let address = address_of(true, m.bytes("ip"));
            let proxy = format!("{address} on {}", m.number("sw_if_index"));
            Answer::of(of(state, m).map(|_| ()).and_then(|()| proxy_for(state, m, proxy)))
        }
        "proxy_arp_add_del" => {
            let [low, high] = ["low", "hi"].map(|end| m.bytes(&format!("proxy.{end}")).to_vec());
            let table = m.number("proxy.table_id");
            let proxy = format!("{low:?}-{high:?} in {table}");
            Answer::of(if state.has_table(table, false) {
                proxy_for(state, m, proxy)
            } else {
                Err(errno::NO_SUCH_FIB)
            })
        }
        _ => return None,
    })
}

fn change(state: &mut State, m: &Values) -> Result<(), i32> {
    let index = m.number("sw_if_index");
    let prefix = Prefix::of(m, "prefix");
    of(state, m)?;
    if index == 0 {
        return Err(errno::UNSPECIFIED);
    }
    if m.truth("del_all") {
        of(state, m)?.addresses.clear();
        return Ok(());
    }
    if !prefix.is_valid() {
        // A real VPP has no check here.
        state.complain(format!("address {prefix} on {index}: the length cannot be"));
        return Err(errno::ADDRESS_IN_USE);
    }
    if !m.truth("is_add") {
        let addresses = &mut of(state, m)?.addresses;
        let before = addresses.len();
        addresses.retain(|address| *address != prefix);
        return if addresses.len() < before { Ok(()) } else { Err(errno::ADDRESS_NOT_FOUND) };
    }
    conflict(state, index, prefix)?;
    of(state, m)?.addresses.push(prefix);
    Ok(())
}

/// Subnets of two interfaces in one table do not overlap; one interface may have several addresses of a
/// subnet.
fn conflict(state: &State, index: u32, new: Prefix) -> Result<(), i32> {
    let family = usize::from(new.is_v6());
    let table = state.interfaces[&index].tables[family];
    for (other, interface) in &state.interfaces {
        for there in &interface.addresses {
            if interface.tables[family] != table || !there.overlaps(new) {
                continue;
            }
            if *other == index && *there == new && new.is_v6() {
                return Err(errno::DUPLICATE_ADDRESS);
            }
            if *other == index && there.len == new.len && there.address != new.address {
                continue;
            }
            return Err(errno::ADDRESS_IN_USE);
        }
    }
    Ok(())
}

fn dump(state: &State, m: &Values) -> Answer {
    let index = m.number("sw_if_index");
    let interface = state.interfaces.get(&index);
    let addresses = interface.map(|interface| interface.addresses.as_slice()).unwrap_or_default();
    let of_family = addresses.iter().filter(|address| address.is_v6() == m.truth("is_ipv6"));
    let details = of_family
        .map(|address| address.write(Values::default().with("sw_if_index", index), "prefix"));
    Answer::Details("ip_address_details", details.collect())
}

fn set_unnumbered(state: &mut State, m: &Values) -> Result<(), i32> {
    let (owner, borrower) = (m.number("sw_if_index"), m.number("unnumbered_sw_if_index"));
    of(state, m)?;
    let interface = state.interfaces.get_mut(&borrower).ok_or(errno::INVALID_SW_IF_INDEX_2)?;
    interface.unnumbered = m.truth("is_add").then_some(owner);
    Ok(())
}

fn dump_unnumbered(state: &State, m: &Values) -> Answer {
    let index = m.number("sw_if_index");
    let wanted = state.interfaces.iter().filter(|(at, _)| index == u32::MAX || **at == index);
    let details = wanted.filter_map(|(at, interface)| {
        let owner = interface.unnumbered?;
        Some(Values::default().with("sw_if_index", *at).with("ip_sw_if_index", owner))
    });
    Answer::Details("ip_unnumbered_details", details.collect())
}

fn set_table(state: &mut State, m: &Values) -> Result<(), i32> {
    let (v6, table) = (m.truth("is_ipv6"), m.number("vrf_id"));
    let exists = state.has_table(table, v6);
    let interface = of(state, m)?;
    if !exists {
        return Err(errno::NO_SUCH_FIB);
    }
    let has_address = interface.addresses.iter().any(|address| address.is_v6() == v6);
    if has_address || interface.unnumbered.is_some() {
        return Err(errno::ADDRESS_FOUND);
    }
    interface.tables[usize::from(v6)] = table;
    Ok(())
}

fn set_ra(state: &mut State, m: &Values) -> Result<(), i32> {
    let has_v6 = |addresses: &[Prefix]| addresses.iter().any(|address| address.is_v6());
    let interface = of(state, m)?;
    let owner = interface.unnumbered;
    let own = interface.ip6 || has_v6(&interface.addresses);
    let borrowed = owner.and_then(|owner| state.interfaces.get(&owner));
    if !own && !borrowed.is_some_and(|owner| owner.ip6 || has_v6(&owner.addresses)) {
        return Err(errno::IP6_NOT_ENABLED);
    }
    if m.truth("suppress") {
        let silent = !m.truth("is_no");
        of(state, m)?.ra_silent = silent;
    }
    Ok(())
}

fn proxy_for(state: &mut State, m: &Values, proxy: String) -> Result<(), i32> {
    if m.truth("is_add") {
        state.proxied.insert(proxy);
        Ok(())
    } else if state.proxied.remove(&proxy) {
        Ok(())
    } else {
        Err(errno::NO_SUCH_ENTRY)
    }
}
