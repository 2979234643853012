/*!
Short names for common calls, and calls for which VPP's releases have different messages.

Each is one round trip unless it says otherwise. What is to be asked together goes into a [`Batch`].

[`Batch`]: crate::Batch
*/

mod basic;
mod create;
mod memif;
mod route;

pub use create::{AfPacket, Created, Tap, TapFlags};
pub use memif::{Memif, MemifSocket};
