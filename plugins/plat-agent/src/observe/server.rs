/*!
HTTP for few and near clients, by hyper: on a loopback port, and on a Unix socket that only root reaches.

A client that is slow, or says too much, is let go; so many at a time wait for it no longer than that.
*/

use std::convert::Infallible;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipam_stores::StateDirs;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{Board, Format, Page, TEXT};

/// How long a client may take to say what it wants.
const REQUEST: Duration = Duration::from_secs(2);
/// How long it may take for everything.
const WHOLE: Duration = Duration::from_secs(10);
/// How large the head of a request may be, in bytes (the least that hyper takes), and how many headers it may have.
const HEAD: (usize, usize) = (8192, 32);
/// How many clients there may be at a time.
const CLIENTS: usize = 32;
/// What there is.
const PATHS: &str = "/metrics /status /healthz /readyz\n";

/// Where the agent of these state directories answers root.
fn socket(dirs: &StateDirs) -> PathBuf {
    dirs.volatile.join("agent").join("agent.sock")
}

/// It is answered as long as this is kept.
#[derive(Debug)]
pub(crate) struct Serving {
    socket: Option<PathBuf>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(path) = &self.socket {
            let _ = fs::remove_file(path);
        }
    }
}

impl Board {
    /// Answers on an address, if there is one, and on the socket of the state directories. The caller has the lock of
    /// the one agent, so that a socket that is there already is one that was left. Why the socket cannot be made
    /// is told beside: nothing depends on it.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub(crate) fn serve(
        &self,
        address: Option<SocketAddr>,
        dirs: &StateDirs,
    ) -> io::Result<(Serving, Option<String>)> {
        let tcp = address.map(TcpListener::bind).transpose()?;
        let path = socket(dirs);
        let (unix, trouble) = match listen(&path) {
            Ok(listener) => (Some(listener), None),
            Err(error) => {
                (None, Some(format!("{} cannot be listened on: {error}", path.display())))
            }
        };
        let serving = Serving { socket: unix.as_ref().map(|_| path) };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(2)
            .build()?;
        let (tcp, unix) = {
            let _inside = runtime.enter();
            (
                tcp.map(|tcp| {
                    tcp.set_nonblocking(true)?;
                    tokio::net::TcpListener::from_std(tcp)
                })
                .transpose()?,
                unix.map(|unix| {
                    unix.set_nonblocking(true)?;
                    tokio::net::UnixListener::from_std(unix)
                })
                .transpose()?,
            )
        };
        let near = accept_all(self.clone(), unix.map(Listener::Unix));
        let port = accept_all(self.clone(), tcp.map(Listener::Port));
        // Each has its own places: whoever fills the port does not keep root from the socket.
        thread::Builder::new().name("observe".to_owned()).spawn(move || {
            runtime.block_on(async {
                let near = tokio::spawn(near);
                port.await;
                let _ = near.await;
            });
        })?;
        Ok((serving, trouble))
    }
}

/// Makes the socket: the directory is for root alone already when it appears in it.
fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Where clients come from.
#[derive(Debug)]
enum Listener {
    Port(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

/// What is read from and written to.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Port(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

async fn accept_all(board: Board, listener: Option<Listener>) {
    let Some(listener) = listener else { return };
    let port = matches!(listener, Listener::Port(_));
    let places = Arc::new(Semaphore::new(CLIENTS));
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok(stream) => {
                let board = board.clone();
                tokio::spawn(async move {
                    // A client that goes away has had enough.
                    let _ = timeout(WHOLE, converse(board, stream, port)).await;
                    drop(place);
                });
            }
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// One request and its answer.
async fn converse(board: Board, stream: Box<dyn Stream>, port: bool) -> hyper::Result<()> {
    let answer = service_fn(move |request: Request<Incoming>| {
        let board = board.clone();
        async move { Ok::<_, Infallible>(answer(board, &request, port).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(HEAD.0)
        .max_headers(HEAD.1)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await
}

async fn answer(board: Board, request: &Request<Incoming>, port: bool) -> Response<Full<Bytes>> {
    if port && !is_near(request.headers().get(HOST)) {
        let text = "this is answered for localhost and loopback addresses only\n";
        return response(StatusCode::MISDIRECTED_REQUEST, TEXT, text.to_owned());
    }
    let is_head = request.method() == Method::HEAD;
    if !is_head && request.method() != Method::GET {
        return response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET\n".to_owned());
    }
    let path = request.uri().path().to_owned();
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::accepted(accept);
    // Stores are read, and may be waited for.
    let page = tokio::task::spawn_blocking(move || board.page(&path, format)).await;
    match page {
        Ok(Some(Page { good, kind, text })) => {
            let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            // Of an answer to HEAD hyper sends no body.
            response(status, kind, text)
        }
        Ok(None) => response(StatusCode::NOT_FOUND, TEXT, PATHS.to_owned()),
        Err(_) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "failed\n".to_owned()),
    }
}

fn response(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Whether a client means this machine. A browser that was led here by a name of somebody else's says that name.
fn is_near(host: Option<&HeaderValue>) -> bool {
    let Some(host) = host else { return true };
    let Ok(host) = host.to_str() else { return false };
    if host.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback()) {
        return true;
    }
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
    });
    let bare = |text: &str| text.strip_prefix('[')?.strip_suffix(']').map(str::to_owned);
    let address = bare(host).unwrap_or_else(|| name.to_owned());
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered() {
        let near = |text: &str| is_near(Some(&HeaderValue::from_str(text).unwrap()));
        for good in
            ["localhost", "LocalHost:9434", "127.0.0.1", "127.0.0.1:9434", "[::1]", "[::1]:9434"]
        {
            assert!(near(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "evil.example:9434",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "10.0.0.1:80",
            "[::2]",
            "[::2]:1",
            "localhost:evil",
            "::1:x",
        ] {
            assert!(!near(bad), "{bad}");
        }
        assert!(is_near(None));
    }
}
