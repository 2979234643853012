//! The miniature answers nothing that VPP would not answer: bytes by hand, past the client.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use support::vpp::{Setup, Vpp};

/// A connection without a client.
struct Raw {
    socket: UnixStream,
    index: u32,
    /// Names with their CRCs, and numbers.
    table: Vec<(String, u16)>,
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

impl Raw {
    /// Connects, and reads the table as it is on the wire.
    fn connect(vpp: &Vpp) -> Self {
        let socket = UnixStream::connect(vpp.path()).unwrap();
        let mut raw = Self { socket, index: 0, table: Vec::new() };
        let mut hello = vec![0, 15, 1, 2, 3, 4];
        hello.extend(b"raw");
        hello.resize(6 + 64, 0);
        raw.send(&hello);
        let welcome = raw.receive();
        assert_eq!(number(&welcome[..2]), 16);
        assert_eq!(welcome[6..10], [1, 2, 3, 4], "the context comes back");
        assert_eq!(number(&welcome[10..14]), 0);
        raw.index = number(&welcome[14..18]);
        assert_eq!(raw.index & 0x8000_0000, 0x8000_0000);
        let entries = welcome[20..].chunks(66);
        assert_eq!(entries.len(), usize::try_from(number(&welcome[18..20])).unwrap());
        raw.table = entries
            .map(|entry| {
                let name = entry[2..].split(|byte| *byte == 0).next().unwrap().to_vec();
                let number = u16::try_from(number(&entry[..2])).unwrap();
                (String::from_utf8(name).unwrap(), number)
            })
            .collect();
        raw
    }

    fn number_of(&self, name: &str) -> u16 {
        self.table.iter().find(|(entry, _)| entry == name).unwrap_or_else(|| panic!("{name}")).1
    }

    fn send(&mut self, message: &[u8]) {
        let mut bytes = vec![0; 8];
        bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(message);
        self.socket.write_all(&bytes).unwrap();
    }

    /// A request from this client, or from another.
    fn request(&mut self, number: u16, index: u32, context: u32, fields: &[u8]) {
        let mut message = number.to_be_bytes().to_vec();
        message.extend(index.to_be_bytes());
        message.extend(context.to_be_bytes());
        message.extend(fields);
        self.send(&message);
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut header = [0; 16];
        self.socket.read_exact(&mut header).unwrap();
        assert_eq!((&header[..8], &header[12..]), (&[0; 8][..], &[0; 4][..]));
        let mut message = vec![0; usize::try_from(number(&header[8..12])).unwrap()];
        self.socket.read_exact(&mut message).unwrap();
        message
    }

    /// The next answer is that of a ping: everything before was silence.
    fn nothing_came_before_a_ping(&mut self) {
        let (ping, index) = (self.number_of("control_ping_51077d14"), self.index);
        self.request(ping, index, 77, &[]);
        let answer = self.receive();
        let pong = self.number_of("control_ping_reply_f6b0b8ca");
        assert_eq!(number(&answer[..2]), u32::from(pong));
        assert_eq!(number(&answer[2..6]), 77);
        assert_eq!(number(&answer[10..14]), self.index);
    }
}

#[test]
fn what_vpp_cannot_read_is_answered_by_silence() {
    let vpp = Vpp::start(Setup::default());
    let mut raw = Raw::connect(&vpp);
    let index = raw.index;
    let [dump, tag, reply] = [
        "sw_interface_dump_aa610c27",
        "sw_interface_tag_add_del_426f8bc1",
        "control_ping_reply_f6b0b8ca",
    ]
    .map(|name| raw.number_of(name));
    raw.request(0xfff0, index, 1, &[]);
    raw.request(dump, index ^ 1, 2, &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0]);
    raw.request(dump, index, 3, &[0xff, 0xff, 0xff, 0xff, 0]);
    raw.request(dump, index, 4, &[0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 9, b'x']);
    raw.request(reply, index, 5, &[0; 12]);
    let mut endless = vec![1, 0, 0, 0, 1];
    endless.extend([b'x'; 64]);
    raw.request(tag, index, 6, &endless);
    raw.send(&[]);
    raw.send(&[1]);
    raw.nothing_came_before_a_ping();
    let wanted = [
        "message 65520 is not there",
        "sw_interface_dump of a client that is not known",
        "sw_interface_dump is too short: name_filter: 0 bytes, and not 4",
        "sw_interface_dump is too short: name_filter: 1 bytes, and not 9",
        "control_ping_reply is no request",
        "sw_interface_tag_add_del is too short: tag: a text without an end",
        "a message without a number",
        "a message without a number",
    ];
    assert_eq!(vpp.complaints(), wanted);
}

#[test]
fn nobody_is_served_before_the_handshake() {
    let vpp = Vpp::start(Setup::default());
    let mut raw = Raw::connect(&vpp);
    let mut early = Raw {
        socket: UnixStream::connect(vpp.path()).unwrap(),
        index: raw.index,
        table: raw.table.clone(),
    };
    let ping = raw.number_of("control_ping_51077d14");
    early.request(ping, raw.index, 1, &[]);
    let mut hello = vec![0, 15, 0, 0, 0, 9];
    hello.resize(6 + 64, 0);
    early.send(&hello);
    assert_eq!(number(&early.receive()[..2]), 16, "the ping got no answer");
    raw.nothing_came_before_a_ping();
}

/// What VPP would take, but no client should send.
#[test]
fn a_message_that_is_too_long_is_answered_and_noted() {
    let vpp = Vpp::start(Setup::default());
    let mut raw = Raw::connect(&vpp);
    let (ping, index) = (raw.number_of("control_ping_51077d14"), raw.index);
    raw.request(ping, index, 1, &[0]);
    assert_eq!(number(&raw.receive()[2..6]), 1);
    assert_eq!(vpp.complaints(), ["control_ping is 1 bytes too long"]);
}

#[test]
fn numbers_are_others_after_a_restart() {
    let mut vpp = Vpp::start(Setup::default());
    let before = Raw::connect(&vpp).number_of("control_ping_51077d14");
    vpp.restart();
    assert_ne!(Raw::connect(&vpp).number_of("control_ping_51077d14"), before);
}

#[test]
fn who_takes_leave_is_told_so_and_the_connection_ends() {
    let vpp = Vpp::start(Setup::default());
    let mut raw = Raw::connect(&vpp);
    let (leave, index) = (raw.number_of("sockclnt_delete_8ac76db6"), raw.index);
    raw.request(leave, index, 5, &index.to_be_bytes());
    let answer = raw.receive();
    assert_eq!(answer[2..], [0, 0, 0, 5, 0, 0, 0, 1], "1 is success here");
    assert_eq!(raw.socket.read(&mut [0]).unwrap(), 0);
}
