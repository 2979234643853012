//! `plat vpp preflight`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{files, socket};
use crate::configured::members;
use crate::context::{Command, Context, Exit, Failure};
use crate::documents::vpp::{CheckLine, Preflight as PreflightDocument};
use crate::netconf::{Member, entry, text_of};
use crate::output::{self, Colour, escape, paint};
use crate::vpp::pci::PciAddress;
use crate::vpp::preflight::{Answer, Asked, Facts, Finding, Network, Verdict, preflight, worst};
use crate::vpp::running::{Access, access, ask, connect};

/// Options of `plat vpp preflight`.
#[derive(Debug, Args)]
#[command(
    after_help = "Changes nothing. Exit status: 0 ready, 1 something is to be done or could be better, 2 it cannot work."
)]
pub(crate) struct Preflight {
    /// The device that is to be VPP's uplink, by PCI address.
    #[arg(long, value_name = "ADDR")]
    pci: Option<PciAddress>,
    /// The same by the kernel's name for it.
    #[arg(long, value_name = "NAME", conflicts_with = "pci")]
    interface: Option<String>,
    /// VPP's socket; without it /run/vpp/api.sock, which need not be there yet.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl Command for Preflight {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let (socket, socket_is_named) = socket(context, self.socket.as_ref());
        let (access, answer) = talk(&socket);
        let files = files(context);
        let asked = match (&self.pci, &self.interface) {
            (Some(address), _) => Asked::Pci(*address),
            (None, Some(name)) => Asked::Name(name.clone()),
            (None, None) => Asked::Nothing,
        };
        let findings = preflight(&Facts {
            is_root: rustix::process::geteuid().is_root(),
            socket: &socket,
            socket_is_named,
            access,
            answer: &answer,
            machine: &files.machine(),
            inventory: &files.inventory(),
            asked: &asked,
            networks: &networks(context),
        });
        if context.json {
            output::json(out, &document(&findings))?;
        } else {
            print(&findings, context.width, context.colour, out)?;
        }
        Ok(match worst(&findings) {
            Verdict::Skipped | Verdict::Fine => Exit::Fine,
            Verdict::Warning => Exit::Warning,
            Verdict::Failure => Exit::Critical,
        })
    }
}

/// The networks that this node's configurations attach to VPP, by the plugin itself or by a chain. Files that cannot
/// be read are for `plat conf validate`.
fn networks(context: &Context) -> Vec<Network> {
    let network = |member: &Member| {
        let main = match member.plugin() {
            "chain" => entry(&member.net, "main")?,
            _ => &member.net,
        };
        let is_vpp = text_of(main, "type") == Some("vpp");
        is_vpp.then(|| Network::new(member.network(), text_of(main, "kind")))
    };
    members(context).iter().filter_map(network).collect()
}

/// Asks whoever is behind a socket.
pub(super) fn talk(socket: &Path) -> (Option<Access>, Answer) {
    let allowed = match access(socket) {
        Ok(access) => access,
        Err(error) => {
            let answer = match error.kind() {
                io::ErrorKind::NotFound => Answer::NoSocket,
                io::ErrorKind::PermissionDenied => Answer::Refused,
                io::ErrorKind::InvalidInput => {
                    Answer::Odd(format!("{} is no socket", socket.display()))
                }
                _ => Answer::Odd(format!("{} cannot be looked at: {error}", socket.display())),
            };
            return (None, answer);
        }
    };
    let answer = match connect(socket).and_then(|mut vpp| ask(&mut vpp)) {
        Ok(running) => Answer::Running(running),
        Err(vpp_api::Error::Connect { source, .. })
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            Answer::Refused
        }
        Err(vpp_api::Error::Connect { source, .. })
            if source.kind() == io::ErrorKind::ConnectionRefused =>
        {
            Answer::Nobody
        }
        Err(error) => Answer::Odd(error.to_string()),
    };
    (Some(allowed), answer)
}

fn print(findings: &[Finding], columns: u16, colours: bool, out: &mut dyn Write) -> io::Result<()> {
    let made = || findings.iter().filter(|finding| finding.verdict != Verdict::Skipped);
    let width = made().map(|finding| finding.check.len()).max().unwrap_or(0);
    let indent = 6 + width + 2;
    let room = usize::from(columns).saturating_sub(indent).max(40);
    for Finding { check, verdict, found, advice } in made() {
        let colour = match verdict {
            Verdict::Skipped => Colour::Grey,
            Verdict::Fine => Colour::Green,
            Verdict::Warning => Colour::Yellow,
            Verdict::Failure => Colour::Red,
        };
        let title = format!("{:<4}", verdict.title());
        write!(out, "{}  {check:<width$}  ", paint(&title, colour, colours))?;
        let mut lines = wrapped(&escape(found), room);
        lines.extend(
            wrapped(&escape(advice), room.saturating_sub(2))
                .into_iter()
                .map(|line| format!("  {line}")),
        );
        writeln!(out, "{}", lines.join(&format!("\n{:indent$}", "")))?;
    }
    let mut skipped: Vec<(&str, Vec<&str>)> = Vec::new();
    for Finding { check, found, .. } in findings.iter().filter(|f| f.verdict == Verdict::Skipped) {
        match skipped.iter_mut().find(|(why, _)| why == found) {
            Some((_, checks)) => checks.push(check),
            None => skipped.push((found, vec![check])),
        }
    }
    for (why, checks) in skipped {
        let text = format!("skipped {}: {}", checks.join(", "), escape(why));
        let lines = wrapped(&text, usize::from(columns).max(40));
        for line in lines {
            writeln!(out, "{}", paint(&line, Colour::Grey, colours))?;
        }
    }
    let [warnings, failures] =
        [Verdict::Warning, Verdict::Failure].map(|verdict| count(findings, verdict));
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    if warnings + failures == 0 {
        writeln!(out, "\nready")
    } else {
        writeln!(out, "\n{}, {}", plural(failures, "failure"), plural(warnings, "warning"))
    }
}

/// A text in lines of so many characters, cut at spaces; a word that is longer stays whole.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn count(findings: &[Finding], verdict: Verdict) -> usize {
    findings.iter().filter(|finding| finding.verdict == verdict).count()
}

fn document(findings: &[Finding]) -> PreflightDocument {
    PreflightDocument {
        failures: count(findings, Verdict::Failure),
        warnings: count(findings, Verdict::Warning),
        skipped: count(findings, Verdict::Skipped),
        checks: lines(findings),
    }
}

/// Findings, for programs.
pub(super) fn lines(findings: &[Finding]) -> Vec<CheckLine> {
    let line = |finding: &Finding| CheckLine {
        check: finding.check,
        verdict: finding.verdict.as_str(),
        found: finding.found.clone(),
        advice: finding.advice.clone(),
    };
    findings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_printed_for_people() {
        let finding = |check, verdict, found: &str, advice: &str| Finding {
            check,
            verdict,
            found: found.to_owned(),
            advice: advice.to_owned(),
        };
        let findings = [
            finding("root", Verdict::Fine, "this is root", ""),
            finding(
                "nic-down",
                Verdict::Failure,
                "eth1 is up\u{1b}[2J",
                "one two three four five six seven eight nine",
            ),
            finding("tap", Verdict::Skipped, "VPP does not answer", ""),
            finding("memif", Verdict::Skipped, "VPP does not answer", ""),
        ];
        let mut out = Vec::new();
        print(&findings, 56, false, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\
OK    root      this is root
FAIL  nic-down  eth1 is up\\u{1b}[2J
                  one two three four five six seven
                  eight nine
skipped tap, memif: VPP does not answer

1 failure, 0 warnings
"
        );
    }
}
