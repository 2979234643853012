//! `bench-page`: writes the page and its pictures from benchmarks' figures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bench_report::page::Page;
use bench_report::{Outcome, Run, options};
use clap::Parser as _;

/// Writes the page of benchmarks, and its pictures, from their figures.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "bench-page")]
struct Options {
    /// The page.
    #[arg(long, value_name = "FILE", default_value = "docs/benchmarks.md")]
    page: PathBuf,
    /// The directory of its pictures, seen from the page's.
    #[arg(long, value_name = "DIR", default_value = "images")]
    images: String,
    /// The command that the page names as what wrote it.
    #[arg(long, value_name = "TEXT", default_value = "make bench")]
    command: String,
    /// What `--json` of each benchmark has written. One that is not there is left out.
    #[arg(required = true, value_name = "FILE")]
    figures: Vec<PathBuf>,
}

fn main() -> ExitCode {
    options::exit("bench-page", write(&Options::parse()))
}

fn write(options: &Options) -> Outcome<()> {
    let mut runs = Vec::new();
    for path in &options.figures {
        let trouble = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        match fs::read_to_string(path) {
            Ok(text) => runs.push(Run::parse(&text).map_err(|e| trouble(&e))?),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(trouble(&e)),
        }
    }
    if runs.is_empty() {
        return Err("none of the files with figures is there: run the benchmarks first".to_owned());
    }
    let page = Page::of(&runs, &options.command, &options.images);
    let directory = options.page.parent().unwrap_or(Path::new("")).join(&options.images);
    let trouble = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    fs::create_dir_all(&directory).map_err(|e| trouble(&directory, e))?;
    for (name, svg) in &page.images {
        let path = directory.join(name);
        fs::write(&path, svg).map_err(|e| trouble(&path, e))?;
    }
    fs::write(&options.page, &page.markdown).map_err(|e| trouble(&options.page, e))
}
