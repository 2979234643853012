//! A socket between a plugin and VPP, which counts how often an answer is waited for.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread::{self, JoinHandle};

use bench_report::Outcome;

/// Who has said something last, and how often the client was the first to speak again.
#[derive(Debug, Default)]
struct Turns {
    is_clients: bool,
    count: usize,
}

/// A relay for one connection.
pub(crate) struct Relay {
    turns: Arc<Mutex<Turns>>,
    thread: JoinHandle<()>,
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

    /// The round trips of the connection, which has ended: the handshake is one.
    pub(crate) fn round_trips(self) -> Outcome<usize> {
        self.thread.join().map_err(|_| "the relay has failed".to_owned())?;
        self.turns.lock().map(|turns| turns.count).map_err(|e| e.to_string())
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream, turns: &Mutex<Turns>, is_client: bool) {
    // What is written at once is read at once.
    let mut bytes = vec![0; 1 << 20];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if let Ok(mut turns) = turns.lock() {
            if is_client && !turns.is_clients {
                turns.count += 1;
            }
            turns.is_clients = is_client;
        }
        if to.write_all(bytes.get(..count).unwrap_or_default()).is_err() {
            return;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}
