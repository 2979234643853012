/*!
The case files of the conformance set and their runner.

A case is a list of steps: a plugin is called with a whole environment and a configuration, or the
scratch directory is changed. What a call must answer, and which files it must leave, is part of the
step. Each case has a scratch directory of its own, so that many can run at a time.
*/

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::network_dir::above;
use crate::pattern::found;
use crate::{Call, Outcome, Scratch};

/// One case file.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, that of the file.
    pub name: String,
    /// `must`, `quirk`, `bug` or `beyond`.
    pub class: String,
    /// Why it is there.
    pub note: String,
    /// What is done, in order.
    pub steps: Vec<Value>,
}

/// A case that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The case's name.
    pub name: String,
    /// The number of the step in the file, from 0; `None` if the runner itself failed.
    pub step: Option<usize>,
    /// What differs.
    pub errors: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(step) = self.step {
            write!(f, ", step {step}")?;
        }
        self.errors.iter().try_for_each(|error| write!(f, "\n    {error}"))
    }
}

impl Case {
    /// Every case of a directory, by name.
    pub fn load(dir: &Path) -> Vec<Self> {
        let mut cases: Vec<Self> = fs::read_dir(dir)
            .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
            .map(|entry| entry.expect("a directory can be read").path())
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
            .map(|path| {
                let text = fs::read_to_string(&path).expect("a case file can be read");
                let case: Value = serde_json::from_str(&text)
                    .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                let text = |key: &str| case[key].as_str().unwrap_or_default().to_owned();
                Self {
                    name: text("name"),
                    class: text("class"),
                    note: text("note"),
                    steps: case["steps"].as_array().expect("a case has steps").clone(),
                }
            })
            .collect();
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        cases
    }

    /// How many of its steps call a plugin.
    pub fn calls(&self) -> usize {
        self.steps.iter().filter(|step| step.get("do").is_none()).count()
    }
}

/// Runs cases against a plugin.
#[derive(Clone, Debug)]
pub struct Runner {
    binary: PathBuf,
    other: Option<PathBuf>,
    spec_codes: bool,
    empty_dns_is_none: bool,
}

impl Runner {
    /// A runner for one plugin, which takes every expectation literally.
    pub fn new(binary: &Path) -> Self {
        // File modes in the cases are those under the usual mask.
        static UMASK: Once = Once::new();
        UMASK.call_once(|| {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        });
        Self {
            binary: binary.to_path_buf(),
            other: None,
            spec_codes: false,
            empty_dns_is_none: false,
        }
    }

    /// Takes the specification's own codes 3, 5, 7 and 11 where the reference has its catch-all 999.
    #[must_use]
    pub fn spec_codes(mut self) -> Self {
        self.spec_codes = true;
        self
    }

    /// Takes an empty `dns` in a result for none: references up to 1.1.1 print one in version 1.0.0.
    #[must_use]
    pub fn empty_dns_is_none(mut self) -> Self {
        self.empty_dns_is_none = true;
        self
    }

    /// Every second call is made by `other`.
    #[must_use]
    pub fn alternate(mut self, other: &Path) -> Self {
        self.other = Some(other.to_path_buf());
        self
    }

    /// Runs all of them on a few threads; the failures are in the order of the cases.
    pub fn run_all(&self, cases: &[Case]) -> Vec<Failure> {
        let next = AtomicUsize::new(0);
        let failures = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(failure) = self.run(case) {
                            failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
                        }
                    }
                });
            }
        });
        let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        failures.sort_by(|a: &Failure, b| a.name.cmp(&b.name));
        failures
    }

    /// Runs one case up to its first step that does not hold.
    pub fn run(&self, case: &Case) -> Result<(), Failure> {
        let failure = |step, errors| Failure { name: case.name.clone(), step, errors };
        // What a case cannot do must not end the run of all the others, nor read as a pass.
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let place = Place::new();
            let mut calls = 0;
            for (number, step) in case.steps.iter().enumerate() {
                if step.get("do").is_some() {
                    place.change(step);
                    continue;
                }
                let binary = match &self.other {
                    Some(other) if calls % 2 == 1 => other,
                    _ => &self.binary,
                };
                calls += 1;
                let errors = self.step(binary, step, &place);
                if !errors.is_empty() {
                    return Err(failure(Some(number), place.without_scratch(errors)));
                }
            }
            Ok(())
        }));
        ran.unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Err(failure(None, vec![text.unwrap_or_else(|| "the runner panicked".to_owned())]))
        })
    }

    /// Makes the call, or the calls, of a step and says what differs.
    fn step(&self, binary: &Path, step: &Value, place: &Place) -> Vec<String> {
        let mut errors = Vec::new();
        let expected = step.get("expect").map(|e| place.fill_in(e)).unwrap_or(Value::Null);
        if let Some(callers) = step["parallel"].as_u64() {
            let observed = place.parallel(binary, callers, &step["template"]);
            for key in ["ok", "failed", "ips", "msgs"] {
                if let Some(expected) = expected.get(key) {
                    compare(expected, &observed[key], key, &mut errors);
                }
            }
        } else {
            let outcome = place.call(binary, step).run();
            if expected.is_object() {
                let waited = place.since_lock().unwrap_or(outcome.took);
                self.compare_call(&expected, &outcome, waited, &mut errors);
            }
        }
        if let Some(files) = expected["files"].as_object() {
            let exact = expected["files_exact"].as_bool().unwrap_or(false);
            compare_files(files, &place.files(), exact, &mut errors);
        }
        if let Some(modes) = expected["modes"].as_object() {
            let observed = place.modes();
            for (path, mode) in modes {
                let got = observed.get(path).map(String::as_str);
                if got != mode.as_str() {
                    errors.push(format!("mode of {path}: expected {mode}, got {got:?}"));
                }
            }
        }
        errors
    }

    fn compare_call(
        &self,
        expected: &Value,
        outcome: &Outcome,
        waited: Duration,
        errors: &mut Vec<String>,
    ) {
        let least = expected["min_wall_ms"].as_u64().unwrap_or(0);
        if waited < Duration::from_millis(least) {
            errors.push(format!("ended after {waited:?}, expected at least {least} ms"));
        }
        if expected["exit"] == "nonzero" {
            if outcome.exit == Some(0) {
                errors.push("exit: expected non-zero, got 0".to_owned());
            }
        } else if expected["exit"].as_i64() != outcome.exit.map(i64::from) {
            errors.push(format!("exit: expected {}, got {:?}", expected["exit"], outcome.exit));
        }
        match expected.get("stdout") {
            Some(Value::Null) if !outcome.stdout.trim().is_empty() => {
                errors.push(format!("stdout: expected nothing, got {:?}", outcome.stdout));
            }
            None | Some(Value::Null) => {}
            Some(wanted) => match serde_json::from_str(&outcome.stdout) {
                Err(_) => {
                    errors.push(format!("stdout: not one JSON document: {:?}", outcome.stdout));
                }
                Ok(got) => {
                    let (wanted, got) = self.relax(expected, wanted.clone(), got);
                    compare(&wanted, &got, "stdout", errors);
                }
            },
        }
        if let Some(wanted) = expected.get("stdout_stream") {
            let stream: Result<Vec<Value>, _> =
                serde_json::Deserializer::from_str(&outcome.stdout).into_iter().collect();
            match stream {
                Ok(got) => compare(wanted, &Value::Array(got), "stdout", errors),
                Err(_) => errors.push(format!("stdout: not JSON: {:?}", outcome.stdout)),
            }
        }
        if let Some(wanted) = expected["stdout_raw"].as_str()
            && wanted != outcome.stdout
        {
            errors.push(format!("stdout: expected {wanted:?}, got {:?}", outcome.stdout));
        }
        if let Some(wanted) = expected.get("stderr") {
            compare(wanted, &Value::from(outcome.stderr.clone()), "stderr", errors);
        }
    }

    /// What may differ in an error: the reference leaves `cniVersion` out, which the specification
    /// wants; `details` are anybody's own; texts of its JSON decoder are not compared.
    fn relax(&self, expected: &Value, mut wanted: Value, mut got: Value) -> (Value, Value) {
        if self.empty_dns_is_none {
            for result in [&mut wanted, &mut got].into_iter().filter_map(Value::as_object_mut) {
                result.retain(|key, value| key != "dns" || *value != json!({}));
            }
        }
        if wanted.get("code").is_none() || wanted.get("ips").is_some() {
            return (wanted, got);
        }
        let by_code = expected["msg_match"] == "code";
        let Some(want) = wanted.as_object_mut() else { return (wanted, got) };
        if by_code {
            want.insert("msg".to_owned(), json!({"@re": "."}));
            want.remove("details");
        }
        if let Some(got) = got.as_object_mut() {
            for key in ["cniVersion", "details"] {
                if !want.contains_key(key) {
                    got.remove(key);
                }
            }
            let code = got.get("code").and_then(Value::as_u64);
            if self.spec_codes
                && want.get("code") == Some(&json!(999))
                && matches!(code, Some(3 | 5 | 7 | 11))
            {
                want.insert("code".to_owned(), json!(code));
            }
        }
        (wanted, got)
    }
}

/// Where a case runs: its scratch directory and the locks that it holds for a while.
struct Place {
    scratch: Scratch,
    locks: Mutex<Vec<(Instant, JoinHandle<()>)>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        for (_, held) in self.locks.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = held.join();
        }
    }
}

impl Place {
    fn new() -> Self {
        Self { scratch: Scratch::new("case"), locks: Mutex::new(Vec::new()) }
    }

    fn data_dir(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// Puts the places of this run for the placeholders, in every string and every key.
    fn fill_in(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.fill_in_text(text)),
            Value::Array(list) => list.iter().map(|v| self.fill_in(v)).collect(),
            Value::Object(map) => Value::Object(
                map.iter().map(|(k, v)| (self.fill_in_text(k), self.fill_in(v))).collect(),
            ),
            other => other.clone(),
        }
    }

    fn fill_in_text(&self, text: &str) -> String {
        text.replace("@DATADIR@", &self.data_dir().to_string_lossy())
            .replace("@TMP@", &self.scratch.path().to_string_lossy())
    }

    fn without_scratch(&self, errors: Vec<String>) -> Vec<String> {
        let path = self.scratch.path().to_string_lossy();
        errors.into_iter().map(|e| e.replace(&*path, "@TMP@")).collect()
    }

    /// The call of a step, with its environment and no other.
    fn call(&self, binary: &Path, step: &Value) -> Call {
        let mut call = Call::new(binary, "");
        for key in ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_PATH"] {
            call = call.without(key);
        }
        if let Some(command) = step["command"].as_str() {
            call = call.env("CNI_COMMAND", command);
        }
        for (key, value) in step["env"].as_object().into_iter().flatten() {
            call = call.env(key, self.fill_in_text(value.as_str().expect("a variable is a text")));
        }
        let stdin = match (step["stdin_raw"].as_str(), step.get("stdin")) {
            (Some(raw), _) => self.fill_in_text(raw),
            (None, Some(config)) => self.fill_in(config).to_string(),
            (None, None) => String::new(),
        };
        call.stdin(stdin).directory(self.scratch.path()).state_in(self.scratch.path())
    }

    /// The same call by several callers at a time, and what they got together.
    fn parallel(&self, binary: &Path, callers: u64, template: &Value) -> Value {
        let template = template.to_string();
        let outcomes: Vec<Outcome> = thread::scope(|scope| {
            let running: Vec<_> = (0..callers)
                .map(|n| {
                    let step = template.replace("@N@", &n.to_string());
                    let step = serde_json::from_str(&step).expect("a number is put into a text");
                    scope.spawn(move || self.call(binary, &step).run())
                })
                .collect();
            running.into_iter().map(|r| r.join().expect("a caller ends")).collect()
        });
        let mut addresses = Vec::new();
        let mut messages = Vec::new();
        for outcome in &outcomes {
            let answer: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| {
                json!({"msg": outcome.stdout.trim()}) // nothing, or not JSON
            });
            let ips = answer["ips"].as_array().into_iter().flatten();
            addresses.extend(ips.filter_map(|ip| ip["address"].as_str().map(str::to_owned)));
            if outcome.exit != Some(0) {
                messages.push(answer["msg"].as_str().unwrap_or_default().to_owned());
            }
        }
        addresses.sort();
        messages.sort();
        let failed = messages.len();
        json!({"ok": outcomes.len() - failed, "failed": failed, "ips": addresses, "msgs": messages})
    }

    /// Changes the file system as a step says.
    fn change(&self, step: &Value) {
        let text = |key: &str| self.fill_in_text(step[key].as_str().unwrap_or_default());
        let path = PathBuf::from(text("path"));
        match step["do"].as_str().unwrap_or_default() {
            "write" => {
                fs::create_dir_all(path.parent().expect("a file has a parent"))
                    .expect("parents can be made");
                fs::write(&path, text("content")).expect("a file can be written");
                let mode = step["mode"].as_str().unwrap_or("0600");
                let mode = u32::from_str_radix(mode, 8).expect("a mode is octal");
                fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                    .expect("a mode can be set");
            }
            "mkdir" => fs::create_dir_all(&path).expect("a directory can be made"),
            "symlink" => symlink(text("target"), &path).expect("a link can be made"),
            "remove" if path.is_symlink() || path.is_file() => {
                fs::remove_file(&path).expect("a file can be removed");
            }
            "remove" if path.is_dir() => {
                fs::remove_dir_all(&path).expect("a directory can be removed");
            }
            "remove" => {}
            "hold_lock" => {
                let seconds = step["seconds"].as_f64().expect("a lock is held for seconds");
                self.hold_lock(&path, Duration::from_secs_f64(seconds));
            }
            "fill" => {
                fs::create_dir_all(&path).expect("a directory can be made");
                let first: IpAddr = text("first").parse().expect("an address");
                let count = step["count"].as_u64().and_then(|n| u32::try_from(n).ok());
                let content = step["content"].as_str().unwrap_or("filler%d\r\neth0");
                for n in 0..count.expect("a number of addresses") {
                    let content = content.replace("%d", &n.to_string());
                    fs::write(path.join(above(first, n).to_string()), content)
                        .expect("a reservation can be written");
                }
            }
            other => panic!("unknown operation {other:?}"),
        }
    }

    /// Takes an exclusive flock(2) now and lets go of it later.
    fn hold_lock(&self, path: &Path, time: Duration) {
        let file: File = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .open(path)
            .expect("a lock can be opened");
        file.lock().expect("a lock can be taken");
        let taken = Instant::now();
        let holder = thread::spawn(move || {
            thread::sleep(time);
            let _ = file.unlock();
        });
        self.locks.lock().unwrap_or_else(PoisonError::into_inner).push((taken, holder));
    }

    /// How long ago the last lock was taken, if one was. Whether a call waited for it is measured
    /// from then on, so that a call which starts late is not taken for one that did not wait.
    fn since_lock(&self) -> Option<Duration> {
        let locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.last().map(|(taken, _)| taken.elapsed())
    }

    /// Every regular file below the data directory, by its path there.
    fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        walk(&self.data_dir(), "", &mut |name, path, meta| {
            if meta.is_file() {
                let content = fs::read(path).expect("a file can be read");
                files.insert(name, String::from_utf8_lossy(&content).into_owned());
            }
        });
        files
    }

    /// The modes of everything below the data directory.
    fn modes(&self) -> BTreeMap<String, String> {
        let mut modes = BTreeMap::new();
        walk(&self.data_dir(), "", &mut |name, _, meta| {
            modes.insert(name, format!("{:04o}", meta.permissions().mode() & 0o7777));
        });
        modes
    }
}

/// Visits everything below `dir`; links are not followed.
fn walk(dir: &Path, prefix: &str, visit: &mut dyn FnMut(String, &Path, &fs::Metadata)) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.expect("a directory can be read").path();
        let meta = path.symlink_metadata().expect("an entry can be looked at");
        let name = path.file_name().expect("an entry has a name").to_string_lossy();
        let name = format!("{prefix}{name}");
        if meta.is_dir() {
            walk(&path, &format!("{name}/"), visit);
        }
        visit(name, &path, &meta);
    }
}

/// Structural comparison; `{"@re": pattern}` and `{"@any": 1}` stand for what they match.
fn compare(expected: &Value, got: &Value, path: &str, errors: &mut Vec<String>) {
    let matcher = |key: &str| expected.as_object().and_then(|map| map.get(key));
    if let Some(pattern) = matcher("@re") {
        let pattern = pattern.as_str().expect("a pattern is a text");
        let text = got.as_str();
        if !text.is_some_and(|t| found(pattern, t).unwrap_or_else(|e| panic!("{path}: {e}"))) {
            errors.push(format!("{path}: {got} does not match /{pattern}/"));
        }
        return;
    }
    if matcher("@any").is_some() {
        return;
    }
    match (expected, got) {
        (Value::Object(want), Value::Object(have)) => {
            for (key, value) in want {
                match have.get(key) {
                    Some(got) => compare(value, got, &format!("{path}.{key}"), errors),
                    None => errors.push(format!("{path}: {key:?} missing (expected {value})")),
                }
            }
            for (key, value) in have.iter().filter(|(key, _)| !want.contains_key(*key)) {
                errors.push(format!("{path}: unexpected {key:?}: {value}"));
            }
        }
        (Value::Array(want), Value::Array(have)) if want.len() == have.len() => {
            for (n, (want, have)) in want.iter().zip(have).enumerate() {
                compare(want, have, &format!("{path}[{n}]"), errors);
            }
        }
        (Value::Number(want), Value::Number(have)) if want.as_f64() == have.as_f64() => {}
        _ if expected == got => {}
        _ => errors.push(format!("{path}: expected {expected}, got {got}")),
    }
}

/// Compares the files below the data directory. Unless `exact`, what is neither reservation nor mark
/// may be there or not, and the lock is everyone's own affair.
fn compare_files(
    expected: &serde_json::Map<String, Value>,
    got: &BTreeMap<String, String>,
    exact: bool,
    errors: &mut Vec<String>,
) {
    for (path, content) in expected {
        if path.ends_with("/lock") && !exact {
            continue;
        }
        match got.get(path) {
            None => errors.push(format!("file {path}: missing (expected {content})")),
            Some(have) => {
                let have = Value::from(have.clone());
                compare(content, &have, &format!("file {path}"), errors);
            }
        }
    }
    for (path, content) in got {
        if !expected.contains_key(path) && (exact || is_reservation_or_mark(path)) {
            errors.push(format!("file {path}: unexpected (content {content:?})"));
        }
    }
}

/// Whether a path ends in what looks like an address or a mark.
fn is_reservation_or_mark(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(set) = name.strip_prefix("last_reserved_ip.") {
        return number(set);
    }
    let octets: Vec<&str> = name.split('.').collect();
    if octets.len() == 4 && octets.iter().all(|octet| number(octet)) {
        return true;
    }
    name.split_once(':').is_some_and(|(head, tail)| {
        head.bytes().all(|b| b.is_ascii_hexdigit())
            && tail.bytes().all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.')
    })
}
