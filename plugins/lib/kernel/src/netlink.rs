//! The socket: a request and its answer, lists, many changes at a time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::{EAGAIN, EINTR, ENOBUFS};
use crate::wire::{self, Frame, Frames, Verdict};
use crate::{Error, Namespace};

/// The kernel answers while it takes the request; but it may first wait for its lock, which others hold for
/// seconds when many namespaces end.
const PATIENCE: Duration = Duration::from_secs(20);
/// A list that changes during each of so many attempts is given up.
const TRIES: u32 = 16;
/// How many requests are under way at most. An acknowledgement takes up to about 1.3 KiB of the socket's
/// receive buffer, which has 208 KiB where nobody changed it.
const UNDER_WAY: usize = 100;
/// The kernel fills as much of a datagram of a list as is offered, up to 32 KiB; one answer may be longer.
const DATAGRAM: usize = 64 * 1024;

// Flags of recv(2), from `linux/socket.h`.
const MSG_TRUNC: i32 = 0x20;
const MSG_DONTWAIT: i32 = 0x40;

/// One `NETLINK_ROUTE` socket. It belongs to the namespace in which it was opened for ever, whichever
/// thread uses it.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// A request of a batch, and what it is about for an error.
pub(crate) struct Request {
    pub(crate) message: RouteNetlinkMessage,
    pub(crate) flags: u16,
}

impl Netlink {
    /// A socket of the calling thread's namespace.
    ///
    /// # Errors
    ///
    /// The system has no more of something.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { socket: open(0)?, sequence: 0, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// A socket of another namespace, usable from any thread.
    ///
    /// # Errors
    ///
    /// The namespace cannot be entered, or as for [`Netlink::open`].
    pub fn open_in(namespace: &Namespace) -> Result<Self, Error> {
        namespace.run(Self::open)?
    }

    /// Asks for one thing or changes one, and hands what came before the acknowledgement to `take`.
    pub(crate) fn ask(
        &mut self,
        request: Request,
        what: impl Fn() -> String,
        mut take: impl FnMut(&Frame<'_>),
    ) -> Result<(), Error> {
        let sequence = self.send(vec![request], NLM_F_REQUEST | NLM_F_ACK, &what)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.receive(deadline, &what)?;
            let mut frames = Frames::of(&self.buffer);
            for frame in frames.by_ref().filter(|f| f.sequence == sequence) {
                match frame.verdict() {
                    None => take(&frame),
                    Some(verdict) => return judged(verdict, &what),
                }
            }
            whole(&frames, &what)?;
        }
    }

    /// Changes one thing.
    pub(crate) fn change(
        &mut self,
        request: Request,
        what: impl Fn() -> String,
    ) -> Result<(), Error> {
        self.ask(request, what, |_| ())
    }

    /// A list. If what is listed changes meanwhile, it is listed again.
    pub(crate) fn list<T>(
        &mut self,
        message: &RouteNetlinkMessage,
        what: impl Fn() -> String,
        read: impl Fn(&Frame<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        for _ in 0..TRIES {
            let request = Request { message: message.clone(), flags: 0 };
            let sequence = self.send(vec![request], NLM_F_REQUEST | NLM_F_DUMP, &what)?;
            if let Some(list) = self.one_list(sequence, &what, &read)? {
                return Ok(list);
            }
        }
        Err(Error::Changing { what: what(), tries: TRIES })
    }

    fn one_list<T>(
        &mut self,
        sequence: u32,
        what: &impl Fn() -> String,
        read: &impl Fn(&Frame<'_>) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Error> {
        let mut list = Vec::new();
        let mut interrupted = false;
        loop {
            // As long as something comes, it goes on.
            self.receive(Instant::now() + PATIENCE, what)?;
            let mut frames = Frames::of(&self.buffer);
            for frame in frames.by_ref().filter(|f| f.sequence == sequence) {
                interrupted |= frame.interrupted();
                match frame.verdict() {
                    None => list.extend(read(&frame)),
                    Some(verdict) => {
                        judged(verdict, what)?;
                        return Ok((!interrupted).then_some(list));
                    }
                }
            }
            whole(&frames, what)?;
        }
    }

    /// Many changes: several messages in a send, answers matched by sequence number. One verdict each, in
    /// the order of the requests; `None` where the answer was lost.
    pub(crate) fn change_many(
        &mut self,
        requests: Vec<Request>,
        what: impl Fn() -> String,
    ) -> Result<Vec<Option<Verdict>>, Error> {
        let mut verdicts: Vec<Option<Verdict>> = vec![None; requests.len()];
        let mut requests = requests.into_iter();
        let mut done = 0;
        loop {
            let some: Vec<Request> = requests.by_ref().take(UNDER_WAY).collect();
            if some.is_empty() {
                return Ok(verdicts);
            }
            let count = some.len();
            let last = self.send(some, NLM_F_REQUEST | NLM_F_ACK, &what)?;
            let answers = self.verdicts(last, count, &what)?;
            for (place, verdict) in verdicts.iter_mut().skip(done).zip(answers) {
                *place = verdict;
            }
            done += count;
        }
    }

    /// The verdicts of the `count` requests up to `last`, in their order.
    fn verdicts(
        &mut self,
        last: u32,
        count: usize,
        what: &impl Fn() -> String,
    ) -> Result<Vec<Option<Verdict>>, Error> {
        let mut verdicts = vec![None; count];
        let mut open = count;
        let deadline = Instant::now() + PATIENCE;
        while open > 0 {
            match self.receive(deadline, what) {
                Ok(()) => (),
                // All answers were given before send returned; what is missing now does not come any more.
                Err(Error::Lost { .. }) => {
                    self.drain(what, |frame| keep(&mut verdicts, last, frame))?;
                    return Ok(verdicts);
                }
                Err(e) => return Err(e),
            }
            let mut frames = Frames::of(&self.buffer);
            for frame in frames.by_ref() {
                open -= usize::from(keep(&mut verdicts, last, &frame));
            }
            whole(&frames, what)?;
        }
        Ok(verdicts)
    }

    /// Reads what is there, without waiting.
    fn drain(
        &mut self,
        what: &impl Fn() -> String,
        mut take: impl FnMut(&Frame<'_>) -> bool,
    ) -> Result<(), Error> {
        loop {
            match self.receive_now() {
                Ok(()) => (),
                Err(e) if e.raw_os_error() == Some(EAGAIN) => return Ok(()),
                Err(e) if matches!(e.raw_os_error(), Some(EINTR | ENOBUFS)) => continue,
                Err(e) => return Err(Error::refused(what(), e)),
            }
            for frame in Frames::of(&self.buffer) {
                take(&frame);
            }
        }
    }

    /// Sends requests together and tells the sequence number of the last.
    fn send(
        &mut self,
        requests: Vec<Request>,
        flags: u16,
        what: &impl Fn() -> String,
    ) -> Result<u32, Error> {
        let mut bytes = Vec::with_capacity(requests.len() * 128);
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            wire::append(&mut bytes, request.message, flags | request.flags, self.sequence);
        }
        for _ in 0..TRIES {
            match self.socket.send(&bytes, 0) {
                Ok(_) => return Ok(self.sequence),
                Err(e) if e.raw_os_error() == Some(EINTR) => (),
                Err(e) => return Err(Error::refused(what(), e)),
            }
        }
        Err(Error::refused(what(), io::Error::from_raw_os_error(EINTR)))
    }

    /// Waits for a datagram of the kernel.
    fn receive(&mut self, deadline: Instant, what: &impl Fn() -> String) -> Result<(), Error> {
        loop {
            match self.receive_now() {
                Ok(()) => return Ok(()),
                Err(e) => match e.raw_os_error() {
                    Some(EINTR) => (),
                    Some(ENOBUFS) => return Err(Error::Lost { what: what() }),
                    Some(EAGAIN) => {
                        if !wait(self.socket.as_fd(), deadline)
                            .map_err(|e| Error::refused(what(), e))?
                        {
                            return Err(Error::Timeout { what: what(), after: PATIENCE });
                        }
                    }
                    _ if e.kind() == io::ErrorKind::InvalidData => {
                        let reason = "it is longer than any that is known";
                        return Err(Error::Malformed { what: what(), reason });
                    }
                    _ => return Err(Error::refused(what(), e)),
                },
            }
        }
    }

    fn receive_now(&mut self) -> io::Result<()> {
        receive(&self.socket, &mut self.buffer)
    }
}

/// Keeps a verdict in its place; says whether it was one of these, and the first for its request.
fn keep(verdicts: &mut [Option<Verdict>], last: u32, frame: &Frame<'_>) -> bool {
    let back = usize::try_from(last.wrapping_sub(frame.sequence)).unwrap_or(usize::MAX);
    let Some(place) = back
        .checked_add(1)
        .and_then(|back| verdicts.len().checked_sub(back))
        .and_then(|at| verdicts.get_mut(at))
    else {
        return false;
    };
    match frame.verdict() {
        Some(Ok(verdict)) if place.is_none() => {
            *place = Some(verdict);
            true
        }
        _ => false,
    }
}

/// Whether a datagram was read to its end.
fn whole(frames: &Frames<'_>, what: &impl Fn() -> String) -> Result<(), Error> {
    if frames.spoilt() {
        return Err(Error::Malformed { what: what(), reason: "a message is cut short" });
    }
    Ok(())
}

fn judged(verdict: Result<Verdict, &'static str>, what: &impl Fn() -> String) -> Result<(), Error> {
    match verdict {
        Ok(verdict) if verdict.errno == 0 => Ok(()),
        Ok(verdict) => Err(refusal(verdict, what())),
        Err(reason) => Err(Error::Malformed { what: what(), reason }),
    }
}

/// A verdict that is a refusal, as an error.
pub(crate) fn refusal(verdict: Verdict, what: String) -> Error {
    let source = io::Error::from_raw_os_error(verdict.errno);
    Error::Refused { what, source, detail: verdict.detail }
}

/// A socket that talks to the kernel, and hears of the groups in `groups`, a bit for each.
pub(crate) fn open(groups: u32) -> Result<Socket, Error> {
    let open = || -> io::Result<Socket> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, groups))?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // What an older kernel lacks of these makes texts poorer and lists longer, no more.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(socket)
    };
    open().map_err(|e| Error::refused("open a netlink socket", e))
}

/// Reads a datagram of the kernel into the buffer, without waiting. `InvalidData` if it does not fit.
pub(crate) fn receive(socket: &Socket, buffer: &mut Vec<u8>) -> io::Result<()> {
    loop {
        buffer.clear();
        buffer.reserve(DATAGRAM);
        let (length, sender) = socket.recv_from(buffer, MSG_DONTWAIT | MSG_TRUNC)?;
        if length > buffer.len() {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        // Another process may send here, too, if it may administer the network.
        if sender.port_number() == 0 {
            return Ok(());
        }
    }
}

/// Waits until there is something to read; false if there is nothing at the deadline.
pub(crate) fn wait(fd: BorrowedFd<'_>, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) if !left.is_zero() => (),
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::{RouteAttribute, RouteMessage};

    use super::*;

    /// Asks to delete a route that nobody has: refused, by whomever it is asked.
    fn nothing(n: u8) -> Request {
        let mut message = RouteMessage::default();
        message.header.address_family = netlink_packet_route::AddressFamily::Inet;
        message.header.destination_prefix_length = 32;
        message.header.protocol = 205.into();
        let address = std::net::Ipv4Addr::new(192, 0, 2, n);
        message.attributes =
            vec![RouteAttribute::Destination(address.into()), RouteAttribute::Table(4_321_000)];
        Request { message: RouteNetlinkMessage::DelRoute(message), flags: 0 }
    }

    fn what() -> String {
        "test".to_owned()
    }

    #[test]
    fn each_of_many_requests_has_a_verdict() {
        let mut netlink = Netlink::open().expect("a socket");
        // Also over the end of the numbers.
        netlink.sequence = u32::MAX - 120;
        for count in [0, 1, 99, 100, 101, 255] {
            let requests = (0..count).map(nothing).collect();
            let verdicts = netlink.change_many(requests, what).expect("answers");
            assert_eq!(verdicts.len(), usize::from(count));
            assert!(verdicts.iter().flatten().all(|verdict| verdict.errno != 0));
            assert_eq!(verdicts.iter().flatten().count(), usize::from(count));
        }
    }

    #[test]
    fn answers_that_are_lost_are_known_to_be() {
        let mut netlink = Netlink::open().expect("a socket");
        // As little as there is: room for a few acknowledgements.
        netlink.socket.set_rx_buf_sz(1_i32).expect("set");
        for _ in 0..3 {
            let requests = (0..250).map(nothing).collect();
            let verdicts = netlink.change_many(requests, what).expect("answers");
            assert_eq!(verdicts.len(), 250);
            let lost = verdicts.iter().filter(|v| v.is_none()).count();
            assert!(lost > 0 && lost < 250, "{lost}");
            // The socket is of use after that.
            let refused = netlink.change(nothing(1), what).expect_err("nobody has it");
            assert!(refused.errno().is_some(), "{refused}");
        }
    }

    #[test]
    fn verdicts_find_their_place() {
        let body = 0_i32.to_ne_bytes();
        let frame = |sequence| Frame { kind: 2, flags: 0, sequence, body: &body };
        let mut verdicts = vec![None; 3];
        // Requests 0xffff_ffff, 0 and 1.
        for (sequence, kept) in
            [(2, false), (0xffff_fffe, false), (0, true), (0, false), (0xffff_ffff, true)]
        {
            assert_eq!(keep(&mut verdicts, 1, &frame(sequence)), kept, "{sequence}");
        }
        let there: Vec<bool> = verdicts.iter().map(Option::is_some).collect();
        assert_eq!(there, [true, true, false]);
    }
}
