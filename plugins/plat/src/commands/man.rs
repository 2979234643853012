//! `plat man`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use clap_mangen::Man as Page;
use serde::Serialize;

use crate::cli::definition;
use crate::context::{Command, Context, Exit, Failure};
use crate::netconf::printable;
use crate::output;

/// Options of `plat man`.
#[derive(Debug, Args)]
#[command(after_help = "For all users: plat man /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// The directory for the pages; it is made if it is not there.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Command for Man {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let cannot = |path: &Path, error: std::io::Error| {
            let message =
                format!("cannot write {}: {error}", printable(&path.display().to_string()));
            Failure::new(message, "a directory that may be written to")
        };
        fs::create_dir_all(&self.dir).map_err(|error| cannot(&self.dir, error))?;
        let mut written = Vec::new();
        for (name, page) in pages()? {
            let path = self.dir.join(&name);
            fs::write(&path, page).map_err(|error| cannot(&path, error))?;
            written.push(path.display().to_string());
        }
        if context.json {
            output::json(out, &Pages { pages: written })?;
        } else {
            for path in written {
                writeln!(out, "{}", printable(&path))?;
            }
        }
        Ok(Exit::Fine)
    }
}

/// Which manual pages were written.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Pages {
    /// Their paths.
    pages: Vec<String>,
}

/// The pages: one for the program, one for each command, one for the daemon, by file name.
fn pages() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut definition = definition().disable_help_subcommand(true);
    definition.build();
    let mut pages = Vec::new();
    let mut waiting = vec![definition];
    while let Some(command) = waiting.pop() {
        waiting.extend(command.get_subcommands().filter(|c| !c.is_hide_set()).cloned());
        let page = Page::new(command).manual("Plat");
        let mut text = Vec::new();
        page.render(&mut text)?;
        pages.push((page.get_filename(), text));
    }
    let daemon = Page::new(plat_agent::definition()).manual("Plat").section("8");
    let mut text = Vec::new();
    daemon.render(&mut text)?;
    pages.push((daemon.get_filename(), text));
    pages.sort();
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(command: &clap::Command, see: &mut impl FnMut(&clap::Command)) {
        see(command);
        command.get_subcommands().for_each(|command| each(command, see));
    }

    #[test]
    fn every_command_has_a_page_that_says_what_it_does() {
        let mut definition = definition().disable_help_subcommand(true);
        definition.build();
        let pages = pages().unwrap();
        let mut commands = 0;
        each(&definition, &mut |command| {
            commands += 1;
            let name = command.get_display_name().unwrap_or_else(|| command.get_name());
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty(), "{name} has no about text");
            let page = pages.iter().find(|(file, _)| *file == format!("{name}.1"));
            let page =
                String::from_utf8(page.unwrap_or_else(|| panic!("{name}: no page")).1.clone());
            let first = about.split(['.', ',', '\'', '-']).next().unwrap();
            assert!(page.unwrap().contains(first), "{name}: {about}");
        });
        assert_eq!(pages.len(), commands + 1);
        assert!(pages.iter().any(|(file, _)| file == "plat-agent.8"));
        assert!(pages.iter().any(|(file, _)| file == "plat-conf-validate.1"));
    }
}
