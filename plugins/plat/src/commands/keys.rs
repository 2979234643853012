//! `plat conf keys`.

use std::io::Write;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value};

use crate::context::{Command, Context, Exit, Failure};
use crate::output;
use crate::reference::{ROOTS, Section, root, schema, write_markdown, write_plain};

/// Options of `plat conf keys`.
#[derive(Debug, Args)]
#[command(
    after_help = "With --json, a JSON Schema (draft 2020-12) for editors: of the one configuration, or an object \
                  with all of them."
)]
pub(crate) struct Keys {
    /// The configuration; without it all of them.
    #[arg(value_name = "NAME", value_parser = names())]
    name: Option<String>,
    /// Prints Markdown, with a heading for each object.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(ROOTS.iter().map(|section| section.name))
}

impl Command for Keys {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let one = self.name.as_deref().and_then(root);
        let wanted: Vec<&'static Section> = one.map_or_else(|| ROOTS.to_vec(), |one| vec![one]);
        if context.json {
            match one {
                Some(section) => output::json(out, &schema(section))?,
                None => {
                    let all =
                        ROOTS.iter().map(|section| (section.name.to_owned(), schema(section)));
                    output::json(out, &Value::Object(all.collect::<Map<_, _>>()))?;
                }
            }
        } else if self.markdown {
            out.write_all(write_markdown(&wanted).as_bytes())?;
        } else {
            out.write_all(write_plain(&wanted).as_bytes())?;
        }
        Ok(Exit::Fine)
    }
}
