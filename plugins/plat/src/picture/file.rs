//! Where pictures go.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::context::Failure;
use crate::output::escape;

/// Writes a picture to a file, all of it or nothing, or to `out` if the name is `-`.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write(path: &Path, picture: &str, out: &mut dyn Write) -> Result<(), Failure> {
    if path.as_os_str() == "-" {
        return Ok(out.write_all(picture.as_bytes())?);
    }
    replace(path, picture.as_bytes()).map_err(|(error, advice)| {
        let name = path.to_string_lossy();
        Failure::new(format!("cannot write {}: {error}", escape(&name)), advice)
    })
}

fn replace(path: &Path, content: &[u8]) -> Result<(), (io::Error, &'static str)> {
    let plain = |error| (error, "");
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            return Err((
                io::ErrorKind::IsADirectory.into(),
                "give the name of a file, such as map.svg, or - for standard output",
            ));
        }
        // A device or a pipe is written to; to put a file in its place would harm.
        Ok(found) if !found.is_file() => {
            return OpenOptions::new()
                .write(true)
                .open(path)
                .and_then(|mut file| file.write_all(content))
                .map_err(plain);
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(plain(error)),
    }
    // A symbolic link stays one.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let Some(name) = path.file_name() else {
        return Err((io::ErrorKind::InvalidInput.into(), "give the name of a file"));
    };
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(temporary);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&temporary)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| fs::rename(&temporary, &path));
    written.map_err(|error| {
        if error.kind() != io::ErrorKind::AlreadyExists {
            let _ = fs::remove_file(&temporary);
        }
        (error, "the directory must exist and be writable")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_written_whole_or_not_at_all() {
        let dir = std::env::temp_dir().join(format!("plat-picture-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let mut out = Vec::new();
        let file = dir.join("map.svg");
        write(&file, "first", &mut out).unwrap();
        write(&file, "second", &mut out).unwrap();
        let link = dir.join("link.svg");
        std::os::unix::fs::symlink("map.svg", &link).unwrap();
        write(&link, "third", &mut out).unwrap();
        let content = fs::read_to_string(&file).unwrap();
        let is_link = link.is_symlink();
        write(Path::new("/dev/null"), "gone", &mut out).unwrap();
        write(Path::new("-"), "out", &mut out).unwrap();
        let refused = write(&dir, "x", &mut out).unwrap_err();
        let nowhere = write(&dir.join("none/map.svg"), "x", &mut out).unwrap_err();
        let names = fs::read_dir(&dir).unwrap().count();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!((content.as_str(), is_link, names), ("third", true, 2));
        assert_eq!(out, b"out");
        assert!(refused.message.contains("is a directory"), "{}", refused.message);
        assert!(nowhere.advice.contains("directory must exist"), "{}", nowhere.advice);
    }
}
