//! The one place where what goes wrong with a pool becomes a CNI error.

use cni::{Code, Error};
use host_local::errors::{refusal_error, unwanted};
use ipam_pool::ops::{NotReady, Trouble};

use crate::client::{EtcdError, Kind};

/// etcd could not be asked.
pub(crate) fn etcd_error(error: &EtcdError) -> Error {
    let code = match error.kind {
        Kind::Config | Kind::Denied => Code::InvalidConfig,
        Kind::Refused => Code::Io,
        Kind::Unreachable | Kind::Unknown | Kind::NoQuorum | Kind::NoSpace => Code::TryAgainLater,
    };
    Error::new(code, error.message.as_str()).with_details(error.advice)
}

/// An operation that could not be done, and what was the matter with etcd meanwhile.
pub fn trouble_error(trouble: &Trouble, etcd: Option<&EtcdError>) -> Error {
    match (trouble, etcd) {
        (Trouble::Unwanted, _) => unwanted(),
        (Trouble::Refused(refusal), _) => refusal_error(refusal),
        (Trouble::Away, Some(etcd)) => etcd_error(etcd),
        (Trouble::NoContact | Trouble::Autonomy { .. }, Some(etcd)) => {
            let error = etcd_error(etcd);
            Error { message: format!("{trouble}: {}", error.message), ..error }
        }
        _ => Error::new(code(trouble), trouble.to_string()).with_details(trouble.advice()),
    }
}

const fn code(trouble: &Trouble) -> Code {
    match trouble {
        _ if trouble.is_transient() => Code::TryAgainLater,
        Trouble::NoPool { .. }
        | Trouble::PoolDiffers { .. }
        | Trouble::PoolOverlaps { .. }
        | Trouble::BadPool(_)
        | Trouble::NoFamily { .. }
        | Trouble::Elsewhere { .. }
        | Trouble::NameTaken { .. }
        | Trouble::OtherCluster { .. } => Code::InvalidConfig,
        _ => Code::Io,
    }
}

/// STATUS: why an ADD could not be served, or not for long.
pub fn not_ready(reason: &NotReady, etcd: Option<&EtcdError>) -> Error {
    match reason {
        NotReady::Trouble(trouble) => unavailable(trouble, etcd),
        NotReady::Soon { age, limit } => Error::new(
            Code::NotAvailable,
            format!("etcd was last reached {age} s ago; after {limit} s no address is given out any more"),
        )
        .with_details(etcd.map_or_else(
            || Trouble::Away.advice().to_owned(),
            |etcd| format!("{}: {}", etcd.message, etcd.advice),
        )),
        NotReady::NeedsBlock => {
            let error = trouble_error(&Trouble::Away, etcd);
            Error {
                code: Code::NotAvailable,
                message: format!(
                    "this node has no free address and cannot claim a block: {}",
                    error.message
                ),
                ..error
            }
        }
    }
}

/// STATUS: what an operation could not do.
pub fn unavailable(trouble: &Trouble, etcd: Option<&EtcdError>) -> Error {
    let affected = trouble.affects_existing();
    let code = if affected { Code::LimitedConnectivity } else { Code::NotAvailable };
    Error { code, ..trouble_error(trouble, etcd) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipam_core::addr::Family;

    fn etcd(kind: Kind) -> EtcdError {
        EtcdError { kind, message: "etcd at x: y".to_owned(), advice: "look" }
    }

    #[test]
    fn codes_say_whether_it_is_worth_trying_again() {
        let pool = || "pods".to_owned();
        for (trouble, code) in [
            (Trouble::Away, 11),
            (Trouble::NoContact, 11),
            (Trouble::Autonomy { age: 9, limit: 5 }, 11),
            (Trouble::PoolFull { name: pool(), family: Family::V4 }, 11),
            (Trouble::Unwanted, 11),
            (Trouble::NoPool { name: pool(), pools: Vec::new() }, 7),
            (Trouble::PoolDiffers { name: pool(), differences: Vec::new() }, 7),
            (Trouble::OtherCluster { known: 1, now: 2 }, 7),
            (Trouble::Copied { boot: "b".to_owned() }, 5),
            (Trouble::Tombstoned { at: 1, by: "root".to_owned() }, 5),
        ] {
            let error = trouble_error(&trouble, None);
            assert_eq!(error.code.number(), code, "{trouble:?}");
            assert!(!error.message.is_empty() && !error.details.is_empty(), "{trouble:?}");
        }
    }

    #[test]
    fn what_etcd_says_comes_first() {
        for (kind, code) in [
            (Kind::Unreachable, 11),
            (Kind::NoSpace, 11),
            (Kind::Denied, 7),
            (Kind::Config, 7),
            (Kind::Refused, 5),
        ] {
            let error = trouble_error(&Trouble::Away, Some(&etcd(kind)));
            assert_eq!((error.code.number(), error.message.as_str()), (code, "etcd at x: y"));
            let error = trouble_error(&Trouble::NoContact, Some(&etcd(kind)));
            assert_eq!(error.message, "etcd was not reached since this node's boot: etcd at x: y");
        }
    }

    #[test]
    fn status_tells_what_existing_attachments_have_to_fear() {
        let copied = Trouble::Copied { boot: "b".to_owned() };
        assert_eq!(unavailable(&copied, None).code, Code::LimitedConnectivity);
        assert_eq!(unavailable(&Trouble::NoContact, None).code, Code::NotAvailable);
        let soon = NotReady::Soon { age: 7, limit: 10 };
        assert_eq!(not_ready(&soon, None).code, Code::NotAvailable);
        let away = etcd(Kind::Unreachable);
        let error = not_ready(&NotReady::NeedsBlock, Some(&away));
        assert!(error.code == Code::NotAvailable && error.message.ends_with("etcd at x: y"));
    }
}
