/*!
Files that are installed beside the plugins: network configurations, where etcd is, certificates.

A tree of files is laid over the system: what lies at `etc/cni/net.d/10-plat.conflist` below the tree goes to
`/etc/cni/net.d/10-plat.conflist`. The tree is all there is to be: a file of an earlier one that is not in it any
more goes. As with plugins, what somebody else had there is put aside, and comes back.
*/

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::bin_dir::{digest_of, keep, look, remove, unfinished};
use super::decide::{Found, Put, Take, put, take};
use super::manifest::{Before, Entry};
use super::{failed, shown};
use crate::context::Failure;

/// The largest file, in bytes: that of a ConfigMap or Secret of Kubernetes.
const LARGEST: u64 = 1024 * 1024;
/// How many files there may be, and how deep they may lie.
const MOST: usize = 1000;
const DEEPEST: usize = 16;

/// A file that is to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    content: Vec<u8>,
    /// Its permissions, the lower nine bits.
    mode: u32,
    /// Its SHA-256 in hexadecimal.
    pub(crate) digest: String,
}

/// What lies below a directory, by its path on the system: `/etc/cni/net.d/10-plat.conflist`.
///
/// # Errors
/// If it cannot be read, has something else than files and directories, or too many or too large ones.
pub(crate) fn read(tree: &Path) -> Result<BTreeMap<String, Source>, Failure> {
    let mut found = BTreeMap::new();
    visit(tree, "", 0, &mut found)?;
    Ok(found)
}

fn visit(
    dir: &Path,
    above: &str,
    depth: usize,
    found: &mut BTreeMap<String, Source>,
) -> Result<(), Failure> {
    let refused = |path: &Path, why: &str| {
        Err(Failure::new(
            format!("{} {why}", shown(path)),
            "--files takes a tree of configurations, certificates and the like",
        ))
    };
    if depth > DEEPEST {
        return refused(dir, "lies too deep");
    }
    let entries = fs::read_dir(dir).map_err(|error| failed("read", dir, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| failed("read", dir, &error))?;
        let path = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str() else { return refused(&path, "is no UTF-8") };
        // What kubelet keeps beside the links that it shows: `..data`, `..2026_11_21_20_00_00.123`.
        if name.starts_with("..") {
            continue;
        }
        let below = format!("{above}/{name}");
        let meta = fs::metadata(&path).map_err(|error| failed("read", &path, &error))?;
        if meta.is_dir() {
            visit(&path, &below, depth + 1, found)?;
        } else if !meta.is_file() {
            return refused(&path, "is no file");
        } else if meta.len() > LARGEST {
            return refused(&path, "is larger than 1 MiB");
        } else if found.len() >= MOST {
            return refused(&path, "is one file too many");
        } else {
            let content = content(&path).map_err(|error| failed("read", &path, &error))?;
            let digest = digest_of(&content);
            let mode = meta.permissions().mode() & 0o777;
            found.insert(below, Source { content, mode, digest });
        }
    }
    Ok(())
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut content)?;
    Ok(content)
}

/// What becomes of one file.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// It is put there, or is there.
    Put(Put, Found, Source),
    /// It was put there once, and is in the tree no more.
    Take(Take),
}

impl Step {
    /// The word for it in answers.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Put(put, ..) => put.word(),
            Self::Take(take) => take.word(),
        }
    }

    /// Whether something is to be done.
    pub(crate) fn changes(&self) -> bool {
        !matches!(self, Self::Put(Put::Leave, ..) | Self::Take(Take::Nothing | Take::Leave))
    }

    /// What is put aside, by its second name.
    pub(crate) fn kept(&self, path: &str) -> Option<String> {
        let replaces = matches!(self, Self::Put(Put::Replace, ..));
        replaces.then(|| aside_name(Path::new(path)))
    }
}

/// A system, and the files that were put on it.
pub(crate) struct Files<'a> {
    /// Where a path of the system is from here.
    pub(crate) at: &'a dyn Fn(&Path) -> PathBuf,
    /// What is recorded of it.
    pub(crate) recorded: &'a BTreeMap<String, Entry>,
}

impl Files<'_> {
    fn path(&self, path: &str) -> PathBuf {
        (self.at)(Path::new(path))
    }

    /// What installing this tree does, files that are in it no more included.
    ///
    /// # Errors
    /// If a place cannot be looked at, or has something else than a file.
    pub(crate) fn plan(
        &self,
        tree: BTreeMap<String, Source>,
    ) -> Result<BTreeMap<String, Step>, Failure> {
        let mut steps = self.plan_taking(|path| !tree.contains_key(path))?;
        for (path, source) in tree {
            let file = self.path(&path);
            let mut known = vec![source.digest.as_str()];
            known.extend(self.recorded.get(&path).iter().flat_map(|entry| entry.digests()));
            let found = look(&file, &known)?;
            let mut what = put(&found, &source.digest);
            if what == Put::Refuse {
                let message = format!("{} is no file, and is not replaced", shown(&file));
                return Err(Failure::new(message, "remove it, or leave it out of --files"));
            }
            if what == Put::Leave && mode(&file) != Some(source.mode) {
                what = Put::Renew;
            }
            steps.insert(path, Step::Put(what, found, source));
        }
        Ok(steps)
    }

    /// What taking these away does.
    ///
    /// # Errors
    /// If a place cannot be looked at.
    pub(crate) fn plan_taking(
        &self,
        meant: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, Step>, Failure> {
        let mut steps = BTreeMap::new();
        for (path, entry) in self.recorded.iter().filter(|(path, _)| meant(path)) {
            let file = self.path(path);
            let found = look(&file, &entry.digests())?;
            let aside = look(&aside(&file), &[])?;
            steps.insert(path.clone(), Step::Take(take(&found, Some(entry), &aside)));
        }
        Ok(steps)
    }

    /// What is recorded when these steps are done. It says also what was there before, for a run that is killed.
    pub(crate) fn after(&self, steps: &BTreeMap<String, Step>) -> BTreeMap<String, Entry> {
        let mut entries = self.recorded.clone();
        for (path, step) in steps {
            let old = entries.remove(path);
            match step {
                Step::Put(_, found, source) => {
                    let before = match found {
                        Found::Foreign(digest) => Some(Before {
                            file: aside_name(Path::new(path)),
                            digest: digest.clone(),
                        }),
                        _ => old.as_ref().and_then(|entry| entry.before.clone()),
                    };
                    let previous = old.map(|old| old.digest).filter(|old| *old != source.digest);
                    entries.insert(path.clone(), Entry::file(&source.digest, previous, before));
                }
                // As long as somebody else's is there, what was put aside is not forgotten.
                Step::Take(Take::Leave) => entries.extend(old.map(|old| (path.clone(), old))),
                Step::Take(_) => {}
            }
        }
        entries
    }

    /// Does it. `last` are those below this directory: when they appear, all else is to be there. Killed at any point,
    /// it can be done again.
    ///
    /// # Errors
    /// If a file cannot be written or removed; it is as it was, then.
    pub(crate) fn carry_out(
        &self,
        steps: &BTreeMap<String, Step>,
        last: &Path,
    ) -> Result<(), Failure> {
        let mut order: Vec<(&String, &Step)> = steps.iter().filter(|(_, s)| s.changes()).collect();
        order.sort_by_key(|(path, step)| {
            (matches!(step, Step::Take(_)), Path::new(path.as_str()).starts_with(last))
        });
        for (path, step) in order {
            let file = self.path(path);
            let aside = aside(&file);
            let done = match step {
                Step::Put(what, _, source) => place(&file, source, *what == Put::Replace),
                Step::Take(Take::Remove) => remove(&unfinished(&file)).and_then(|()| remove(&file)),
                Step::Take(Take::Restore) => fs::rename(&aside, &file),
                Step::Take(Take::Restored) => remove(&aside),
                Step::Take(Take::Nothing | Take::Leave) => Ok(()),
            };
            done.and_then(|()| sync_parent(&file))
                .map_err(|error| failed(step.verb(), &file, &error))?;
        }
        Ok(())
    }
}

impl Step {
    const fn verb(&self) -> &'static str {
        match self {
            Self::Put(..) => "write",
            Self::Take(Take::Restore) => "restore",
            Self::Take(_) => "remove",
        }
    }
}

/// Writes a file whole or not at all; what is there is put aside if it is somebody else's.
fn place(file: &Path, source: &Source, foreign: bool) -> io::Result<()> {
    if let Some(dir) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    }
    // A name that no runtime takes for a configuration.
    let new = unfinished(file);
    remove(&new)?;
    let written = write(&new, source).and_then(|()| {
        if foreign {
            keep(file, &aside(file))?;
        }
        fs::rename(&new, file)
    });
    if written.is_err() {
        let _ = remove(&new);
    }
    written
}

fn write(new: &Path, source: &Source) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(new)?;
    file.write_all(&source.content)?;
    file.set_permissions(fs::Permissions::from_mode(source.mode))?;
    file.sync_all()
}

/// Makes a name of its directory durable; a directory that is not there has none.
fn sync_parent(file: &Path) -> io::Result<()> {
    match file.parent().map(File::open) {
        Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Some(Ok(dir)) => dir.sync_all(),
        _ => Ok(()),
    }
}

fn mode(file: &Path) -> Option<u32> {
    fs::metadata(file).ok().map(|meta| meta.permissions().mode() & 0o777)
}

/// The second name of somebody else's file.
fn aside(file: &Path) -> PathBuf {
    file.with_file_name(aside_name(file))
}

fn aside_name(file: &Path) -> String {
    let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
    format!("{name}.before-plat")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(content: &str) -> Source {
        let digest = digest_of(content.as_bytes());
        Source { content: content.as_bytes().to_vec(), mode: 0o640, digest }
    }

    struct System {
        dir: PathBuf,
        recorded: BTreeMap<String, Entry>,
    }

    impl System {
        fn new(tag: &str) -> Self {
            let name = format!("plat-install-files-{tag}-{}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(&dir).unwrap();
            Self { dir, recorded: BTreeMap::new() }
        }

        /// Installs a tree and tells what was done; `written` says whether it comes so far.
        fn install(&mut self, tree: &[(&str, &str)], written: bool) -> Vec<(String, &'static str)> {
            let dir = self.dir.clone();
            let at = move |path: &Path| dir.join(path.strip_prefix("/").unwrap());
            let files = Files { at: &at, recorded: &self.recorded };
            let tree = tree.iter().map(|(path, text)| ((*path).to_owned(), source(text))).collect();
            let steps = files.plan(tree).unwrap();
            let after = files.after(&steps);
            if written {
                files.carry_out(&steps, Path::new("/net.d")).unwrap();
            }
            self.recorded = after;
            steps.iter().map(|(path, step)| (path.clone(), step.word())).collect()
        }

        fn uninstall(&mut self) -> Vec<&'static str> {
            let dir = self.dir.clone();
            let at = move |path: &Path| dir.join(path.strip_prefix("/").unwrap());
            let files = Files { at: &at, recorded: &self.recorded };
            let steps = files.plan_taking(|_| true).unwrap();
            files.carry_out(&steps, Path::new("/net.d")).unwrap();
            let after = files.after(&steps);
            self.recorded = after;
            steps.values().map(Step::word).collect()
        }

        fn text(&self, path: &str) -> Option<String> {
            fs::read_to_string(self.dir.join(path)).ok()
        }
    }

    impl Drop for System {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }

    #[test]
    fn the_tree_is_what_is_there() {
        let mut system = System::new("tree");
        let (one, two) = (("/a", "1"), ("/net.d/b", "2"));
        assert_eq!(
            system.install(&[one, two], true),
            [("/a".to_owned(), "installed"), ("/net.d/b".to_owned(), "installed")]
        );
        assert_eq!(mode(&system.dir.join("net.d/b")), Some(0o640));
        let said = system.install(&[one, two], true);
        assert!(said.iter().all(|(_, word)| *word == "unchanged"), "{said:?}");
        // Somebody has opened it to all: it is put right.
        fs::set_permissions(system.dir.join("a"), fs::Permissions::from_mode(0o666)).unwrap();
        let said = system.install(&[("/a", "1"), ("/net.d/c", "3")], true);
        let words: Vec<&str> = said.iter().map(|(_, word)| *word).collect();
        assert_eq!(words, ["updated", "removed", "installed"]);
        assert_eq!(mode(&system.dir.join("a")), Some(0o640));
        assert_eq!(system.text("net.d/b"), None);
        assert_eq!(system.uninstall(), ["removed", "removed"]);
        assert!(system.recorded.is_empty());
        assert_eq!(fs::read_dir(system.dir.join("net.d")).unwrap().count(), 0);
    }

    #[test]
    fn what_others_had_there_comes_back() {
        let mut system = System::new("others");
        fs::write(system.dir.join("a"), "theirs").unwrap();
        assert_eq!(system.install(&[("/a", "1")], true)[0].1, "replaced");
        assert_eq!(system.text("a.before-plat").unwrap(), "theirs");
        assert_eq!(system.install(&[("/a", "2")], true)[0].1, "updated");
        // A run that is killed before it has written anything: what is there is ours all the same.
        system.install(&[("/a", "3")], false);
        assert_eq!(system.install(&[("/a", "3")], true)[0].1, "updated");
        assert_eq!(system.text("a.before-plat").unwrap(), "theirs");
        // Somebody has written another one since.
        fs::write(system.dir.join("a"), "newer").unwrap();
        assert_eq!(system.uninstall(), ["left"]);
        assert_eq!(system.text("a").unwrap(), "newer");
        fs::remove_file(system.dir.join("a")).unwrap();
        assert_eq!(system.uninstall(), ["restored"]);
        assert_eq!(system.text("a").unwrap(), "theirs");
        assert_eq!(system.text("a.before-plat"), None);
    }

    #[test]
    fn a_tree_is_read_as_kubelet_lays_it_out() {
        let system = System::new("kubelet");
        let data = system.dir.join("..2026_11_21.1");
        fs::create_dir_all(data.join("etc/plat")).unwrap();
        fs::write(data.join("etc/plat/agent.json"), "{}").unwrap();
        std::os::unix::fs::symlink("..2026_11_21.1", system.dir.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/etc", system.dir.join("etc")).unwrap();
        let tree = read(&system.dir).unwrap();
        assert_eq!(tree.keys().collect::<Vec<_>>(), ["/etc/plat/agent.json"]);
        assert_eq!(tree["/etc/plat/agent.json"].digest, digest_of(b"{}"));
    }

    #[test]
    fn what_is_no_tree_of_files_is_refused() {
        let system = System::new("refused");
        let said = |system: &System| read(&system.dir).unwrap_err().message;
        assert!(read(&system.dir).unwrap().is_empty());
        assert!(read(&system.dir.join("none")).is_err());
        std::os::unix::fs::symlink(".", system.dir.join("loop")).unwrap();
        assert!(said(&system).contains("too deep"));
        fs::remove_file(system.dir.join("loop")).unwrap();
        fs::write(system.dir.join("large"), vec![0; 1024 * 1024 + 1]).unwrap();
        assert!(said(&system).contains("larger than 1 MiB"));
        fs::remove_file(system.dir.join("large")).unwrap();
        std::os::unix::net::UnixListener::bind(system.dir.join("socket")).unwrap();
        assert!(said(&system).contains("is no file"));
    }
}
