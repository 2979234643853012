//! `plat completions`.

use std::io::Write;

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use crate::cli::definition;
use crate::context::{Command, Context, Exit, Failure};

/// Options of `plat completions`.
#[derive(Debug, Args)]
#[command(
    after_help = "For bash: plat completions bash > /usr/share/bash-completion/completions/plat"
)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL", ignore_case = true)]
    shell: Known,
}

/// A shell that completions can be made for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
    Elvish,
    #[value(name = "powershell")]
    PowerShell,
}

impl Command for Completions {
    fn run(&self, _: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let shell = match self.shell {
            Known::Bash => Shell::Bash,
            Known::Zsh => Shell::Zsh,
            Known::Fish => Shell::Fish,
            Known::Elvish => Shell::Elvish,
            Known::PowerShell => Shell::PowerShell,
        };
        // The generators end the process where they cannot write.
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut definition(), "plat", &mut script);
        out.write_all(&script)?;
        Ok(Exit::Fine)
    }
}
