//! One endpoint: how it is connected, and one attempt to ask it.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use etcd_client::{Channel, Client, ConnectOptions, TlsOptions};
use tokio::time::timeout;
use tonic::transport::{Channel as Wire, Endpoint as Target};

use super::connection::{Connection, Url};
use super::errors::{EtcdError, Fault, Kind, Phase, speaks_no_tls, speaks_tls, visible};
use super::tls::Files;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_millis(300);
/// How long it may take with the handshake of TLS and the look-up of a name.
const HANDSHAKE: Duration = Duration::from_secs(1);
/// For how long an endpoint that failed is tried last.
const MARKED: Duration = Duration::from_secs(10);

/// One endpoint.
pub(super) struct Endpoint {
    pub(super) url: Url,
    target: Target,
    /// Of the client's certificate.
    validity: Option<Option<(u64, u64)>>,
    wire: Option<Wire>,
    failed: Option<Instant>,
}

/// One call, as a future.
pub(super) type Call<T> = Pin<Box<dyn Future<Output = Result<T, etcd_client::Error>>>>;

/// What an attempt leaves: the connection where it is still good, and what came of it.
pub(super) type Outcome<T> = (Option<Wire>, Result<T, Fault>);

/// An attempt under way.
pub(super) struct Attempt<'a, T> {
    pub(super) position: usize,
    /// Whether something was sent.
    pub(super) sent: Rc<Cell<bool>>,
    pub(super) future: Pin<Box<dyn Future<Output = Outcome<T>> + 'a>>,
}

impl Endpoint {
    /// Describes an endpoint; nothing is connected.
    pub(super) fn new(
        url: Url,
        connection: &Connection,
        files: Option<&Files>,
    ) -> Result<Self, EtcdError> {
        let wrong = |error: tonic::transport::Error| {
            let mut text = error.to_string();
            if let Some(source) = std::error::Error::source(&error) {
                text = source.to_string();
            }
            let (message, advice) = if text.contains("keys may not be consistent") {
                let (cert, key) = (shown(connection.cert.as_ref()), shown(connection.key.as_ref()));
                (
                    format!("etcd.key: {key} is not the key of the certificate {cert}"),
                    "give the two files that belong together",
                )
            } else {
                let files = [&connection.ca_cert, &connection.cert, &connection.key];
                let files: Vec<String> = files.into_iter().map(|f| shown(f.as_ref())).collect();
                let (files, text) = (files.join(", "), visible(&text));
                (
                    format!("the files for TLS ({files}) are of no use: {text}"),
                    "give certificates and an unencrypted key as PEM",
                )
            };
            EtcdError::config(message, advice)
        };
        let mut target = Target::from_shared(url.to_string())
            .map_err(wrong)?
            .connect_timeout(CONNECT)
            // A member that hangs is noticed while a watch waits; etcd allows a ping every 5 s.
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5));
        if let (true, Some(files)) = (url.secure, files) {
            let name = connection.server_name.as_deref().unwrap_or(&url.host);
            target = target.tls_config(files.options(name)).map_err(wrong)?;
        }
        let validity = files.and_then(Files::client_validity);
        Ok(Self { url, target, validity, wire: None, failed: None })
    }

    /// Whether it failed lately.
    pub(super) fn is_marked(&self) -> bool {
        self.failed.is_some_and(|at| at.elapsed() < MARKED)
    }

    /// Marks it as failed; its connection is given up.
    pub(super) fn mark(&mut self) {
        self.failed = Some(Instant::now());
        self.wire = None;
    }

    /// Takes what an attempt has left.
    pub(super) fn settle(&mut self, wire: Option<Wire>, good: bool) {
        self.wire = wire;
        self.failed = (!good).then(Instant::now);
    }

    /// Begins to ask it.
    pub(super) fn attempt<'a, T: 'a>(
        &self,
        position: usize,
        call: &'a dyn Fn(Client) -> Call<T>,
        require_leader: bool,
        patience: Duration,
    ) -> Attempt<'a, T> {
        let sent = Rc::new(Cell::new(false));
        let (flag, url) = (Rc::clone(&sent), self.url.clone());
        let (target, wire, validity) = (self.target.clone(), self.wire.clone(), self.validity);
        let future = Box::pin(async move {
            let fresh = wire.is_none();
            let wire = match connected(&target, wire).await {
                Ok(wire) => wire,
                Err(fault) => {
                    let fault = explained(fault, &url).await.of_client(validity, now());
                    return (None, Err(fault));
                }
            };
            let client = match client(&wire, require_leader).await {
                Ok(client) => client,
                Err(fault) => return (None, Err(fault)),
            };
            flag.set(true);
            match timeout(patience, call(client)).await {
                Ok(Ok(reply)) => (Some(wire), Ok(reply)),
                Ok(Err(error)) => {
                    let fault = Fault::of(&error, Phase::Asked);
                    // What etcd refuses has not harmed the connection.
                    if !error_of_connection(&error) {
                        flag.set(fault.doubt);
                        return (Some(wire), Err(fault));
                    }
                    let fault = match (fault.doubt && fresh, url.secure) {
                        (false, _) => fault,
                        (true, true) => refusal(&target).await.unwrap_or(fault),
                        (true, false) => explained(fault, &url).await,
                    };
                    flag.set(fault.doubt);
                    (None, Err(fault.of_client(validity, now())))
                }
                Err(_) => (None, Err(Fault::silent(Phase::Asked))),
            }
        });
        Attempt { position, sent, future }
    }

    /// A client of this endpoint, which the caller keeps to itself.
    pub(super) async fn client(&self) -> Result<Client, Fault> {
        let wire = connected(&self.target, self.wire.clone())
            .await
            .map_err(|fault| fault.of_client(self.validity, now()))?;
        client(&wire, true).await
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn shown(path: Option<&std::path::PathBuf>) -> String {
    path.map_or_else(|| "none".to_owned(), |path| path.display().to_string())
}

async fn connected(target: &Target, wire: Option<Wire>) -> Result<Wire, Fault> {
    if let Some(wire) = wire {
        return Ok(wire);
    }
    match timeout(HANDSHAKE, target.connect()).await {
        Ok(Ok(wire)) => Ok(wire),
        Ok(Err(error)) => Err(Fault::of_transport(&error, Phase::Connecting)),
        Err(_) => Err(Fault::silent(Phase::Connecting)),
    }
}

/// A member without a leader refuses at once what says that it needs one: nothing is left in doubt then.
async fn client(wire: &Wire, require_leader: bool) -> Result<Client, Fault> {
    let options = ConnectOptions::new().with_require_leader(require_leader);
    Client::from_channel(Channel::Tonic(wire.clone()), Some(options))
        .await
        .map_err(|error| Fault::of(&error, Phase::Connecting))
}

/// Whether it was the connection that failed, rather than etcd.
fn error_of_connection(error: &etcd_client::Error) -> bool {
    match error {
        etcd_client::Error::GRpcStatus(status) => std::error::Error::source(status).is_some(),
        etcd_client::Error::TransportError(_) => true,
        _ => false,
    }
}

/// How often it is asked at most why a connection was closed: on a busy machine most answers are lost.
const LOOKS: usize = 64;

/// A member of TLS 1.3 that refuses a client says so after the client has begun to write, and what it says
/// may be lost with the connection. Then a question that changes nothing is asked until it is understood:
/// what refuses this certificate now has not taken it a moment ago.
async fn refusal(target: &Target) -> Option<Fault> {
    let look = async {
        for _ in 0..LOOKS {
            // A slow client hears of it while it still connects.
            let fault = match asked_nothing(target).await {
                Ok(()) => return None,
                Err(fault) => fault,
            };
            if fault.kind == Kind::Denied && !fault.final_word {
                return Some(fault);
            }
            if !fault.closed {
                return None;
            }
        }
        None
    };
    timeout(HANDSHAKE, look).await.ok().flatten()
}

/// A connection of its own, and a question that changes nothing.
async fn asked_nothing(target: &Target) -> Result<(), Fault> {
    let wire = connected(target, None).await?;
    let client = client(&wire, false).await?;
    let status = client.maintenance_client().status().await;
    status.map(drop).map_err(|error| Fault::of(&error, Phase::Asked))
}

/// A connection that failed for no clear reason may be one of the wrong kind: whether the other side speaks
/// TLS is tried. A listener with TLS closes what is none without a word.
async fn explained(fault: Fault, url: &Url) -> Fault {
    if fault.kind != Kind::Unreachable || !fault.closed {
        return fault;
    }
    if url.secure {
        if speaks_http(url).await { speaks_no_tls() } else { fault }
    } else if answers_with_tls(url).await {
        speaks_tls()
    } else {
        fault
    }
}

/// Whether there is TLS: it comes as far as a certificate, which nobody is trusted to sign.
async fn answers_with_tls(url: &Url) -> bool {
    let secure = Url { secure: true, ..url.clone() };
    let options = TlsOptions::new().domain_name(&secure.host);
    let target = Target::from_shared(secure.to_string()).and_then(|t| t.tls_config(options));
    let Ok(target) = target else { return false };
    let fault = connected(&target.connect_timeout(CONNECT), None).await.err();
    fault.is_some_and(|fault| fault.kind == Kind::Denied && fault != speaks_no_tls())
}

/// Whether there is HTTP in plain text: `GET /version` is answered by every etcd.
async fn speaks_http(url: &Url) -> bool {
    let address = (url.host.clone(), url.port);
    let look = tokio::task::spawn_blocking(move || -> std::io::Result<bool> {
        use std::io::{Read as _, Write as _};
        use std::net::{TcpStream, ToSocketAddrs as _};
        let Some(address) = address.to_socket_addrs()?.next() else { return Ok(false) };
        let mut stream = TcpStream::connect_timeout(&address, CONNECT)?;
        stream.set_read_timeout(Some(CONNECT))?;
        stream.set_write_timeout(Some(CONNECT))?;
        stream.write_all(b"GET /version HTTP/1.0\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(answer.starts_with(b"HTTP/1.") && answer.ends_with(b" 200"))
    });
    matches!(timeout(CONNECT * 2, look).await, Ok(Ok(Ok(true))))
}
