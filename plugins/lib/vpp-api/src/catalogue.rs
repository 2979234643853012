//! Every message that is known here, as data: for tests of the layouts, and of the decoder.

use crate::msg::{Call, Kind, LISTS, Message};
use crate::table::Name;
use crate::wire::{DecodeError, Field, Reader};

/// A message that is known.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name.
    pub name: Name,
    /// What it begins with.
    pub kind: Kind,
    fields: fn(&mut Vec<String>),
    recode: fn(&[u8]) -> Result<Vec<u8>, DecodeError>,
}

/// Adds a message, and its reply if it has one.
pub(crate) type List = fn(&mut Vec<Known>);

impl Known {
    pub(crate) fn message<M: Message>() -> Self {
        Self { name: M::NAME, kind: M::KIND, fields: |out| M::layout("", out), recode: recode::<M> }
    }

    pub(crate) fn reply<C: Call>() -> Self {
        Self {
            name: C::REPLY,
            kind: Kind::Reply,
            fields: |out| <C::Reply as Field>::layout("", out),
            recode: recode::<C::Reply>,
        }
    }

    /// Its fields behind the message number, as `name:type` with VPP's words, spaces between them.
    pub fn layout(&self) -> String {
        let head: &[&str] = match self.kind {
            Kind::Request => &["client_index:u32", "context:u32"],
            Kind::Reply => &["context:u32", "retval:i32"],
            Kind::Details => &["context:u32"],
            Kind::Event => &["client_index:u32"],
        };
        let mut fields: Vec<String> = head.iter().map(|&field| field.to_owned()).collect();
        (self.fields)(&mut fields);
        fields.join(" ")
    }

    /// Reads its own fields from bytes, and writes them again.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the bytes are no such message.
    pub fn recode(&self, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
        (self.recode)(bytes)
    }
}

fn recode<F: Field>(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    F::read(&mut Reader::new(bytes))?.write(&mut out);
    Ok(out)
}

/// Every message.
pub fn known() -> Vec<Known> {
    let mut known = Vec::new();
    LISTS.iter().copied().flatten().for_each(|add| add(&mut known));
    known
}

#[cfg(test)]
mod tests;
