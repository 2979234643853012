//! Whether a program is the plugin that its name says: it is run, as a runtime would.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Plugin, shown};
use crate::context::Failure;
use crate::problems::plain;

/// How long an answer may take. A plugin's takes a millisecond.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of an answer is read, in bytes.
const LIMIT: u64 = 64 * 1024;

/// Asks the program at `path` for VERSION under the plugin's name, and tells the version of the program.
///
/// # Errors
/// If it is not this plugin, or cannot be run.
pub(crate) fn version(path: &Path, plugin: Plugin) -> Result<String, Failure> {
    let wrong = |what: &str| {
        let name = plugin.name();
        let message = format!("{} does not answer as the plugin {name}: {what}", shown(path));
        Failure::new(
            message,
            "is the directory mounted noexec, or the program for another machine?",
        )
    };
    let answer = run(path, plugin, Some("VERSION")).map_err(|what| wrong(&what))?;
    if !speaks_cni(&answer.stdout) {
        return Err(wrong(&format!("VERSION gives {:?}", beginning(&answer.stdout))));
    }
    let about = run(path, plugin, None).map_err(|what| wrong(&what))?;
    introduced(&about.stderr, plugin.name())
        .ok_or_else(|| wrong(&format!("it says that it is {:?}", beginning(&about.stderr))))
}

/// What a program printed.
struct Printed {
    stdout: String,
    stderr: String,
}

fn run(path: &Path, plugin: Plugin, command: Option<&str>) -> Result<Printed, String> {
    let mut child = Command::new(path)
        .arg0(plugin.name())
        .env_clear()
        .envs(command.map(|command| ("CNI_COMMAND", command)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // Not everything reads it.
        let _ = stdin.write_all(br#"{"cniVersion":"1.0.0"}"#);
    }
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it has not ended after {PATIENCE:?}"));
            }
        }
    };
    let printed = read(&mut child);
    if status.success() {
        Ok(printed)
    } else {
        Err(format!("it ends with {status}: {}", beginning(&printed.stderr)))
    }
}

/// What a program that has ended has left in its pipes.
fn read(child: &mut Child) -> Printed {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let _ = child.stdout.take().map(|pipe| pipe.take(LIMIT).read_to_end(&mut stdout));
    let _ = child.stderr.take().map(|pipe| pipe.take(LIMIT).read_to_end(&mut stderr));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Printed { stdout: text(stdout), stderr: text(stderr) }
}

/// Whether an answer to VERSION is one that a runtime can use.
fn speaks_cni(answer: &str) -> bool {
    let Ok(answer) = serde_json::from_str::<Value>(answer) else { return false };
    let versions = answer.get("supportedVersions").and_then(Value::as_array);
    answer.get("cniVersion").is_some_and(Value::is_string)
        && versions.is_some_and(|versions| versions.iter().any(|version| version == "1.0.0"))
}

/// The version in `CNI host-local plugin v0.1.0 (..)`.
fn introduced(text: &str, name: &str) -> Option<String> {
    let rest = text.strip_prefix("CNI ")?.strip_prefix(name)?.strip_prefix(" plugin v")?;
    let version = rest.split_whitespace().next()?;
    let is_plain = version.len() <= 64 && version.bytes().all(|b| b.is_ascii_graphic());
    is_plain.then(|| version.to_owned())
}

fn beginning(text: &str) -> String {
    plain(&text.lines().next().unwrap_or_default().chars().take(80).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        for (answer, good) in [
            (r#"{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}"#, true),
            (r#"{"cniVersion":"1.0.0","supportedVersions":["0.4.0"]}"#, false),
            (r#"{"supportedVersions":["1.0.0"]}"#, false),
            ("", false),
            ("[]", false),
        ] {
            assert_eq!(speaks_cni(answer), good, "{answer}");
        }
        for (text, version) in [
            (
                "CNI vpp plugin v0.1.0 (Plat)\nCNI protocol versions supported: 1.0.0\n",
                Some("0.1.0"),
            ),
            ("CNI vpp plugin v0.1.0\n", Some("0.1.0")),
            ("CNI vpp2 plugin v0.1.0\n", None),
            ("CNI host-local plugin v0.1.0\n", None),
            ("", None),
        ] {
            assert_eq!(introduced(text, "vpp").as_deref(), version, "{text}");
        }
    }
}
