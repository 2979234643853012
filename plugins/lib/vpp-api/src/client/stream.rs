//! The socket: bytes out and messages in, until a deadline.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::frame::{Frames, TooLong};

/// What can become of a stream.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It was not made.
    Connect(io::Error),
    /// It broke.
    Io(io::Error),
    /// The deadline came first.
    Late,
    /// What arrived is no message.
    TooLong(TooLong),
}

/// What is sent at once without looking whether something arrives: less than any socket buffers.
const AT_ONCE: usize = 8 * 1024;
/// How much is read at a time.
const BUFFER: usize = 32 * 1024;
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(20);
/// While neither end of the socket can move.
const NAP: Duration = Duration::from_micros(200);

/// A connected socket.
#[derive(Debug)]
pub(super) struct Stream {
    socket: UnixStream,
    frames: Frames,
    buffer: Vec<u8>,
}

impl Stream {
    /// Connects; where nobody listens, tries again until `patient`.
    pub(super) fn connect(
        path: &Path,
        patient: Instant,
        deadline: Instant,
    ) -> Result<Self, Trouble> {
        loop {
            match connect_by(path, deadline.max(patient)) {
                Ok(socket) => {
                    return Ok(Self { socket, frames: Frames::default(), buffer: vec![0; BUFFER] });
                }
                Err(Trouble::Connect(error))
                    if matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::ConnectionRefused
                    ) && Instant::now() < patient =>
                {
                    thread::sleep(PAUSE);
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Connects, says something short, and listens to no answer.
    pub(super) fn say(path: &Path, deadline: Instant, what: &[u8]) -> Result<(), Trouble> {
        let socket = connect_by(path, deadline)?;
        socket.shutdown(Shutdown::Read).map_err(Trouble::Io)?;
        let mut stream = Self { socket, frames: Frames::default(), buffer: Vec::new() };
        stream.send(what, deadline, |_| {})
    }

    /// Sends something short whatever the time is, and waits so long for room at most.
    pub(super) fn send_short(&mut self, what: &[u8], patience: Duration) -> Result<(), Trouble> {
        self.socket.set_write_timeout(Some(patience)).map_err(Trouble::Io)?;
        self.socket.write_all(what).map_err(Trouble::Io)
    }

    /// Sends all of `out`. VPP answers while it is sent, so what arrives is taken meanwhile: neither waits
    /// for the other to read.
    pub(super) fn send(
        &mut self,
        out: &[u8],
        deadline: Instant,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Trouble> {
        let mut rest = out;
        if rest.len() <= AT_ONCE {
            while !rest.is_empty() {
                self.socket.set_write_timeout(Some(left(deadline)?)).map_err(Trouble::Io)?;
                let written = moved(self.socket.write(rest))?.unwrap_or(0);
                rest = rest.get(written..).unwrap_or_default();
            }
            return Ok(());
        }
        self.socket.set_nonblocking(true).map_err(Trouble::Io)?;
        while !rest.is_empty() {
            let written = moved(self.socket.write(rest))?;
            rest = rest.get(written.unwrap_or(0)..).unwrap_or_default();
            let arrived = moved(self.socket.read(&mut self.buffer))?;
            if let Some(count) = arrived {
                self.arrived(count)?;
                while let Some(message) = self.frames.next_message().map_err(Trouble::TooLong)? {
                    take(message);
                }
            }
            if written.is_none() && arrived.is_none() {
                thread::sleep(left(deadline)?.min(NAP));
            }
        }
        self.socket.set_nonblocking(false).map_err(Trouble::Io)
    }

    /// Takes what arrives until `take` says that it was the last.
    pub(super) fn receive(
        &mut self,
        deadline: Instant,
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), Trouble> {
        loop {
            while let Some(message) = self.frames.next_message().map_err(Trouble::TooLong)? {
                if take(message) {
                    return Ok(());
                }
            }
            self.socket.set_read_timeout(Some(left(deadline)?)).map_err(Trouble::Io)?;
            if let Some(count) = moved(self.socket.read(&mut self.buffer))? {
                self.arrived(count)?;
            }
        }
    }

    fn arrived(&mut self, count: usize) -> Result<(), Trouble> {
        if count == 0 {
            let end = io::Error::new(ErrorKind::UnexpectedEof, "it has closed the connection");
            return Err(Trouble::Io(end));
        }
        self.frames.push(self.buffer.get(..count).unwrap_or_default());
        Ok(())
    }
}

/// The bytes that were moved; none if the socket was not ready in its time.
fn moved(result: io::Result<usize>) -> Result<Option<usize>, Trouble> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(None),
            _ => Err(Trouble::Io(error)),
        },
    }
}

/// The time that is left; never nothing, which a socket would take for ever.
fn left(deadline: Instant) -> Result<Duration, Trouble> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(Trouble::Late) } else { Ok(left) }
}

/// Connects, in a thread: where VPP has stopped and its queue of connections is full (five of them),
/// connecting takes for ever, and no deadline can be set for it.
fn connect_by(path: &Path, deadline: Instant) -> Result<UnixStream, Trouble> {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    thread::Builder::new()
        .name("connect".to_owned())
        .stack_size(64 * 1024)
        .spawn(move || sender.send(UnixStream::connect(path)))
        .map_err(Trouble::Connect)?;
    let connected = receiver.recv_timeout(left(deadline)?);
    connected.map_err(|_| Trouble::Late)?.map_err(Trouble::Connect)
}
