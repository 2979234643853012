//! memif: the newest messages that VPP has.

use crate::client::Client;
use crate::error::Error;
use crate::msg;
use crate::types::{IfIndex, Mac, MemifMode, MemifRole};
use crate::wire::{Tail, Text};

/// A socket that VPP knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemifSocket {
    /// Its number.
    pub id: u32,
    /// Whether VPP knew it before.
    pub existed: bool,
}

/// An interface in shared memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memif {
    /// The socket's number.
    pub socket_id: u32,
    /// Its number on the socket.
    pub id: u32,
    /// Which end this is.
    pub role: MemifRole,
    /// What it carries.
    pub mode: MemifMode,
    /// VPP's Ethernet address.
    pub mac: Mac,
    /// Entries of a ring, a power of two; 0 for 1024.
    pub ring: u32,
    /// Queues in each direction; 0 for 1.
    pub queues: u8,
}

impl Client {
    /// Makes a socket known to VPP, or finds it. Two round trips.
    ///
    /// Before 23.06 the caller's `fallback` is the number that it gets, if that is free; else the next
    /// free one. Two callers at once may get the same number: whoever makes sockets holds a lock.
    ///
    /// # Errors
    ///
    /// As [`Client::call`]; [`Error::Text`] if the path has more than 107 bytes.
    pub fn memif_socket(&mut self, path: &str, fallback: u32) -> Result<MemifSocket, Error> {
        let socket_filename = Text::<108>::new(path)?;
        let sockets = self.dump(&msg::MemifSocketFilenameDump {})?;
        if let Some(found) = sockets.iter().find(|socket| socket.socket_filename == path) {
            return Ok(MemifSocket { id: found.socket_id, existed: true });
        }
        if self.has::<msg::MemifSocketFilenameAddDelV2>()
            || !self.has::<msg::MemifSocketFilenameAddDel>()
        {
            let made = self.call(&msg::MemifSocketFilenameAddDelV2 {
                is_add: true,
                socket_id: u32::MAX,
                socket_filename: Tail(path.to_owned()),
            })?;
            return Ok(MemifSocket { id: made.socket_id, existed: false });
        }
        let taken = |id: u32| sockets.iter().any(|socket| socket.socket_id == id);
        // 0 and the last number mean something else. There are fewer sockets than numbers.
        let from = fallback.clamp(1, u32::MAX - 1);
        let socket_id = (from..u32::MAX).chain(1..from).find(|id| !taken(*id)).unwrap_or(from);
        self.call(&msg::MemifSocketFilenameAddDel { is_add: true, socket_id, socket_filename })?;
        Ok(MemifSocket { id: socket_id, existed: false })
    }

    /// Makes VPP forget a socket. -73 if it has none of this number.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn forget_memif_socket(&mut self, socket_id: u32) -> Result<(), Error> {
        let is_add = false;
        if self.has::<msg::MemifSocketFilenameAddDelV2>()
            || !self.has::<msg::MemifSocketFilenameAddDel>()
        {
            let socket_filename = Tail::default();
            self.call(&msg::MemifSocketFilenameAddDelV2 { is_add, socket_id, socket_filename })?;
            return Ok(());
        }
        let socket_filename = Text::empty();
        self.call(&msg::MemifSocketFilenameAddDel { is_add, socket_id, socket_filename })
    }

    /// Makes an interface.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn create_memif(&mut self, wanted: &Memif) -> Result<IfIndex, Error> {
        let Memif { socket_id, id, role, mode, mac, ring, queues } = *wanted;
        let made = if self.has::<msg::MemifCreateV2>() || !self.has::<msg::MemifCreate>() {
            self.call(&msg::MemifCreateV2 {
                role,
                mode,
                rx_queues: queues,
                tx_queues: queues,
                id,
                socket_id,
                ring_size: ring,
                buffer_size: 0,
                no_zero_copy: false,
                use_dma: false,
                hw_addr: mac,
                secret: Text::empty(),
            })
        } else {
            self.call(&msg::MemifCreate {
                role,
                mode,
                rx_queues: queues,
                tx_queues: queues,
                id,
                socket_id,
                ring_size: ring,
                buffer_size: 0,
                no_zero_copy: false,
                hw_addr: mac,
                secret: Text::empty(),
            })
        };
        Ok(made?.sw_if_index)
    }

    /// Deletes an interface.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn delete_memif(&mut self, sw_if_index: IfIndex) -> Result<(), Error> {
        self.call(&msg::MemifDelete { sw_if_index })
    }
}
