//! How VPP looks for what pods send.

use ipam_core::config::ConfigError;
use ipam_core::config::json::At;
use serde::{Deserialize, Serialize};

use super::{Kind, KindSpec};

/// How VPP looks for what a pod sends (`rxMode` of the configuration; VPP: `rx-mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RxMode {
    /// All the time.
    Polling,
    /// When it is told.
    Interrupt,
    /// Either, as there is traffic.
    Adaptive,
}

impl RxMode {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::Interrupt => "interrupt",
            Self::Adaptive => "adaptive",
        }
    }

    /// Reads it for interfaces of a kind. VPP's af_packet refuses `adaptive`. Its memif has a queue while an
    /// application is connected only, and begins with polling each time: whatever was set before is lost.
    pub(super) fn parse(at: &At<'_>, kind: KindSpec) -> Result<Self, ConfigError> {
        let mode = match at.string()? {
            "polling" => Self::Polling,
            "interrupt" => Self::Interrupt,
            "adaptive" => Self::Adaptive,
            _ => {
                let message = format!("{at}: there is no such mode");
                return Err(at.wrong(message, "polling, interrupt or adaptive"));
            }
        };
        match (kind, mode) {
            (KindSpec::Fixed(Kind::Memif), _) => {
                let message = format!("{at}: VPP polls a memif whenever an application connects");
                Err(at.wrong(message, "no rxMode with kind memif"))
            }
            (KindSpec::Fixed(Kind::Veth) | KindSpec::Auto, Self::Adaptive) => {
                let auto = if kind == KindSpec::Auto { ", which kind auto may make" } else { "" };
                let message = format!("{at}: VPP has no adaptive mode for veth pairs{auto}");
                Err(at.wrong(message, "polling or interrupt, or adaptive with kind tap"))
            }
            _ => Ok(mode),
        }
    }
}
