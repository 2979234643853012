//! What VPP sends: bytes are cut into the same messages however they arrive, and no message breaks its reader.

use vpp_api::catalogue::{Known, known};
use vpp_api::frame::{Frames, LONGEST};
use vpp_api::msg::Welcome;
use vpp_api::{Exchange, Offered};

/// Reads the input behind its first byte as what VPP sends, in pieces of that size.
pub fn vpp_api(input: &[u8]) {
    let Some((piece, stream)) = input.split_first() else { return };
    let whole = messages(stream, stream.len().max(1));
    let pieces = messages(stream, usize::from(*piece).max(1));
    assert_eq!(whole, pieces, "in pieces of {piece}");
    let mut exchange = Exchange::new(1);
    let contexts = [exchange.call("call", 1), exchange.dump("dump", 2), exchange.call("call", 1)];
    exchange.ping(3);
    let known = known();
    let mut taken = 0;
    for message in whole.iter().map(Vec::as_slice).chain([stream]) {
        read(message, &known);
        welcome(message, &known);
        let was_over = exchange.is_over();
        if exchange.offer(message) == Offered::Taken {
            taken += 1;
        } else {
            assert_eq!(exchange.is_over(), was_over, "what is foreign changes nothing");
        }
    }
    assert!(taken > 0 || !exchange.is_over(), "over without an answer");
    let details = exchange.details::<u32>(contexts[1], "details").map_or(0, |all| all.len());
    assert!(details <= taken, "{details} of {taken}");
    for context in [contexts[0], contexts[2]] {
        if exchange.reply::<u32>(context, "reply").is_ok() {
            assert!(exchange.reply::<u32>(context, "reply").is_err(), "a reply is taken once");
        }
    }
}

/// The messages of a stream that arrives in pieces.
fn messages(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let (mut frames, mut messages) = (Frames::default(), Vec::new());
    for piece in stream.chunks(piece) {
        frames.push(piece);
        loop {
            match frames.next_message() {
                Ok(Some(message)) => messages.push(message.to_vec()),
                Ok(None) => break,
                Err(error) => {
                    assert!(usize::try_from(error.0).is_ok_and(|length| length > LONGEST));
                    return messages;
                }
            }
        }
    }
    messages
}

/// A message may be any that is known. What can be read, written again is read as the same.
fn read(message: &[u8], all: &[Known]) {
    // Behind the number and the context, and behind a verdict.
    for start in [6, 10] {
        let Some(fields) = message.get(start..) else { return };
        for known in all {
            let name = known.name.name;
            let Ok(written) = known.recode(fields) else { continue };
            let again = known.recode(&written);
            assert_eq!(again.as_ref(), Ok(&written), "{name} of {fields:02x?}");
            if let Some(shorter) = written.len().checked_sub(1) {
                let cut = known.recode(written.get(..shorter).unwrap_or_default());
                assert!(cut.is_err(), "{name}, one byte less than {written:02x?}");
            }
        }
    }
}

/// A message may be the answer to the handshake.
fn welcome(message: &[u8], all: &[Known]) {
    let mut welcome = match Welcome::read(message) {
        Ok(welcome) => welcome,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(welcome.table.len() * 66 <= message.len());
    for known in all {
        match welcome.table.number(known.name) {
            Ok(number) => assert_eq!(welcome.table.number(known.name), Ok(number)),
            Err(missing) => {
                assert!(missing.to_string().contains(known.name.name));
                assert!(!missing.to_string().contains(char::is_control));
            }
        }
    }
}
