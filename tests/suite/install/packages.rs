//! What is laid out for packages: `make install`, the release archive, the Debian package.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{
    MountNamespace, Scratch, binary, finish, have, install_copy, install_script, is_root, program,
    repository, skip_unless,
};

use super::{assert_answers, package};

/// A directory of binaries, of which the large ones that nobody runs here are small.
fn binaries(scratch: &Scratch) -> PathBuf {
    let dir = scratch.join("binaries/x").parent().expect("it has one").to_path_buf();
    for name in ["host-local", "chain", "plat"] {
        let link = dir.join(name);
        let _ = fs::remove_file(&link);
        symlink(binary(name), link).expect("a link can be made");
    }
    for name in ["node-local", "etcd-pool", "vpp", "plat-agent"] {
        install_script(&dir.join(name), &["/bin/echo".as_ref()], Path::new(name));
    }
    dir
}

/// Pressed quickly, with a text in the place of all licences.
fn environment(scratch: &Scratch) -> Vec<(&'static str, String)> {
    let licences = scratch.write("licences", "all licences\n").to_string_lossy().into_owned();
    let of = |name, value: &str| (name, value.to_owned());
    let mut all = vec![of("XZ_OPT", "-0"), of("XZ_LEVEL", "0"), of("THIRD_PARTY", &licences)];
    // Those of the development profile are large.
    all.push(of("LIMIT", "1000000000"));
    all.push(of("SOURCE_DATE_EPOCH", "1700000000"));
    all
}

fn make(scratch: &Scratch, script: &str, out: &str) -> PathBuf {
    let out = scratch.path().join(out);
    let environment = environment(scratch);
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let binaries = binaries(scratch);
    if script == "release.sh" {
        // In its place one that runs it: pressing it takes the most time.
        let text = format!("#!/bin/sh\nexec {} \"$@\"\n", binary("plat").display());
        let text = scratch.write("script", text);
        fs::remove_file(binaries.join("plat")).expect("it is a link");
        install_copy(&text, &binaries.join("plat"));
    }
    package(script, &[&binaries, &out], &environment);
    let name = if script == "deb.sh" { "deb" } else { "xz" };
    let made = fs::read_dir(&out).expect("the directory is made").flatten();
    made.map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == name))
        .expect("the package is made")
}

fn run(name: &str, words: &[&str]) -> String {
    let outcome = finish(Command::new(program(name)).args(words), b"");
    assert_eq!(outcome.exit, Some(0), "{name} {words:?}: {outcome:?}");
    outcome.stdout
}

#[test]
fn make_install_lays_everything_out_below_destdir() {
    let scratch = Scratch::new("destdir");
    let root = scratch.path().join("root");
    let binaries = binaries(&scratch);
    let environment = [("DESTDIR", root.to_str().expect("a plain path")), ("PREFIX", "/usr/local")];
    // Twice: an upgrade.
    for _ in 0..2 {
        let said = package("stage.sh", &[&binaries], &environment);
        assert!(said.lines().all(|line| line.starts_with(environment[0].1)), "{said}");
    }
    for name in ["host-local", "chain"] {
        assert_answers(&root.join("opt/cni/bin").join(name));
    }
    for place in [
        "opt/cni/bin/vpp",
        "usr/local/bin/plat",
        "usr/local/sbin/plat-agent",
        "usr/local/lib/tmpfiles.d/plat.conf",
        "usr/local/share/man/man1/plat-install.1",
        "usr/local/share/man/man8/plat-agent.8",
        "usr/local/share/zsh/site-functions/_plat-agent",
    ] {
        assert!(root.join(place).is_file(), "{place}");
    }
    let unit = root.join("usr/local/lib/systemd/system/plat-agent.service");
    let unit = fs::read_to_string(unit).expect("there is a unit");
    assert!(unit.contains("ExecStart=/usr/local/sbin/plat-agent --config"), "{unit}");
    assert!(unit.contains("ConditionPathExists=/etc/plat/agent.json"), "{unit}");
    let bash = root.join("usr/local/share/bash-completion/completions");
    for name in ["plat", "plat-agent"] {
        run("bash", &["-n", &bash.join(name).to_string_lossy()]);
    }
    let left = run("find", &[&root.to_string_lossy(), "-name", "*.new"]);
    assert!(left.is_empty(), "{left}");
}

#[test]
fn the_archive_has_everything_and_the_same_bytes_each_time() {
    if !skip_unless(
        "the_archive_has_everything_and_the_same_bytes_each_time",
        &[(have("xz"), "xz-utils")],
    ) {
        return;
    }
    let scratch = Scratch::new("release");
    let [one, two] = ["one", "two"].map(|out| make(&scratch, "release.sh", out));
    assert!(fs::read(&one).ok() == fs::read(&two).ok(), "two archives of one tree differ");
    let dir = one.parent().expect("it lies somewhere");
    let name = one.file_name().expect("it has a name").to_string_lossy().into_owned();
    let sum = fs::read_to_string(dir.join(format!("{name}.sha256"))).expect("there is a checksum");
    assert!(sum.ends_with(&format!("  {name}\n")), "{sum}");
    run("bash", &["-c", &format!("cd {} && sha256sum --check --quiet *.sha256", dir.display())]);

    let list = run("tar", &["--list", "--verbose", "--file", &one.to_string_lossy()]);
    assert!(list.lines().all(|line| line.contains(" 0/0 ")), "{list}");
    run(
        "tar",
        &["--extract", "--file", &one.to_string_lossy(), "--directory", &dir.to_string_lossy()],
    );
    let tree = dir.join(name.strip_suffix(".tar.xz").expect("that is its name"));
    run(
        "bash",
        &["-c", &format!("cd {} && sha256sum --check --quiet --strict SHA256SUMS", tree.display())],
    );
    let sums = fs::read_to_string(tree.join("SHA256SUMS")).expect("there are checksums");
    for file in ["bin/host-local", "bin/plat-agent", "LICENSE", "THIRD-PARTY", "docs/install.md"] {
        assert!(sums.lines().any(|line| line.ends_with(&format!("  {file}"))), "{file}: {sums}");
    }
    // What is in it can be installed as it is.
    let bin = scratch.path().join("bin");
    let outcome = finish(
        Command::new(tree.join("bin/plat"))
            .args(["install", "--only", "host-local,chain", "--from", "bin", "--bin-dir"])
            .arg(&bin)
            .current_dir(&tree)
            .env("PLAT_STATE_DIR", scratch.path().join("state")),
        b"",
    );
    assert_eq!(outcome.exit, Some(0), "{outcome:?}");
    assert_answers(&bin.join("chain"));
}

#[test]
fn the_licences_of_all_that_is_linked_are_gathered() {
    let needs = [(have("cargo"), "cargo"), (have("rustc"), "rustc"), (have("jq"), "jq")];
    if !skip_unless("the_licences_of_all_that_is_linked_are_gathered", &needs) {
        return;
    }
    let text = package("licences.sh", &[], &[]);
    let lock = fs::read_to_string(repository().join("Cargo.lock")).expect("there is one");
    for name in ["rusqlite", "etcd-client", "rustls", "clap", "tokio"] {
        assert!(lock.contains(&format!("name = \"{name}\"")), "{name} is not used any more");
        let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
        assert!(line.is_some_and(|line| line.contains("MIT") || line.contains("Apache")), "{name}");
    }
    // They serve while it is built or tested.
    for name in ["proptest ", "prost-build ", "serde_derive "] {
        assert!(!text.lines().any(|line| line.starts_with(name)), "{name}");
    }
    let known = |line: &str| {
        ["(MIT", "(Apache", "(BSD", "(ISC", "(Zlib", "(Unicode", "(0BSD", "(Unlicense"]
            .iter()
            .any(|licence| line.contains(licence))
    };
    let listed = text.split("\n====").next().expect("the beginning");
    for line in
        listed.lines().filter(|line| line.matches("  ").count() == 2 && line.contains("https://"))
    {
        assert!(known(line), "a licence that nobody has thought about: {line}");
    }
    assert!(text.contains("Permission is hereby granted, free of charge"));
}

/// A system that dpkg knows, below a directory in memory: dpkg writes out each of its many files.
struct Debian {
    scratch: Scratch,
    namespace: MountNamespace,
}

impl Debian {
    fn new() -> Self {
        let debian = Self { scratch: Scratch::new("debian"), namespace: MountNamespace::new() };
        debian.namespace.mount_tmpfs(&debian.root(), "mode=755");
        for place in ["info", "updates", "triggers"] {
            let place = debian.path("var/lib/dpkg").join(place);
            fs::create_dir_all(place).expect("a directory can be made");
        }
        for file in ["status", "available"] {
            let file = debian.path("var/lib/dpkg").join(file);
            fs::write(file, "").expect("a file can be written");
        }
        fs::create_dir_all(debian.path("usr/lib/cni")).expect("a directory can be made");
        debian
    }

    /// Its root, within the namespace.
    fn root(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    /// A path of it, from outside.
    fn path(&self, inside: &str) -> PathBuf {
        self.namespace.path(&self.root().join(inside))
    }

    /// Runs a command in the namespace; panics if it fails.
    fn run(&self, words: &[&str]) -> String {
        let clean = ["-i", "LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"];
        let output = self.namespace.run("env", &[&clean[..], words].concat());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn dpkg(&self, words: &[&str]) -> String {
        let root = format!("--root={}", self.root().display());
        let options = ["--force-script-chrootless", "--force-unsafe-io", "--log=/dev/null"];
        self.run(&[&["dpkg", &root], &options[..], words].concat())
    }

    fn reads(&self, inside: &str, text: &str) {
        let read = fs::read_to_string(self.path(inside)).unwrap_or_default();
        assert_eq!(read, text, "{inside}");
    }
}

#[test]
fn the_debian_package_comes_and_goes() {
    let needs = [(is_root(), "root"), (have("dpkg-deb"), "dpkg"), (have("xz"), "xz-utils")];
    if !skip_unless("the_debian_package_comes_and_goes", &needs) {
        return;
    }
    let debian = Debian::new();
    let package = make(&debian.scratch, "deb.sh", "out");
    let package = package.to_string_lossy();
    // As containernetworking-plugins has put it there.
    let reference = "usr/lib/cni/host-local";
    fs::write(debian.path(reference), "the reference").expect("a file can be written");

    // The second time is an upgrade.
    for _ in 0..2 {
        debian.dpkg(&["--install", &package]);
        for name in ["host-local", "chain"] {
            assert_answers(&debian.path("usr/lib/cni").join(name));
        }
        debian.reads("usr/lib/cni/host-local.distrib", "the reference");
    }
    let wrong = debian.dpkg(&["--verify", "plat"]);
    assert!(wrong.is_empty(), "{wrong}");
    let program = debian.root().join("usr/bin/plat").to_string_lossy().into_owned();
    let version = debian.run(&[&program, "--version"]);
    assert!(version.starts_with("plat "), "{version}");
    let unit = fs::read_to_string(debian.path("usr/lib/systemd/system/plat-agent.service"));
    assert!(unit.is_ok_and(|unit| unit.contains("ExecStart=/usr/sbin/plat-agent ")));
    assert!(debian.path("usr/share/man/man8/plat-agent.8.gz").is_file());
    // It finds the plugins that have come with it.
    let bin = debian.path("opt/cni/bin");
    let root = debian.root().to_string_lossy().into_owned();
    let plat = |word: &str| {
        debian.run(&[&program, word, "--only", "host-local,chain", "--root", &root]);
    };
    plat("install");
    assert_answers(&bin.join("chain"));
    let state = debian.path("var/lib/plat");
    assert!(state.join("install.json").is_file());

    // Removing gives the reference its name, and keeps what is remembered.
    debian.dpkg(&["--remove", "plat"]);
    debian.reads(reference, "the reference");
    assert!(!debian.path("usr/lib/plat").exists() && !debian.path("usr/bin/plat").exists());
    assert_eq!(fs::read_dir(debian.path("usr/lib/cni")).expect("it is there").count(), 1);
    assert_answers(&bin.join("chain"));
    // What was copied elsewhere still needs its state.
    debian.dpkg(&["--purge", "plat"]);
    assert!(state.join("install.json").is_file());

    debian.dpkg(&["--install", &package]);
    plat("uninstall");
    fs::create_dir_all(debian.path("run/plat")).expect("a directory can be made");
    debian.dpkg(&["--purge", "plat"]);
    assert!(!state.exists() && !debian.path("run/plat").exists());
    debian.reads(reference, "the reference");
}
