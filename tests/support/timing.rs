//! Calls whose cost is measured: as little as possible around the process itself.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::{have, program};

/// One kind of call, to be made many times: all but the container ID is fixed. Standard input is the
/// configuration file itself, outputs go nowhere, and nothing has to be done between `fork` and
/// `exec`, so that the standard library takes its fast path (`posix_spawn`).
#[derive(Debug)]
pub struct TimedCall {
    binary: PathBuf,
    config: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

/// What one timed call came to.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    /// From before the start until the process has been waited for.
    pub took: Duration,
    /// The exit status; `None` if a signal ended the process.
    pub exit: Option<i32>,
}

impl TimedCall {
    /// Calls of `binary` with `command` and the configuration in a file, state below `state` and `run`.
    pub fn new(binary: &Path, command: &str, config: &Path, state: &Path, run: &Path) -> Self {
        let fixed = [
            ("CNI_COMMAND", command),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", "/var/run/netns/none"),
            ("CNI_PATH", "/opt/cni/bin"),
        ];
        let places = [("PLAT_STATE_DIR", state), ("PLAT_RUN_DIR", run)];
        let fixed = fixed.map(|(key, value)| (key.into(), value.into()));
        let places = places.map(|(key, value)| (key.into(), value.into()));
        Self {
            binary: binary.to_path_buf(),
            config: config.to_path_buf(),
            environment: fixed.into_iter().chain(places).collect(),
        }
    }

    /// The same with a variable.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<OsString>) -> Self {
        self.environment.retain(|(name, _)| name.as_os_str() != key);
        self.environment.push((key.into(), value.into()));
        self
    }

    /// One call.
    pub fn run(&self, id: &str) -> io::Result<Timed> {
        let mut command = self.command(&self.binary, id)?;
        let start = Instant::now();
        let status = command.spawn()?.wait()?;
        Ok(Timed { took: start.elapsed(), exit: status.code() })
    }

    /// One call, for what it says.
    pub fn answer(&self, id: &str) -> io::Result<String> {
        let output = self.command(&self.binary, id)?.stdout(Stdio::piped()).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The most memory that one call has resident, in KiB; `None` where strace is not installed.
    ///
    /// What `wait4` reports would include what the starting process had resident, so that a plugin
    /// could never be seen to need less than a test. `VmHWM` is about the program alone, and is gone
    /// with it: strace holds the process for a moment where it exits.
    pub fn peak_memory(&self, id: &str) -> io::Result<Option<u64>> {
        if !have("strace") {
            return Ok(None);
        }
        let mut command = self.command(&program("strace"), id)?;
        command
            .args(["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=exit_group"])
            .args(["-e", "inject=exit_group:delay_enter=30000", "--"])
            .arg(&self.binary);
        let binary = fs::canonicalize(&self.binary)?;
        let mut strace = command.spawn()?;
        let pid = strace.id();
        let mut peak = None;
        while strace.try_wait()?.is_none() {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            for child in children.unwrap_or_default().split_whitespace() {
                // Before `exec`, the child is a copy of strace.
                if fs::read_link(format!("/proc/{child}/exe")).is_ok_and(|exe| exe == binary) {
                    peak = peak.max(high_water(child));
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(peak)
    }

    fn command(&self, binary: &Path, id: &str) -> io::Result<Command> {
        let mut command = Command::new(binary);
        command
            .env_clear()
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .env("CNI_CONTAINERID", id)
            .stdin(File::open(&self.config)?)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(command)
    }
}

fn high_water(pid: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The processor time of all children that this process has waited for. The kernel counts it in nanoseconds and tells
/// microseconds, where `/proc/self/stat` has ticks of 10 ms.
pub fn time_of_children() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
    let time = |it: TimeVal| -> Option<Duration> {
        let micros = u64::try_from(it.tv_usec()).ok()?;
        Some(Duration::from_secs(u64::try_from(it.tv_sec()).ok()?) + Duration::from_micros(micros))
    };
    time(usage.user_time())?.checked_add(time(usage.system_time())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_child_counts_once_it_has_been_waited_for() {
        let before = time_of_children().expect("a time");
        // Starting a program takes less than a tick, and more than nothing.
        let status = Command::new(program("true")).status().expect("it starts");
        assert!(status.success());
        assert!(time_of_children().expect("a time") > before);
    }
}
