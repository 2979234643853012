//! The one place where troubles become CNI errors.

use cni::{Code, Error};
use ipam_core::config::ConfigError;

use crate::attach::StepError;
use crate::node::{NodeError, NodeErrorKind};
use crate::pod::plan::LayoutError;
use crate::record::RecordError;

/// Why an attachment cannot be made, looked at or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// The connection to VPP, or a request on it.
    #[error(transparent)]
    Vpp(#[from] vpp_api::Error),
    /// A change that VPP has not made.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The node's part of VPP.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// What is an answer already, such as an IPAM plugin's.
    #[error("{0}")]
    Answer(Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}

impl Problem {
    /// VPP's side of it, if it is VPP's.
    fn vpp(&self) -> Option<&vpp_api::Error> {
        match self {
            Self::Vpp(error) => Some(error),
            Self::Step(error) => Some(&error.source),
            _ => None,
        }
    }

    /// Whether VPP is away: what it has is not known, and may be gone.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Node(error) => error.kind() == NodeErrorKind::Away,
            _ => self.vpp().is_some_and(vpp_api::Error::is_away),
        }
    }

    /// What to do about it; may be empty.
    pub fn details(&self) -> String {
        match self {
            Self::Config(ConfigError { path, found, expected, .. }) => {
                format!("{path} is {found}; expected: {expected}")
            }
            Self::Node(error) => error.details(),
            Self::Answer(error) => error.details.clone(),
            Self::Record(RecordError::Unreadable { .. }) => {
                "delete the file: DEL and GC find what VPP has by its tag".to_owned()
            }
            Self::Vpp(_) | Self::Step(_) => self.vpp().map(advice).unwrap_or_default().to_owned(),
            Self::Record(_) | Self::Kernel(_) => String::new(),
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Config(_) => Code::InvalidConfig,
            Self::Kernel(error) if error.is_temporary() => Code::TryAgainLater,
            Self::Kernel(_) => Code::Io,
            Self::Record(RecordError::Busy { .. }) => Code::TryAgainLater,
            Self::Record(_) => Code::Io,
            Self::Answer(error) => error.code,
            Self::Node(error) => match error.kind() {
                NodeErrorKind::Conflict => Code::InvalidConfig,
                NodeErrorKind::Io | NodeErrorKind::Refused => Code::Io,
                _ => Code::TryAgainLater,
            },
            Self::Vpp(_) | Self::Step(_) => match self.vpp() {
                Some(error) if error.is_away() => Code::TryAgainLater,
                // Which plugins VPP loads is configuration, too.
                Some(vpp_api::Error::Missing(_) | vpp_api::Error::Text(_)) => Code::InvalidConfig,
                _ => Code::Io,
            },
        }
    }

    /// As the runtime sees it.
    pub fn to_cni(&self) -> Error {
        match self {
            Self::Answer(error) => error.clone(),
            _ => Error::new(self.code(), self.to_string()).with_details(self.details()),
        }
    }

    /// The same for STATUS: why an ADD could not be served.
    pub fn to_status(&self) -> Error {
        match self {
            // An IPAM plugin has chosen its code itself.
            Self::Answer(error) => error.clone(),
            Self::Config(_) => self.to_cni(),
            _ => Error { code: Code::NotAvailable, ..self.to_cni() },
        }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        problem.to_cni()
    }
}

impl From<LayoutError> for Problem {
    fn from(error: LayoutError) -> Self {
        let code = match error {
            LayoutError::Wrong(_) => Code::Decode,
            _ => Code::InvalidConfig,
        };
        Self::Answer(Error::new(code, error.to_string()).with_details(error.advice()))
    }
}

fn advice(error: &vpp_api::Error) -> &'static str {
    use vpp_api::{Error as E, Retval};
    match error {
        E::Connect { .. } => {
            "start VPP, or name its socket by the key \"socket\"; `plat vpp preflight` tells more"
        }
        E::Lost { .. } => "VPP has ended or restarted: its log says why",
        E::Timeout { .. } => "VPP is busy or hangs: `vppctl show runtime` tells, if it still does",
        E::Missing(_) => "load the plugin in VPP's startup configuration, section plugins",
        E::Refused { message: "af_packet_create", retval }
            if *retval == Retval::INVALID_INTERFACE =>
        {
            "VPP does not see the device: it has to run in the network namespace of the host"
        }
        E::Refused { message: "tap_create_v2" | "tap_create_v3", retval } => match *retval {
            Retval::SYSCALL_ERROR_1 => {
                "VPP has no /dev/vhost-net: load the kernel module vhost_net, or use \"kind\": \"veth\""
            }
            Retval::SYSCALL_ERROR_2 => {
                "VPP cannot open the pod's network namespace: it needs the host's /run/netns and /proc"
            }
            _ => "VPP's log may say more",
        },
        E::Refused { message: "sw_interface_set_rx_mode", .. } => {
            "this VPP has no such mode for interfaces of this kind: another \"rxMode\", or none"
        }
        E::Refused { .. } => "VPP's log may say more",
        _ => "",
    }
}
