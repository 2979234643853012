//! Several requests in one round trip.

use std::marker::PhantomData;

use super::Client;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::msg::{Call, Dump};
use crate::retval::Retval;

/// Requests that go out together. VPP works on them in their order, and does each whatever became of the
/// one before it.
#[derive(Debug)]
pub struct Batch<'c> {
    client: &'c mut Client,
    exchange: Exchange,
    out: Vec<u8>,
}

/// The claim to the reply of a call in a batch.
#[derive(Debug)]
#[must_use]
pub struct Ticket<C> {
    context: u32,
    kind: PhantomData<fn() -> C>,
}

/// The claim to what a dump in a batch sends.
#[derive(Debug)]
#[must_use]
pub struct DumpTicket<D> {
    context: u32,
    kind: PhantomData<fn() -> D>,
}

impl<'c> Batch<'c> {
    pub(super) fn new(client: &'c mut Client) -> Self {
        let exchange = Exchange::new(client.first_context());
        Self { client, exchange, out: Vec::new() }
    }

    /// Adds a request that has a reply.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], or [`Error::GivenUp`]; nothing is sent yet.
    pub fn call<C: Call>(&mut self, request: &C) -> Result<Ticket<C>, Error> {
        let number = self.client.number(C::NAME)?;
        let context = self.exchange.call(C::NAME.name, self.client.number(C::REPLY)?);
        self.client.write(&mut self.out, number, context, request);
        Ok(Ticket { context, kind: PhantomData })
    }

    /// Adds a dump.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], or [`Error::GivenUp`]; nothing is sent yet.
    pub fn dump<D: Dump>(&mut self, request: &D) -> Result<DumpTicket<D>, Error> {
        let number = self.client.number(D::NAME)?;
        let answer = self.client.number(<D::Details as crate::msg::Message>::NAME)?;
        let context = self.exchange.dump(D::NAME.name, answer);
        self.client.write(&mut self.out, number, context, request);
        Ok(DumpTicket { context, kind: PhantomData })
    }

    /// Sends everything and waits for all answers. Refusals are found in the answers.
    ///
    /// # Errors
    ///
    /// What can become of a connection. How far VPP got is not known then.
    pub fn send(self) -> Result<Answers, Error> {
        let Self { client, exchange, out } = self;
        Ok(Answers { exchange: client.run(out, exchange)? })
    }
}

/// The answers to a batch.
#[derive(Debug)]
pub struct Answers {
    exchange: Exchange,
}

impl Answers {
    /// The reply to a call.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], [`Error::Ignored`], [`Error::Malformed`], [`Error::NotHere`].
    pub fn reply<C: Call>(&mut self, ticket: Ticket<C>) -> Result<C::Reply, Error> {
        let refused = |retval| Error::Refused { message: C::NAME.name, retval };
        let (retval, reply) = self.try_reply(ticket)?;
        reply.filter(|_| retval.is_ok()).ok_or_else(|| refused(retval))
    }

    /// The reply to a call whose refusal is an answer, too.
    ///
    /// # Errors
    ///
    /// As [`Answers::reply`], without [`Error::Refused`].
    pub fn try_reply<C: Call>(
        &mut self,
        ticket: Ticket<C>,
    ) -> Result<(Retval, Option<C::Reply>), Error> {
        self.exchange.reply(ticket.context, C::REPLY.name)
    }

    /// What a dump sent.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`], [`Error::NotHere`].
    pub fn details<D: Dump>(&mut self, ticket: DumpTicket<D>) -> Result<Vec<D::Details>, Error> {
        self.exchange.details(ticket.context, <D::Details as crate::msg::Message>::NAME.name)
    }
}
