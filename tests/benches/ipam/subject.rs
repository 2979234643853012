//! What is measured, and where.

use std::path::{Path, PathBuf};

use bench_report::{Outcome, Program, machine};
use support::{Scratch, Store, binary, have, reference, repository};

use crate::options::Options;

/// A plugin with a store.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// As figures call it.
    pub(crate) label: String,
    /// `ipam.type`
    pub(crate) kind: &'static str,
    pub(crate) store: Store,
    pub(crate) binary: PathBuf,
    pub(crate) is_ours: bool,
    pub(crate) is_reference: bool,
}

impl Subject {
    /// All that are compared: ours, the reference, and those of `--with`.
    pub(crate) fn all(options: &Options) -> Outcome<Vec<Self>> {
        let ours = [
            ("host-local", Store::Dir),
            ("host-local", Store::Sqlite),
            ("node-local", Store::Sqlite),
        ];
        let ours = ours.map(|(kind, store)| Self {
            label: format!("{kind}, {}", store.name()),
            kind,
            store,
            binary: binary(kind),
            is_ours: true,
            is_reference: false,
        });
        let mut subjects = Vec::from(ours);
        let named = options.reference.clone();
        let debian =
            || reference("host-local").map(|path| ("Debian's host-local".to_owned(), path));
        let first = match named {
            Some(path) => Some((label("reference", &path)?, path)),
            None => debian(),
        };
        if first.is_none() {
            eprintln!(
                "no reference: install containernetworking-plugins, or name one by --reference"
            );
        }
        let others = options.with.iter().map(|path| Ok((label("further", path)?, path.clone())));
        let others: Vec<_> = others.collect::<Outcome<_>>()?;
        for (n, (label, binary)) in first.iter().cloned().chain(others).enumerate() {
            let is_reference = n == 0 && first.is_some();
            let label = if subjects.iter().any(|it| it.label == label) {
                format!("{label} ({n})")
            } else {
                label
            };
            let (kind, store) = ("host-local", Store::Dir);
            subjects.push(Self { label, kind, store, binary, is_ours: false, is_reference });
        }
        Ok(subjects)
    }
}

/// What a plugin of another is called: its version, since its path is about this machine only.
fn label(role: &str, path: &Path) -> Outcome<String> {
    if !path.is_file() {
        return Err(format!("{} is not there", path.display()));
    }
    Ok(format!("{role} host-local {}", machine::plugin("", path, None).version))
}

/// The reference's part of what was measured for all subjects, with its name.
pub(crate) fn reference_of<'a, T>(
    subjects: &'a [Subject],
    measured: &'a [T],
) -> Option<(&'a str, &'a T)> {
    let mut pairs = subjects.iter().zip(measured);
    pairs
        .find(|(subject, _)| subject.is_reference)
        .map(|(it, measured)| (it.label.as_str(), measured))
}

/// The programs of the subjects, each once.
pub(crate) fn programs(subjects: &[Subject]) -> Vec<Program> {
    let mut programs: Vec<Program> = Vec::new();
    for subject in subjects {
        let name = if subject.is_ours { subject.kind } else { &subject.label };
        if programs.iter().any(|it| it.name == name) {
            continue;
        }
        let repository = subject.is_ours.then(repository);
        let mut program = machine::plugin(name, &subject.binary, repository.as_deref());
        program.is_reference = subject.is_reference;
        if program.version == "unknown"
            && subject.binary.starts_with("/usr/lib/cni")
            && have("dpkg-query")
        {
            let package = ["-W", "-f", "package ${Version}", "containernetworking-plugins"];
            program.version = machine::said("dpkg-query", &package);
        }
        programs.push(program);
    }
    programs
}

/// Where allocations lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FileSystem {
    Disk,
    Tmpfs,
}

impl FileSystem {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Tmpfs => "tmpfs",
        }
    }

    pub(crate) fn path(self) -> &'static Path {
        Path::new(match self {
            Self::Disk => "/var/tmp",
            Self::Tmpfs => "/dev/shm",
        })
    }

    pub(crate) fn scratch(self) -> Scratch {
        Scratch::below(self.path(), "bench")
    }
}
