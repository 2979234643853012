//! Certificates for tests, made by `openssl`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{Scratch, program};

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate, PEM.
    pub cert: PathBuf,
    /// The key, PEM, mode 0600.
    pub key: PathBuf,
}

/// An authority that signs certificates, made by `openssl`.
#[derive(Debug)]
pub struct Authority {
    scratch: Scratch,
}

/// What a certificate is to say.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The common name, and the files' name.
    pub name: &'a str,
    /// The names it is for, as openssl takes them.
    pub names: &'a str,
    /// From when it is valid on, in days from now.
    pub from: i64,
    /// Until when, in days from now.
    pub until: i64,
}

impl Default for Subject<'_> {
    fn default() -> Self {
        Self { name: "etcd", names: "IP:127.0.0.1,DNS:localhost", from: -1, until: 30 }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new authority.
    pub fn new() -> Self {
        let scratch = Scratch::new("authority");
        scratch.write("index", "");
        scratch.write(
            "ca.cnf",
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nunique_subject=no\nrand_serial=yes\n\
             default_md=sha256\npolicy=p\nnew_certs_dir=.\n[p]\ncommonName=supplied\n",
        );
        let authority = Self { scratch };
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-days",
            "400",
            "-subj",
            "/CN=plat test authority",
        ]);
        authority
    }

    /// Its certificate.
    pub fn ca(&self) -> PathBuf {
        self.scratch.path().join("ca.pem")
    }

    /// Signs a new certificate, for servers and clients.
    pub fn issue(&self, subject: Subject<'_>) -> Pair {
        let name = subject.name;
        let [key, request, cert, extensions] =
            ["key", "csr", "pem", "ext"].map(|kind| format!("{name}.{kind}"));
        self.openssl(&[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &request,
            "-subj",
            &format!("/CN={name}"),
        ]);
        let names = subject.names;
        self.scratch.write(
            &extensions,
            format!("subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n"),
        );
        self.openssl(&[
            "ca",
            "-batch",
            "-notext",
            "-config",
            "ca.cnf",
            "-cert",
            "ca.pem",
            "-keyfile",
            "ca.key",
            "-in",
            &request,
            "-out",
            &cert,
            "-extfile",
            &extensions,
            "-startdate",
            &days_from_now(subject.from),
            "-enddate",
            &days_from_now(subject.until),
        ]);
        let [cert, key] = [cert, key].map(|name| self.scratch.path().join(name));
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&key, owner_only).expect("a mode can be set");
        Pair { cert, key }
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new(program("openssl"))
            .args(arguments)
            .current_dir(self.scratch.path())
            .stdin(Stdio::null())
            .output()
            .expect("openssl can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments:?}: {said}");
    }
}

/// A time as openssl takes it.
fn days_from_now(days: i64) -> String {
    let output = Command::new("date")
        .args(["-u", "-d", &format!("{days} days"), "+%Y%m%d%H%M%SZ"])
        .output()
        .expect("date can be started");
    String::from_utf8(output.stdout).expect("a date").trim().to_owned()
}
