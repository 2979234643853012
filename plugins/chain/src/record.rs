/*!
What an attachment may hold, and of whom.

One file for each attachment, `<run dir>/chain/<network>/<container ID>:<ifname>:<part>`, written before the first
plugin is asked and removed when all of them have freed what they gave. A DEL finds in it the sections that were used,
whatever is left of the configuration. It lies where state dies with the boot, as the containers do.

The file is a log: a line of JSON for each step, each appended with one write. A process that is killed leaves a whole
log, perhaps with a torn last line, which did not happen. The lock on the file makes a DEL wait for an ADD whose caller
has given up: what that one holds is undone or written down by then.
*/

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Read, Seek, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cni::{Code, Error};
use ipam_core::identity::{Attachment, ContainerId, IfName};
use ipam_stores::lock::Lock;
use ipam_stores::state_file;
use serde_json::{Value, json};

use crate::errors::record_error;

/// How long another call of the same attachment is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest record, in bytes.
const LARGEST: u64 = 8 * 1024 * 1024;
/// The longest name of a file, in bytes.
const LONGEST_NAME: usize = 255;
/// How often a record that is removed while it is waited for is opened again.
const ATTEMPTS: u32 = 100;

/// Where the records of a network are.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    dir: PathBuf,
}

/// Which of an attachment's records: that of the main plugin's call, or of the IPAM plugins' of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// A top-level chain's.
    Main,
    /// A list of IPAMs', by the instance of the chain.
    Ipam(&'a str),
}

/// What has become of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It was going to be asked.
    May,
    /// It has answered; the addresses.
    Has(Vec<String>),
    /// It has freed all.
    Freed,
}

/// What was asked, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The section; that of a main plugin is its whole configuration.
    pub(crate) value: Value,
    /// What has become of it.
    pub(crate) state: State,
}

/// The record of an attachment, locked.
#[derive(Debug)]
pub(crate) struct Record {
    path: PathBuf,
    file: File,
    _lock: Lock,
    entries: Vec<Entry>,
    /// Whether there is a first line.
    begun: bool,
    /// What is odd in it, a sentence each.
    warnings: Vec<String>,
}

impl Records {
    /// Those of a network.
    pub(crate) fn new(run_dir: &Path, network: &str) -> Self {
        Self { dir: run_dir.join("chain").join(network) }
    }

    fn path(&self, attachment: &Attachment, part: Part<'_>) -> Result<PathBuf, Error> {
        let part = match part {
            Part::Main => "main".to_owned(),
            Part::Ipam("") => "ipam".to_owned(),
            Part::Ipam(instance) => format!("ipam@{instance}"),
        };
        let name = format!("{}:{}:{part}", attachment.container, attachment.ifname);
        if name.len() > LONGEST_NAME {
            return Err(Error::new(
                Code::InvalidEnvironment,
                format!(
                    "CNI_CONTAINERID is too long: {} bytes",
                    attachment.container.as_str().len()
                ),
            )
            .with_details("with the interface's name it must fit into the name of a file"));
        }
        Ok(self.dir.join(name))
    }

    /// Opens the record of an attachment, and makes it if there is none.
    ///
    /// # Errors
    /// Code 11 if another call has it, 5 if it cannot be kept.
    pub(crate) fn make(&self, attachment: &Attachment, part: Part<'_>) -> Result<Record, Error> {
        let path = self.path(attachment, part)?;
        for _ in 0..ATTEMPTS {
            let made = state_file().read(true).append(true).create(true).open(&path);
            match made {
                Ok(file) => {
                    if let Some(record) = lock(&path, file)? {
                        return Ok(record);
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    DirBuilder::new()
                        .recursive(true)
                        .mode(0o700)
                        .create(&self.dir)
                        .map_err(|e| failed("make", &self.dir, &e))?;
                }
                Err(error) => return Err(failed("open", &path, &error)),
            }
        }
        Err(Error::new(
            Code::TryAgainLater,
            format!("{} is removed again and again", path.display()),
        ))
    }

    /// Opens the record of an attachment; `None` if there is none, or it is of an attachment that cannot have one.
    ///
    /// # Errors
    /// As [`Records::make`].
    pub(crate) fn find(
        &self,
        attachment: &Attachment,
        part: Part<'_>,
    ) -> Result<Option<Record>, Error> {
        match self.path(attachment, part) {
            Ok(path) => open(&path),
            Err(_) => Ok(None),
        }
    }

    /// The attachments that have a record of this part.
    ///
    /// # Errors
    /// Code 5: the directory cannot be read.
    pub(crate) fn all(&self, part: Part<'_>) -> Result<Vec<Attachment>, Error> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if is_nowhere(&error) => return Ok(Vec::new()),
            entries => entries.map_err(|e| failed("read", &self.dir, &e))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| failed("read", &self.dir, &e))?;
            let name = entry.file_name();
            let mut fields = name.to_str().unwrap_or_default().splitn(3, ':');
            let (container, ifname) = (fields.next(), fields.next());
            let (Some(Ok(container)), Some(Ok(ifname))) =
                (container.map(ContainerId::new), ifname.map(IfName::new))
            else {
                continue;
            };
            let attachment = Attachment { container, ifname };
            if self.path(&attachment, part).is_ok_and(|path| path == entry.path()) {
                found.push(attachment);
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Whether nothing is there, or nothing can be: a network's name may be longer than a directory's.
fn is_nowhere(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidFilename)
}

fn open(path: &Path) -> Result<Option<Record>, Error> {
    for _ in 0..ATTEMPTS {
        match state_file().read(true).append(true).open(path) {
            Ok(file) => {
                if let Some(record) = lock(path, file)? {
                    return Ok(Some(record));
                }
            }
            Err(error) if is_nowhere(&error) => return Ok(None),
            Err(error) => return Err(failed("open", path, &error)),
        }
    }
    Err(Error::new(Code::TryAgainLater, format!("{} is removed again and again", path.display())))
}

/// The record in a file, once nobody else has it; `None` if it was removed meanwhile.
fn lock(path: &Path, file: File) -> Result<Option<Record>, Error> {
    let cannot = |what: &str| {
        let what = what.to_owned();
        move |e: std::io::Error| failed(&what, path, &e)
    };
    let locked = file.try_clone().map_err(cannot("open"))?;
    let lock = Lock::exclusive(locked, path, PATIENCE).map_err(|e| record_error(&e))?;
    if file.metadata().map_err(cannot("look at"))?.nlink() == 0 {
        return Ok(None);
    }
    let mut text = Vec::new();
    (&file).rewind().map_err(cannot("read"))?;
    (&file).take(LARGEST).read_to_end(&mut text).map_err(cannot("read"))?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole < text.len() {
        file.set_len(u64::try_from(whole).unwrap_or_default()).map_err(cannot("write"))?;
        text.truncate(whole);
    }
    let mut record = Record {
        path: path.to_path_buf(),
        file,
        _lock: lock,
        entries: Vec::new(),
        begun: !text.is_empty(),
        warnings: Vec::new(),
    };
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<Value>(line) {
            Ok(step) => apply(&mut record.entries, &step),
            Err(error) => record.warnings.push(format!("{}: {error}", path.display())),
        }
    }
    Ok(Some(record))
}

/// One step of the log; what is not understood has no effect.
fn apply(entries: &mut Vec<Entry>, step: &Value) {
    if let Some(values) = step.get("may").and_then(Value::as_array) {
        let may = |value: &Value| Entry { value: value.clone(), state: State::May };
        entries.extend(values.iter().map(may));
    }
    let mut set = |key: &str, state: State| {
        let position = step.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        if let Some(entry) = position.and_then(|position| entries.get_mut(position)) {
            entry.state = state;
        }
    };
    let ips = step.get("ips").and_then(Value::as_array).into_iter().flatten();
    set("has", State::Has(ips.filter_map(Value::as_str).map(str::to_owned).collect()));
    set("freed", State::Freed);
}

impl Record {
    /// All entries, in the order in which they were written down.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What is odd, a sentence each; emptied by the call.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Whether an earlier ADD got something that was not freed since.
    pub(crate) fn holds(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.state, State::Has(_)))
    }

    /// The position of a section that may hold something.
    pub(crate) fn position(&self, value: &Value) -> Option<usize> {
        self.entries.iter().position(|entry| entry.value == *value && entry.state != State::Freed)
    }

    /// Writes down that these are going to be asked, unless it is there already.
    ///
    /// # Errors
    /// Code 5.
    pub(crate) fn may(&mut self, attachment: &Attachment, values: &[Value]) -> Result<(), Error> {
        let new: Vec<&Value> =
            values.iter().filter(|value| self.position(value).is_none()).collect();
        if new.is_empty() {
            return Ok(());
        }
        // The first line says whose record it is, for people.
        let (container, ifname) = (attachment.container.as_str(), attachment.ifname.as_str());
        let step = if self.begun {
            json!({"may": new})
        } else {
            json!({"container": container, "ifname": ifname, "may": new})
        };
        self.step(&step)?;
        self.begun = true;
        Ok(())
    }

    /// Writes down what one has answered.
    ///
    /// # Errors
    /// Code 5.
    pub(crate) fn has(&mut self, value: &Value, ips: Vec<String>) -> Result<(), Error> {
        let Some(position) = self.position(value) else { return Ok(()) };
        let state = State::Has(ips.clone());
        if self.entries.get(position).is_some_and(|entry| entry.state == state) {
            return Ok(());
        }
        self.step(&json!({"has": position, "ips": ips}))
    }

    /// Writes down that one holds nothing any more.
    ///
    /// # Errors
    /// Code 5.
    pub(crate) fn freed(&mut self, value: &Value) -> Result<(), Error> {
        let Some(position) = self.position(value) else { return Ok(()) };
        self.step(&json!({"freed": position}))
    }

    fn step(&mut self, step: &Value) -> Result<(), Error> {
        let line = format!("{step}\n");
        self.file.write_all(line.as_bytes()).map_err(|e| failed("write", &self.path, &e))?;
        apply(&mut self.entries, step);
        Ok(())
    }

    /// Removes the record if nobody holds anything any more.
    ///
    /// # Errors
    /// Code 5.
    pub(crate) fn remove_if_over(&self) -> Result<(), Error> {
        if self.entries.iter().any(|entry| entry.state != State::Freed) {
            return Ok(());
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed("remove", &self.path, &error));
            }
            _ => {}
        }
        // Whoever needs it makes it again; it stays while there is anything in it.
        if let Some(dir) = self.path.parent() {
            let _ = fs::remove_dir(dir);
        }
        Ok(())
    }
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(Code::Io, format!("cannot {what} {}: {error}", path.display()))
        .with_details("what an attachment holds is recorded there, so that a DEL finds it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            Self(std::env::temp_dir().join(format!("plat-chain-{}-{n}", std::process::id())))
        }

        fn records(&self) -> Records {
            Records::new(&self.0, "net")
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn attachment(id: &str) -> Attachment {
        Attachment {
            container: ContainerId::new(id).unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let dir = Dir::new();
        let (records, c1) = (dir.records(), attachment("c1"));
        assert!(records.find(&c1, Part::Main).unwrap().is_none());
        assert!(!dir.0.exists(), "looking makes nothing");
        let (a, b) = (json!({"type": "a"}), json!({"type": "b"}));
        let mut record = records.make(&c1, Part::Ipam("")).unwrap();
        record.may(&c1, &[a.clone(), b.clone()]).unwrap();
        record.may(&c1, std::slice::from_ref(&b)).unwrap();
        record.has(&a, vec!["10.1.2.3".to_owned()]).unwrap();
        record.freed(&b).unwrap();
        drop(record);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&records.dir), 0o700);
        assert_eq!(mode(&records.dir.join("c1:eth0:ipam")), 0o600);
        let mut record = records.find(&c1, Part::Ipam("")).unwrap().unwrap();
        let entry = |value: &Value, state| Entry { value: value.clone(), state };
        let has = State::Has(vec!["10.1.2.3".to_owned()]);
        assert_eq!(record.entries(), [entry(&a, has), entry(&b, State::Freed)]);
        assert!(record.holds());
        // One that was freed may be asked again.
        record.may(&c1, std::slice::from_ref(&b)).unwrap();
        assert_eq!(record.position(&b), Some(2));
        record.remove_if_over().unwrap();
        assert!(records.dir.exists());
        record.freed(&a).unwrap();
        record.freed(&b).unwrap();
        record.remove_if_over().unwrap();
        assert!(!records.dir.exists());
    }

    #[test]
    fn a_torn_line_did_not_happen() {
        let dir = Dir::new();
        let (records, c1, a) = (dir.records(), attachment("c1"), json!({"type": "a"}));
        let mut record = records.make(&c1, Part::Main).unwrap();
        record.may(&c1, std::slice::from_ref(&a)).unwrap();
        record.file.write_all(b"{\"has\":0,\"ips\":[\"10.").unwrap();
        drop(record);
        let mut record = records.make(&c1, Part::Main).unwrap();
        assert_eq!(record.entries()[0].state, State::May);
        record.has(&a, Vec::new()).unwrap();
        record.file.write_all(b"no JSON\n{\"has\":9}\n{\"freed\":\"x\"}\n7\n").unwrap();
        drop(record);
        let mut record = records.make(&c1, Part::Main).unwrap();
        assert_eq!(record.entries()[0].state, State::Has(Vec::new()));
        assert_eq!(record.take_warnings().len(), 1);
    }

    #[test]
    fn records_of_all_attachments_and_parts_are_apart() {
        let dir = Dir::new();
        let records = dir.records();
        for (id, part) in [
            ("c1", Part::Main),
            ("c1", Part::Ipam("")),
            ("c2", Part::Ipam("")),
            ("c2", Part::Ipam("c0")),
        ] {
            let id = attachment(id);
            records.make(&id, part).unwrap().may(&id, &[json!(1)]).unwrap();
        }
        fs::write(records.dir.join("stranger"), "").unwrap();
        assert_eq!(records.all(Part::Main).unwrap(), [attachment("c1")]);
        assert_eq!(records.all(Part::Ipam("")).unwrap(), [attachment("c1"), attachment("c2")]);
        assert_eq!(records.all(Part::Ipam("c0")).unwrap(), [attachment("c2")]);
        let long = attachment(&"x".repeat(250));
        assert_eq!(records.make(&long, Part::Main).unwrap_err().code, Code::InvalidEnvironment);
        assert!(records.find(&long, Part::Main).unwrap().is_none());
    }

    #[test]
    fn a_record_that_is_removed_while_it_is_waited_for_is_made_anew() {
        let dir = Dir::new();
        let (records, c1) = (dir.records(), attachment("c1"));
        let mut held = records.make(&c1, Part::Main).unwrap();
        held.may(&c1, &[json!("old")]).unwrap();
        let waiting =
            std::thread::spawn(move || records.make(&c1, Part::Main).unwrap().entries().len());
        held.freed(&json!("old")).unwrap();
        held.remove_if_over().unwrap();
        drop(held);
        assert_eq!(waiting.join().unwrap(), 0);
    }
}
