/*!
Requests and what came for them: answers are matched by context and number.

VPP answers the requests of one client in their order. A dump has no end of its own, so a ping follows the
last request of an exchange that has one: its answer ends the dumps, and shows which calls VPP has thrown
away without a word (it does so with what it cannot read).
*/

use crate::error::Error;
use crate::retval::Retval;
use crate::wire::{Field, Reader};

/// What became of a message that was offered to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It is one of the answers.
    Taken,
    /// It is not for this exchange: an event, or the answer to something given up.
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Call,
    Dump,
    Ping,
}

#[derive(Clone, Debug)]
struct Asked {
    message: &'static str,
    kind: Kind,
    /// The number of the messages that answer it.
    answer: u16,
    /// What came, behind the context.
    came: Vec<Vec<u8>>,
    done: bool,
}

/// Requests that are answered together.
#[derive(Clone, Debug)]
pub struct Exchange {
    first: u32,
    asked: Vec<Asked>,
    /// Requests without an answer.
    open: usize,
}

impl Exchange {
    /// An exchange whose requests have the contexts from `first` on.
    pub const fn new(first: u32) -> Self {
        Self { first, asked: Vec::new(), open: 0 }
    }

    /// Adds a request with one reply, and tells its context.
    pub fn call(&mut self, message: &'static str, answer: u16) -> u32 {
        self.ask(message, Kind::Call, answer)
    }

    /// Adds a dump, and tells its context.
    pub fn dump(&mut self, message: &'static str, answer: u16) -> u32 {
        self.ask(message, Kind::Dump, answer)
    }

    /// Adds the ping that ends it, and tells its context.
    pub fn ping(&mut self, answer: u16) -> u32 {
        self.ask("control_ping", Kind::Ping, answer)
    }

    fn ask(&mut self, message: &'static str, kind: Kind, answer: u16) -> u32 {
        let context = self.next_context();
        self.asked.push(Asked { message, kind, answer, came: Vec::new(), done: false });
        self.open = self.open.saturating_add(1);
        context
    }

    /// The context of the request that is asked next.
    pub fn next_context(&self) -> u32 {
        self.first.wrapping_add(u32::try_from(self.asked.len()).unwrap_or(u32::MAX))
    }

    /// Whether a ping has to end it.
    pub fn has_dump(&self) -> bool {
        self.asked.iter().any(|asked| asked.kind == Kind::Dump)
    }

    /// Takes a message from VPP, if it is an answer.
    pub fn offer(&mut self, message: &[u8]) -> Offered {
        let from = &mut Reader::new(message);
        let (Ok(number), Ok(context)) = (u16::read(from), u32::read(from)) else {
            return Offered::Foreign;
        };
        let Some(place) = self.place(context) else { return Offered::Foreign };
        let Some(asked) = self.asked.get_mut(place) else { return Offered::Foreign };
        if asked.done || asked.answer != number {
            return Offered::Foreign;
        }
        asked.came.push(from.take(from.left()).unwrap_or_default().to_vec());
        if asked.kind != Kind::Dump {
            asked.done = true;
            self.open = self.open.saturating_sub(1);
        }
        if asked.kind == Kind::Ping {
            // Whatever was asked before it and has no answer will get none.
            self.open = 0;
        }
        Offered::Taken
    }

    /// Whether nothing more will come.
    pub const fn is_over(&self) -> bool {
        self.open == 0
    }

    /// The first request whose answer is still to come.
    pub fn waiting_for(&self) -> &'static str {
        let mut asked = self.asked.iter();
        let call = asked.find(|asked| !asked.done && (asked.kind != Kind::Dump || !self.is_over()));
        call.map_or("nothing", |asked| asked.message)
    }

    fn place(&self, context: u32) -> Option<usize> {
        let place = usize::try_from(context.wrapping_sub(self.first)).ok()?;
        (place < self.asked.len()).then_some(place)
    }

    /// The reply to a call: VPP's verdict, and the fields behind it if they are all there.
    ///
    /// # Errors
    ///
    /// [`Error::Ignored`], [`Error::Malformed`], or [`Error::NotHere`] for what was not asked here or was
    /// taken before.
    pub fn reply<F: Field>(
        &mut self,
        context: u32,
        name: &'static str,
    ) -> Result<(Retval, Option<F>), Error> {
        let place = self.place(context).ok_or(Error::NotHere)?;
        let asked = self.asked.get_mut(place).ok_or(Error::NotHere)?;
        let Some(bytes) = asked.came.pop() else {
            let message = asked.message;
            return Err(if asked.done { Error::NotHere } else { Error::Ignored { message } });
        };
        let from = &mut Reader::new(&bytes);
        let malformed = |source| Error::Malformed { message: name, source };
        let retval = Retval(i32::read(from).map_err(malformed)?);
        match F::read(from) {
            Ok(fields) => Ok((retval, Some(fields))),
            // What VPP sends behind an error means nothing.
            Err(_) if !retval.is_ok() => Ok((retval, None)),
            Err(source) => Err(malformed(source)),
        }
    }

    /// What a dump sent.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if one of them cannot be read, [`Error::NotHere`] for what was not asked here.
    pub fn details<F: Field>(&mut self, context: u32, name: &'static str) -> Result<Vec<F>, Error> {
        let place = self.place(context).ok_or(Error::NotHere)?;
        let asked = self.asked.get_mut(place).ok_or(Error::NotHere)?;
        let read = |bytes: Vec<u8>| {
            F::read(&mut Reader::new(&bytes))
                .map_err(|source| Error::Malformed { message: name, source })
        };
        std::mem::take(&mut asked.came).into_iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(number: u16, context: u32, fields: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        number.write(&mut out);
        context.write(&mut out);
        out.extend_from_slice(fields);
        out
    }

    #[test]
    fn replies_are_matched_by_context_and_number() {
        let mut exchange = Exchange::new(7);
        let (a, b) = (exchange.call("a", 100), exchange.call("b", 100));
        assert_eq!((a, b), (7, 8));
        for foreign in [message(100, 6, &[]), message(100, 9, &[]), message(101, 7, &[]), vec![0]] {
            assert_eq!(exchange.offer(&foreign), Offered::Foreign);
        }
        assert_eq!(exchange.offer(&message(100, b, &[0, 0, 0, 0, 42])), Offered::Taken);
        assert_eq!(exchange.waiting_for(), "a");
        // The same answer again is none.
        assert_eq!(exchange.offer(&message(100, b, &[0, 0, 0, 0, 43])), Offered::Foreign);
        assert!(!exchange.is_over());
        assert_eq!(exchange.offer(&message(100, a, &[0xff, 0xff, 0xff, 0x97])), Offered::Taken);
        assert!(exchange.is_over());
        assert_eq!(exchange.reply::<u8>(b, "b").unwrap(), (Retval(0), Some(42)));
        assert_eq!(exchange.reply::<u8>(a, "a").unwrap(), (Retval::ADDRESS_IN_USE, None));
        assert!(matches!(exchange.reply::<u8>(a, "a"), Err(Error::NotHere)));
        assert!(matches!(exchange.reply::<u8>(99, "a"), Err(Error::NotHere)));
    }

    #[test]
    fn a_ping_ends_dumps_and_shows_what_was_ignored() {
        let mut exchange = Exchange::new(1);
        let (dump, call) = (exchange.dump("dump", 50), exchange.call("call", 60));
        let ping = exchange.ping(70);
        exchange.offer(&message(50, dump, &[1]));
        exchange.offer(&message(50, dump, &[2]));
        assert_eq!(exchange.waiting_for(), "dump");
        exchange.offer(&message(70, ping, &[]));
        assert!(exchange.is_over());
        assert_eq!(exchange.waiting_for(), "call");
        assert_eq!(exchange.details::<u8>(dump, "details").unwrap(), [1, 2]);
        let ignored = exchange.reply::<()>(call, "reply").unwrap_err();
        assert_eq!(ignored.to_string(), "VPP has ignored call");
    }

    #[test]
    fn a_short_answer_is_malformed() {
        let mut exchange = Exchange::new(1);
        let call = exchange.call("call", 60);
        exchange.offer(&message(60, call, &[0, 0, 0, 0, 1]));
        let error = exchange.reply::<u32>(call, "call_reply").unwrap_err();
        let text = "VPP's call_reply cannot be read: it ends at byte 4, 4 more are missing";
        assert_eq!(error.to_string(), text);
    }

    proptest! {
        #[test]
        fn any_messages_can_be_offered(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..24), 0..40),
            near in proptest::collection::vec((1u16..4, 0u32..5, any::<u32>()), 0..40),
        ) {
            let mut exchange = Exchange::new(1);
            let contexts = [exchange.call("a", 1), exchange.dump("b", 2), exchange.ping(3)];
            for bytes in &messages {
                exchange.offer(bytes);
            }
            for (number, context, fields) in near {
                exchange.offer(&message(number, context, &fields.to_be_bytes()));
            }
            let _ = exchange.waiting_for();
            let _ = exchange.reply::<u32>(contexts[0], "a");
            let _ = exchange.details::<u32>(contexts[1], "b");
        }
    }
}
