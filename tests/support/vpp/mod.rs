/*!
A VPP in miniature: its binary API on a Unix socket, and behind it what the messages of the crate `vpp-api`
do to interfaces, addresses, tables, routes, neighbours, taps and memifs.

It is strict as VPP is: what cannot be read, or comes from a client that has not introduced itself, is
answered by silence, and [`Vpp::complaints`] tells what. It has VPP's error numbers and oddities: numbers of
interfaces are used again at once, routes outlive interfaces, an address that is there is refused with other
numbers for IPv4 than for IPv6, dumped prefixes keep their host bits. Message numbers differ after each
start. Layouts and CRCs are those of a release ([`Setup::release`]), read from descriptions, not from
the client's code.

It runs in threads of the test. A binary under test is given its socket's path, [`Vpp::path`]. Nothing is
forwarded: there are no packets.

What it does was seen on VPP 26.06, but for this. Read in VPP's source: an address on `local0` is -1, a
loopback's number that is taken -31, router advertisements without IPv6 -62, a memif socket in use -74 and
its number with another path -116. Taken for likely: rings that are no whole pages -11, a tap's number that is
taken -73, receiving by interrupts on a loopback -126, deleting an interface of another kind -2; borrowed
addresses end with their owner; the priorities of VPP's own sources, of which the order counts.
*/

mod address;
mod af_packet;
mod answer;
mod interface;
mod layout;
mod memif;
mod neighbor;
mod prefix;
mod route;
mod server;
mod setup;
mod state;
mod table;
mod tap;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use layout::{Value, Values};
pub use prefix::Prefix;
pub use setup::{Devices, Hardware, Setup, TapMaker, TapWanted, Trouble};
pub use state::{Interface, Kind, Neighbor, Paths, State};

use crate::Scratch;
use server::{Out, Process};
use setup::Planned;

/// A VPP in miniature. It ends when it is dropped.
#[derive(Debug)]
pub struct Vpp {
    path: PathBuf,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
    _scratch: Option<Scratch>,
}

struct Shared {
    path: PathBuf,
    process: Mutex<Process>,
    /// Told when the process hangs no more, or ends.
    changed: Condvar,
    /// Bytes that are written at a time; 0: all.
    piece: std::sync::atomic::AtomicUsize,
    /// Held by nobody who waits for something.
    silent: Mutex<Silent>,
}

/// Connections that have ended without a word.
#[derive(Default)]
struct Silent {
    ends: BTreeSet<u32>,
    /// Those that sending to has failed.
    noticed: BTreeSet<u32>,
}

impl Silent {
    fn ended(&mut self, number: u32) {
        if !self.noticed.contains(&number) {
            self.ends.insert(number);
        }
    }

    /// Sending to one has failed: VPP notices the others then, too.
    fn failed(&mut self, number: u32) {
        self.noticed.insert(number);
        self.ends.clear();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a VPP process")
    }
}

impl Shared {
    /// The process. A test that has failed while it held it has its own message.
    fn lock(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn silent(&self) -> MutexGuard<'_, Silent> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process when it does not hang.
    fn lock_awake(&self) -> MutexGuard<'_, Process> {
        let hangs = |process: &mut Process| process.hung && process.alive;
        self.changed.wait_while(self.lock(), hangs).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vpp {
    /// Starts one with a socket in a scratch directory of its own.
    pub fn start(setup: Setup) -> Self {
        let scratch = Scratch::new("vpp");
        let mut vpp = Self::start_at(&scratch.path().join("api.sock"), setup);
        vpp._scratch = Some(scratch);
        vpp
    }

    /// Starts one with its socket at a path whose directory exists.
    pub fn start_at(path: &Path, setup: Setup) -> Self {
        let shared = Shared {
            path: path.to_owned(),
            process: Mutex::new(Process::new(setup)),
            changed: Condvar::new(),
            piece: 0.into(),
            silent: Mutex::default(),
        };
        let mut vpp = Self {
            path: path.to_owned(),
            shared: Arc::new(shared),
            listener: None,
            _scratch: None,
        };
        vpp.listen();
        vpp
    }

    fn listen(&mut self) {
        let _ = fs::remove_file(&self.path);
        let listener = UnixListener::bind(&self.path)
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        let shared = Arc::clone(&self.shared);
        self.listener = Some(thread::spawn(move || accept(&listener, &shared)));
    }

    /// Its socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its process ID, as it tells clients.
    pub fn pid(&self) -> u32 {
        self.shared.lock().pid()
    }

    /// Kills it: the socket stays, and nobody is behind it.
    pub fn kill(&mut self) {
        let mut process = self.shared.lock();
        if process.alive {
            process.die();
        }
        drop(process);
        self.wait_for_death();
    }

    /// Waits until nobody listens any more, after it was killed or has died of a planned trouble.
    fn wait_for_death(&mut self) {
        self.shared.changed.notify_all();
        // Wakes who accepts.
        let _ = UnixStream::connect(&self.path);
        if let Some(listener) = self.listener.take() {
            listener.join().expect("the listener ends well");
        }
    }

    /// Starts it after it was killed, or has died: all state is new but taps that persist.
    pub fn start_again(&mut self) {
        assert!(!self.is_alive(), "it is to be killed first");
        self.wait_for_death();
        self.shared.lock().start();
        self.listen();
    }

    /// Kills it and starts it again.
    pub fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Whether it has not been killed, and has not died.
    pub fn is_alive(&self) -> bool {
        self.shared.lock().alive
    }

    /// It answers nothing from now on; what it is asked meanwhile it does when it goes on.
    pub fn hang(&self) {
        self.shared.lock().hung = true;
    }

    /// It goes on.
    pub fn go_on(&self) {
        self.shared.lock().hung = false;
        self.shared.changed.notify_all();
    }

    /// It needs this time for each message from now on.
    pub fn slow_down(&self, time: Duration) {
        self.shared.lock().slow = time;
    }

    /// It writes so many bytes at a time from now on, 0 for all at once.
    pub fn write_in_pieces(&self, bytes: usize) {
        self.shared.piece.store(bytes, std::sync::atomic::Ordering::Relaxed);
    }

    /// Plans trouble at the next message of this name.
    pub fn plan(&self, message: &str, trouble: Trouble) {
        self.plan_after(Some(message), 0, 1, trouble);
    }

    /// Plans trouble at messages of this name, or at any after the handshake: `after` of them go well, and
    /// `times` do not.
    pub fn plan_after(&self, message: Option<&str>, after: usize, times: usize, trouble: Trouble) {
        let message = message.map(str::to_owned);
        self.shared.lock().planned.push(Planned { message, after, times, trouble });
    }

    /// No trouble is planned any more.
    pub fn plan_nothing(&self) {
        self.shared.lock().planned.clear();
    }

    /// The names of the messages that it could read, in their order, since this was asked before; without those that
    /// end a connection.
    pub fn take_journal(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().journal)
    }

    /// The same, looked at and kept.
    pub fn look_at_journal<T>(&self, at: impl FnOnce(&[String]) -> T) -> T {
        at(&self.shared.lock().journal)
    }

    /// No trouble is planned any more.
    pub fn forget_plans(&self) {
        self.shared.lock().planned.clear();
    }

    /// What clients did wrong since it started.
    pub fn complaints(&self) -> Vec<String> {
        self.shared.lock().state.complaints.clone()
    }

    /// How many connections have ended without `sockclnt_delete`, since it failed to send something. Sixteen of them
    /// stop a VPP 26.02 for ever, after a dump that did not fit into a socket.
    pub fn silent_ends(&self) -> usize {
        self.shared.silent().ends.len()
    }

    /// How many clients are connected.
    pub fn clients(&self) -> usize {
        self.shared.lock().connections.len()
    }

    /// Waits until all is done that was asked for by clients that are gone: what they left may come late.
    pub fn settle(&self) {
        crate::wait_until("what gone clients have asked for is done", || self.clients() == 0);
    }

    /// Looks at what it remembers.
    pub fn look<T>(&self, at: impl FnOnce(&State) -> T) -> T {
        at(&self.shared.lock().state)
    }

    /// Changes what it remembers, as somebody else would.
    pub fn change<T>(&self, how: impl FnOnce(&mut State) -> T) -> T {
        how(&mut self.shared.lock().state)
    }

    /// An interface gets its link, or loses it: who wants events is told.
    pub fn set_link(&self, name: &str, link: bool) {
        let mut process = self.shared.lock();
        let (index, _) = process.state.named(name).unwrap_or_else(|| panic!("no interface {name}"));
        let interface = process.state.interfaces.get_mut(&index).expect("it is there");
        interface.link = link;
        let flags = if link { 2 } else { 0 };
        process.state.events.push((index, flags, false));
        process.tell_events();
    }
}

impl Drop for Vpp {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_file(&self.path);
    }
}

/// Takes connections until the process ends.
fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    loop {
        let Ok((socket, _)) = listener.accept() else { return };
        let mut process = shared.lock_awake();
        if !process.alive {
            return;
        }
        let (Ok(reader), Ok(writer)) = (socket.try_clone(), socket.try_clone()) else { continue };
        let (sender, receiver) = channel();
        let number = process.connect(socket, sender);
        drop(process);
        let (to_read, to_write) = (Arc::clone(shared), Arc::clone(shared));
        thread::spawn(move || write(writer, number, &receiver, &to_write));
        thread::spawn(move || read(reader, number, &to_read));
    }
}

/// Does what a client says, until it goes.
fn read(mut socket: UnixStream, number: u32, shared: &Shared) {
    // As VPP reads.
    let mut buffer = [0; 4096];
    let mut bytes: Vec<u8> = Vec::new();
    let starts = shared.lock().starts;
    let is_mine = |process: &Process| process.alive && process.starts == starts;
    loop {
        while let Some(message) = next_message(&mut bytes) {
            let mut process = shared.lock_awake();
            if !is_mine(&process) {
                return;
            }
            if !process.message(number, &message) {
                drop(process);
                // Wakes who accepts, so that nobody listens any more.
                let _ = UnixStream::connect(&shared.path);
                return;
            }
        }
        match socket.read(&mut buffer) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&buffer[..count]),
            _ => break,
        }
    }
    let mut process = shared.lock();
    if is_mine(&process) && process.connections.remove(&number).is_some_and(|it| !it.left) {
        // Before anybody can see that the client is gone.
        shared.silent().ended(number);
    }
}

fn next_message(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = bytes.get(8..12)?.try_into().expect("four bytes");
    let end = 16 + usize::try_from(u32::from_be_bytes(length)).expect("a length");
    if bytes.len() < end {
        return None;
    }
    let rest = bytes.split_off(end);
    let message = std::mem::replace(bytes, rest);
    Some(message[16..].to_vec())
}

/// Writes what is meant for a client. VPP keeps without bound what a client does not read.
fn write(mut socket: UnixStream, number: u32, out: &Receiver<Out>, shared: &Shared) {
    for next in out {
        match next {
            Out::Bytes(bytes) => {
                let piece = match shared.piece.load(std::sync::atomic::Ordering::Relaxed) {
                    0 => bytes.len(),
                    piece => piece,
                };
                if bytes.chunks(piece).any(|piece| socket.write_all(piece).is_err()) {
                    shared.silent().failed(number);
                    return;
                }
            }
            Out::Half(bytes, done) => {
                let _ = socket.write_all(&bytes[..bytes.len() / 2]);
                let _ = done.send(());
            }
        }
    }
}
