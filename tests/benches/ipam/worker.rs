//! A process that makes the calls of one plugin and one command, and of nothing else: the processor time of its
//! children is theirs.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use bench_report::{Outcome, Summary};
use support::{Timed, TimedCall, time_of_children};

use crate::subject::Subject;
use crate::target::{Target, expect_exit};

/// The side that asks.
pub(crate) struct Worker<'a> {
    subject: &'a Subject,
    command: &'static str,
    process: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
    pub(crate) measured: Vec<Duration>,
}

impl<'a> Worker<'a> {
    pub(crate) const ARGUMENT: &'static str = "--worker";

    pub(crate) fn start(target: &Target<'a>, command: &'static str) -> Outcome<Self> {
        let this = std::env::current_exe().map_err(|e| format!("this program: {e}"))?;
        let mut process = Command::new(this)
            .arg(Self::ARGUMENT)
            .args([&target.subject.binary, Path::new(command), &target.config])
            .args([&target.state, &target.run])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("a worker: {e}"))?;
        let requests = process.stdin.take().ok_or("a worker without stdin")?;
        let replies = BufReader::new(process.stdout.take().ok_or("a worker without stdout")?);
        let subject = target.subject;
        Ok(Self { subject, command, process, requests, replies, measured: Vec::new() })
    }

    fn ask(&mut self, request: &str) -> Outcome<String> {
        let gone = |e: io::Error| format!("a worker is gone: {e}");
        writeln!(self.requests, "{request}").map_err(gone)?;
        let mut reply = String::new();
        self.replies.read_line(&mut reply).map_err(gone)?;
        Ok(reply)
    }

    /// One call, which must end with `exit`.
    pub(crate) fn call(&mut self, id: &str, exit: i32) -> Outcome<()> {
        let reply = self.ask(id)?;
        let parsed = reply.trim().split_once(' ').and_then(|(nanoseconds, exit)| {
            let took = Duration::from_nanos(nanoseconds.parse().ok()?);
            Some(Timed { took, exit: exit.parse().ok() })
        });
        let timed = parsed.ok_or_else(|| format!("{}: {}", self.subject.label, reply.trim()))?;
        expect_exit(self.subject, self.command, timed, exit)?;
        self.measured.push(timed.took);
        Ok(())
    }

    /// Times, and the mean processor time of a call.
    pub(crate) fn finish(mut self) -> Outcome<(Summary, Duration)> {
        let reply = self.ask(Self::ARGUMENT)?;
        let total = reply.trim().parse().map(Duration::from_nanos);
        let total = total.map_err(|_| format!("no processor time: {}", reply.trim()))?;
        let calls = u32::try_from(self.measured.len()).unwrap_or(u32::MAX).max(1);
        let summary = Summary::of(std::mem::take(&mut self.measured)).ok_or("nothing measured")?;
        Ok((summary, total / calls))
    }

    /// The worker's side: an ID in, a time and an exit status out.
    pub(crate) fn serve(arguments: &[String]) -> Outcome<()> {
        let [binary, command, config, state, run] = arguments else {
            return Err("a worker needs five arguments".to_owned());
        };
        let paths = [binary, config, state, run].map(Path::new);
        let call = TimedCall::new(paths[0], command, paths[1], paths[2], paths[3]);
        let mut out = io::stdout().lock();
        for line in io::stdin().lock().lines() {
            let line = line.map_err(|e| e.to_string())?;
            let reply = if line == Self::ARGUMENT {
                let spent = time_of_children().ok_or("no processor time is known")?;
                spent.as_nanos().to_string()
            } else {
                match call.run(&line) {
                    Ok(Timed { took, exit: Some(exit) }) => format!("{} {exit}", took.as_nanos()),
                    Ok(Timed { exit: None, .. }) => "killed by a signal".to_owned(),
                    Err(e) => e.to_string(),
                }
            };
            writeln!(out, "{reply}").and_then(|()| out.flush()).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
