//! A connection to VPP.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::exchange::{Exchange, Offered};
use crate::frame::frame;
use crate::msg::{
    Call, ControlPing, Dump, Message, SwInterfaceEvent, WantInterfaceEvents, Welcome, write_hello,
};
use crate::retval::Retval;
use crate::table::{MessageTable, Name};
use crate::wire::{Field as _, Reader, Text};

mod batch;
mod leave;
mod stream;

pub use batch::{Answers, Batch, DumpTicket, Ticket};
use stream::{Stream, Trouble};

/// How a connection is made and used.
#[derive(Clone, Debug)]
pub struct Options {
    /// What VPP shows for this client; cut to 63 bytes.
    pub name: String,
    /// How long an answer may take. Making an interface takes VPP 60 ms, more on a busy host.
    pub timeout: Duration,
    /// How long a socket that is missing, or has nobody behind it, is tried again: VPP needs about half a
    /// second to start.
    pub patience: Duration,
    /// When everything has to be over, if ever: no call waits beyond it.
    pub until: Option<Instant>,
}

impl Options {
    /// Five seconds for each answer, and no patience.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            timeout: Duration::from_secs(5),
            patience: Duration::ZERO,
            until: None,
        }
    }

    /// The first message of a connection.
    fn hello(&self) -> Result<Vec<u8>, Error> {
        let name: String = self.name.chars().filter(|c| c.is_ascii_graphic()).take(63).collect();
        let mut hello = Vec::new();
        write_hello(&mut hello, &Text::new(&name)?, 0);
        Ok(hello)
    }

    /// When something that begins now has to be over.
    fn deadline(&self) -> Instant {
        let deadline = after(self.timeout);
        self.until.map_or(deadline, |until| until.min(deadline))
    }
}

/// The instant behind a time from now. What no clock can hold is a day, which is for ever here.
fn after(time: Duration) -> Instant {
    let now = Instant::now();
    let day = Duration::from_secs(24 * 60 * 60);
    now.checked_add(time).or_else(|| now.checked_add(day)).unwrap_or(now)
}

/// What VPP tells unasked.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Something happened to an interface.
    Interface(SwInterfaceEvent),
    /// More happened than is kept here: everything is to be dumped.
    Missed,
}

/// The least time that an event is waited for.
const LEAST_WAIT: Duration = Duration::from_millis(1);
/// How many events are kept for [`Client::next_event`].
const EVENTS: usize = 4096;
/// Contexts start again at 1 beyond this: above it are numbers that events have in the context's place.
const LAST_CONTEXT: u32 = 0x7000_0000;

/// A connection to VPP, used by one thread. After a timeout or a loss it is given up, because a late answer
/// would be taken for another: [`Client::reconnect`] makes a new one.
///
/// Whoever drops it takes leave of VPP, which is waited for 10 ms at most. A process that ends while a
/// thread of it has one does not: let it end that thread before.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    options: Options,
    stream: Option<Stream>,
    client_index: u32,
    table: MessageTable,
    next_context: u32,
    event_number: Option<u16>,
    events: VecDeque<Event>,
    round_trips: u64,
}

impl Client {
    /// Connects, and learns what this VPP understands.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`], [`Error::Lost`], [`Error::Timeout`], [`Error::NotVpp`].
    pub fn connect(path: &Path, options: &Options) -> Result<Self, Error> {
        let mut client = Self {
            path: path.to_owned(),
            options: options.clone(),
            stream: None,
            client_index: 0,
            table: MessageTable::default(),
            next_context: 1,
            event_number: None,
            events: VecDeque::new(),
            round_trips: 0,
        };
        client.reconnect()?;
        Ok(client)
    }

    /// Connects again. If VPP was restarted all its state is gone, subscriptions also if it was not.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub fn reconnect(&mut self) -> Result<(), Error> {
        const HELLO: &str = "sockclnt_create";
        self.leave();
        self.event_number = None;
        self.events.clear();
        self.next_context = 1;
        let hello = self.options.hello()?;
        let patient = after(self.options.patience);
        let patient = self.options.until.map_or(patient, |until| until.min(patient));
        let mut stream = Stream::connect(&self.path, patient, self.options.deadline())
            .map_err(|trouble| self.failure(trouble, "connect"))?;
        let deadline = self.options.deadline();
        let mut welcome = None;
        self.round_trips = self.round_trips.saturating_add(1);
        stream
            .send(&hello, deadline, |_| {})
            .and_then(|()| {
                stream.receive(deadline, |message| {
                    welcome.get_or_insert_with(|| Welcome::read(message));
                    true
                })
            })
            .map_err(|trouble| self.failure(trouble, HELLO))?;
        let not_vpp = |reason: String| Error::NotVpp { path: self.path.clone(), reason };
        let welcome = welcome.ok_or_else(|| not_vpp("it says nothing".to_owned()))?;
        let welcome = welcome.map_err(|error| not_vpp(error.to_string()))?;
        self.client_index = welcome.client_index;
        self.table = welcome.table;
        self.stream = Some(stream);
        Ok(())
    }

    /// VPP's socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it can be used, and was not given up.
    pub const fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    /// How long an answer may take from now on.
    pub const fn set_timeout(&mut self, timeout: Duration) {
        self.options.timeout = timeout;
    }

    /// When everything has to be over from now on.
    pub const fn set_until(&mut self, until: Option<Instant>) {
        self.options.until = until;
    }

    /// How often VPP was waited for.
    pub const fn round_trips(&self) -> u64 {
        self.round_trips
    }

    /// How many messages this VPP understands, all plugins together.
    pub fn messages(&self) -> usize {
        self.table.len()
    }

    /// Whether this VPP has a message.
    pub fn has<M: Message>(&mut self) -> bool {
        self.table.has(M::NAME)
    }

    /// What this VPP lacks of the messages that somebody needs.
    pub fn lacks(&mut self, names: &[Name]) -> Vec<crate::Missing> {
        names.iter().filter_map(|name| self.table.number(*name).err()).collect()
    }

    /// Requests that go out together and are answered in one round trip.
    pub fn batch(&mut self) -> Batch<'_> {
        Batch::new(self)
    }

    /// Asks, and waits for the reply.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if VPP says so; [`Error::Missing`] before anything is sent; and what can become of
    /// a connection.
    pub fn call<C: Call>(&mut self, request: &C) -> Result<C::Reply, Error> {
        let mut batch = self.batch();
        let ticket = batch.call(request)?;
        batch.send()?.reply(ticket)
    }

    /// The same where a refusal is an answer, too: the reply's fields are those of an error then, if there
    /// are any.
    ///
    /// # Errors
    ///
    /// As [`Client::call`], without [`Error::Refused`].
    pub fn try_call<C: Call>(&mut self, request: &C) -> Result<(Retval, Option<C::Reply>), Error> {
        let mut batch = self.batch();
        let ticket = batch.call(request)?;
        batch.send()?.try_reply(ticket)
    }

    /// Asks for all of a kind.
    ///
    /// # Errors
    ///
    /// As [`Client::call`]; a dump is never refused.
    pub fn dump<D: Dump>(&mut self, request: &D) -> Result<Vec<D::Details>, Error> {
        let mut batch = self.batch();
        let ticket = batch.dump(request)?;
        batch.send()?.details(ticket)
    }

    /// Subscribes to interface events, for [`Client::next_event`]. Whoever does so has to take them: VPP
    /// keeps without bound what a client does not read. On a connection that has subscribed nothing happens.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn want_interface_events(&mut self) -> Result<(), Error> {
        let number = self.table.number(SwInterfaceEvent::NAME)?;
        self.event_number = Some(number);
        let request = WantInterfaceEvents { enable_disable: 1, pid: std::process::id() };
        match self.call(&request) {
            Err(error) if error.retval() == Some(Retval::INVALID_REGISTRATION) => Ok(()),
            other => other,
        }
    }

    /// The next event: one that came beside answers, or comes within `wait`, which is a millisecond at least. None
    /// if nothing happens.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] if VPP ends, [`Error::GivenUp`] if this connection was before.
    pub fn next_event(&mut self, wait: Duration) -> Result<Option<Event>, Error> {
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        // Without any time nothing would be read: neither an event nor that VPP has ended.
        let deadline = after(wait.max(LEAST_WAIT));
        let mut stream = self.take_stream()?;
        let number = self.event_number;
        let mut arrived = None;
        let result = stream.receive(deadline, |message| {
            arrived = read_event(number, message);
            arrived.is_some()
        });
        match result {
            // Nothing was asked, so nothing is late.
            Ok(()) | Err(Trouble::Late) => {
                self.stream = Some(stream);
                Ok(arrived)
            }
            Err(trouble) => Err(self.failure(trouble, "sw_interface_event")),
        }
    }

    fn take_stream(&mut self) -> Result<Stream, Error> {
        self.stream.take().ok_or_else(|| Error::GivenUp { path: self.path.clone() })
    }

    /// Sends requests and waits until the last of them is answered. On any failure the stream is dropped.
    fn run(&mut self, mut out: Vec<u8>, mut exchange: Exchange) -> Result<Exchange, Error> {
        if exchange.is_over() {
            return Ok(exchange);
        }
        if exchange.has_dump() {
            let request = self.number(ControlPing::NAME)?;
            let context = exchange.ping(self.number(ControlPing::REPLY)?);
            self.write(&mut out, request, context, &ControlPing {});
        }
        self.next_context = exchange.next_context();
        let mut stream = self.take_stream()?;
        self.round_trips = self.round_trips.saturating_add(1);
        let deadline = self.options.deadline();
        let (events, number) = (&mut self.events, self.event_number);
        let mut take = |message: &[u8]| {
            if exchange.offer(message) == Offered::Foreign {
                keep(events, read_event(number, message));
            }
            exchange.is_over()
        };
        let mut result = stream.send(&out, deadline, |message| {
            take(message);
        });
        if result.is_ok() && !take(&[]) {
            result = stream.receive(deadline, take);
        }
        match result {
            Ok(()) => {
                self.stream = Some(stream);
                Ok(exchange)
            }
            Err(trouble) => Err(self.failure(trouble, exchange.waiting_for())),
        }
    }

    fn number(&mut self, name: Name) -> Result<u16, Error> {
        if self.stream.is_none() {
            return Err(Error::GivenUp { path: self.path.clone() });
        }
        Ok(self.table.number(name)?)
    }

    fn write<M: Message>(&self, out: &mut Vec<u8>, number: u16, context: u32, request: &M) {
        frame(out, |out| {
            number.write(out);
            self.client_index.write(out);
            context.write(out);
            request.write(out);
        });
    }

    fn first_context(&self) -> u32 {
        if self.next_context > LAST_CONTEXT { 1 } else { self.next_context }
    }

    fn failure(&self, trouble: Trouble, during: &'static str) -> Error {
        failure(&self.path, &self.options, trouble, during)
    }
}

fn failure(path: &Path, options: &Options, trouble: Trouble, during: &'static str) -> Error {
    let path = path.to_owned();
    match trouble {
        Trouble::Connect(source) => Error::Connect { path, source },
        Trouble::Io(source) => Error::Lost { path, during, source },
        Trouble::Late => Error::Timeout { path, during, after: options.timeout },
        Trouble::TooLong(error) => Error::NotVpp { path, reason: format!("it sends {error}") },
    }
}

/// A message, if it is an event that was subscribed to.
fn read_event(number: Option<u16>, message: &[u8]) -> Option<Event> {
    let from = &mut Reader::new(message);
    let found = u16::read(from).ok()?;
    let _client_index = u32::read(from).ok()?;
    (Some(found) == number).then(|| SwInterfaceEvent::read(from).ok().map(Event::Interface))?
}

fn keep(events: &mut VecDeque<Event>, event: Option<Event>) {
    let Some(event) = event else { return };
    if events.len() < EVENTS {
        events.push_back(event);
    } else if events.back() != Some(&Event::Missed) {
        events.pop_back();
        events.push_back(Event::Missed);
    }
}

#[cfg(test)]
mod tests;
