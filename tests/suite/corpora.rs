/*!
The corpora of the fuzz targets, replayed with a stable compiler.

Each file is an input that is odd in some way, or one that once broke something. What must hold for it is
in `fuzz/src`, the same functions that the fuzz targets call.
*/

use std::collections::BTreeMap;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use plat_fuzz::{TARGETS, Target};
use support::repository;

/// How long one input may take: a thousand times more than any does.
const DEADLINE: Duration = Duration::from_secs(120);

/// How many files a corpus has at least, so that none is lost without notice.
const FLOOR: usize = 40;

/// The files of a target's corpus, by name.
fn corpus(target: &Target) -> BTreeMap<String, Vec<u8>> {
    let dir = repository().join("fuzz/corpus").join(target.name);
    let entries = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let entries = entries.map(|entry| entry.expect("a corpus can be listed"));
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().expect("names are UTF-8");
            (name, fs::read(entry.path()).expect("an input can be read"))
        })
        .collect()
}

/// What is wrong with the inputs of a target, a line each.
fn replay(target: &'static Target) -> Vec<String> {
    let (sender, receiver) = mpsc::channel();
    let corpus = corpus(target);
    let count = corpus.len();
    let names: Vec<String> = corpus.keys().cloned().collect();
    let worker = thread::spawn(move || {
        for (name, input) in corpus {
            let failed = catch_unwind(|| (target.check)(&input)).err().map(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                    .unwrap_or_else(|| "a panic without text".to_owned())
            });
            sender.send((name, failed)).expect("the receiver waits");
        }
    });
    let mut wrong = Vec::new();
    let at = |name: &str| Path::new("fuzz/corpus").join(target.name).join(name);
    for name in &names {
        match receiver.recv_timeout(DEADLINE) {
            Ok((done, failed)) => {
                wrong.extend(failed.map(|text| format!("{}: {text}", at(&done).display())));
            }
            Err(RecvTimeoutError::Timeout) => {
                // The thread cannot be stopped; the process ends with the suite.
                wrong.push(format!("{}: no end within {DEADLINE:?}", at(name).display()));
                return wrong;
            }
            Err(RecvTimeoutError::Disconnected) => {
                wrong.push(format!("{}: the replay broke off", at(name).display()));
                return wrong;
            }
        }
    }
    worker.join().expect("every panic was caught");
    if count < FLOOR {
        wrong.push(format!("fuzz/corpus/{}: {count} files, not {FLOOR}", target.name));
    }
    wrong
}

#[test]
fn no_input_of_a_corpus_breaks_what_must_hold() {
    let wrong: Vec<String> = TARGETS.iter().flat_map(replay).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A target that is not replayed here, or a corpus that belongs to none, would rot.
#[test]
fn every_target_has_its_corpus_and_its_binary() {
    let names = |dir: &str, extension: &str| -> Vec<String> {
        let dir = repository().join("fuzz").join(dir);
        let entries = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("it can be listed").file_name())
            .filter_map(|name| Some(name.to_str()?.strip_suffix(extension)?.to_owned()))
            .collect();
        names.sort();
        names
    };
    let mut targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    targets.sort_unstable();
    assert_eq!(names("corpus", ""), targets);
    assert_eq!(names("fuzz_targets", ".rs"), targets);
    assert_eq!(names("dict", ".dict"), targets);
}
