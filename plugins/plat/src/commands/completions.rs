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
    /// The program that they are for.
    #[arg(long, value_name = "NAME", default_value = "plat")]
    program: Program,
}

/// A program of Plat with a command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Program {
    Plat,
    PlatAgent,
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
        let (mut definition, name) = match self.program {
            Program::Plat => (definition(), "plat"),
            Program::PlatAgent => (plat_agent::definition(), "plat-agent"),
        };
        clap_complete::generate(shell, &mut definition, name, &mut script);
        out.write_all(&script)?;
        Ok(Exit::Fine)
    }
}
