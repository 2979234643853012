//! Taps.

use std::path::Path;

use super::answer::Answer;
use super::interface::{delete, mac_of, of};
use super::layout::Values;
use super::state::{Interface, Kind, State, errno};

const PERSIST: u32 = 4;
const ATTACH: u32 = 8;

/// Does what a request asks for, if it is about taps.
pub(super) fn handle(state: &mut State, message: &str, m: &Values) -> Option<Answer> {
    Some(match message {
        "tap_create_v2" | "tap_create_v3" => Answer::made(create(state, m)),
        "tap_delete_v2" => Answer::of(delete_tap(state, m)),
        "sw_interface_tap_v2_dump" => dump(state, m),
        _ => return None,
    })
}

/// What a tap is to the kernel: the namespace as it was given, and the name.
pub(super) fn key(m: &Values) -> (String, String) {
    let given = |flag: &str, name: &str| if m.truth(flag) { m.text(name) } else { "" };
    (
        given("host_namespace_set", "host_namespace").to_owned(),
        given("host_if_name_set", "host_if_name").to_owned(),
    )
}

fn has_namespace(namespace: &str) -> bool {
    if namespace.is_empty() {
        return true;
    }
    if let Some(process) = namespace.strip_prefix("pid:") {
        return Path::new("/proc").join(process).exists();
    }
    Path::new("/var/run/netns").join(namespace).exists()
}

fn create(state: &mut State, m: &Values) -> Result<u32, i32> {
    if !state.setup.vhost_net {
        return Err(errno::SYSCALL_1);
    }
    let key = key(m);
    let (namespace, device) = &key;
    if !has_namespace(namespace) {
        return Err(errno::SYSCALL_2);
    }
    let flags = m.number("tap_flags");
    let is_taken = |id: u32| {
        state
            .interfaces
            .values()
            .any(|it| matches!(it.kind, Kind::Tap { id: other, .. } if other == id))
    };
    let id = match m.number("id") {
        u32::MAX => (0..).find(|id| !is_taken(*id)).expect("a number"),
        id if is_taken(id) => return Err(errno::INVALID_ARGUMENT),
        id => id,
    };
    let attached = state.interfaces.values().any(|interface| {
        matches!(&interface.kind, Kind::Tap { request, .. } if self::key(request) == key)
    });
    if attached {
        state.complain(format!("tap {device} of {namespace}: a second queue of the same device"));
    }
    let mut random = || {
        let [a, b, c, d] = state.random().to_be_bytes();
        [0x02, 0xfe, a, b, c, d]
    };
    let host_mac =
        if m.truth("host_mac_addr_set") { mac_of(m.bytes("host_mac_addr")) } else { random() };
    let mac = if m.truth("use_random_mac") { random() } else { mac_of(m.bytes("mac_address")) };
    let exists = state.kernel_taps.contains_key(&key);
    if !(exists && flags & ATTACH != 0) {
        match state.make_tap(m, host_mac, false) {
            0 => {}
            retval => return Err(retval),
        }
    }
    if flags & PERSIST != 0 {
        state.kernel_taps.insert(key, host_mac);
    } else {
        state.kernel_taps.remove(&key);
    }
    let kind = Kind::Tap { id, request: Box::new(m.clone()), host_mac };
    let mut interface = Interface::new(kind, &format!("tap{id}"), mac);
    interface.tag = m.text("tag").chars().take(63).collect();
    Ok(state.add(interface))
}

fn delete_tap(state: &mut State, m: &Values) -> Result<(), i32> {
    let kind = of(state, m)?.kind.clone();
    delete(state, m, |kind| matches!(kind, Kind::Tap { .. }))?;
    if let Kind::Tap { request, host_mac, .. } = kind {
        state.kernel_taps.remove(&key(&request));
        state.make_tap(&request, host_mac, true);
    }
    Ok(())
}

fn dump(state: &State, m: &Values) -> Answer {
    let wanted = m.number("sw_if_index");
    let details = state.interfaces.iter().filter_map(|(index, interface)| {
        let Kind::Tap { id, request, host_mac } = &interface.kind else { return None };
        let (namespace, device) = key(request);
        let ring = |name: &str| match request.number(name) {
            0 => 256,
            size => size,
        };
        let mtu = if request.truth("host_mtu_set") { request.number("host_mtu_size") } else { 0 };
        (wanted == u32::MAX || wanted == *index).then(|| {
            Values::default()
                .with("sw_if_index", *index)
                .with("id", *id)
                .with("tx_ring_sz", ring("tx_ring_sz"))
                .with("rx_ring_sz", ring("rx_ring_sz"))
                .with("host_mtu_size", mtu)
                .with("host_mac_addr", host_mac.to_vec())
                .with("tap_flags", request.number("tap_flags"))
                .with("dev_name", interface.name.as_str())
                .with("host_if_name", device.as_str())
                .with("host_namespace", namespace.as_str())
        })
    });
    Answer::Details("sw_interface_tap_v2_details", details.collect())
}
