//! What a request is answered.

use super::layout::Values;
use super::state::State;
use super::{address, af_packet, interface, memif, neighbor, route, tap};

/// The answer to a request.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// One reply: VPP's verdict, and the fields behind it.
    Reply(i32, Values),
    /// Any number of these messages.
    Details(&'static str, Vec<Values>),
}

impl Answer {
    /// A verdict alone.
    pub(super) fn verdict(retval: i32) -> Self {
        Self::Reply(retval, Values::default())
    }

    /// A verdict on what was tried.
    pub(super) fn of(result: Result<(), i32>) -> Self {
        Self::verdict(result.err().unwrap_or(0))
    }

    /// The number of an interface that was made. An error brings garbage.
    pub(super) fn made(result: Result<u32, i32>) -> Self {
        match result {
            Ok(index) => Self::Reply(0, Values::default().with("sw_if_index", index)),
            Err(retval) => Self::Reply(retval, Values::default().with("sw_if_index", u32::MAX)),
        }
    }

    /// What a route or neighbour brings.
    pub(super) fn stats(result: Result<(), i32>) -> Self {
        let values = Values::default().with("stats_index", 0);
        Self::Reply(result.err().unwrap_or(0), values)
    }
}

/// Does what a request asks for. None for a message that is not for VPP's state.
pub(super) fn answer(state: &mut State, message: &str, request: &Values) -> Option<Answer> {
    let subjects = [
        interface::handle,
        address::handle,
        route::handle,
        neighbor::handle,
        af_packet::handle,
        tap::handle,
        memif::handle,
    ];
    subjects.iter().find_map(|handle| handle(state, message, request))
}
