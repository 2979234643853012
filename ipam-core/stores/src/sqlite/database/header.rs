//! A database's header, read before SQLite sees the file.

use std::io::{self, Read as _};
use std::path::Path;

use crate::files::open_regular;
use crate::sqlite::schema::APPLICATION_ID;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// No file.
    Missing,
    /// Ours, with this schema.
    Ours(u32),
    /// A database of another program.
    Foreign,
    /// No database.
    Garbage,
}

/// Reads the header: magic, user_version at 60, application_id at 68, big-endian (SQLite's file format,
/// section 1.3).
pub(crate) fn read_header(path: &Path) -> io::Result<Header> {
    let mut header = Vec::with_capacity(100);
    match open_regular(path) {
        Ok(file) => file.take(100).read_to_end(&mut header)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Header::Missing),
        // A FIFO, a device.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(Header::Foreign),
        Err(error) => return Err(error),
    };
    let number = |at: usize| -> Option<u32> {
        Some(u32::from_be_bytes(header.get(at..at.checked_add(4)?)?.try_into().ok()?))
    };
    if !header.starts_with(b"SQLite format 3\0") {
        return Ok(Header::Garbage);
    }
    Ok(match (number(60), number(68)) {
        (Some(schema), Some(APPLICATION_ID)) => Header::Ours(schema),
        (Some(_), Some(_)) => Header::Foreign,
        _ => Header::Garbage,
    })
}
