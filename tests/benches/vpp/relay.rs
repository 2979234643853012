//! A socket between a plugin and VPP, which writes down what an answer is waited for.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread::{self, JoinHandle};

use bench_report::Outcome;
use vpp_api::catalogue::known;
use vpp_api::frame::Frames;
use vpp_api::msg::{FAREWELL, Welcome};

/// What the first message of a connection is called, which has the same number everywhere.
const HELLO: &str = "sockclnt_create";

/// The requests that the client sent without waiting in between.
type Trip = Vec<String>;

/// Who has said something last, what each time, and the first answer of all.
#[derive(Debug, Default)]
struct Turns {
    is_clients: bool,
    /// Numbers of messages.
    asked: Vec<Vec<u16>>,
    welcome: Option<Vec<u8>>,
}

/// A relay for one connection.
pub(crate) struct Relay {
    turns: Arc<Mutex<Turns>>,
    thread: JoinHandle<()>,
}

/// How many times a client waited on one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waits {
    /// All.
    pub(crate) all: usize,
    /// Those that are neither for connecting, nor for making the interface, nor for taking leave.
    pub(crate) besides: usize,
}

impl Waits {
    /// Of requests by their names.
    pub(crate) fn of(trips: &[Trip]) -> Self {
        let is_besides = |trip: &&Trip| {
            !trip.iter().any(|name| {
                name == HELLO || name == FAREWELL.name || name.starts_with("af_packet_create")
            })
        };
        Self { all: trips.len(), besides: trips.iter().filter(is_besides).count() }
    }
}

impl Relay {
    /// Listens at a path, and passes on what one client says to a VPP.
    pub(crate) fn start(path: &Path, vpp: &Path) -> Outcome<Self> {
        let listener = UnixListener::bind(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let (vpp, turns) = (vpp.to_owned(), Arc::new(Mutex::new(Turns::default())));
        let counted = Arc::clone(&turns);
        let thread = thread::spawn(move || {
            let Ok((client, _)) = listener.accept() else { return };
            let Ok(server) = UnixStream::connect(&vpp) else { return };
            let (Ok(from_server), Ok(to_client)) = (server.try_clone(), client.try_clone()) else {
                return;
            };
            let back = Arc::clone(&counted);
            let answers = thread::spawn(move || pass(from_server, to_client, &back, false));
            pass(client, server, &counted, true);
            let _ = answers.join();
        });
        Ok(Self { turns, thread })
    }

    /// The round trips of the connection, which has ended.
    pub(crate) fn trips(self) -> Outcome<Vec<Trip>> {
        self.thread.join().map_err(|_| "the relay has failed".to_owned())?;
        let turns = self.turns.lock().map_err(|e| e.to_string())?;
        let welcome = turns.welcome.as_deref().ok_or("VPP has not answered")?;
        let mut table = Welcome::read(welcome).map_err(|e| e.to_string())?.table;
        let names = known().into_iter().map(|it| it.name).chain([FAREWELL]);
        let names: BTreeMap<u16, &str> =
            names.filter_map(|name| Some((table.number(name).ok()?, name.name))).collect();
        let name = |number: &u16| {
            names.get(number).map_or_else(|| number.to_string(), |&it| it.to_owned())
        };
        let mut trips: Vec<Trip> =
            turns.asked.iter().map(|asked| asked.iter().map(name).collect()).collect();
        if let Some(first) = trips.first_mut().and_then(|trip| trip.first_mut()) {
            HELLO.clone_into(first);
        }
        Ok(trips)
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream, turns: &Mutex<Turns>, is_client: bool) {
    // What is written at once is read at once.
    let mut bytes = vec![0; 1 << 20];
    let mut frames = Frames::default();
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let bytes = bytes.get(..count).unwrap_or_default();
        frames.push(bytes);
        if let Ok(mut turns) = turns.lock() {
            if is_client && !turns.is_clients {
                turns.asked.push(Vec::new());
            }
            turns.is_clients = is_client;
            while let Ok(Some(message)) = frames.next_message() {
                if !is_client {
                    turns.welcome.get_or_insert_with(|| message.to_vec());
                } else if let (Some(asked), Some(number)) =
                    (turns.asked.last_mut(), message.first_chunk())
                {
                    asked.push(u16::from_be_bytes(*number));
                }
            }
        }
        if to.write_all(bytes).is_err() {
            return;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_neither_connecting_nor_making_nor_leaving_counts() {
        let trips = |all: &[&str]| -> Vec<Trip> {
            all.iter().map(|trip| trip.split(' ').map(str::to_owned).collect()).collect()
        };
        for (all, besides) in [
            (&["sockclnt_create", "sockclnt_delete"][..], 0),
            (&["sockclnt_create", "a b", "af_packet_create_v3", "c", "d", "sockclnt_delete"], 3),
            (&["sockclnt_create", "a", "af_packet_create_v2 b", "c sockclnt_delete"], 1),
            (&["a", "sockclnt_delete_reply"], 2),
            (&[], 0),
        ] {
            assert_eq!(Waits::of(&trips(all)), Waits { all: all.len(), besides }, "{all:?}");
        }
    }
}
