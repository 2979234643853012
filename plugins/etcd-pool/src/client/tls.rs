//! The files that TLS needs: read and checked before anything is connected.

use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use etcd_client::{Certificate, Identity, TlsOptions};

use super::connection::Connection;
use super::errors::{EtcdError, seconds};

/// No chain of certificates is longer.
const LONGEST: u64 = 1 << 20;

/// What TLS needs.
#[derive(Clone)]
pub(super) struct Files {
    ca: Vec<u8>,
    client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Files {
    /// Reads and checks the files of a connection; `None` if it names none.
    pub(super) fn read(connection: &Connection) -> Result<Option<Self>, EtcdError> {
        let Some(path) = &connection.ca_cert else { return Ok(None) };
        let ca = certificates("caCert", path)?;
        let client = match (&connection.cert, &connection.key) {
            (Some(cert), Some(key)) => Some((certificates("cert", cert)?, private_key(key)?)),
            _ => None,
        };
        Ok(Some(Self { ca, client }))
    }

    /// The validity of the client's certificate, as far as it can be read; `None` if there is none.
    pub(super) fn client_validity(&self) -> Option<Option<(u64, u64)>> {
        self.client.as_ref().map(|(cert, _)| validity(cert))
    }

    /// As the client crate takes them. The name is what the member's certificate must say.
    pub(super) fn options(&self, name: &str) -> TlsOptions {
        let ca = Certificate::from_pem(&self.ca);
        let options = TlsOptions::new().ca_certificate(ca).domain_name(name);
        match &self.client {
            Some((cert, key)) => options.identity(Identity::from_pem(cert, key)),
            None => options,
        }
    }
}

/// From when until when the first certificate of a PEM file is valid, in seconds since 1970. It is looked for
/// by its form, a sequence of two times (RFC 5280, section 4.1.2.5), the first such of a certificate.
pub(super) fn validity(pem: &[u8]) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(pem).ok()?;
    let block = text.split("-----BEGIN CERTIFICATE-----").nth(1)?.split("-----END").next()?;
    let der = base64::engine::general_purpose::STANDARD
        .decode(block.split_whitespace().collect::<String>())
        .ok()?;
    der.windows(4).enumerate().find_map(|(position, window)| {
        let &[0x30, 0x1c..=0x24, 0x17 | 0x18, 0x0d | 0x0f] = window else { return None };
        let (from, rest) = time(der.get(position + 2..)?)?;
        let (until, _) = time(rest)?;
        Some((from, until))
    })
}

/// A time in DER, `UTCTime` or `GeneralizedTime`, and what follows it.
fn time(der: &[u8]) -> Option<(u64, &[u8])> {
    let (years, length) = match der {
        [0x17, 13, ..] => (2, 13),
        [0x18, 15, ..] => (4, 15),
        _ => return None,
    };
    let text = der.get(2..2 + length)?;
    let digits = text.strip_suffix(b"Z").filter(|d| d.iter().all(u8::is_ascii_digit))?;
    let number = |from: usize, to: usize| -> Option<u64> {
        std::str::from_utf8(digits.get(from..to)?).ok()?.parse().ok()
    };
    let part = |n: usize| number(years + 2 * n, years + 2 * n + 2);
    let year = match number(0, years)? {
        year if years == 4 => year,
        year if year < 50 => 2000 + year,
        year => 1900 + year,
    };
    let clock = part(2)? * 3600 + part(3)? * 60 + part(4)?;
    Some((seconds(year, part(0)?, part(1)?, clock), der.get(2 + length..)?))
}

fn read(what: &str, path: &Path) -> Result<(Vec<u8>, u32), EtcdError> {
    let shown = path.display();
    let failed = |error: &std::io::Error| match error.kind() {
        ErrorKind::NotFound => {
            EtcdError::config(format!("etcd.{what}: there is no {shown}"), "see to the path")
        }
        ErrorKind::PermissionDenied => EtcdError::config(
            format!("etcd.{what}: {shown} may not be read by this user"),
            "see to the permissions of the file and of the directories above it",
        ),
        _ => EtcdError::config(format!("etcd.{what}: {shown} cannot be read: {error}"), ""),
    };
    // Opening a FIFO would wait for its other end.
    let metadata = std::fs::metadata(path).map_err(|e| failed(&e))?;
    if !metadata.is_file() {
        return Err(EtcdError::config(
            format!("etcd.{what}: {shown} is not a file"),
            "see to the path",
        ));
    }
    let file = std::fs::File::open(path).map_err(|e| failed(&e))?;
    // Of the file that was opened, whatever the path means by now.
    let mode = file.metadata().map_err(|e| failed(&e))?.permissions().mode();
    let mut content = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut content).map_err(|e| failed(&e))?;
    if content.len() as u64 > LONGEST {
        let message = format!("etcd.{what}: {shown} is longer than 1 MiB");
        return Err(EtcdError::config(message, "see to the path"));
    }
    Ok((content, mode))
}

fn certificates(what: &str, path: &Path) -> Result<Vec<u8>, EtcdError> {
    let (content, _) = read(what, path)?;
    let shown = path.display();
    let wrong = |found: &str| {
        let message = format!("etcd.{what}: {shown} {found}");
        Err(EtcdError::config(message, "it must hold certificates as PEM (BEGIN CERTIFICATE)"))
    };
    match labels(&content) {
        Ok(labels) if labels.iter().any(|label| label == "CERTIFICATE") => Ok(content),
        Ok(labels) if labels.iter().any(|label| label.ends_with("PRIVATE KEY")) => {
            wrong("holds a private key, not a certificate")
        }
        Ok(labels) if labels.iter().any(|label| label.contains("CERTIFICATE REQUEST")) => {
            wrong("holds a request for a certificate, not a certificate")
        }
        Ok(_) => wrong("holds no certificate"),
        Err(found) => wrong(found),
    }
}

fn private_key(path: &Path) -> Result<Vec<u8>, EtcdError> {
    let (content, mode) = read("key", path)?;
    let shown = path.display();
    if mode & 0o077 != 0 {
        let mode = mode & 0o7777;
        return Err(EtcdError::config(
            format!("etcd.key: {shown} is open to others than its owner (mode {mode:04o})"),
            "chmod 0600",
        ));
    }
    let wrong = |found: &str| {
        let message = format!("etcd.key: {shown} {found}");
        Err(EtcdError::config(message, "it must hold one private key as PEM, without a password"))
    };
    match labels(&content) {
        Ok(labels) if labels.iter().any(|label| label == "ENCRYPTED PRIVATE KEY") => {
            wrong("holds a private key with a password, which nobody could enter")
        }
        Ok(labels) if labels.iter().any(|label| label.ends_with("PRIVATE KEY")) => {
            // The older way of encrypting says so in a header.
            if content.windows(10).any(|w| w == b"Proc-Type:") {
                return wrong("holds a private key with a password, which nobody could enter");
            }
            Ok(content)
        }
        Ok(labels) if labels.iter().any(|label| label == "CERTIFICATE") => {
            wrong("holds a certificate, not a private key")
        }
        Ok(_) => wrong("holds no private key"),
        Err(found) => wrong(found),
    }
}

/// The labels of the PEM blocks (RFC 7468), each of which must have its end and base64 between.
fn labels(content: &[u8]) -> Result<Vec<String>, &'static str> {
    let Ok(text) = std::str::from_utf8(content) else {
        return Err("is not PEM, but binary (DER?)");
    };
    let mut labels = Vec::new();
    let mut open: Option<&str> = None;
    for line in text.lines().map(str::trim) {
        let begins = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----"));
        match (open, begins) {
            (None, Some(label)) => open = Some(label),
            (None, None) => {}
            (Some(_), Some(_)) => return Err("has a PEM block without an end"),
            (Some(label), None) => {
                let end =
                    line.strip_prefix("-----END ").and_then(|rest| rest.strip_suffix("-----"));
                if let Some(end) = end {
                    if end != label {
                        return Err(
                            "has a PEM block whose end is of another kind than its beginning",
                        );
                    }
                    labels.push(label.to_owned());
                    open = None;
                } else if line.contains(": ") {
                    // A header of the older form.
                } else if !line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)) {
                    return Err("has a PEM block with something else than base64 in it");
                }
            }
        }
    }
    if open.is_some() { Err("has a PEM block without an end: it is cut off") } else { Ok(labels) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_is_told_from_what_is_none() {
        let block = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        let two = format!("x\n{}\n{}", block("CERTIFICATE"), block("PRIVATE KEY"));
        assert_eq!(labels(two.as_bytes()).unwrap(), ["CERTIFICATE", "PRIVATE KEY"]);
        assert_eq!(labels(b"").unwrap(), Vec::<String>::new());
        for text in [
            &b"\x30\x82\xff"[..],
            b"-----BEGIN CERTIFICATE-----\nAAAA\n",
            b"-----BEGIN A-----\nAAAA\n-----END B-----",
            b"-----BEGIN A-----\n<html>\n-----END A-----",
            b"-----BEGIN A-----\n-----BEGIN A-----",
        ] {
            assert!(labels(text).is_err());
        }
    }

    #[test]
    fn files_are_checked() {
        let dir = std::env::temp_dir().join(format!("plat-tls-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let write = |name: &str, content: &str, mode: u32| {
            let path = dir.join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let block =
            |label: &str| format!("-----BEGIN {label}-----\nc2VjcmV0\n-----END {label}-----\n");
        let open = write("open", &block("PRIVATE KEY"), 0o640);
        let key = write("key", &block("EC PRIVATE KEY"), 0o600);
        let locked = write("locked", &block("ENCRYPTED PRIVATE KEY"), 0o600);
        let cert = write("cert", &block("CERTIFICATE"), 0o600);
        let empty = write("empty", "", 0o600);
        assert!(private_key(&key).is_ok() && certificates("cert", &cert).is_ok());
        for (error, said) in [
            (private_key(&open), "open to others than its owner (mode 0640)"),
            (private_key(&locked), "with a password"),
            (private_key(&cert), "holds a certificate, not a private key"),
            (private_key(&empty), "holds no private key"),
            (private_key(&dir), "is not a file"),
            (private_key(&dir.join("none")), "there is no"),
            (certificates("caCert", &key), "etcd.caCert: "),
            (certificates("caCert", &key), "holds a private key, not a certificate"),
            (certificates("caCert", &empty), "holds no certificate"),
        ] {
            let error = error.unwrap_err();
            assert!(error.message.contains(said), "{error}");
            assert!(!error.message.contains("c2VjcmV0"));
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
