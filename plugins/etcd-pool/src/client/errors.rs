//! What may go wrong between here and etcd, told from what the layers below say.

mod certificates;

use std::error::Error as _;
use std::io;

use tonic::{Code, ConnectError, Status};

pub(super) use certificates::{seconds, speaks_no_tls, speaks_tls};

/// Why etcd could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EtcdError {
    /// What kind of failure.
    pub kind: Kind,
    /// One sentence that names the endpoint or the file. Never a secret.
    pub message: String,
    /// What to do.
    pub advice: &'static str,
}

/// Kinds of failure. But for [`Kind::Unknown`], nothing was carried out, and nothing will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The description of the connection is wrong: an endpoint, a file.
    Config,
    /// No endpoint was reached; nothing was carried out.
    Unreachable,
    /// No answer in time: what was asked may be carried out, or still be.
    Unknown,
    /// The members have no quorum.
    NoQuorum,
    /// etcd's database is full: nothing can be written, but deleted.
    NoSpace,
    /// The members refuse this client, or are not who they should be.
    Denied,
    /// etcd refuses the request.
    Refused,
}

impl EtcdError {
    /// The description of the connection is wrong.
    pub(super) fn config(message: impl Into<String>, advice: &'static str) -> Self {
        Self { kind: Kind::Config, message: message.into(), advice }
    }
}

/// What one endpoint has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// What happened; the endpoint is named by whoever tells it.
    pub(super) text: String,
    pub(super) advice: &'static str,
    /// Whether what was asked may be carried out nevertheless.
    pub(super) doubt: bool,
    /// Whether asking again may help.
    pub(super) retry: bool,
    /// Whether another endpoint would say the same.
    pub(super) final_word: bool,
    /// Whether the connection ended, and nobody has said why.
    pub(super) closed: bool,
}

/// How far a request had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The connection was being made: nothing was sent.
    Connecting,
    /// It was, or may have been, sent.
    Asked,
}

const REACH: &str = "check that etcd runs there, the address, and what lies between";
const QUORUM: &str = "bring back more than half of etcd's members";
const CLOCK: &str = "compare the clocks of this node and the members, and renew the certificate";

impl Fault {
    fn new(kind: Kind, text: impl Into<String>, advice: &'static str) -> Self {
        let text = text.into();
        let (doubt, retry, final_word, closed) = (false, false, false, false);
        Self { kind, text, advice, doubt, retry, final_word, closed }
    }

    const fn again(mut self) -> Self {
        self.retry = true;
        self
    }

    const fn doubtful(mut self, doubt: bool) -> Self {
        self.doubt = doubt;
        self
    }

    const fn final_word(mut self) -> Self {
        self.final_word = true;
        self
    }

    /// No answer within the time that there was.
    pub(super) fn silent(phase: Phase) -> Self {
        match phase {
            Phase::Connecting => {
                Self::new(Kind::Unreachable, "no connection in time", REACH).again()
            }
            Phase::Asked => {
                Self::new(Kind::Unreachable, "no answer in time", REACH).again().doubtful(true)
            }
        }
    }

    /// From what the client crate says.
    pub(super) fn of(error: &etcd_client::Error, phase: Phase) -> Self {
        match error {
            etcd_client::Error::GRpcStatus(status) => Self::of_status(status, phase),
            etcd_client::Error::TransportError(error) => Self::of_transport(error, phase),
            etcd_client::Error::InvalidArgs(text) => {
                Self::new(Kind::Refused, visible(text), "").final_word()
            }
            other => Self::new(Kind::Unreachable, visible(&other.to_string()), REACH)
                .again()
                .doubtful(phase == Phase::Asked),
        }
    }

    /// From what the transport says.
    pub(super) fn of_transport(error: &tonic::transport::Error, phase: Phase) -> Self {
        Chain::of(error).fault(phase)
    }

    fn of_status(status: &Status, phase: Phase) -> Self {
        if let Some(source) = status.source() {
            return Chain::of(source).fault(phase);
        }
        Self::of_answer(status.code(), status.message(), phase)
    }

    /// From a status and what etcd says with it: <https://github.com/etcd-io/etcd>, `rpctypes/error.go`.
    pub(super) fn of_answer(code: Code, message: &str, phase: Phase) -> Self {
        let asked = phase == Phase::Asked;
        let said = message.strip_prefix("etcdserver: ").unwrap_or(message);
        let has = |part: &str| said.contains(part);
        if has("no leader") {
            let text = "the members have no leader, that is, no quorum";
            return Self::new(Kind::NoQuorum, text, QUORUM).again();
        }
        if has("request timed out") || has("leader changed") || has("unhealthy cluster") {
            let text = format!("the members do not agree in time ({})", visible(said));
            return Self::new(Kind::NoQuorum, text, QUORUM).again().doubtful(asked);
        }
        if has("too many requests") {
            let text = "etcd has too many requests at a time";
            return Self::new(Kind::Unreachable, text, "wait, or ask less often").again();
        }
        if has("revision of auth store is old") {
            let text = "etcd's users or roles were being changed";
            return Self::new(Kind::Unreachable, text, "try again").again();
        }
        if has("database space exceeded") || has("no space") {
            let text =
                "etcd's database is full (alarm NOSPACE): nothing can be written, but deleted";
            let advice =
                "compact and defragment etcd, raise its quota, then `etcdctl alarm disarm`";
            return Self::new(Kind::NoSpace, text, advice).final_word();
        }
        if has("has been compacted") {
            let text = "what was asked for is compacted away";
            return Self::new(Kind::Refused, text, "read everything anew").final_word();
        }
        let denied = matches!(code, Code::PermissionDenied | Code::Unauthenticated);
        if denied || has("permission denied") || has("user name is empty") || has("auth token") {
            let text = format!("etcd denies this client what it asks for ({})", visible(said));
            let advice = "give the user that the client certificate names (its CN) a role in etcd that \
                          may read and write below the prefix";
            return Self::new(Kind::Denied, text, advice).final_word();
        }
        match code {
            Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::NotFound
            | Code::AlreadyExists
            | Code::ResourceExhausted => {
                let text = format!("etcd refuses the request: {}", visible(said));
                Self::new(Kind::Refused, text, "").final_word()
            }
            Code::Unimplemented => {
                let text = "what answers there is no etcd, or too old a one";
                Self::new(Kind::Refused, text, "etcd 3.4 or later is needed; check the endpoint")
            }
            _ => Self::new(Kind::Unreachable, format!("etcd fails: {}", visible(said)), REACH)
                .again()
                .doubtful(asked),
        }
    }
}

/// An error and what lies behind it.
struct Chain {
    text: String,
    io: Option<io::ErrorKind>,
    connecting: bool,
    timed_out: bool,
    status: Option<(Code, String)>,
}

impl Chain {
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut chain = Self {
            text: String::new(),
            io: None,
            connecting: false,
            timed_out: false,
            status: None,
        };
        let mut next = Some(error);
        // Nobody nests errors deeper; a loop must not be one without an end.
        for _ in 0..32 {
            let Some(error) = next else { break };
            if let Some(io) = error.downcast_ref::<io::Error>() {
                chain.io = Some(io.kind());
            }
            if let Some(status) = error.downcast_ref::<Status>() {
                chain.status = Some((status.code(), status.message().to_owned()));
            }
            chain.connecting |= error.is::<ConnectError>();
            let text = error.to_string();
            chain.timed_out |= text.contains("deadline has elapsed");
            if !chain.text.contains(&text) {
                if !chain.text.is_empty() {
                    chain.text.push_str(": ");
                }
                chain.text.push_str(&text);
            }
            next = error.source();
        }
        chain
    }

    fn fault(&self, phase: Phase) -> Fault {
        let phase = if self.connecting { Phase::Connecting } else { phase };
        if let Some(fault) = certificates::fault(&self.text) {
            return fault;
        }
        if let Some((code, message)) = &self.status
            && message.starts_with("etcdserver: ")
        {
            return Fault::of_answer(*code, message, phase);
        }
        let doubt = phase == Phase::Asked;
        let text = match self.io {
            Some(io::ErrorKind::ConnectionRefused) => "connection refused".to_owned(),
            Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
                "there is no way there".to_owned()
            }
            Some(io::ErrorKind::TimedOut) => return Fault::silent(phase),
            _ if self.timed_out => return Fault::silent(phase),
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof,
            ) => "the connection was closed by the other side".to_owned(),
            _ if self.text.contains("dns error") => {
                return Fault::new(
                    Kind::Unreachable,
                    "the name of its host is not known",
                    "check the name, or give the address",
                )
                .again();
            }
            _ => visible(&self.text),
        };
        let mut fault = Fault::new(Kind::Unreachable, text, REACH).again().doubtful(doubt);
        fault.closed = !matches!(
            self.io,
            Some(
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
            )
        );
        fault
    }
}

/// A text from elsewhere: no control characters, and not without an end.
pub(super) fn visible(text: &str) -> String {
    text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What the endpoints have come to, as one error.
pub(super) fn together(faults: &[(String, Fault)], doubt: bool) -> EtcdError {
    let rank = |kind| match kind {
        Kind::Refused => 0,
        Kind::NoSpace => 1,
        Kind::NoQuorum => 2,
        Kind::Denied => 3,
        _ => 4,
    };
    // An endpoint that had the last word speaks for all; else what can be mended goes first.
    let leading = faults.iter().map(|(_, f)| f).min_by_key(|f| (!f.final_word, rank(f.kind)));
    let (kind, advice) = leading.map_or((Kind::Unreachable, REACH), |f| (f.kind, f.advice));
    let each: Vec<String> = match faults.iter().find(|(_, f)| f.final_word) {
        Some((endpoint, fault)) => vec![format!("{endpoint}: {}", fault.text)],
        None => faults.iter().map(|(endpoint, f)| format!("{endpoint}: {}", f.text)).collect(),
    };
    let each = each.join("; ");
    if doubt {
        let message = format!("etcd has not confirmed what may still be carried out: {each}");
        return EtcdError { kind: Kind::Unknown, message, advice };
    }
    let message = match (kind, faults.len()) {
        (Kind::Unreachable | Kind::NoQuorum, 2..) => format!("no endpoint of etcd helps: {each}"),
        (Kind::Unreachable, 0) => "there was no time to ask etcd".to_owned(),
        _ => format!("etcd at {each}"),
    };
    EtcdError { kind, message, advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_etcd_are_told_apart() {
        for (code, message, kind, doubt, retry) in [
            (Code::Unavailable, "etcdserver: no leader", Kind::NoQuorum, false, true),
            (Code::Unavailable, "etcdserver: request timed out", Kind::NoQuorum, true, true),
            (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to previous leader failure",
                Kind::NoQuorum,
                true,
                true,
            ),
            (Code::Unavailable, "etcdserver: leader changed", Kind::NoQuorum, true, true),
            (
                Code::ResourceExhausted,
                "etcdserver: too many requests",
                Kind::Unreachable,
                false,
                true,
            ),
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
                Kind::NoSpace,
                false,
                false,
            ),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                Kind::Refused,
                false,
                false,
            ),
            (Code::PermissionDenied, "etcdserver: permission denied", Kind::Denied, false, false),
            (Code::InvalidArgument, "etcdserver: user name is empty", Kind::Denied, false, false),
            (
                Code::InvalidArgument,
                "etcdserver: too many operations in txn request",
                Kind::Refused,
                false,
                false,
            ),
            (Code::Unavailable, "etcdserver: server stopped", Kind::Unreachable, true, true),
            (Code::Internal, "h2 protocol error", Kind::Unreachable, true, true),
        ] {
            let fault = Fault::of_answer(code, message, Phase::Asked);
            assert_eq!((fault.kind, fault.doubt, fault.retry), (kind, doubt, retry), "{message}");
            assert!(!Fault::of_answer(code, message, Phase::Connecting).doubt, "{message}");
        }
    }

    #[test]
    fn doubt_outweighs_what_else_is_known() {
        let silent = Fault::silent(Phase::Asked);
        let full =
            Fault::of_answer(Code::ResourceExhausted, "database space exceeded", Phase::Asked);
        let faults = [("a".to_owned(), silent), ("b".to_owned(), full)];
        assert_eq!(together(&faults, true).kind, Kind::Unknown);
        assert_eq!(together(&faults, false).kind, Kind::NoSpace);
        assert_eq!(together(&[], false).kind, Kind::Unreachable);
    }
}
