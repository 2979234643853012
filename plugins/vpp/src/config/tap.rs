//! Options of taps.

use ipam_core::config::ConfigError;
use ipam_core::config::json::At;
use serde::{Deserialize, Serialize};

use super::{number, ring};

/// Options of taps (`tap` of the configuration).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapConfig {
    /// Whether the pod may send segments larger than the MTU. Faster; whatever they leave VPP through has to
    /// be able to cut them.
    pub gso: bool,
    /// Queues in each direction.
    pub queues: u8,
    /// Entries of a queue; 0: 256.
    pub ring: u16,
}

impl Default for TapConfig {
    fn default() -> Self {
        Self { gso: false, queues: 1, ring: 0 }
    }
}

impl TapConfig {
    pub(super) fn parse(at: &At<'_>) -> Result<Self, ConfigError> {
        let default = Self::default();
        let gso = at.get("gso")?.map(|at| at.boolean()).transpose()?;
        let queues = at.get("queues")?.map(|at| number(&at, 1, 64)).transpose()?;
        let ring = at.get("ring")?.map(|at| ring(&at, 32768)).transpose()?;
        let small = |wide: u32| u16::try_from(wide).unwrap_or(0);
        Ok(Self {
            gso: gso.unwrap_or(default.gso),
            queues: queues.map_or(default.queues, |queues| u8::try_from(queues).unwrap_or(1)),
            ring: ring.map_or(default.ring, small),
        })
    }
}
