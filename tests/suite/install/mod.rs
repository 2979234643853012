//! `plat install` and `plat uninstall`, the binary of all programs, and the packages.

mod files;
pub(crate) mod image;
mod killed;
mod multi_call;
mod packages;
mod placing;
mod refused;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Call, Outcome, Scratch, binary, finish, install_copy, install_script, program};

/// The plugins that a runtime calls.
const PLUGINS: [&str; 5] = ["host-local", "node-local", "etcd-pool", "vpp", "chain"];

/// What stands for somebody else's host-local: it says who it is.
const REFERENCE: &[&str] = &["/bin/echo", "the reference"];

/// A system to install on: a directory of plugins, and the state directories.
struct System {
    scratch: Scratch,
}

impl System {
    fn new() -> Self {
        let scratch = Scratch::new("install");
        // Its parent is made.
        scratch.join("bin/x");
        Self { scratch }
    }

    /// With somebody else's host-local.
    fn with_reference() -> Self {
        let system = Self::new();
        system.foreign("host-local", REFERENCE);
        system
    }

    fn bin(&self) -> PathBuf {
        self.scratch.path().join("bin")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.bin().join(name)
    }

    /// Puts somebody else's program there: it runs this command.
    fn foreign(&self, name: &str, command: &[&str]) {
        let (last, first) = command.split_last().expect("a command has words");
        let words: Vec<&std::ffi::OsStr> = first.iter().map(std::ffi::OsStr::new).collect();
        install_script(&self.file(name), &words, Path::new(last));
    }

    /// A directory with copies of these plugins, each differing from the built one by a byte at its end.
    fn other_version(&self, names: &[&str]) -> PathBuf {
        let dir = self.scratch.join("other/x").parent().expect("it has one").to_path_buf();
        for name in names {
            let mut content = fs::read(binary(name)).expect("a binary can be read");
            content.push(0);
            let copy = self.scratch.write("other/copy", content);
            install_copy(&copy, &dir.join(name));
            fs::remove_file(copy).expect("a copy can be removed");
        }
        dir
    }

    fn state(&self) -> PathBuf {
        self.scratch.path().join("state")
    }

    /// `plat` with these words, on this directory and this state.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary("plat"));
        command
            .args(words)
            .arg("--bin-dir")
            .arg(self.bin())
            .env("PLAT_STATE_DIR", self.state())
            .env("PLAT_RUN_DIR", self.scratch.path().join("run"));
        command
    }

    fn plat(&self, words: &[&str]) -> Outcome {
        finish(&mut self.command(words), b"")
    }

    fn ok(&self, words: &[&str]) -> String {
        let outcome = self.plat(words);
        assert_eq!(outcome.exit, Some(0), "{words:?}: {}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }

    /// What is in the directory of plugins.
    fn names(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.bin()).expect("the directory can be read").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Asserts that exactly these names are there.
    fn assert_names(&self, names: &[&str]) {
        let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(self.names(), names);
    }

    /// What each name stands for: inode and bytes.
    fn picture(&self) -> Vec<(String, u64, Vec<u8>)> {
        use std::os::unix::fs::MetadataExt as _;
        let each = self.names().into_iter().map(|name| {
            let path = self.file(&name);
            let inode = fs::symlink_metadata(&path).expect("it is there").ino();
            (name, inode, fs::read(&path).unwrap_or_default())
        });
        each.collect()
    }

    fn assert_is(&self, name: &str, other: &Path) {
        let same = fs::read(self.file(name)).ok() == fs::read(other).ok();
        assert!(same, "{name} is not {}", other.display());
    }

    /// Asserts that a name stands for the program that says who it is.
    fn assert_says(&self, name: &str, text: &str) {
        let said = finish(&mut Command::new(self.file(name)), b"");
        assert!(said.stdout.contains(text), "{name}: {said:?}");
    }
}

/// Asserts that a plugin answers VERSION.
fn assert_answers(path: &Path) {
    let answer = Call::new(path, "VERSION").run().ok();
    assert!(answer["supportedVersions"].as_array().is_some_and(|all| all.len() > 5), "{answer}");
}

/// Runs a script of the packaging room; panics if it fails.
fn package(script: &str, arguments: &[&Path], environment: &[(&str, &str)]) -> String {
    let path = support::repository().join("plugins/plat-cni/packaging").join(script);
    let mut command = Command::new(program("bash"));
    command.arg(path).args(arguments).envs(environment.iter().copied());
    let outcome = finish(&mut command, b"");
    assert_eq!(outcome.exit, Some(0), "{script}: {}{}", outcome.stdout, outcome.stderr);
    outcome.stdout
}
