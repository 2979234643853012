//! `plat conf`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use host_local::admin::rules_of;
use serde::Serialize;

use crate::cli::absolute;
use crate::commands::keys::Keys;
use crate::configured::{read_file, read_text, surroundings};
use crate::context::{Command, Context, Exit, Failure};
use crate::lint::{Asked, Finding, Reach, Report, Settings, Severity, Summary, lint, overlaps};
use crate::netconf::{Spot, excerpt, printable, spot};
use crate::output;

/// Commands of `plat conf`.
#[derive(Debug, Subcommand)]
pub(crate) enum Conf {
    /// Tells what is wrong with network configurations, with line and column.
    Validate(Validate),
    /// Tells every key of a configuration: what it may be, and what it does.
    Keys(Keys),
}

impl Command for Conf {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        match self {
            Self::Validate(validate) => validate.run(context, out),
            Self::Keys(keys) => keys.run(context, out),
        }
    }
}

/// Options of `plat conf validate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads configurations (.conf), lists (.conflist), templates of node-local, and \
                  NetworkAttachmentDefinitions in JSON or YAML. Exit status: 0 fine, 1 warnings, 2 errors, \
                  3 a file could not be read."
)]
pub(crate) struct Validate {
    /// Files; - is standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    elsewhere: Elsewhere,
    /// Tells what the policy file FILE does not allow, too, as on a node that has it.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// Where to look as.
#[derive(Debug, Args)]
pub(crate) struct Elsewhere {
    /// Looks as the node of this host name would.
    #[arg(long, value_name = "NAME", conflicts_with = "index")]
    node: Option<String>,
    /// Looks as the node of this index would.
    #[arg(long, value_name = "N")]
    index: Option<u32>,
    /// Takes node-local's templates from DIR.
    #[arg(long, value_name = "DIR")]
    cfg_dir: Option<PathBuf>,
}

/// A file, and what is known of it.
struct Looked {
    name: String,
    text: String,
    report: Report,
}

impl Command for Validate {
    fn run(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, Failure> {
        let Elsewhere { node, index, cfg_dir } = &self.elsewhere;
        let rules = self.policy.as_deref().map(|file| rules_of(&context.survey.at(file)));
        let settings = Settings {
            around: surroundings(context),
            node: match (index, node) {
                (Some(index), _) => Some(Asked::Index(*index)),
                (None, Some(name)) => Some(Asked::Name(name.clone())),
                (None, None) => None,
            },
            cfg_dir: cfg_dir.as_deref().map(|dir| absolute(dir).to_string_lossy().into_owned()),
            rules: rules.transpose().map_err(|e| Failure::new(printable(&e.message), e.details))?,
        };
        let mut looked = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let name = printable(&file.display().to_string());
            let text = if file == Path::new("-") {
                read_text(io::stdin().lock())
            } else {
                read_file(&context.survey.at(file))
            };
            let text = text.map_err(|error| {
                Failure::new(
                    format!("{name} {error}"),
                    "a network configuration: .conf, .conflist, or a manifest in JSON or YAML",
                )
            })?;
            let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            let report = lint(&text, ending, &settings);
            looked.push(Looked { name, text, report });
        }
        compare(&mut looked);
        if context.json {
            output::json(out, &document(&looked))?;
        } else {
            print(&looked, context.colour, out)?;
        }
        let worst = looked.iter().flat_map(|file| &file.report.findings).map(|f| f.severity).max();
        Ok(match worst {
            None => Exit::Fine,
            Some(Severity::Warning) => Exit::Warning,
            Some(Severity::Error) => Exit::Critical,
        })
    }
}

/// Adds what the files say against each other.
fn compare(looked: &mut [Looked]) {
    let mut reaches: Vec<Reach> = Vec::new();
    let mut file_of = Vec::new();
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    let mut findings: Vec<(usize, Finding)> = Vec::new();
    for (i, file) in looked.iter().enumerate() {
        for summary in file.report.summaries.iter().filter(|summary| !summary.network.is_empty()) {
            if let Some(former) = first.insert(summary.network.clone(), i)
                && let Some(other) = looked.get(former)
            {
                let message = format!(
                    "the network {:?} is defined in {}, too",
                    summary.network,
                    if former == i { "this file" } else { &other.name }
                );
                let advice = "networks of one name share their addresses and their state";
                findings.push((i, warning(0, message, advice)));
            }
        }
        reaches.extend(file.report.reaches.iter().cloned());
        file_of.resize(reaches.len(), i);
    }
    let with_file = |i: usize| Some((reaches.get(i)?, *file_of.get(i)?));
    for (a, b) in overlaps(&reaches) {
        let (Some(mut one), Some(mut other)) = (with_file(a), with_file(b)) else { continue };
        // The later file is told about the earlier one.
        if other.1 < one.1 {
            (one, other) = (other, one);
        }
        let ((one, former), (other, later)) = (one, other);
        let place = looked.get(former).map_or("", |file| file.name.as_str());
        let message = format!(
            "{} of network {:?} overlaps with {} of network {:?} ({place})",
            other.interval, other.network, one.interval, one.network
        );
        let advice = "fine only if the two networks never meet";
        findings.push((later, warning(other.offset, message, advice)));
    }
    for (i, finding) in findings {
        if let Some(file) = looked.get_mut(i) {
            file.report.findings.push(finding);
            file.report.findings.sort_by_key(|finding| finding.offset);
        }
    }
}

fn warning(offset: usize, message: String, advice: &str) -> Finding {
    Finding {
        severity: Severity::Warning,
        offset,
        path: String::new(),
        message,
        advice: advice.to_owned(),
    }
}

fn count(looked: &[Looked], severity: Severity) -> usize {
    let findings = looked.iter().flat_map(|file| &file.report.findings);
    findings.filter(|finding| finding.severity == severity).count()
}

fn print(looked: &[Looked], colour: bool, out: &mut dyn Write) -> io::Result<()> {
    for Looked { name, text, report } in looked {
        for finding in &report.findings {
            let Spot { line, column } = spot(text, finding.offset);
            let severity = finding.severity.as_str();
            let severity = match (colour, finding.severity) {
                (false, _) => severity.to_owned(),
                (true, Severity::Error) => format!("\u{1b}[1;31m{severity}\u{1b}[0m"),
                (true, Severity::Warning) => format!("\u{1b}[1;33m{severity}\u{1b}[0m"),
            };
            writeln!(out, "{name}:{line}:{column}: {severity}: {}", printable(&finding.message))?;
            writeln!(out, "{}", excerpt(text, finding.offset))?;
            if !finding.advice.is_empty() {
                writeln!(out, "       = {}", printable(&finding.advice))?;
            }
        }
        if report.findings.is_empty() {
            for summary in &report.summaries {
                writeln!(out, "{name}: fine: {}", in_short(summary))?;
            }
        }
    }
    let (errors, warnings) = (count(looked, Severity::Error), count(looked, Severity::Warning));
    if errors + warnings > 0 {
        let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        writeln!(
            out,
            "{}: {}, {}",
            plural(looked.len(), "file"),
            plural(errors, "error"),
            plural(warnings, "warning")
        )?;
    }
    Ok(())
}

/// `network "pods", list of bridge with node-local, portmap`.
fn in_short(summary: &Summary) -> String {
    let form = summary.form.as_str();
    if summary.plugins.is_empty() {
        return form.to_owned();
    }
    let plugins: Vec<String> = summary
        .plugins
        .iter()
        .map(|(plugin, ipam)| match ipam {
            Some(ipam) => format!("{plugin} with {ipam}"),
            None => plugin.clone(),
        })
        .collect();
    let manifest = if summary.in_manifest { ", in a NetworkAttachmentDefinition" } else { "" };
    printable(&format!("network {:?}, {form} of {}{manifest}", summary.network, plugins.join(", ")))
}

/// What is wrong with configurations.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DocumentJson<'a> {
    /// How many findings are errors.
    errors: usize,
    /// How many are warnings.
    warnings: usize,
    /// One for each file, in the order of the command line.
    files: Vec<FileJson<'a>>,
}

/// A file.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FileJson<'a> {
    /// As given.
    file: &'a str,
    /// The networks that are in it.
    networks: Vec<NetworkJson<'a>>,
    /// What is wrong with it, in its order.
    findings: Vec<FindingJson<'a>>,
}

/// A network.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct NetworkJson<'a> {
    /// Its name; may be empty.
    network: &'a str,
    /// `configuration`, `list` or `template`.
    form: &'static str,
    /// Whether it stands in a NetworkAttachmentDefinition.
    in_manifest: bool,
    /// Its plugins.
    plugins: Vec<PluginJson<'a>>,
}

/// A plugin.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PluginJson<'a> {
    /// Its type.
    plugin: &'a str,
    /// The type of its IPAM; `null` if it has none.
    ipam: Option<&'a str>,
}

/// Something that is wrong.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FindingJson<'a> {
    /// `error` or `warning`.
    severity: &'static str,
    /// Where, from 1.
    line: usize,
    /// Where in the line, from 1.
    column: usize,
    /// The key, such as `plugins[0].ipam.subnet`; may be empty.
    path: &'a str,
    /// A sentence.
    message: &'a str,
    /// What would be right; may be empty.
    advice: &'a str,
}

fn document(looked: &[Looked]) -> DocumentJson<'_> {
    let files = looked.iter().map(|file| FileJson {
        file: &file.name,
        networks: file
            .report
            .summaries
            .iter()
            .map(|summary| NetworkJson {
                network: &summary.network,
                form: summary.form.as_str(),
                in_manifest: summary.in_manifest,
                plugins: summary
                    .plugins
                    .iter()
                    .map(|(plugin, ipam)| PluginJson { plugin, ipam: ipam.as_deref() })
                    .collect(),
            })
            .collect(),
        findings: file
            .report
            .findings
            .iter()
            .map(|finding| {
                let Spot { line, column } = spot(&file.text, finding.offset);
                FindingJson {
                    severity: finding.severity.as_str(),
                    line,
                    column,
                    path: &finding.path,
                    message: &finding.message,
                    advice: &finding.advice,
                }
            })
            .collect(),
    });
    DocumentJson {
        errors: count(looked, Severity::Error),
        warnings: count(looked, Severity::Warning),
        files: files.collect(),
    }
}
