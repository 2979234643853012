//! What may go wrong with TLS, told from rustls' texts, with dates instead of seconds.

use super::{CLOCK, Fault, Kind, visible};

/// What went wrong with TLS, from rustls' texts. All of it goes wrong before anything is asked: members of
/// TLS 1.3 tell that they refuse the client's certificate only after the client has begun to write, but have
/// read nothing of it.
pub(super) fn fault(text: &str) -> Option<Fault> {
    let has = |part: &str| text.contains(part);
    let denied = |text: String, advice| Some(Fault::new(Kind::Denied, text, advice));
    if let Some(what) = text.split("invalid peer certificate: ").nth(1) {
        let times = times(what);
        if what.starts_with("certificate expired") || what.starts_with("Expired") {
            let text = match times {
                Some((clock, until)) => format!(
                    "the member's certificate was valid until {until}; the clock here says {clock}"
                ),
                None => "the member's certificate has expired".to_owned(),
            };
            return denied(text, CLOCK);
        }
        if what.starts_with("certificate not valid yet") || what.starts_with("NotValidYet") {
            let text = match times {
                Some((clock, from)) => format!(
                    "the member's certificate is valid from {from} on; the clock here says {clock}"
                ),
                None => "the member's certificate is not valid yet".to_owned(),
            };
            return denied(text, CLOCK);
        }
        if what.starts_with("certificate not valid for name") || what.starts_with("NotValidForName")
        {
            let text = format!("the member's {}", visible(what));
            return denied(
                text,
                "use a host that the certificate names in the endpoint, or give `serverName`",
            );
        }
        if what.starts_with("UnknownIssuer") || what.starts_with("BadSignature") {
            let text = "the member's certificate is of an authority that `caCert` does not name";
            return denied(
                text.to_owned(),
                "give the certificate of the authority that signed the members' certificates as `caCert`",
            );
        }
        let text = format!("the member's certificate is of no use here: {}", visible(what));
        return denied(text, "see to the members' certificates");
    }
    if let Some(alert) = text.split("received fatal alert: ").nth(1) {
        let alert: String = alert.chars().take_while(char::is_ascii_alphanumeric).collect();
        let (text, advice) = match alert.as_str() {
            "CertificateRequired" => (
                "the member wants a certificate of the client and got none".to_owned(),
                "give `cert` and `key`",
            ),
            "CertificateExpired" => (
                "the member says that the client's certificate has expired, or is not valid yet"
                    .to_owned(),
                CLOCK,
            ),
            "BadCertificate"
            | "UnknownCA"
            | "CertificateUnknown"
            | "UnsupportedCertificate"
            | "CertificateRevoked"
            | "AccessDenied"
            | "DecryptError" => (
                format!("{REFUSAL} ({alert})"),
                "`cert` must be signed by the authority that the members trust, be valid by their clock, \
                 and be made for clients",
            ),
            "ProtocolVersion" | "HandshakeFailure" => (
                format!(
                    "the member and this client have no version or cipher of TLS in common ({alert})"
                ),
                "TLS 1.2 or 1.3 with ECDHE ciphers is needed",
            ),
            _ => return None,
        };
        return denied(text, advice);
    }
    if has("InvalidContentType") || has("corrupt message") {
        return Some(speaks_no_tls());
    }
    if has("HTTP/2 was not negotiated") {
        let text = "what answers there speaks TLS, but not HTTP/2";
        return denied(text.to_owned(), "check that the endpoint is a client URL of etcd");
    }
    None
}

/// What a plain connection to a port with TLS comes to.
pub(in crate::client) fn speaks_tls() -> Fault {
    let text = "what answers there speaks TLS";
    Fault::new(Kind::Denied, text, "write https:// and give `caCert`, or use the port without TLS")
}

/// What a connection with TLS to a port without it comes to.
pub(in crate::client) fn speaks_no_tls() -> Fault {
    let text = "what answers there does not speak TLS";
    Fault::new(
        Kind::Denied,
        text,
        "write http:// and leave the certificates out, or use the port with TLS",
    )
}

impl Fault {
    /// The member's refusal of the client, with what is known here: whether a certificate was shown, and
    /// from when until when it is valid.
    pub(in crate::client) fn of_client(
        self,
        validity: Option<Option<(u64, u64)>>,
        now: u64,
    ) -> Self {
        if self.kind != Kind::Denied || !self.text.starts_with(REFUSAL) {
            return self;
        }
        match validity {
            None => Self {
                text: "the member wants a certificate of the client and got none".to_owned(),
                advice: "give `cert` and `key`",
                ..self
            },
            Some(Some((from, until))) if now < from || now > until => Self {
                text: format!(
                    "the member does not take the client's certificate, which is valid from {} until {}; \
                     the clock here says {}",
                    date(from),
                    date(until),
                    date(now)
                ),
                advice: CLOCK,
                ..self
            },
            _ => self,
        }
    }
}

/// How a refusal of the client begins.
const REFUSAL: &str = "the member does not take the client's certificate";

/// Seconds since 1970 of a date and time, UTC.
pub(in crate::client) fn seconds(year: u64, month: u64, day: u64, time: u64) -> u64 {
    let year = if month <= 2 { year.saturating_sub(1) } else { year };
    let (era, yoe) = (year / 400, year % 400);
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day.saturating_sub(1);
    let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy;
    days.saturating_sub(719_468) * 86_400 + time
}

/// The clock and the limit in one of rustls' texts, as dates.
fn times(text: &str) -> Option<(String, String)> {
    let number = |after: &str| -> Option<u64> {
        let rest = text.split(after).nth(1)?.trim_start();
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let limit = number("is not valid after").or_else(|| number("is not valid before"))?;
    Some((date(number("verification time")?), date(limit)))
}

/// Seconds since 1970 as a date and time, UTC. Days to dates as in
/// <https://howardhinnant.github.io/date_algorithms.html>.
fn date(unix: u64) -> String {
    let (days, rest) = (unix / 86_400, unix % 86_400);
    let z = days.saturating_add(719_468);
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_tls_become_sentences() {
        for (text, said) in [
            (
                "x: invalid peer certificate: certificate expired: verification time 1795256424 (UNIX), \
                 but certificate is not valid after 1795252800 (3624 seconds ago)",
                "was valid until 2026-11-21 09:20:00 UTC; the clock here says 2026-11-21 10:20:24 UTC",
            ),
            (
                "invalid peer certificate: certificate not valid yet: verification time 951782400 \
                 (UNIX), but certificate is not valid before 951868800 (86400 seconds in future)",
                "valid from 2000-03-01 00:00:00 UTC on; the clock here says 2000-02-29 00:00:00 UTC",
            ),
            ("invalid peer certificate: UnknownIssuer", "of an authority"),
            ("received fatal alert: CertificateRequired", "got none"),
            ("received corrupt message of type InvalidContentType", "does not speak TLS"),
        ] {
            let fault = fault(text).unwrap();
            assert!(fault.text.contains(said), "{}", fault.text);
            assert!(fault.kind == Kind::Denied && !fault.doubt && !fault.advice.is_empty());
        }
        assert_eq!(fault("received fatal alert: CloseNotify"), None);
        for (unix, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_795_256_424, "2026-11-21 10:20:24 UTC"),
        ] {
            assert_eq!(date(unix), text);
        }
        assert_eq!(seconds(1970, 1, 1, 0), 0);
        assert_eq!(seconds(2000, 2, 29, 0), 951_782_400);
        assert_eq!(seconds(2026, 11, 21, 10 * 3600 + 20 * 60 + 24), 1_795_256_424);
    }

    #[test]
    fn a_refused_client_learns_what_is_known_here() {
        let refused = || fault("received fatal alert: BadCertificate").unwrap();
        for (validity, said) in [
            (None, "got none"),
            (Some(None), "(BadCertificate)"),
            (Some(Some((100, 200))), "(BadCertificate)"),
            (Some(Some((0, 10))), "until 1970-01-01 00:00:10 UTC; the clock here"),
            (Some(Some((300, 400))), "valid from 1970-01-01 00:05:00 UTC"),
        ] {
            let fault = refused().of_client(validity, 150);
            assert!(fault.text.contains(said), "{}", fault.text);
            assert_eq!(fault.kind, Kind::Denied);
        }
        let other = Fault::silent(super::super::Phase::Asked);
        assert_eq!(other.clone().of_client(None, 150), other);
    }
}
