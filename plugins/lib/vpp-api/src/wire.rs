/*!
Numbers and texts as they are on the wire.

Integers are big-endian, `f64` is in the byte order of the host (little-endian on everything that VPP
runs on), a bool is one byte, nothing is padded (VPP: `src/vlibapi/api_helper_macros.h` and what its API
compiler generates).
*/

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The message ends inside a field.
    #[error("it ends at byte {at}, {wanted} more are missing")]
    Short {
        /// Where the field begins.
        at: usize,
        /// How many bytes the field has.
        wanted: usize,
    },
    /// A field has a value that it cannot have.
    #[error("{field} is {value}")]
    Value {
        /// The field's type, in words.
        field: &'static str,
        /// What is there.
        value: u64,
    },
}

/// Bytes that are read from the front.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Short`] if there are fewer; nothing is taken then.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let short = DecodeError::Short { at: self.at, wanted: count };
        let end = self.at.checked_add(count).ok_or(short)?;
        let taken = self.bytes.get(self.at..end).ok_or(short)?;
        self.at = end;
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    ///
    /// As [`Reader::take`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let short = DecodeError::Short { at: self.at, wanted: N };
        self.take(N)?.try_into().map_err(|_| short)
    }

    /// How many bytes are left.
    pub const fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }
}

/// A part of a message: how it is written, read and described.
pub trait Field: Sized {
    /// Writes it behind what is there.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the bytes end too early or cannot be a value of this type.
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Adds `name:type` for each of its parts, in VPP's words, to a layout.
    fn layout(name: &str, out: &mut Vec<String>);
}

/// The name of a part below `name`.
pub(crate) fn below(name: &str, part: &str) -> String {
    if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") }
}

macro_rules! numbers {
    ($($type:ident as $name:literal from $from:ident to $to:ident),* $(,)?) => {$(
        impl Field for $type {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.$to());
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self::$from(from.array()?))
            }

            fn layout(name: &str, out: &mut Vec<String>) {
                out.push(format!("{name}:{}", $name));
            }
        }
    )*};
}

numbers! {
    u8 as "u8" from from_be_bytes to to_be_bytes,
    u16 as "u16" from from_be_bytes to to_be_bytes,
    u32 as "u32" from from_be_bytes to to_be_bytes,
    i32 as "i32" from from_be_bytes to to_be_bytes,
    f64 as "f64" from from_le_bytes to to_le_bytes,
}

impl Field for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(u8::read(from)? != 0)
    }

    fn layout(name: &str, out: &mut Vec<String>) {
        out.push(format!("{name}:bool"));
    }
}

/// `N` numbers behind one another.
impl<const N: usize> Field for [u32; N] {
    fn write(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|number| number.write(out));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = u32::read(from)?;
        }
        Ok(numbers)
    }

    fn layout(name: &str, out: &mut Vec<String>) {
        out.push(format!("{name}:u32[{N}]"));
    }
}

/// Bytes without a meaning of their own.
impl<const N: usize> Field for [u8; N] {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.array()
    }

    fn layout(name: &str, out: &mut Vec<String>) {
        out.push(format!("{name}:u8[{N}]"));
    }
}

impl Field for Ipv4Addr {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.octets());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(from.array::<4>()?.into())
    }

    fn layout(name: &str, out: &mut Vec<String>) {
        out.push(format!("{name}:u8[4]"));
    }
}

impl Field for Ipv6Addr {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.octets());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(from.array::<16>()?.into())
    }

    fn layout(name: &str, out: &mut Vec<String>) {
        out.push(format!("{name}:u8[16]"));
    }
}

/// A text does not fit a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is no text for VPP: at most {most} bytes, and no NUL", printable(text))]
pub struct TextError {
    /// The text.
    pub text: String,
    /// How many bytes there may be.
    pub most: usize,
}

/// A text in a field of `N` bytes, of which `N` - 1 can be used: names and tags have 63, paths of
/// memif sockets 107. Kept as bytes: an interface may have been named by anybody.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const N: usize>(Vec<u8>);

impl<const N: usize> Text<N> {
    /// A text.
    ///
    /// # Errors
    ///
    /// [`TextError`] if it has `N` bytes or more, or a NUL.
    pub fn new(text: &str) -> Result<Self, TextError> {
        if text.len() >= N || text.contains('\0') {
            return Err(TextError { text: text.to_owned(), most: N.saturating_sub(1) });
        }
        Ok(Self(text.as_bytes().to_vec()))
    }

    /// The empty text.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// Its bytes, up to the first NUL.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text; bytes that are no UTF-8 are replaced.
    pub fn as_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<const N: usize> PartialEq<str> for Text<N> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl<const N: usize> PartialEq<&str> for Text<N> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

/// As it may be shown to people: control characters are escaped.
impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&printable(&self.as_text()))
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_text())
    }
}

impl<const N: usize> Field for Text<N> {
    fn write(&self, out: &mut Vec<u8>) {
        let end = out.len().saturating_add(N);
        out.extend(self.0.iter().take(N));
        out.resize(end, 0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = from.take(N)?;
        Ok(Self(bytes.split(|&byte| byte == 0).next().unwrap_or_default().to_vec()))
    }

    fn layout(name: &str, out: &mut Vec<String>) {
        out.push(format!("{name}:string[{N}]"));
    }
}

/// A text of any length behind its length, as the last field of a message: `string x[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail(pub String);

impl Field for Tail {
    fn write(&self, out: &mut Vec<u8>) {
        // No text here has 4 GiB: it would not fit a message.
        u32::try_from(self.0.len()).unwrap_or(u32::MAX).write(out);
        out.extend_from_slice(self.0.as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = usize::try_from(u32::read(from)?).unwrap_or(usize::MAX);
        Ok(Self(String::from_utf8_lossy(from.take(length)?).into_owned()))
    }

    fn layout(name: &str, out: &mut Vec<String>) {
        out.push(format!("{name}:string[]"));
    }
}

/// A text with its control characters escaped: what others wrote must not reach a terminal raw.
pub(crate) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
        shown
    })
}

#[cfg(test)]
mod tests;
