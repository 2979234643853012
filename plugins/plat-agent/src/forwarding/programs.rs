//! nft and iptables-legacy: found, run with a deadline, and what they said.

use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::accept::Step;
use super::firewall::{Chain, Place, legacy_chain, nft_chain, nft_chains, objects};
use super::masquerade::{self, There};

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is asked whether it has ended.
const TICK: Duration = Duration::from_millis(2);
/// Where programs are that a service's PATH may not have.
const PLACES: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];
/// The most that is read of an answer, in bytes.
const LONGEST: u64 = 64 << 20;
/// How long iptables-legacy waits for another one's lock, in seconds.
const LOCK: &str = "10";

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Firewall {
    pub(super) chains: Vec<Chain>,
    pub(super) table: There,
    /// What could not be looked at, a sentence each.
    pub(super) unseen: Vec<String>,
}

/// Looks at everything.
pub(super) fn read() -> Firewall {
    let mut firewall = Firewall { chains: Vec::new(), table: There::Nothing, unseen: Vec::new() };
    match find("nft") {
        None => firewall.unseen.push(
            "nft is not installed (Debian: nftables), so what nftables drops cannot be seen"
                .to_owned(),
        ),
        Some(nft) => {
            if let Err(why) = read_nft(&nft, &mut firewall) {
                firewall.unseen.push(format!("what nftables drops cannot be seen: {why}"));
            }
        }
    }
    for (v6, names) in [(false, "ip_tables_names"), (true, "ip6_tables_names")] {
        // Asking iptables-legacy where it has nothing would make its tables.
        let names = std::fs::read_to_string(Path::new("/proc/thread-self/net").join(names));
        if !names.is_ok_and(|names| names.lines().any(|name| name == "filter")) {
            continue;
        }
        match legacy(v6, &["-w", LOCK, "-S"]) {
            Ok(text) => firewall.chains.push(legacy_chain(&text, v6)),
            Err(why) => {
                firewall.unseen.push(format!("what iptables-legacy drops cannot be seen: {why}"));
            }
        }
    }
    firewall
}

fn read_nft(nft: &Path, firewall: &mut Firewall) -> Result<(), String> {
    let tables = run(nft, &["-j", "list", "tables"], "")?;
    let ours = |table: &Value| {
        table.get("family") == Some(&json!("inet"))
            && table.get("name") == Some(&json!(masquerade::TABLE))
    };
    if objects(&tables, "table")?.iter().any(ours) {
        let text = run(nft, &["-j", "list", "table", "inet", masquerade::TABLE], "")?;
        firewall.table = masquerade::read(&text)?;
    }
    for (place, policy) in nft_chains(&run(nft, &["-j", "list", "chains"], "")?)? {
        let Place::Nft { family, table, chain } = &place else { continue };
        // What a chain calls matters where it drops at its end; those that do not may be of thousands of rules.
        let whole = ["-j", "-a", "list", "table", family, table];
        let alone = ["-j", "-a", "list", "chain", family, table, chain];
        let mut read = nft_chain(&run(nft, &alone, "")?, place.clone(), policy)?;
        if read.drops().is_some() {
            read = nft_chain(&run(nft, &whole, "")?, place, policy)?;
        }
        firewall.chains.push(read);
    }
    Ok(())
}

/// Has nft carry out commands, all or none.
pub(super) fn change(commands: &[Value]) -> Result<(), String> {
    let nft = find("nft").ok_or("nft is not installed (Debian: nftables)")?;
    run(&nft, &["-j", "-f", "-"], &json!({ "nftables": commands }).to_string()).map(drop)
}

/// Has iptables-legacy carry out a step.
pub(super) fn change_legacy(step: &Step) -> Result<(), String> {
    let Some((v6, words)) = step.arguments() else { return Ok(()) };
    let words: Vec<&str> =
        ["-w", LOCK].into_iter().chain(words.iter().map(String::as_str)).collect();
    legacy(v6, &words).map(drop)
}

fn legacy(v6: bool, words: &[&str]) -> Result<String, String> {
    let name = if v6 { "ip6tables-legacy" } else { "iptables-legacy" };
    if let Some(program) = find(name) {
        return run(&program, words, "");
    }
    // Before there was another one it had no suffix.
    let plain = find(name.trim_end_matches("-legacy"));
    match plain {
        Some(program) if !run(&program, &["--version"], "")?.contains("nf_tables") => {
            run(&program, words, "")
        }
        _ => Err(format!("{name} is not installed (Debian: iptables)")),
    }
}

/// Where a program is.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> =
        std::env::split_paths(&path).filter(|p| p.is_absolute()).collect();
    places.extend(PLACES.iter().map(PathBuf::from));
    places.into_iter().map(|place| place.join(name)).find(|path| path.is_file())
}

/// Runs a program to its end; what it prints.
fn run(program: &Path, words: &[&str], input: &str) -> Result<String, String> {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let failed = |what: &dyn std::fmt::Display| format!("{name} {}: {what}", words.join(" "));
    let child = Command::new(program)
        .args(words)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| failed(&error))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            // One that ends before it has read all says itself why.
            drop(stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        });
        let out = scope.spawn(move || text(stdout));
        let err = scope.spawn(move || text(stderr));
        let status = wait(&mut child);
        let _ = writer.join();
        let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
        match status {
            Some(status) if status.success() => Ok(out),
            Some(status) => {
                let said = err.lines().map(str::trim).find(|line| !line.is_empty());
                Err(failed(&said.map_or_else(|| status.to_string(), str::to_owned)))
            }
            None => Err(failed(&"it did not end in time")),
        }
    })
}

fn text(from: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        // What was read before a failure is told.
        let _ = from.take(LONGEST).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn wait(child: &mut Child) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(TICK),
            _ => {
                // Its pipes end with it.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_run_to_their_end() {
        let sh = find("sh").expect("a shell");
        let long = "x".repeat(300_000);
        assert_eq!(run(&sh, &["-c", "cat"], &long).unwrap(), long);
        assert_eq!(run(&sh, &["-c", "exit 0"], &long).unwrap(), "");
        let error = run(&sh, &["-c", "echo ' no ' >&2; exit 3"], "").unwrap_err();
        assert_eq!(error, "sh -c echo ' no ' >&2; exit 3: no");
        assert!(run(&sh, &["-c", "exit 3"], "").unwrap_err().ends_with("exit status: 3"));
        assert!(find("no-such-program-anywhere").is_none());
    }
}
