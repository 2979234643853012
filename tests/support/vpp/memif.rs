//! memif.

use std::path::Path;

use super::answer::Answer;
use super::interface::{delete, mac_of};
use super::layout::Values;
use super::state::{Interface, Kind, State, errno};

/// Does what a request asks for, if it is about memif.
pub(super) fn handle(state: &mut State, message: &str, m: &Values) -> Option<Answer> {
    Some(match message {
        "memif_socket_filename_add_del" => Answer::of(change_socket(state, m, false).map(|_| ())),
        "memif_socket_filename_add_del_v2" => match change_socket(state, m, true) {
            Ok(id) => Answer::Reply(0, Values::default().with("socket_id", id)),
            Err(retval) => Answer::verdict(retval),
        },
        "memif_socket_filename_dump" => {
            let details = state.memif_sockets.iter().map(|(id, path)| {
                Values::default().with("socket_id", *id).with("socket_filename", path.as_str())
            });
            Answer::Details("memif_socket_filename_details", details.collect())
        }
        "memif_create" | "memif_create_v2" => Answer::made(create(state, m)),
        "memif_delete" => Answer::of(delete(state, m, |kind| matches!(kind, Kind::Memif { .. }))),
        "memif_dump" => dump(state),
        _ => return None,
    })
}

/// The requests that made memifs.
fn requests(state: &State) -> impl Iterator<Item = &Values> {
    state.interfaces.values().filter_map(|interface| match &interface.kind {
        Kind::Memif { request } => Some(request.as_ref()),
        _ => None,
    })
}

fn change_socket(state: &mut State, m: &Values, may_choose: bool) -> Result<u32, i32> {
    let (id, path) = (m.number("socket_id"), m.text("socket_filename"));
    let chooses = may_choose && id == u32::MAX && m.truth("is_add");
    if id == 0 || (id == u32::MAX && !chooses) {
        return Err(errno::INVALID_ARGUMENT);
    }
    if !m.truth("is_add") {
        if !state.memif_sockets.contains_key(&id) {
            return Err(errno::INVALID_ARGUMENT);
        }
        if requests(state).any(|request| request.number("socket_id") == id) {
            return Err(errno::UNEXPECTED_STATE);
        }
        state.memif_sockets.remove(&id);
        return Ok(id);
    }
    if path.is_empty() {
        return Err(errno::INVALID_ARGUMENT);
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/run/vpp/{path}") };
    let id = if chooses { state.random() } else { id };
    match state.memif_sockets.get(&id) {
        Some(there) if *there == path => Ok(id),
        Some(_) => Err(errno::ENTRY_EXISTS),
        None => {
            // Under another number the path may be there already: VPP does not look.
            state.memif_sockets.insert(id, path);
            Ok(id)
        }
    }
}

fn create(state: &mut State, m: &Values) -> Result<u32, i32> {
    const MASTER: u32 = 0;
    let (socket, id, role) = (m.number("socket_id"), m.number("id"), m.number("role"));
    let path = state.memif_sockets.get(&socket).ok_or(errno::INVALID_ARGUMENT)?;
    let ring = m.number("ring_size");
    if ring != 0 && !ring.is_power_of_two() {
        return Err(errno::INVALID_ARGUMENT);
    }
    let is_in_the_way = |other: &Values| {
        other.number("socket_id") == socket
            && (other.number("role") != role || other.number("id") == id)
    };
    if requests(state).any(is_in_the_way) {
        return Err(errno::SUBIF_EXISTS);
    }
    if role == MASTER && socket != 0 && !Path::new(path).parent().is_some_and(Path::exists) {
        return Err(errno::SYSCALL_4);
    }
    let mac = match mac_of(m.bytes("hw_addr")) {
        [0, 0, 0, 0, 0, 0] => {
            let [a, b, c, d] = state.random().to_be_bytes();
            [0x02, 0xfe, a, b, c, d]
        }
        mac => mac,
    };
    let kind = Kind::Memif { request: Box::new(m.clone()) };
    let mut interface = Interface::new(kind, &format!("memif{socket}/{id}"), mac);
    // No peer yet.
    interface.link = false;
    Ok(state.add(interface))
}

fn dump(state: &State) -> Answer {
    let details = state.interfaces.iter().filter_map(|(index, interface)| {
        let Kind::Memif { request } = &interface.kind else { return None };
        let or = |name: &str, default| match request.number(name) {
            0 => default,
            number => number,
        };
        Some(
            Values::default()
                .with("sw_if_index", *index)
                .with("hw_addr", interface.mac.to_vec())
                .with("id", request.number("id"))
                .with("role", request.number("role"))
                .with("mode", request.number("mode"))
                .with("zero_copy", !request.truth("no_zero_copy"))
                .with("socket_id", request.number("socket_id"))
                .with("ring_size", or("ring_size", 1024))
                .with("buffer_size", or("buffer_size", 2048))
                .with("flags", u32::from(interface.up))
                .with("if_name", interface.name.as_str()),
        )
    });
    Answer::Details("memif_details", details.collect())
}
