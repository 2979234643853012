/*!
The stream, cut into messages.

Each message follows a header of 16 bytes, VPP's `msgbuf_t`: a pointer and a time stamp that mean nothing
to others, and between them the length of what follows as a big-endian u32 (VPP: `src/vlibmemory/socket_api.c`).
*/

/// Bytes of the header.
pub const HEADER: usize = 16;

/// The longest message that is accepted. The longest known, the message table with every plugin loaded,
/// has 140 KB.
pub const LONGEST: usize = 8 << 20;

/// Writes a message behind its header.
pub fn frame(out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    payload(out);
    let length = out.len().saturating_sub(start).saturating_sub(HEADER);
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let place = out.iter_mut().skip(start).skip(8);
    place.zip(length).for_each(|(byte, new)| *byte = new);
}

/// A header says that its message is longer than [`LONGEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes")]
pub struct TooLong(pub u32);

/// Bytes as they arrive, until they are messages.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    taken: usize,
}

impl Frames {
    /// Adds what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken.min(self.bytes.len()));
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, without its header; none until more has arrived.
    ///
    /// # Errors
    ///
    /// [`TooLong`]: what has arrived is no message of VPP's, and nothing behind it can be found.
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, TooLong> {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let Some((header, rest)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [_, _, _, _, _, _, _, _, a, b, c, d, ..] = *header;
        let told = u32::from_be_bytes([a, b, c, d]);
        let length = usize::try_from(told).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(TooLong(told));
        }
        let message = rest.get(..length);
        if message.is_some() {
            self.taken = self.taken.saturating_add(HEADER).saturating_add(length);
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_header_says_how_much_follows_it() {
        let mut out = vec![9];
        frame(&mut out, |out| out.extend_from_slice(b"abc"));
        assert_eq!(out, b"\x09\0\0\0\0\0\0\0\0\0\0\0\x03\0\0\0\0abc");
    }

    #[test]
    fn a_message_that_cannot_be_is_refused_before_it_is_waited_for() {
        let mut frames = Frames::default();
        frames.push(&[0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        assert_eq!(frames.next_message(), Err(TooLong(u32::MAX)));
    }

    #[test]
    fn what_vpp_leaves_in_its_header_does_not_count() {
        let mut frames = Frames::default();
        frames.push(&[1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 9, 9, 9, 9, 42]);
        assert_eq!(frames.next_message(), Ok(Some(&[42][..])));
        assert_eq!(frames.next_message(), Ok(None));
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_however_they_arrive(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
            piece in 1usize..30,
        ) {
            let mut stream = Vec::new();
            for message in &messages {
                frame(&mut stream, |out| out.extend_from_slice(message));
            }
            let (mut frames, mut arrived) = (Frames::default(), Vec::new());
            for piece in stream.chunks(piece) {
                frames.push(piece);
                while let Some(message) = frames.next_message().unwrap() {
                    arrived.push(message.to_vec());
                }
            }
            prop_assert_eq!(arrived, messages);
        }
    }
}
