//! VPP itself (VPP: `memclnt.api`, `vpe.api`, `vlib.api`).

use super::messages;
use crate::frame::frame;
use crate::table::{Component, MessageTable, Name};
use crate::wire::{DecodeError, Field as _, Reader, Tail, Text};

messages! { Core, CONTROL,
    /// Asks for a sign of life. VPP answers one client's requests in their order, so the answer to a ping
    /// behind a dump ends the dump.
    call ControlPing = "control_ping" 0x5107_7d14 => ControlPingReply = 0xf6b0_b8ca {}

    /// Asks for VPP's version.
    call ShowVersion = "show_version" 0x5107_7d14 => ShowVersionReply = 0xc919_bde1 {}

    /// Asks for the time of day on VPP's host.
    call ShowVpeSystemTime = "show_vpe_system_time" 0x5107_7d14 => SystemTime = 0x7ffd_8193 {}

    /// Asks which API files there are, in which versions.
    call ApiVersions = "api_versions" 0x5107_7d14 => ApiVersionsReply = 0x5f0d_99d6 {}

    /// Runs a debug command. -1 if it fails, the text is there also then; for looking, not for doing.
    call CliInband = "cli_inband" 0xf837_7302 => CliInbandReply = 0x0587_9051 {
        /// The command, as `vppctl` takes it.
        cmd: Tail,
    }
}

super::fields! {
    /// A sign of life.
    ControlPingReply {
        /// The client, as VPP numbers it.
        client_index: u32,
        /// VPP's process, in its own PID namespace: in a container the same after every restart.
        vpe_pid: u32,
    }

    /// VPP's version.
    ShowVersionReply {
        /// `vpe`.
        program: Text<32>,
        /// As in `26.06-release`.
        version: Text<32>,
        /// When it was built.
        build_date: Text<32>,
        /// Where it was built.
        build_directory: Text<256>,
    }

    /// A time of day.
    SystemTime {
        /// Seconds since 1970.
        vpe_system_time: f64,
    }

    /// What a debug command wrote.
    CliInbandReply {
        /// Its text.
        reply: Tail,
    }

    /// The version of an API file.
    ApiVersion {
        /// Major.
        major: u32,
        /// Minor.
        minor: u32,
        /// Patch.
        patch: u32,
        /// As in `interface.api`.
        name: Text<64>,
    }
}

/// The versions of all API files.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiVersionsReply {
    /// One for each file.
    pub api_versions: Vec<ApiVersion>,
}

impl crate::wire::Field for ApiVersionsReply {
    fn write(&self, out: &mut Vec<u8>) {
        u32::try_from(self.api_versions.len()).unwrap_or(u32::MAX).write(out);
        self.api_versions.iter().for_each(|version| version.write(out));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = u32::read(from)?;
        // It grows as entries are there, whatever is counted.
        let versions = (0..count).map(|_| ApiVersion::read(from));
        Ok(Self { api_versions: versions.collect::<Result<_, _>>()? })
    }

    fn layout(_: &str, out: &mut Vec<String>) {
        let mut version = Vec::new();
        ApiVersion::layout("", &mut version);
        out.push("count:u32".to_owned());
        out.push(format!("api_versions:{{{}}}[count]", version.join(" ")));
    }
}

/// The number of `sockclnt_create`, which is asked before any number is known (VPP: its place in
/// `memclnt.api`).
const SOCKCLNT_CREATE: u16 = 15;
/// That of its reply.
const SOCKCLNT_CREATE_REPLY: u16 = 16;

/// The last message of a connection: the client's index, a context, and the index once more.
pub const FAREWELL: Name =
    Name { name: "sockclnt_delete", crc: 0x8ac7_6db6, component: Component::Core };
/// VPP's answer, behind which it closes the connection.
pub const FAREWELL_REPLY: Name =
    Name { name: "sockclnt_delete_reply", crc: 0x8f38_b1ee, component: Component::Core };

/// Writes the first message of a connection, which says who asks. Its layout is its own: no client's
/// index, which the answer gives.
pub fn write_hello(out: &mut Vec<u8>, client: &Text<64>, context: u32) {
    frame(out, |out| {
        SOCKCLNT_CREATE.write(out);
        context.write(out);
        client.write(out);
    });
}

/// VPP's answer to the first message.
#[derive(Clone, Debug)]
pub struct Welcome {
    /// What the client is to put into every request. VPP throws away requests with another.
    pub client_index: u32,
    /// What this VPP understands.
    pub table: MessageTable,
}

/// Why a connection is not welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The answer is another message.
    #[error("it answers the handshake with message {0}")]
    OtherMessage(u16),
    /// VPP refuses.
    #[error("it refuses the handshake: {0}")]
    Refused(i32),
    /// The answer cannot be read.
    #[error("its answer to the handshake cannot be read: {0}")]
    Malformed(#[from] DecodeError),
}

impl Welcome {
    /// Reads VPP's answer to the first message.
    ///
    /// # Errors
    ///
    /// [`HelloError`], with the reason.
    pub fn read(message: &[u8]) -> Result<Self, HelloError> {
        let from = &mut Reader::new(message);
        let number = u16::read(from)?;
        if number != SOCKCLNT_CREATE_REPLY {
            return Err(HelloError::OtherMessage(number));
        }
        let (_unused, _context) = (u32::read(from)?, u32::read(from)?);
        let response = i32::read(from)?;
        if response != 0 {
            return Err(HelloError::Refused(response));
        }
        Ok(Self { client_index: u32::read(from)?, table: MessageTable::read(from)? })
    }
}
