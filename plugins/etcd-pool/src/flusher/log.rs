/*!
Why what is left behind is not written: `pool-flush.log` in the volatile state directory, a line for each
failure, `SECONDS-SINCE-1970 SENTENCE`. The file goes when everything is written.
*/

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// How many lines are kept.
const LINES: usize = 20;

/// The longest line, in characters.
const LONGEST: usize = 1000;

/// The most that is read: a file that is longer is not this one.
const LIMIT: u64 = 128 * 1024;

/// Why the last flush failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// When, in seconds since 1970.
    pub at: u64,
    /// Why.
    pub text: String,
}

fn path(volatile: &Path) -> PathBuf {
    volatile.join("pool-flush.log")
}

/// Whether the last flush failed.
pub(crate) fn is_failing(volatile: &Path) -> bool {
    fs::symlink_metadata(path(volatile)).is_ok()
}

/// Why the last flush failed; `None` if it did not.
pub fn last_problem(volatile: &Path) -> Option<Problem> {
    parse(read(volatile).ok()?.lines().next_back()?)
}

fn parse(line: &str) -> Option<Problem> {
    let (at, text) = line.split_once(' ')?;
    Some(Problem { at: at.parse().ok()?, text: text.to_owned() })
}

fn read(volatile: &Path) -> io::Result<String> {
    let mut text = Vec::new();
    File::open(path(volatile))?.take(LIMIT).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Notes how a flush went; `problem`: why it failed. Only whoever holds the lock does so.
pub(super) fn note(volatile: &Path, unix: u64, problem: Option<&str>) {
    let path = path(volatile);
    let Some(problem) = problem else {
        let _ = fs::remove_file(path);
        return;
    };
    let text = appended(&read(volatile).unwrap_or_default(), unix, problem);
    let mut new = path.clone().into_os_string();
    new.push(".new");
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, &path)
    };
    // There is nobody to tell; the records are still in the outbox, and their age is shown.
    let _: io::Result<()> = write();
}

/// The last lines with one more. A failure like the one before takes its place.
fn appended(old: &str, unix: u64, problem: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let problem: String = problem.chars().take(LONGEST).map(plain).collect();
    let mut lines: Vec<&str> = old.lines().filter(|line| parse(line).is_some()).collect();
    if lines.last().and_then(|line| parse(line)).is_some_and(|last| last.text == problem) {
        lines.pop();
    }
    let from = lines.len().saturating_sub(LINES - 1);
    let kept = lines.get(from..).unwrap_or_default();
    let new = format!("{unix} {problem}");
    kept.iter().copied().chain([new.as_str()]).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_stays_small() {
        let mut text = String::from("no line of ours\n");
        for n in 0..100 {
            text = appended(&text, n, &format!("{n} {}\nmore\u{1b}[2J", "x".repeat(5000)));
        }
        assert_eq!(text.lines().count(), LINES);
        assert!(text.len() < LINES * (LONGEST + 20) && !text.contains('\u{1b}'));
        assert!(text.starts_with("80 80 xx"));
        assert_eq!(appended("5 same\n", 6, "same"), "6 same\n");
        assert_eq!(appended("5 same\n", 6, "other"), "5 same\n6 other\n");
    }

    #[test]
    fn a_failure_is_told_until_it_is_over() {
        let dir = std::env::temp_dir().join(format!("plat-flush-log-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        assert!(!is_failing(&dir) && last_problem(&dir).is_none());
        note(&dir, 7, Some("etcd is away"));
        note(&dir, 9, Some("etcd is full"));
        let problem = Problem { at: 9, text: "etcd is full".to_owned() };
        assert_eq!(last_problem(&dir), Some(problem));
        assert!(is_failing(&dir));
        note(&dir, 10, None);
        assert!(!is_failing(&dir));
        fs::remove_dir_all(&dir).unwrap();
    }
}
