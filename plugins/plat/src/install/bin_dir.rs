//! The files of a directory of plugins: looked at, staged, renamed, taken back.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use ring::digest::{Context as Digest, SHA256};

use super::decide::Found;
use super::{Plugin, failed, shown};
use crate::context::Failure;

/// The largest file that is looked into, in bytes; what is larger is none of ours.
const LARGEST: u64 = 512 * 1024 * 1024;

/// How much of a file is read at once, in bytes.
const PIECE: usize = 256 * 1024;

/// A directory of plugins.
#[derive(Clone, Debug)]
pub(crate) struct BinDir {
    path: PathBuf,
}

/// What was done to a name, so that it can be taken back.
#[derive(Debug)]
pub(crate) struct Change {
    plugin: Plugin,
    /// Where what was there before is now.
    before: Option<PathBuf>,
}

impl BinDir {
    /// The directory at `path`.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    /// Makes it if it is not there.
    ///
    /// # Errors
    /// If it cannot be made, or is none.
    pub(crate) fn make(&self) -> Result<(), Failure> {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(&self.path);
        made.map_err(|error| failed("make the directory", &self.path, &error))
    }

    /// The file of a plugin.
    pub(crate) fn file(&self, plugin: Plugin) -> PathBuf {
        self.path.join(plugin.name())
    }

    /// The second name of somebody else's program of this name.
    pub(crate) fn aside(&self, plugin: Plugin) -> PathBuf {
        self.path.join(aside_name(plugin))
    }

    /// Where a program is before it takes its name.
    pub(crate) fn staged(&self, plugin: Plugin) -> PathBuf {
        self.path.join(format!(".{}.plat-new", plugin.name()))
    }

    /// Where one of ours is while another one takes its place.
    fn previous(&self, plugin: Plugin) -> PathBuf {
        self.path.join(format!(".{}.plat-old", plugin.name()))
    }

    /// Removes what a run that was killed has left.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub(crate) fn sweep(&self) -> Result<(), Failure> {
        for plugin in Plugin::meant(&[]) {
            let (aside, previous) = (self.aside(plugin), self.previous(plugin));
            for path in [self.staged(plugin), unfinished(&aside), unfinished(&previous), previous] {
                remove(&path).map_err(|error| failed("remove", &path, &error))?;
            }
        }
        Ok(())
    }

    /// Copies a program to where it is before it takes its name. Programs that are one file become one file.
    ///
    /// # Errors
    /// If it cannot be copied.
    pub(crate) fn stage(
        &self,
        plugin: Plugin,
        source: &Source,
        staged: &[(Plugin, u64, u64)],
    ) -> Result<(), Failure> {
        let to = self.staged(plugin);
        let same = staged.iter().find(|(_, dev, ino)| (*dev, *ino) == (source.dev, source.ino));
        if same.is_some_and(|(other, ..)| fs::hard_link(self.staged(*other), &to).is_ok()) {
            return Ok(());
        }
        copy(&source.path, &to).map_err(|error| failed("write", &to, &error))
    }

    /// Gives a staged program its name; what had the name before is put aside, somebody else's for good.
    ///
    /// # Errors
    /// If that cannot be done; nothing is changed then.
    pub(crate) fn put(&self, plugin: Plugin, found: &Found) -> Result<Change, Failure> {
        let file = self.file(plugin);
        let before = match found {
            Found::Nothing => None,
            Found::Ours(_) => Some(self.previous(plugin)),
            _ => Some(self.aside(plugin)),
        };
        if let Some(before) = &before {
            keep(&file, before).map_err(|error| failed("keep a copy of", &file, &error))?;
        }
        let staged = self.staged(plugin);
        if let Err(error) = fs::rename(&staged, &file) {
            if let Some(before) = before {
                let _ = remove(&before);
            }
            return Err(failed("replace", &file, &error));
        }
        Ok(Change { plugin, before })
    }

    /// Takes changes back, the last first; tells what could not be taken back.
    pub(crate) fn undo(&self, changes: Vec<Change>) -> Vec<String> {
        let mut troubles = Vec::new();
        for change in changes.into_iter().rev() {
            let file = self.file(change.plugin);
            let undone = match &change.before {
                Some(before) => fs::rename(before, &file),
                None => remove(&file),
            };
            if let Err(error) = undone {
                troubles.push(failed("undo the change of", &file, &error).message);
            }
        }
        if let Err(failure) = self.sweep().and_then(|()| self.sync()) {
            troubles.push(failure.message);
        }
        troubles
    }

    /// Gives somebody else's program its name back.
    ///
    /// # Errors
    /// If it cannot be renamed.
    pub(crate) fn restore(&self, plugin: Plugin) -> Result<(), Failure> {
        let (aside, file) = (self.aside(plugin), self.file(plugin));
        fs::rename(&aside, &file).map_err(|error| failed("restore", &file, &error))
    }

    /// Removes a file of the directory; one that is not there is fine.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub(crate) fn remove(path: &Path) -> Result<(), Failure> {
        remove(path).map_err(|error| failed("remove", path, &error))
    }

    /// Makes the names durable.
    ///
    /// # Errors
    /// If the directory cannot be written out.
    pub(crate) fn sync(&self) -> Result<(), Failure> {
        File::open(&self.path)
            .and_then(|dir| dir.sync_all())
            .map_err(|error| failed("write out", &self.path, &error))
    }
}

/// The second name of somebody else's program.
pub(crate) fn aside_name(plugin: Plugin) -> String {
    format!("{}.before-plat", plugin.name())
}

/// A program that is to be installed.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    path: PathBuf,
    /// Its checksum.
    pub(crate) digest: String,
    /// Its device and inode: the names of a multi-call program are one file.
    pub(crate) dev: u64,
    /// See `dev`.
    pub(crate) ino: u64,
}

impl Source {
    /// Reads a program.
    ///
    /// # Errors
    /// If it is not there, or no file.
    pub(crate) fn read(dir: &Path, plugin: Plugin) -> Result<Self, Failure> {
        let path = dir.join(plugin.name());
        let meta = fs::metadata(&path).map_err(|error| {
            let message = format!("{} is not there: {error}", shown(&path));
            Failure::new(
                message,
                "name the directory of the built plugins by --from, or those that it has by --only",
            )
        })?;
        if !meta.is_file() {
            let message = format!("{} is no program", shown(&path));
            return Err(Failure::new(message, "the built plugins are needed there"));
        }
        let looked = look_into(&path).map_err(|error| failed("read", &path, &error))?;
        Ok(Self { path, digest: looked.digest, dev: meta.dev(), ino: meta.ino() })
    }
}

/// What a path stands for. `known` is a checksum that is known to be of one of ours.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn look(path: &Path, known: &[&str]) -> Result<Found, Failure> {
    let cannot = |error: io::Error| failed("read", path, &error);
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(cannot(error)),
    };
    let target = match fs::metadata(path) {
        Ok(target) => target,
        Err(_) if meta.is_symlink() => return Ok(Found::Foreign(None)),
        Err(error) => return Err(cannot(error)),
    };
    if !target.is_file() {
        // A link to a directory is still only a name.
        return Ok(if meta.is_symlink() { Found::Foreign(None) } else { Found::Unfit });
    }
    if target.len() > LARGEST {
        return Ok(Found::Foreign(None));
    }
    let looked = look_into(path).map_err(cannot)?;
    Ok(if looked.marked || known.contains(&looked.digest.as_str()) {
        Found::Ours(looked.digest)
    } else {
        Found::Foreign(Some(looked.digest))
    })
}

/// What is in a file.
struct Looked {
    digest: String,
    /// Whether it has the mark of Plat's plugins.
    marked: bool,
}

fn look_into(path: &Path) -> io::Result<Looked> {
    let mark = cni::MARK.as_bytes();
    let mut file = File::open(path)?;
    let mut digest = Digest::new(&SHA256);
    let mut marked = false;
    let mut piece = vec![0; PIECE];
    // The end of the last piece: the mark may lie across.
    let mut window: Vec<u8> = Vec::with_capacity(PIECE + mark.len());
    loop {
        let read = file.read(&mut piece)?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        digest.update(bytes);
        if !marked {
            window.extend_from_slice(bytes);
            marked = contains(&window, mark);
            let old = window.len().saturating_sub(mark.len());
            window.drain(..old);
        }
    }
    Ok(Looked { digest: hexadecimal(digest), marked })
}

/// The SHA-256 of these bytes, in hexadecimal.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    let mut digest = Digest::new(&SHA256);
    digest.update(bytes);
    hexadecimal(digest)
}

fn hexadecimal(digest: Digest) -> String {
    digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn contains(bytes: &[u8], mark: &[u8]) -> bool {
    let Some(first) = mark.first() else { return true };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = rest.get(at..).unwrap_or_default();
        if rest.starts_with(mark) {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

/// Removes a name; one that is not there is fine.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Copies a program, durably.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o755).open(to)?;
    io::copy(&mut source, &mut file)?;
    // Whatever the umask is.
    file.set_permissions(fs::Permissions::from_mode(0o755))?;
    file.sync_all()
}

/// Where a second name is made.
pub(super) fn unfinished(second: &Path) -> PathBuf {
    let mut new = second.as_os_str().to_owned();
    new.push(".plat-new");
    PathBuf::from(new)
}

/// Gives what is at `file` a second name, in the place of what had it.
pub(super) fn keep(file: &Path, second: &Path) -> io::Result<()> {
    let identity = |path: &Path| fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()));
    // A run that was killed has come so far already; renaming one file to itself would leave both names.
    if identity(file).ok() == identity(second).ok() {
        return Ok(());
    }
    let new = unfinished(second);
    remove(&new)?;
    if fs::hard_link(file, &new).is_err() {
        // Not every file system has links.
        match fs::read_link(file) {
            Ok(target) => std::os::unix::fs::symlink(target, &new)?,
            Err(_) => copy(file, &new)?,
        }
    }
    fs::rename(&new, second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(tag: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("plat-bin-dir-{tag}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn the_mark_is_found_wherever_it_lies() {
        let dir = scratch("mark");
        let path = dir.join("program");
        let mark = cni::MARK.as_bytes();
        for at in [0, 1, PIECE - mark.len(), PIECE - 3, PIECE, PIECE + 1, 2 * PIECE - 1] {
            let mut content = vec![mark[0]; at];
            content.extend_from_slice(mark);
            content.push(0);
            fs::write(&path, &content).unwrap();
            assert!(matches!(look(&path, &[]).unwrap(), Found::Ours(_)), "{at}");
            content.truncate(at + mark.len() - 1);
            fs::write(&path, &content).unwrap();
            assert!(matches!(look(&path, &[]).unwrap(), Found::Foreign(Some(_))), "{at}");
        }
        fs::write(&path, "abc").unwrap();
        // The SHA-256 of abc, of FIPS 180-2.
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(look(&path, &[]).unwrap(), Found::Foreign(Some(digest.to_owned())));
        assert_eq!(look(&path, &[digest]).unwrap(), Found::Ours(digest.to_owned()));
        assert_eq!(look(&dir.join("none"), &[]).unwrap(), Found::Nothing);
        assert_eq!(look(&dir, &[]).unwrap(), Found::Unfit);
        let link = dir.join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert_eq!(look(&link, &[]).unwrap(), Found::Foreign(None));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_second_name_is_given_again_and_to_links() {
        let dir = scratch("keep");
        let (file, second) = (dir.join("host-local"), dir.join("host-local.before-plat"));
        fs::write(&file, "one").unwrap();
        keep(&file, &second).unwrap();
        keep(&file, &second).unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
        // Another one, whose place was taken by ours and which came back.
        fs::remove_file(&file).unwrap();
        fs::write(&file, "two").unwrap();
        keep(&file, &second).unwrap();
        assert_eq!(fs::read(&second).unwrap(), b"two");
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/usr/lib/cni/host-local", &file).unwrap();
        keep(&file, &second).unwrap();
        assert_eq!(fs::read_link(&second).unwrap(), Path::new("/usr/lib/cni/host-local"));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
        fs::remove_dir_all(&dir).unwrap();
    }
}
