//! The process: what it holds, and what it does with a message.

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::answer::{Answer, answer};
use super::layout::{Value, Values};
use super::setup::{Planned, Setup, Trouble};
use super::state::{KernelTaps, State, errno};
use super::table::{HELLO, Table};

/// What a client's writer is to do.
pub(super) enum Out {
    /// Send this.
    Bytes(Vec<u8>),
    /// Send half of this, and tell when that is done.
    Half(Vec<u8>, Sender<()>),
}

/// A connection.
pub(super) struct Connection {
    pub(super) socket: UnixStream,
    pub(super) out: Sender<Out>,
    /// After the handshake.
    index: Option<u32>,
    /// Who wants events.
    subscriber: Option<u32>,
    /// Whether it has taken leave.
    pub(super) left: bool,
}

/// A VPP process.
pub(super) struct Process {
    pub(super) setup: Setup,
    pub(super) state: State,
    pub(super) table: Table,
    pub(super) alive: bool,
    pub(super) hung: bool,
    pub(super) slow: std::time::Duration,
    pub(super) connections: BTreeMap<u32, Connection>,
    pub(super) next_connection: u32,
    pub(super) journal: Vec<String>,
    pub(super) planned: Vec<Planned>,
    pub(super) starts: u32,
    taps: KernelTaps,
}

/// Whether the process lives on after a message.
pub(super) type Lives = bool;

impl Process {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            state: State::new(&setup, KernelTaps::new()),
            table: Table::new(&setup, 0),
            setup,
            alive: true,
            hung: false,
            slow: std::time::Duration::ZERO,
            connections: BTreeMap::new(),
            next_connection: 1,
            journal: Vec::new(),
            planned: Vec::new(),
            starts: 0,
            taps: KernelTaps::new(),
        }
    }

    /// The process ID: in a container it may be the same after a restart; here it is not.
    pub(super) const fn pid(&self) -> u32 {
        4000 + self.starts
    }

    /// Ends, as by SIGKILL: connections break, all state is gone but taps that persist.
    pub(super) fn die(&mut self) {
        self.alive = false;
        self.taps = self.state.end();
        for connection in std::mem::take(&mut self.connections).into_values() {
            let _ = connection.socket.shutdown(Shutdown::Both);
        }
    }

    /// Starts again.
    pub(super) fn start(&mut self) {
        self.starts += 1;
        self.state = State::new(&self.setup, std::mem::take(&mut self.taps));
        self.table = Table::new(&self.setup, self.starts);
        self.alive = true;
        self.hung = false;
    }

    /// Takes a connection; its number.
    pub(super) fn connect(&mut self, socket: UnixStream, out: Sender<Out>) -> u32 {
        let number = self.next_connection;
        self.next_connection += 1;
        let connection = Connection { socket, out, index: None, subscriber: None, left: false };
        self.connections.insert(number, connection);
        number
    }

    fn send(&self, to: u32, message: Vec<u8>) {
        if let Some(connection) = self.connections.get(&to) {
            // A client that has gone does not matter.
            let _ = connection.out.send(Out::Bytes(framed(&message)));
        }
    }

    /// Does what a client's message says.
    pub(super) fn message(&mut self, from: u32, message: &[u8]) -> Lives {
        thread::sleep(self.slow);
        let Some(([high, low], body)) = message.split_first_chunk::<2>() else {
            self.state.complain("a message without a number".to_owned());
            return true;
        };
        let number = u16::from_be_bytes([*high, *low]);
        let Some(layout) = self.table.message(number) else {
            self.state.complain(format!("message {number} is not there"));
            return true;
        };
        let name = layout.name.clone();
        if number != HELLO && !layout.is_request() {
            self.state.complain(format!("{name} is no request"));
            return true;
        }
        let request = match layout.read(body) {
            Ok((request, 0)) => request,
            Ok((request, more)) => {
                // VPP takes it.
                self.state.complain(format!("{name} is {more} bytes too long"));
                request
            }
            Err(error) => {
                self.state.complain(format!("{name} is too short: {error}"));
                return true;
            }
        };
        // Every connection ends with it, so it is told apart: no test counts it among what is asked.
        let farewell = name == "sockclnt_delete";
        if !farewell {
            self.journal.push(name.clone());
        }
        let context = request.number("context");
        if number == HELLO {
            let index = 0x8000_0000 | from;
            if let Some(connection) = self.connections.get_mut(&from) {
                connection.index = Some(index);
            }
            let welcome = self.table.welcome(context, index);
            return self.reply(from, vec![welcome], None);
        }
        let index = self.connections.get(&from).and_then(|connection| connection.index);
        if index != Some(request.number("client_index")) {
            self.state.complain(format!("{name} of a client that is not known"));
            return true;
        }
        let trouble = if farewell { None } else { self.trouble(&name) };
        match trouble {
            Some(Trouble::Ignore) => return true,
            Some(Trouble::Busy(time)) => thread::sleep(time),
            Some(Trouble::DieBefore) => {
                self.die();
                return false;
            }
            _ => {}
        }
        let answer = match trouble {
            Some(Trouble::Refuse(retval)) => {
                let reply = format!("{name}_reply");
                assert!(self.table.has(&reply), "{name} has no reply, and cannot be refused");
                Answer::verdict(retval)
            }
            _ => self.answer(from, &name, &request),
        };
        self.tell_events();
        let messages = self.messages(&name, context, answer);
        let lives = self.reply(from, messages, trouble);
        if farewell && let Some(connection) = self.connections.get_mut(&from) {
            let _ = connection.socket.shutdown(Shutdown::Read);
            connection.index = None;
            connection.left = true;
        }
        lives
    }

    /// The trouble that is planned for a message.
    fn trouble(&mut self, name: &str) -> Option<Trouble> {
        let is_of = |planned: &Planned| planned.message.as_deref().is_none_or(|of| of == name);
        let mut found = None;
        for planned in self.planned.iter_mut().filter(|planned| is_of(planned)) {
            if planned.after > 0 {
                planned.after -= 1;
            } else if planned.times > 0 && found.is_none() {
                planned.times -= 1;
                found = Some(planned.trouble.clone());
            }
        }
        self.planned.retain(|planned| planned.times > 0);
        found
    }

    fn answer(&mut self, from: u32, name: &str, request: &Values) -> Answer {
        let with = |name: &str, value: Value| Answer::Reply(0, Values::default().with(name, value));
        match name {
            "control_ping" => {
                let index = request.number("client_index");
                let reply = Values::default().with("client_index", index);
                Answer::Reply(0, reply.with("vpe_pid", self.pid()))
            }
            "show_version" => Answer::Reply(
                0,
                Values::default()
                    .with("program", "vpe")
                    .with("version", format!("{}-miniature", self.setup.release).as_str())
                    .with("build_date", "2026-01-01T00:00:00")
                    .with("build_directory", "/nowhere"),
            ),
            "show_vpe_system_time" => with("vpe_system_time", Value::Float(1.25e9)),
            "api_versions" => {
                let version = Values::default()
                    .with("major", 3)
                    .with("minor", 2)
                    .with("patch", 1)
                    .with("name", "interface.api");
                let records = Value::Records(vec![version]);
                Answer::Reply(0, Values::default().with("count", 1).with("api_versions", records))
            }
            "cli_inband" => {
                let text = format!("unknown input `{}'\n", request.text("cmd"));
                Answer::Reply(errno::UNSPECIFIED, Values::default().with("reply", text.as_str()))
            }
            "want_interface_events" => Answer::of(self.subscribe(from, request)),
            "sockclnt_delete" => with("response", Value::Number(1)),
            _ => answer(&mut self.state, name, request)
                .unwrap_or_else(|| panic!("the miniature does not know {name}")),
        }
    }

    fn subscribe(&mut self, from: u32, request: &Values) -> Result<(), i32> {
        let connection = self.connections.get_mut(&from).ok_or(errno::UNSPECIFIED)?;
        let wants = request.truth("enable_disable");
        if wants == connection.subscriber.is_some() {
            return Err(errno::INVALID_REGISTRATION);
        }
        connection.subscriber = wants.then(|| request.number("pid"));
        Ok(())
    }

    /// Tells what has happened to who wants to know it.
    pub(super) fn tell_events(&mut self) {
        for (interface, flags, deleted) in std::mem::take(&mut self.state.events) {
            for (number, connection) in &self.connections {
                let Some(pid) = connection.subscriber else { continue };
                let event = Values::default()
                    .with("client_index", connection.index.unwrap_or(0))
                    .with("pid", pid)
                    .with("sw_if_index", interface)
                    .with("flags", flags)
                    .with("deleted", deleted);
                self.send(*number, self.table.write("sw_interface_event", &event));
            }
        }
    }

    fn messages(&self, name: &str, context: u32, answer: Answer) -> Vec<Vec<u8>> {
        match answer {
            Answer::Reply(retval, values) => {
                let values = values.with("context", context);
                // The end of a connection has a verdict of another name.
                let values = if name == "sockclnt_delete" {
                    values
                } else {
                    values.with("retval", Value::Number(retval.into()))
                };
                vec![self.table.write(&format!("{name}_reply"), &values)]
            }
            Answer::Details(details, all) => all
                .into_iter()
                .map(|values| self.table.write(details, &values.with("context", context)))
                .collect(),
        }
    }

    fn reply(&mut self, to: u32, mut messages: Vec<Vec<u8>>, trouble: Option<Trouble>) -> Lives {
        match trouble {
            Some(Trouble::DieAfter) => {
                self.die();
                return false;
            }
            Some(Trouble::DieAnswering) => {
                let all: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
                if let Some(connection) = self.connections.get(&to) {
                    let (sender, receiver) = channel();
                    let _ = connection.out.send(Out::Half(all, sender));
                    let _ = receiver.recv();
                }
                self.die();
                return false;
            }
            Some(Trouble::ShortAnswer) => {
                messages.iter_mut().for_each(|message| message.truncate(message.len() - 1));
            }
            _ => {}
        }
        messages.into_iter().for_each(|message| self.send(to, message));
        true
    }
}

/// A message behind its header, with some of what VPP leaves in it.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a length");
    let mut out = vec![0; 8];
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(message);
    out
}
