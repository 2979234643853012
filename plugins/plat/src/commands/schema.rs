//! `plat schema`.

use std::io::Write;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;
use serde_json::Value;

use crate::context::{Command, Context, Exit, Failure};
use crate::documents::{DOCUMENTS, markdown, named};
use crate::output;

/// Options of `plat schema`.
#[derive(Debug, Args)]
#[command(
    after_help = "JSON Schemas (draft 2020-12). Those of configurations: plat conf keys NAME --json."
)]
pub(crate) struct Schema {
    /// The document; without it, which documents there are.
    #[arg(value_name = "NAME", value_parser = names())]
    name: Option<String>,
    /// Prints a page of the documentation: each document with its fields.
    #[arg(long, conflicts_with_all = ["json", "name"])]
    markdown: bool,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(DOCUMENTS.iter().map(|document| document.name))
}

/// The document of `plat schema --json`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Schemas {
    /// What is printed with `--json`.
    documents: Vec<Entry>,
}

/// A document.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Entry {
    /// What it is called.
    name: &'static str,
    /// What prints it.
    commands: &'static [&'static str],
    /// Its JSON Schema.
    schema: Value,
}

impl Command for Schema {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        if let Some(document) = self.name.as_deref().and_then(named) {
            out.write_all(document.schema.as_bytes())?;
        } else if self.markdown {
            out.write_all(markdown().as_bytes())?;
        } else if context.json {
            let entry = |document: &'static crate::documents::Published| Entry {
                name: document.name,
                commands: document.commands,
                schema: document.value(),
            };
            output::json(out, &Schemas { documents: DOCUMENTS.iter().map(entry).collect() })?;
        } else {
            let mut table = output::table(&["name", "printed by, with --json"]);
            for document in DOCUMENTS {
                table.add_row([document.name.to_owned(), document.commands.join(", ")]);
            }
            writeln!(out, "{}", table.trim_fmt())?;
        }
        Ok(Exit::Fine)
    }
}
