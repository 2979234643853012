//! Mounts that only a test sees.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::program::{install_script, program};
use crate::{have, is_root, skip_unless};

/// A mount namespace of a test's own, held by a process that sleeps in it. With the process, the
/// namespace and all that is mounted in it goes away: when this is dropped, and also when the test
/// process is killed, because the holder reads from a pipe of ours.
#[derive(Debug)]
pub struct MountNamespace {
    holder: Child,
}

impl MountNamespace {
    /// Whether there can be one; if not, the test says that it is skipped.
    pub fn can_be_made(test: &str) -> bool {
        let tools = have("unshare") && have("nsenter") && have("mount");
        skip_unless(test, &[(is_root(), "root"), (tools, "unshare, nsenter and mount")])
    }

    /// A copy of the present mounts, from which nothing propagates back. Needs root.
    pub fn new() -> Self {
        let mut holder = Command::new(program("unshare"))
            .args(["--mount", "--propagation", "private", "--", "/bin/sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare can be started");
        // The line says that the namespace has been entered.
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("stdout is a pipe");
        let read = BufReader::new(stdout).read_line(&mut line);
        let namespace = Self { holder };
        assert!(matches!(read, Ok(1)), "no mount namespace can be made: {read:?}");
        namespace
    }

    /// Runs a program in the namespace; panics if it fails.
    pub fn run<S: AsRef<OsStr>>(&self, name: &str, arguments: &[S]) -> Output {
        let output = Command::new(program("nsenter"))
            .arg(self.mount_option())
            .arg("--")
            .arg(program(name))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("nsenter can be started");
        assert!(
            output.status.success(),
            "{name} {:?}: {}{}",
            arguments.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    /// Mounts a tmpfs with `options` at a directory, which is created.
    pub fn mount_tmpfs(&self, at: &Path, options: &str) {
        self.run("mkdir", &[OsStr::new("-p"), at.as_os_str()]);
        let type_and_options = ["-t", "tmpfs", "-o", options, "tmpfs"].map(OsStr::new);
        self.run("mount", &[&type_and_options[..], &[at.as_os_str()]].concat());
    }

    /// A path of the namespace, as it can be used from outside.
    pub fn path(&self, inside: &Path) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        Path::new(&root).join(inside.strip_prefix("/").expect("an absolute path"))
    }

    /// A program that runs `binary` in the namespace, put at `script`.
    pub fn wrapper(&self, binary: &Path, script: &Path) -> PathBuf {
        let nsenter = program("nsenter");
        let option = self.mount_option();
        let command = [nsenter.as_os_str(), OsStr::new(&option), OsStr::new("--")];
        install_script(script, &command, binary)
    }

    fn mount_option(&self) -> String {
        format!("--mount=/proc/{}/ns/mnt", self.holder.id())
    }
}

impl Default for MountNamespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for MountNamespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
