/*!
Netlink's framing: messages in a datagram, attributes in a message, acknowledgements. Pure.

Requests are written by netlink-packet-route. Answers are read here, and only the attributes that are
wanted: an attribute that a newer kernel fills differently must not spoil a whole list.

Layouts are those of `linux/netlink.h`; numbers are in the machine's byte order.
*/

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{
    NLA_TYPE_MASK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR,
    NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;

use crate::error::Printable;

const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
/// `NLMSGERR_ATTR_MSG`: the kernel's words.
const ERROR_TEXT: u16 = 1;

/// A message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

/// What the kernel says about a request as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// 0, or a positive error number.
    pub(crate) errno: i32,
    /// The kernel's words, printable.
    pub(crate) detail: Option<String>,
}

impl<'a> Frame<'a> {
    /// The verdict that ends an exchange, if this is one: an acknowledgement, an error, the end of a list.
    /// One that is too short is an error that no number tells.
    pub(crate) fn verdict(&self) -> Option<Result<Verdict, &'static str>> {
        let attributes = match self.kind {
            NLMSG_ERROR if self.flags & NLM_F_ACK_TLVS == 0 => &[],
            // Behind the number stands the request's header; and the request, if it is not capped.
            NLMSG_ERROR => self.error_attributes().unwrap_or_default(),
            NLMSG_DONE => self.body.get(4..).unwrap_or_default(),
            _ => return None,
        };
        let code = match read_i32(self.body) {
            Some(code) => code,
            // Very old kernels end a list without a number.
            None if self.kind == NLMSG_DONE && self.body.is_empty() => 0,
            None => return Some(Err("an acknowledgement is too short")),
        };
        let detail = Attributes(attributes)
            .find(|(kind, _)| *kind == ERROR_TEXT)
            .map(|(_, text)| Printable(&read_text(text)).to_string());
        Some(Ok(Verdict { errno: code.saturating_abs(), detail }))
    }

    fn error_attributes(&self) -> Option<&'a [u8]> {
        let request = if self.flags & NLM_F_CAPPED != 0 {
            HEADER
        } else {
            align(usize::try_from(read_u32(self.body.get(4..)?)?).ok()?)
        };
        self.body.get(4_usize.checked_add(request)?..)
    }

    /// Whether what is listed has changed meanwhile: the list may be wrong.
    pub(crate) const fn interrupted(&self) -> bool {
        self.flags & NLM_F_DUMP_INTR != 0
    }

    /// The attributes behind a header of `skip` bytes.
    pub(crate) fn attributes(&self, skip: usize) -> Attributes<'a> {
        Attributes(self.body.get(align(skip)..).unwrap_or_default())
    }
}

/// The messages of a datagram. Ends at the first that cannot be: then [`Frames::spoilt`] is true.
pub(crate) struct Frames<'a> {
    rest: &'a [u8],
    spoilt: bool,
}

impl<'a> Frames<'a> {
    pub(crate) const fn of(datagram: &'a [u8]) -> Self {
        Self { rest: datagram, spoilt: false }
    }

    pub(crate) const fn spoilt(&self) -> bool {
        self.spoilt
    }

    fn cut(&self) -> Option<(Frame<'a>, &'a [u8])> {
        let length = usize::try_from(read_u32(self.rest)?).ok()?;
        let frame = Frame {
            kind: read_u16(self.rest.get(4..)?)?,
            flags: read_u16(self.rest.get(6..)?)?,
            sequence: read_u32(self.rest.get(8..)?)?,
            // Also refuses a length below that of the header, which would never end.
            body: self.rest.get(HEADER..length)?,
        };
        Some((frame, self.rest.get(align(length)..).unwrap_or_default()))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        if self.rest.is_empty() || self.spoilt {
            return None;
        }
        let Some((frame, rest)) = self.cut() else {
            self.spoilt = true;
            return None;
        };
        self.rest = rest;
        Some(frame)
    }
}

/// Attributes: their kinds, without the bits for nesting and byte order, and their values. Ends at the first
/// that cannot be.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = usize::from(read_u16(self.0)?);
        let kind = read_u16(self.0.get(2..)?)? & NLA_TYPE_MASK;
        let value = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(align(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// Appends a message to what is sent together.
pub(crate) fn append(
    buffer: &mut Vec<u8>,
    message: RouteNetlinkMessage,
    flags: u16,
    sequence: u32,
) -> usize {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let start = buffer.len();
    let length = message.buffer_len();
    buffer.resize(start + align(length), 0);
    if let Some(place) = buffer.get_mut(start..start + length) {
        message.serialize(place);
    }
    length
}

/// Netlink puts everything at multiples of four bytes.
const fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

pub(crate) fn read_u8(bytes: &[u8]) -> Option<u8> {
    bytes.first().copied()
}

pub(crate) fn read_u16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().copied().map(u16::from_ne_bytes)
}

pub(crate) fn read_u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_ne_bytes)
}

pub(crate) fn read_i32(bytes: &[u8]) -> Option<i32> {
    bytes.first_chunk().copied().map(i32::from_ne_bytes)
}

/// An address of exactly four or sixteen bytes.
pub(crate) fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().copied().map(|b| IpAddr::V4(Ipv4Addr::from(b))),
        16 => bytes.first_chunk::<16>().copied().map(|b| IpAddr::V6(Ipv6Addr::from(b))),
        _ => None,
    }
}

/// A text up to its zero byte, if it has one; what is no UTF-8 is replaced.
pub(crate) fn read_text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::{LinkAttribute, LinkMessage};
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u32::try_from(HEADER + body.len()).expect("short").to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(body);
        bytes.resize(align(bytes.len()), 0);
        bytes
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u16::try_from(4 + value.len()).expect("short").to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(align(bytes.len()), 0);
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName("abc".to_owned()), LinkAttribute::Mtu(9)];
        let mut bytes = Vec::new();
        append(&mut bytes, RouteNetlinkMessage::GetLink(message.clone()), 5, 7);
        append(&mut bytes, RouteNetlinkMessage::SetLink(message), 6, 8);
        let frames: Vec<Frame<'_>> = Frames::of(&bytes).collect();
        let heads: Vec<_> = frames.iter().map(|f| (f.kind, f.flags, f.sequence)).collect();
        assert_eq!(heads, [(18, 5, 7), (19, 6, 8)]);
        let attributes: Vec<_> = frames.first().expect("two").attributes(16).collect();
        assert_eq!(attributes, [(3, &b"abc\0"[..]), (4, &9_u32.to_ne_bytes()[..])]);
    }

    #[test]
    fn verdicts() {
        let text = attribute(ERROR_TEXT, b"Invalid \x1bgateway\0");
        let code = |code: i32| code.to_ne_bytes().to_vec();
        let request = frame(24, 0, 1, &[1, 2, 3, 4]);
        let capped =
            [code(-22), request.get(..16).expect("header").to_vec(), text.clone()].concat();
        let whole = [code(-22), request, text.clone()].concat();
        let words = Some("Invalid \\u{1b}gateway".to_owned());
        let cases = [
            (frame(NLMSG_ERROR, 0, 1, &code(0)), Some(Ok((0, None)))),
            (frame(NLMSG_ERROR, 0, 1, &whole), Some(Ok((22, None)))),
            (frame(NLMSG_ERROR, NLM_F_ACK_TLVS, 1, &whole), Some(Ok((22, words.clone())))),
            (
                frame(NLMSG_ERROR, NLM_F_ACK_TLVS | NLM_F_CAPPED, 1, &capped),
                Some(Ok((22, words.clone()))),
            ),
            (frame(NLMSG_ERROR, NLM_F_ACK_TLVS, 1, &code(-2)), Some(Ok((2, None)))),
            (frame(NLMSG_ERROR, 0, 1, &[1]), Some(Err(()))),
            (frame(NLMSG_DONE, 2, 1, &[]), Some(Ok((0, None)))),
            (frame(NLMSG_DONE, 2, 1, &[code(-19), text].concat()), Some(Ok((19, words)))),
            (frame(24, 0, 1, &code(-1)), None),
        ];
        for (bytes, expected) in cases {
            let frame = Frames::of(&bytes).next().expect("one");
            let verdict = frame.verdict().map(|v| v.map(|v| (v.errno, v.detail)).map_err(|_| ()));
            assert_eq!(verdict, expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_datagram_that_is_cut_short_is_spoilt() {
        let bytes = [frame(24, 0, 1, &[1, 2]), frame(24, 0, 2, &[3, 4, 5, 6])].concat();
        for length in 21..bytes.len() {
            let mut frames = Frames::of(bytes.get(..length).expect("shorter"));
            assert_eq!(frames.by_ref().count(), 1, "{length}");
            assert!(frames.spoilt(), "{length}");
        }
        let mut frames = Frames::of(&bytes);
        assert_eq!(frames.by_ref().count(), 2);
        assert!(!frames.spoilt());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_run_on(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let most = bytes.len() / 4 + 1;
            prop_assert!(Attributes(&bytes).count() <= most);
            for frame in Frames::of(&bytes) {
                let _ = frame.verdict();
                prop_assert!(frame.attributes(12).count() <= most);
            }
        }

        #[test]
        fn attributes_come_back(list in proptest::collection::vec((0_u16..0x3fff, proptest::collection::vec(any::<u8>(), 0..9)), 0..6)) {
            let bytes: Vec<u8> = list.iter().flat_map(|(kind, value)| attribute(*kind, value)).collect();
            let read: Vec<(u16, Vec<u8>)> = Attributes(&bytes).map(|(k, v)| (k, v.to_vec())).collect();
            prop_assert_eq!(read, list);
        }
    }
}
