/*!
Other plugins, run as a runtime runs them.

A delegate is found in the directories of CNI_PATH and nowhere else. It gets the environment of this process with
the CNI_* variables of the call, the configuration on standard input and our standard error; it runs in a process
group of its own, which is killed when the deadline is over: a runtime that has given up must not be followed by a
late ADD.
*/

use std::io::{ErrorKind, Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde_json::Value;

use crate::environment::{Command, Environment};
use crate::error::{Code, Error, cut};
use crate::run::key;

/// How long a delegate may take where nothing else is said: less than the two minutes after which kubelet gives
/// up, so that there is time to undo.
pub const PATIENCE: Duration = Duration::from_secs(110);

/// The most that is read of an answer, in bytes.
const ANSWER_LIMIT: usize = 1024 * 1024;
/// How often a binary that is just being written is tried again, and how long is waited in between.
const BUSY: (u32, Duration) = (20, Duration::from_millis(100));
/// The longest time between two looks at a process, where the kernel does not tell of its end.
const LOOK: Duration = Duration::from_millis(10);
/// How long a killed process may take to end.
const DYING: Duration = Duration::from_secs(5);

/// A plugin that is called by this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegate {
    name: String,
    path: PathBuf,
}

impl Delegate {
    /// Finds a plugin by its `type` in the directories of CNI_PATH.
    ///
    /// # Errors
    /// Code 7: the text is no name of a plugin, or no directory has it.
    pub fn find(name: &str, environment: &Environment) -> Result<Self, Error> {
        let wrong = name.is_empty()
            || name == "."
            || name == ".."
            || name.contains('/')
            || name.contains(char::is_control);
        if wrong {
            return Err(Error::new(
                Code::InvalidConfig,
                format!("invalid plugin name: {:?}", cut(name)),
            )
            .with_details(
                "\"type\" is the name of a file in a directory of CNI_PATH, without a slash",
            ));
        }
        let dirs: Vec<&str> =
            environment.value("CNI_PATH").split(':').filter(|dir| !dir.is_empty()).collect();
        let found = dirs.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.is_file());
        match found {
            Some(path) => Ok(Self { name: name.to_owned(), path }),
            None => Err(Error::new(
                Code::InvalidConfig,
                format!("failed to find plugin {:?} in path [{}]", cut(name), dirs.join(" ")),
            )
            .with_details("CNI_PATH names the directories that a plugin is looked for in")),
        }
    }

    /// Its name, as in `type`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its binary.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Calls it and returns what it answers: a result for ADD, nothing for most others. `environment` has the
    /// CNI_* variables; CNI_COMMAND is set to `command`. Without `deadline` it is given [`PATIENCE`].
    ///
    /// # Errors
    /// What it says itself, with its code and its name in front; 5 if it cannot be run, 6 if its answer is no
    /// JSON object, 11 if it had not answered at the deadline, 999 if it failed and did not say why.
    pub fn call(
        &self,
        command: Command,
        environment: &Environment,
        config: &Value,
        deadline: Option<Duration>,
    ) -> Result<Option<Value>, Error> {
        let patience = deadline.unwrap_or(PATIENCE);
        let end = Instant::now() + patience;
        let mut running = self.start(command, environment, config)?;
        let outcome = running.finish(end);
        let answer = std::mem::take(&mut running.answer);
        match outcome {
            Ok(Some(status)) if status.success() => self.answered(command, &answer),
            Ok(Some(status)) => Err(self.failed(command, status, &answer)),
            Ok(None) => {
                running.kill();
                let message = format!(
                    "{}: no answer to {} within {} s, so it was killed",
                    self.name,
                    command.as_str(),
                    patience.as_secs_f32().ceil()
                );
                Err(Error::new(Code::TryAgainLater, message))
            }
            Err(error) => {
                running.kill();
                Err(Error { message: format!("{}: {}", self.name, error.message), ..error })
            }
        }
    }

    fn start(
        &self,
        command: Command,
        environment: &Environment,
        config: &Value,
    ) -> Result<Running, Error> {
        let cannot = |what: &str, error: &dyn std::fmt::Display| {
            Error::new(Code::Io, format!("{what} {}: {error}", self.path.display()))
        };
        let mut process = std::process::Command::new(&self.path);
        process
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CNI_") {
                process.env_remove(name);
            }
        }
        process.envs(environment.cni_variables()).env("CNI_COMMAND", command.as_str());
        let mut left = BUSY.0;
        let mut child = loop {
            match process.spawn() {
                Ok(child) => break child,
                // Somebody is installing it, or a process that has just been forked still has it open.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && left > 0 => {
                    left -= 1;
                    std::thread::sleep(BUSY.1);
                }
                Err(error) => return Err(cannot("cannot run", &error)),
            }
        };
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let watch = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).ok();
        let mut running = Running {
            child,
            watch,
            stdin,
            stdout,
            input: config.to_string().into_bytes(),
            written: 0,
            answer: Vec::new(),
        };
        let blocking = |fd: std::os::fd::BorrowedFd<'_>| rustix::io::ioctl_fionbio(fd, true);
        let prepared = running
            .stdin
            .as_ref()
            .map_or(Ok(()), |fd| blocking(fd.as_fd()))
            .and(running.stdout.as_ref().map_or(Ok(()), |fd| blocking(fd.as_fd())));
        if let Err(error) = prepared {
            running.kill();
            return Err(cannot("cannot talk to", &error));
        }
        Ok(running)
    }

    fn answered(&self, command: Command, answer: &[u8]) -> Result<Option<Value>, Error> {
        let wants = matches!(command, Command::Add | Command::Version);
        if answer.iter().all(u8::is_ascii_whitespace) {
            if !wants {
                return Ok(None);
            }
            return Err(Error::new(
                Code::Decode,
                format!("{}: answered {} with nothing", self.name, command.as_str()),
            ));
        }
        match serde_json::from_slice::<Value>(answer) {
            Ok(value @ Value::Object(_)) => Ok(Some(value)),
            // The specification gives the others no answer; what they print is nobody's business.
            _ if !wants => Ok(None),
            _ => Err(Error::new(
                Code::Decode,
                format!("{}: its answer to {} is no JSON object", self.name, command.as_str()),
            )
            .with_details(cut(&String::from_utf8_lossy(answer)))),
        }
    }

    fn failed(&self, command: Command, status: ExitStatus, answer: &[u8]) -> Error {
        let value = serde_json::from_slice::<Value>(answer).unwrap_or_default();
        let text = |name: &str| {
            key(&value, name).and_then(Value::as_str).unwrap_or_default().trim().to_owned()
        };
        let code = key(&value, "code").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let (message, details) = (text("msg"), text("details"));
        if let Some(code) = code.filter(|code| *code != 0 || !message.is_empty()) {
            let prefix = format!("{}: ", self.name);
            let message =
                if message.starts_with(&prefix) { message } else { format!("{prefix}{message}") };
            return Error { code: Code::from_number(code), message, details };
        }
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "no exit status".to_owned(),
        };
        Error::new(
            Code::Internal,
            format!("{}: {} failed without an error message ({how})", self.name, command.as_str()),
        )
        .with_details(cut(&String::from_utf8_lossy(answer)))
    }
}

/// A delegate at work.
struct Running {
    child: Child,
    /// Tells when the process ends; kernels before 5.3 have no such thing.
    watch: Option<OwnedFd>,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    input: Vec<u8>,
    written: usize,
    answer: Vec<u8>,
}

impl Running {
    /// Writes the input and reads the answer until the process has ended; `None` at the deadline.
    ///
    /// What it started itself may keep its standard output open for as long as it likes.
    fn finish(&mut self, end: Instant) -> Result<Option<ExitStatus>, Error> {
        loop {
            self.write();
            self.read()?;
            let left = end.saturating_duration_since(Instant::now());
            // Without a watch the end of the answer is the sign to look.
            if (self.watch.is_none() && self.stdout.is_none() || left.is_zero() || self.has_ended())
                && let Some(status) = self.child.try_wait().map_err(|e| io(&e))?
            {
                self.read()?;
                return Ok(Some(status));
            }
            if left.is_zero() {
                return Ok(None);
            }
            self.wait(left)?;
        }
    }

    fn has_ended(&self) -> bool {
        let Some(watch) = &self.watch else { return false };
        let mut fds = [PollFd::new(watch, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }

    /// Sleeps until there is something to do.
    fn wait(&self, left: Duration) -> Result<(), Error> {
        let mut fds = Vec::with_capacity(3);
        fds.extend(self.stdin.as_ref().map(|fd| PollFd::new(fd, PollFlags::OUT)));
        fds.extend(self.stdout.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(self.watch.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let longest = if self.watch.is_none() { left.min(LOOK) } else { left };
        let timeout = Timespec {
            tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(longest.subsec_nanos()),
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(io(&error.into())),
        }
    }

    fn write(&mut self) {
        let Some(stdin) = &mut self.stdin else { return };
        while let Some(rest) = self.input.get(self.written..).filter(|rest| !rest.is_empty()) {
            match stdin.write(rest) {
                Ok(0) => break,
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // It does not want to know more; what it answers counts.
                Err(_) => break,
            }
        }
        self.stdin = None;
    }

    fn read(&mut self) -> Result<(), Error> {
        let Some(stdout) = &mut self.stdout else { return Ok(()) };
        let mut piece = [0; 16 * 1024];
        loop {
            match stdout.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => self.answer.extend_from_slice(piece.get(..n).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(io(&error)),
            }
            if self.answer.len() > ANSWER_LIMIT {
                return Err(Error::new(
                    Code::Decode,
                    format!("its answer is longer than {ANSWER_LIMIT} bytes"),
                ));
            }
        }
        self.stdout = None;
        Ok(())
    }

    /// Ends the process and what it started in its group.
    fn kill(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let end = Instant::now() + DYING;
        // One that the kernel keeps is left to whoever inherits it.
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn io(error: &std::io::Error) -> Error {
    Error::new(Code::Io, format!("its answer cannot be read: {error}"))
}

#[cfg(test)]
mod tests;
