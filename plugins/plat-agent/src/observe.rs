/*!
What the agent tells on a loopback port: Prometheus' text format at `/metrics`, the last report at `/status`,
whether the loop turns at `/healthz`, whether all routes are known and set at `/readyz`.

One request at a time, of a few hundred bytes, answered and closed.
*/

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::{Action, Report};

/// How long a client may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest request line that is read.
const LONGEST: usize = 1024;

/// What the loop has seen last.
#[derive(Debug)]
pub(crate) struct Seen {
    report: Report,
    /// When everything was looked at last, and how long that took.
    at: Instant,
    took: Duration,
    looks: u64,
    troubles: usize,
    /// After how long without a look something is wrong.
    limit: Duration,
}

/// What the loop has seen last, for whoever asks.
#[derive(Clone, Debug)]
pub(crate) struct Board(Arc<Mutex<Seen>>);

impl Board {
    /// Nothing is seen yet; everything is to be looked at every `resync`.
    pub(crate) fn new(resync: Duration) -> Self {
        Self(Arc::new(Mutex::new(Seen {
            report: Report::default(),
            at: Instant::now(),
            took: Duration::ZERO,
            looks: 0,
            troubles: 0,
            limit: resync * 3 + Duration::from_secs(30),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything was looked at.
    pub(crate) fn looked(&self, report: &Report, took: Duration) {
        let mut seen = self.lock();
        seen.report = report.clone();
        seen.at = Instant::now();
        seen.took = took;
        seen.looks += 1;
    }

    /// So many things are wrong.
    pub(crate) fn troubles(&self, count: usize) {
        self.lock().troubles = count;
    }

    /// Answers on an address from now on.
    ///
    /// # Errors
    /// If it cannot be listened on.
    pub(crate) fn serve(&self, address: SocketAddr) -> io::Result<()> {
        let listener = TcpListener::bind(address)?;
        let board = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                match stream {
                    // A client that goes away has had enough.
                    Ok(stream) => drop(board.answer(stream)),
                    Err(_) => thread::sleep(Duration::from_millis(100)),
                }
            }
        });
        Ok(())
    }

    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut request = Vec::new();
        let mut piece = [0; 256];
        while request.len() < LONGEST && !request.contains(&b'\n') {
            match stream.read(&mut piece)? {
                0 => break,
                count => request.extend_from_slice(piece.get(..count).unwrap_or_default()),
            }
        }
        let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
        let (status, kind, body) = self.lock().page(&line);
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )?;
        stream.flush()
    }
}

impl Seen {
    /// The answer to a request line: status, content type, body.
    fn page(&self, line: &str) -> (&'static str, &'static str, String) {
        const TEXT: &str = "text/plain; charset=utf-8";
        const GOOD: &str = "200 OK";
        let verdict = |good: bool, bad: &str| {
            let status = if good { GOOD } else { "503 Service Unavailable" };
            (status, TEXT, format!("{}\n", if good { "ok" } else { bad }))
        };
        let mut words = line.split(' ');
        match (words.next(), words.next()) {
            (Some("GET"), Some("/healthz")) => {
                verdict(self.at.elapsed() < self.limit, "nothing was looked at for too long")
            }
            (Some("GET"), Some("/readyz")) => verdict(
                self.looks > 0
                    && self.report.complete
                    && self.report.sinks.iter().all(|s| s.trouble.is_none()),
                "not all sources have told all they know, or a sink cannot be reached",
            ),
            (Some("GET"), Some("/metrics")) => {
                (GOOD, "text/plain; version=0.0.4; charset=utf-8", self.metrics())
            }
            (Some("GET"), Some("/status")) => {
                let text = serde_json::to_string_pretty(&self.report).unwrap_or_default();
                (GOOD, "application/json", format!("{text}\n"))
            }
            (Some("GET"), _) => {
                ("404 Not Found", TEXT, "/metrics /status /healthz /readyz\n".to_owned())
            }
            _ => ("405 Method Not Allowed", TEXT, "GET\n".to_owned()),
        }
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        text.push_str(
            "# HELP plat_agent_routes Routes at the last look, by what is done about them.\n",
        );
        text.push_str("# TYPE plat_agent_routes gauge\n");
        for sink in &self.report.sinks {
            let label = escaped(&sink.sink);
            for (action, name) in [
                (Action::Add, "add"),
                (Action::Replace, "replace"),
                (Action::Remove, "remove"),
                (Action::Keep, "keep"),
                (Action::Hold, "hold"),
                (Action::Foreign, "foreign"),
                (Action::Unreachable, "unreachable"),
            ] {
                let count = sink.routes.iter().filter(|row| row.action == action).count();
                let _ = writeln!(
                    text,
                    "plat_agent_routes{{sink=\"{label}\",action=\"{name}\"}} {count}"
                );
            }
            let failed = sink.routes.iter().filter(|row| row.error.is_some()).count();
            let _ =
                writeln!(text, "plat_agent_routes{{sink=\"{label}\",action=\"failed\"}} {failed}");
        }
        text.push_str(
            "# HELP plat_agent_sink_up Whether routes can be listed and changed there.\n",
        );
        text.push_str("# TYPE plat_agent_sink_up gauge\n");
        for sink in &self.report.sinks {
            let (label, up) = (escaped(&sink.sink), u8::from(sink.trouble.is_none()));
            let _ = writeln!(text, "plat_agent_sink_up{{sink=\"{label}\"}} {up}");
        }
        for (name, kind, help, value) in [
            (
                "refused",
                "gauge",
                "Entries of sources that make no route.",
                self.report.refused.len().to_string(),
            ),
            ("troubles", "gauge", "Things that are wrong now.", self.troubles.to_string()),
            (
                "complete",
                "gauge",
                "Whether every source has told all.",
                u8::from(self.report.complete).to_string(),
            ),
            (
                "looks_total",
                "counter",
                "How often everything was looked at.",
                self.looks.to_string(),
            ),
            (
                "look_seconds",
                "gauge",
                "How long the last look took.",
                self.took.as_secs_f64().to_string(),
            ),
            (
                "look_age_seconds",
                "gauge",
                "How long ago it was.",
                self.at.elapsed().as_secs_f64().to_string(),
            ),
        ] {
            let _ = write!(
                text,
                "# HELP plat_agent_{name} {help}\n# TYPE plat_agent_{name} {kind}\nplat_agent_{name} {value}\n"
            );
        }
        text
    }
}

/// A label's value.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::SinkReport;

    #[test]
    fn pages() {
        let board = Board::new(Duration::from_secs(30));
        let status = |line: &str| board.lock().page(line).0;
        assert_eq!(status("GET /healthz HTTP/1.1"), "200 OK");
        assert_eq!(status("GET /readyz HTTP/1.1"), "503 Service Unavailable");
        let sink = SinkReport { sink: "a \"b\"".to_owned(), ..SinkReport::default() };
        let report = Report { complete: true, sinks: vec![sink], ..Report::default() };
        board.looked(&report, Duration::from_millis(5));
        assert_eq!(status("GET /readyz HTTP/1.1"), "200 OK");
        for (line, expected) in [
            ("GET / HTTP/1.1", "404 Not Found"),
            ("GET", "404 Not Found"),
            ("POST /metrics HTTP/1.1", "405 Method Not Allowed"),
            ("", "405 Method Not Allowed"),
        ] {
            assert_eq!(status(line), expected, "{line:?}");
        }
        let metrics = board.lock().page("GET /metrics").2;
        assert!(
            metrics.contains("plat_agent_routes{sink=\"a \\\"b\\\"\",action=\"keep\"} 0\n"),
            "{metrics}"
        );
        assert!(metrics.contains("\nplat_agent_looks_total 1\n"), "{metrics}");
    }
}
