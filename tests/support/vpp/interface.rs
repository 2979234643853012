//! Interfaces and loopbacks.

use super::answer::Answer;
use super::layout::{Value, Values};
use super::state::{Interface, Kind, State, errno};

/// Does what a request asks for, if it is about interfaces.
pub(super) fn handle(state: &mut State, message: &str, m: &Values) -> Option<Answer> {
    Some(match message {
        "sw_interface_dump" => dump(state, m),
        "sw_interface_set_flags" => Answer::of(set_flags(state, m)),
        "sw_interface_set_mtu" => Answer::of(of(state, m).map(|interface| {
            interface.mtu.copy_from_slice(m.numbers("mtu"));
        })),
        "hw_interface_set_mtu" => Answer::of(set_frame(state, m)),
        "sw_interface_tag_add_del" => Answer::of(set_tag(state, m)),
        "sw_interface_set_mac_address" => Answer::of(set_mac(state, m)),
        "sw_interface_set_rx_mode" => Answer::of(set_rx_mode(state, m)),
        "sw_interface_set_interface_name" => Answer::of(of(state, m).map(|interface| {
            interface.name = m.text("name").to_owned();
        })),
        "sw_interface_ip6_enable_disable" => Answer::of(set_ip6(state, m)),
        "feature_enable_disable" => {
            let name = format!("{} {}", m.text("arc_name"), m.text("feature_name"));
            Answer::of(set_feature(state, m, &name, m.truth("enable")))
        }
        "feature_gso_enable_disable" => {
            Answer::of(set_feature(state, m, "gso", m.truth("enable_disable")))
        }
        "proxy_arp_intfc_enable_disable" => {
            Answer::of(set_feature(state, m, "proxy-arp", m.truth("enable")))
        }
        "create_loopback" => Answer::made(add_loopback(state, m.bytes("mac_address"), None)),
        "create_loopback_instance" => {
            let instance = m.truth("is_specified").then(|| m.number("user_instance"));
            Answer::made(add_loopback(state, m.bytes("mac_address"), instance))
        }
        "delete_loopback" => Answer::of(delete(state, m, |kind| matches!(kind, Kind::Loopback(_)))),
        _ => return None,
    })
}

/// The interface that a request names.
pub(super) fn of<'s>(state: &'s mut State, m: &Values) -> Result<&'s mut Interface, i32> {
    let index = m.number("sw_if_index");
    state.interfaces.get_mut(&index).ok_or(errno::INVALID_SW_IF_INDEX)
}

/// Deletes the interface that a request names, if it is of the right kind.
pub(super) fn delete(
    state: &mut State,
    m: &Values,
    is_right: impl Fn(&Kind) -> bool,
) -> Result<(), i32> {
    if !is_right(&of(state, m)?.kind) {
        return Err(errno::INVALID_SW_IF_INDEX);
    }
    state.remove(m.number("sw_if_index"));
    Ok(())
}

/// The bytes of an Ethernet address.
pub(super) fn mac_of(bytes: &[u8]) -> [u8; 6] {
    bytes.try_into().expect("six bytes")
}

fn dump(state: &State, m: &Values) -> Answer {
    let (index, filter) = (m.number("sw_if_index"), m.text("name_filter").to_lowercase());
    let is_wanted = |(at, interface): &(&u32, &Interface)| {
        if m.truth("name_filter_valid") {
            interface.name.to_lowercase().contains(&filter)
        } else {
            index == 0 || index == u32::MAX || **at == index
        }
    };
    let details = |(index, interface): (&u32, &Interface)| {
        let flags = u32::from(interface.up) | (u32::from(interface.up && interface.link) << 1);
        Values::default()
            .with("sw_if_index", *index)
            .with("sup_sw_if_index", *index)
            .with("l2_address", interface.mac.to_vec())
            .with("flags", flags)
            .with("link_mtu", u32::from(interface.link_mtu))
            .with("mtu", Value::Numbers(interface.mtu.to_vec()))
            .with("interface_name", interface.name.as_str())
            .with("interface_dev_type", interface.dev_type(&state.setup.release))
            .with("tag", interface.tag.as_str())
    };
    let all = state.interfaces.iter().filter(is_wanted).map(details);
    Answer::Details("sw_interface_details", all.collect())
}

fn set_flags(state: &mut State, m: &Values) -> Result<(), i32> {
    let up = m.number("flags") & 1 != 0;
    let interface = of(state, m)?;
    let changes = interface.up != up;
    interface.up = up;
    let happened = if up { 1 | (u32::from(interface.link) << 1) } else { 0 };
    if changes {
        // What happened, not what is.
        state.events.push((m.number("sw_if_index"), happened, false));
    }
    Ok(())
}

/// What has IPv6, turned on or by an address, is refused a second time (VPP: `ip6_link_enable`).
fn set_ip6(state: &mut State, m: &Values) -> Result<(), i32> {
    let interface = of(state, m)?;
    let has_address = interface.addresses.iter().any(|address| address.is_v6());
    if m.truth("enable") && (interface.ip6 || has_address) {
        return Err(errno::VALUE_EXISTS);
    }
    interface.ip6 = m.truth("enable");
    Ok(())
}

fn set_frame(state: &mut State, m: &Values) -> Result<(), i32> {
    let mtu = u16::try_from(m.number("mtu")).expect("two bytes");
    let hardware = state.setup.hardware.clone();
    let interface = of(state, m)?;
    match interface.kind {
        Kind::Local | Kind::Loopback(_) => return Err(errno::UNSUPPORTED),
        Kind::Hardware(place) if mtu > hardware[place].largest => return Err(errno::INVALID_VALUE),
        _ => interface.link_mtu = mtu,
    }
    Ok(())
}

fn set_tag(state: &mut State, m: &Values) -> Result<(), i32> {
    let interface = of(state, m)?;
    if !m.truth("is_add") {
        interface.tag.clear();
    } else if m.text("tag").is_empty() {
        return Err(errno::INVALID_VALUE);
    } else {
        interface.tag = m.text("tag").to_owned();
    }
    Ok(())
}

fn set_mac(state: &mut State, m: &Values) -> Result<(), i32> {
    let interface = of(state, m)?;
    if matches!(interface.kind, Kind::Local) {
        return Err(errno::UNIMPLEMENTED);
    }
    interface.mac = mac_of(m.bytes("mac_address"));
    Ok(())
}

fn set_rx_mode(state: &mut State, m: &Values) -> Result<(), i32> {
    const INTERRUPT: u32 = 2;
    const ADAPTIVE: u32 = 3;
    let hardware = state.setup.hardware.clone();
    let interface = of(state, m)?;
    match interface.kind {
        Kind::Local | Kind::Loopback(_) => return Err(errno::UNSUPPORTED),
        Kind::Hardware(place) if m.number("mode") >= INTERRUPT && !hardware[place].interrupts => {
            return Err(errno::UNIMPLEMENTED);
        }
        Kind::AfPacket { .. } if m.number("mode") == ADAPTIVE => return Err(errno::UNIMPLEMENTED),
        // It has a queue while somebody is connected only.
        Kind::Memif { .. } => {}
        _ => interface.rx_mode = m.number("mode"),
    }
    Ok(())
}

fn set_feature(state: &mut State, m: &Values, name: &str, on: bool) -> Result<(), i32> {
    let interface = of(state, m)?;
    if on {
        interface.features.insert(name.to_owned());
    } else {
        interface.features.remove(name);
    }
    Ok(())
}

fn add_loopback(state: &mut State, mac: &[u8], instance: Option<u32>) -> Result<u32, i32> {
    let is_taken = |instance: u32| {
        state.interfaces.values().any(|interface| interface.kind == Kind::Loopback(instance))
    };
    let instance = instance.unwrap_or_else(|| (0..).find(|n| !is_taken(*n)).expect("a number"));
    if is_taken(instance) {
        return Err(errno::INVALID_REGISTRATION);
    }
    let low = u8::try_from(instance % 256).expect("a byte");
    let own = [0xde, 0xad, 0, 0, 0, low];
    let mac = if mac == [0; 6] { own } else { mac_of(mac) };
    Ok(state.add(Interface::new(Kind::Loopback(instance), &format!("loop{instance}"), mac)))
}
