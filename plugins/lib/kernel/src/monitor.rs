//! What others change: links, addresses, routes and neighbours, as they change.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_sys::Socket;

use crate::error::{EAGAIN, EINTR, ENOBUFS};
use crate::wire::{Frame, Frames};
use crate::{
    Address, Error, Link, Namespace, Neighbor, Route, address, link, neighbor, netlink, route,
};

/// Room for about eight thousand events between two looks, where the process may ask for it.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;

/// What to hear of. Groups are `RTNLGRP_…` of `linux/rtnetlink.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Links.
    pub links: bool,
    /// Addresses of both families.
    pub addresses: bool,
    /// Routes of both families.
    pub routes: bool,
    /// Neighbours.
    pub neighbors: bool,
}

impl Groups {
    /// Everything.
    pub const ALL: Self = Self { links: true, addresses: true, routes: true, neighbors: true };

    /// A bit for each group; the group of number n is bit n - 1.
    const fn bits(self) -> u32 {
        const LINK: u32 = 1 << 0;
        const NEIGHBOR: u32 = 1 << 2;
        const IPV4_ADDRESS: u32 = 1 << 4;
        const IPV4_ROUTE: u32 = 1 << 6;
        const IPV6_ADDRESS: u32 = 1 << 8;
        const IPV6_ROUTE: u32 = 1 << 10;
        let mut bits = 0;
        if self.links {
            bits |= LINK;
        }
        if self.addresses {
            bits |= IPV4_ADDRESS | IPV6_ADDRESS;
        }
        if self.routes {
            bits |= IPV4_ROUTE | IPV6_ROUTE;
        }
        if self.neighbors {
            bits |= NEIGHBOR;
        }
        bits
    }
}

/// Something has changed, by whomever, the own process too.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A link is new, or something of it changed.
    LinkSet(Link),
    /// A link is gone, or moved to another namespace.
    LinkGone(Link),
    /// An address is new, or something of it changed.
    AddressSet(Address),
    /// An address is gone.
    AddressGone(Address),
    /// A route is new, or replaces another.
    RouteSet(Route),
    /// A route is gone. IPv4 routes that go because their link goes down or away, or because the link loses
    /// the address that they need, go without a word: take the link's event, or the address's, for theirs.
    RouteGone(Route),
    /// A neighbour is new, or something of it changed.
    NeighborSet(Neighbor),
    /// A neighbour is forgotten.
    NeighborGone(Neighbor),
    /// Events were lost, because they came faster than they were taken: look at everything anew.
    Lost,
}

/// Hears of changes in the namespace in which it was opened.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    buffer: Vec<u8>,
    events: VecDeque<Event>,
}

impl Monitor {
    /// Hears from now on. Who wants to know what is there lists it after this, so that nothing is missed.
    ///
    /// # Errors
    ///
    /// The system has no more of something.
    pub fn open(groups: Groups) -> Result<Self, Error> {
        let socket = netlink::open(groups.bits())?;
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err()
        {
            // Then as much as anybody may have. With less, events are lost sooner, and that is told.
            let _ = socket.set_rx_buf_sz(i32::try_from(RECEIVE_BUFFER).unwrap_or(i32::MAX));
        }
        Ok(Self { socket, buffer: Vec::new(), events: VecDeque::new() })
    }

    /// Hears of changes in another namespace; usable from any thread.
    ///
    /// # Errors
    ///
    /// The namespace cannot be entered, or as for [`Monitor::open`].
    pub fn open_in(namespace: &Namespace, groups: Groups) -> Result<Self, Error> {
        namespace.run(|| Self::open(groups))?
    }

    /// The next event, or `None` if there is none within `timeout`.
    ///
    /// # Errors
    ///
    /// The socket fails.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Event>, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            match netlink::receive(&self.socket, &mut self.buffer) {
                Ok(()) => self.events.extend(Frames::of(&self.buffer).filter_map(|f| event(&f))),
                Err(e) => match e.raw_os_error() {
                    Some(EINTR) => (),
                    Some(ENOBUFS) => return Ok(Some(Event::Lost)),
                    Some(EAGAIN) => {
                        if !netlink::wait(self.socket.as_fd(), deadline).map_err(failed)? {
                            return Ok(None);
                        }
                    }
                    // What cannot be read is as good as lost.
                    _ if e.kind() == io::ErrorKind::InvalidData => return Ok(Some(Event::Lost)),
                    _ => return Err(failed(e)),
                },
            }
        }
    }
}

impl AsFd for Monitor {
    /// For waiting on several at a time; [`Monitor::next`] with no timeout takes what has come. Several
    /// events may come at once: take until there is none.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn failed(e: io::Error) -> Error {
    Error::refused("hear what changes in the network", e)
}

/// The event of a message; `None` for what is not of interest, as a bridge's view of its ports.
fn event(frame: &Frame<'_>) -> Option<Event> {
    Some(match frame.kind {
        link::NEW => Event::LinkSet(link::read(frame)?),
        link::DELETED => Event::LinkGone(link::read(frame)?),
        address::NEW => Event::AddressSet(address::read(frame)?),
        address::DELETED => Event::AddressGone(address::read(frame)?),
        route::NEW => Event::RouteSet(route::read(frame)?),
        route::DELETED => Event::RouteGone(route::read(frame)?),
        neighbor::NEW => Event::NeighborSet(neighbor::read(frame)?),
        neighbor::DELETED => Event::NeighborGone(neighbor::read(frame)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_bits() {
        assert_eq!(Groups::default().bits(), 0);
        assert_eq!(Groups::ALL.bits(), 0b101_0101_0101);
    }

    #[test]
    fn nothing_comes_where_nothing_is_asked_for() {
        let mut monitor = Monitor::open(Groups::default()).expect("a socket");
        assert_eq!(monitor.next(Duration::from_millis(1)).expect("no failure"), None);
    }
}
