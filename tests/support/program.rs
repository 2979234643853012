//! Programs of the system, and small programs put before a plugin.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Scratch;

/// Where a program is: on `PATH`, else in one of the system's directories, which an unprivileged
/// user's `PATH` may lack.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_absolute() && candidate.exists())
        .unwrap_or_else(|| panic!("{name} is not installed"))
}

/// Writes a program to `script` that runs `command` with `binary` as its last argument, in the same
/// environment.
pub fn install_script(script: &Path, command: &[&OsStr], binary: &Path) -> PathBuf {
    let mut text = b"#!/bin/sh\nexec".to_vec();
    for word in command.iter().copied().chain([binary.as_os_str()]) {
        assert!(!word.as_bytes().contains(&b'\''), "no quotes: {}", word.display());
        text.extend_from_slice(b" '");
        text.extend_from_slice(word.as_bytes());
        text.push(b'\'');
    }
    text.push(b'\n');
    install(Path::new("/dev/stdin"), &text, script);
    script.to_path_buf()
}

/// Copies a program to a place where every user can run it.
pub fn install_copy(binary: &Path, copy: &Path) -> PathBuf {
    install(binary, b"", copy);
    copy.to_path_buf()
}

/// The same as a program of user and group 65534, of which root's right to everything is taken: modes count then.
/// Needs root and setpriv.
pub fn install_unprivileged(binary: &Path, scratch: &Scratch) -> PathBuf {
    // The built binary may lie where only its owner may look.
    let copy = install_copy(binary, &scratch.join("bin/plugin"));
    let setpriv = program("setpriv");
    let options = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"].map(OsStr::new);
    let command: Vec<&OsStr> = std::iter::once(setpriv.as_os_str()).chain(options).collect();
    install_script(&scratch.join("bin/unprivileged"), &command, &copy)
}

/// Another process writes the file: had this one a descriptor open for writing, a child that another
/// thread starts at that moment could inherit it, and running the file would fail with ETXTBSY.
fn install(source: &Path, stdin: &[u8], destination: &Path) {
    let mut child = Command::new(program("install"))
        .args(["-m", "0755"])
        .arg(source)
        .arg(destination)
        .stdin(Stdio::piped())
        .spawn()
        .expect("install can be started");
    let mut pipe = child.stdin.take().expect("stdin is a pipe");
    // A pipe that is not read, because the source is a file, is no failure.
    let _ = pipe.write_all(stdin);
    drop(pipe);
    let status = child.wait().expect("install can be waited for");
    assert!(status.success(), "{} cannot be written", destination.display());
}
