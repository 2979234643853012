//! The options that every benchmark has, and how its program begins and ends.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::Outcome;

/// The options that every benchmark has.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Common {
    /// Few of everything: to see that it works. Other options prevail.
    #[arg(long)]
    pub quick: bool,
    /// Writes all figures to FILE, for programs.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// The arguments of this program, without its name. What is no text is no option of a benchmark either.
#[must_use]
pub fn arguments() -> Vec<String> {
    std::env::args_os().skip(1).map(|it| it.to_string_lossy().into_owned()).collect()
}

/// What was asked for, as a command without paths of this machine: `program` and its options but `--json`.
#[must_use]
pub fn command_line(program: &str, arguments: &[String]) -> String {
    let mut words = vec![program];
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--json" {
            let _ = arguments.next();
        } else if !argument.starts_with("--json=") {
            words.push(argument);
        }
    }
    words.join(" ")
}

/// The exit status of a program, which says on standard error what went wrong.
#[must_use]
pub fn exit(program: &str, done: Outcome<()>) -> ExitCode {
    let Err(message) = done else { return ExitCode::SUCCESS };
    let _ = writeln!(std::io::stderr(), "{program}: {message}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_no_places_of_its_figures() {
        let line = |words: &str| {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            command_line("bench-pool", &words)
        };
        assert_eq!(line(""), "bench-pool");
        assert_eq!(line("--runs 3 --json /a/b --quick --json=/c"), "bench-pool --runs 3 --quick");
        assert_eq!(line("--json"), "bench-pool");
    }
}
