/*!
How many calls there were, and how long they took: counters for whoever watches the node.

A plugin lives for one call, so what it counts must outlive it: a small file for each network, beside the
database and under its lock. Not a table: one statement more costs a call a tenth of its time, and an older version
beside this one needs to know nothing of a file. A call that is killed between the two is not
counted, and a counter that cannot be written costs nobody an address.

```text
node-local<TAB>pods
ADD done     00000000000000000012 00000000000000007215
```

A line for each command and outcome: how many, and how many microseconds together, with as many digits as a
64-bit number may have. So a call reads the file, and writes over two numbers.
*/

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::Hasher as _;
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use ipam_core::layout::Fnv;

/// How many networks are counted: their names are others' to choose.
const LIMIT: usize = 10_000;
/// More than a file has, in bytes: a name may be long.
const LONGEST: u64 = 16 * 1024;

/// A command that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    /// An attachment gets addresses.
    Add,
    /// An attachment gives them back.
    Del,
    /// What no attachment holds any more is freed.
    Gc,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Addresses were given, or freed.
    Done,
    /// Nothing could be given: no address is free, or, for a pool, no block is to be had.
    Refused,
    /// Nobody waited for the answer any more.
    Unwanted,
    /// The answer could not be delivered: what was given was taken back.
    Undone,
}

/// The lines of a file.
const LINES: [(Command, Outcome); 6] = [
    (Command::Add, Outcome::Done),
    (Command::Add, Outcome::Refused),
    (Command::Add, Outcome::Unwanted),
    (Command::Add, Outcome::Undone),
    (Command::Del, Outcome::Done),
    (Command::Gc, Outcome::Done),
];

impl Command {
    /// As CNI writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Gc => "GC",
        }
    }
}

impl Outcome {
    /// A word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Unwanted => "unwanted",
            Self::Undone => "undone",
        }
    }
}

/// Calls of one kind, as they were counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// The IPAM instance.
    pub instance: String,
    /// The CNI network.
    pub network: String,
    /// The command.
    pub command: Command,
    /// What became of them.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
    /// How long they took together, from the moment that the store is asked; waiting for the lock included.
    pub time: Duration,
}

/// The length of a line: command and outcome, two numbers, spaces, and its end.
const LINE: usize = 55;
/// Where the two numbers begin in it.
const NUMBERS: usize = 13;

/// Counts a call; the caller holds the lock. Of a command and an outcome that do not occur together nothing is
/// counted.
pub(super) fn count(
    dir: &Path,
    (instance, network): (&str, &str),
    (command, outcome): (Command, Outcome),
    begun: Instant,
) {
    let Some(line) = LINES.iter().position(|line| *line == (command, outcome)) else { return };
    if [instance, network].iter().any(|name| name.contains(char::is_control)) {
        return;
    }
    let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    // It is a number for people and nothing more.
    let _ = add(dir, instance, network, line, micros);
}

fn add(dir: &Path, instance: &str, network: &str, line: usize, micros: u64) -> io::Result<()> {
    let head = [instance, "\t", network, "\n"].concat();
    let mut hash = Fnv::default();
    hash.write(head.as_bytes());
    let path = dir.join(format!("{:016x}", hash.finish()));
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let file = match options.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs::read_dir(dir).is_ok_and(|files| files.count() >= LIMIT) {
                return Ok(());
            }
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            options.create(true).truncate(false).open(&path)?
        }
        other => other?,
    };
    let length = head.len() + LINES.len() * LINE;
    let mut there = vec![0; length + 1];
    let read = file.read_at(&mut there, 0)?;
    let at = head.len() + line * LINE + NUMBERS;
    let known = (read == length && there.starts_with(head.as_bytes()))
        .then(|| numbers(there.get(at..at + LINE - NUMBERS)?))
        .flatten();
    // What cannot be read, or is another's whose name has the same hash, begins anew.
    let (count, sum) = known.unwrap_or_default();
    if known.is_none() {
        file.write_all_at(empty(&head).as_bytes(), 0)?;
        file.set_len(length as u64)?;
    }
    let text = format!("{:020} {:020}", count.saturating_add(1), sum.saturating_add(micros));
    file.write_all_at(text.as_bytes(), at as u64)
}

/// A file of a network of which nothing was counted yet.
fn empty(head: &str) -> String {
    let mut text = head.to_owned();
    for (command, outcome) in LINES {
        let what = format!("{} {}", command.name(), outcome.name());
        // Writing to a String does not fail.
        let _ = writeln!(text, "{what:<12} {:020} {:020}", 0, 0);
    }
    text
}

/// Two numbers of 20 digits, with a space between them and the end of the line behind them.
fn numbers(bytes: &[u8]) -> Option<(u64, u64)> {
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_u64, |number, digit| {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
            number.checked_mul(10)?.checked_add(u64::from(digit))
        })
    };
    let (first, rest) = bytes.split_at_checked(20)?;
    let (second, end) = rest.strip_prefix(b" ")?.split_at_checked(20)?;
    (end == b"\n").then_some(())?;
    Some((number(first)?, number(second)?))
}

/// What a file says.
#[derive(Debug, PartialEq, Eq)]
struct Parsed<'a> {
    instance: &'a str,
    network: &'a str,
    /// How many calls and how many microseconds, in the order of the lines.
    counts: Vec<(u64, u64)>,
}

fn parse(text: &str) -> Option<Parsed<'_>> {
    let (head, rest) = text.split_once('\n')?;
    let (instance, network) = head.split_once('\t')?;
    let lines: Vec<&[u8]> = rest.as_bytes().chunks(LINE).collect();
    if lines.len() != LINES.len() {
        return None;
    }
    let counts = lines.into_iter().map(|line| numbers(line.get(NUMBERS..)?));
    Some(Parsed { instance, network, counts: counts.collect::<Option<_>>()? })
}

/// All that was counted in a directory; what cannot be read is left out.
pub(crate) fn read(dir: &Path) -> Vec<Calls> {
    let Ok(files) = fs::read_dir(dir) else { return Vec::new() };
    let mut all = Vec::new();
    for file in files.flatten().take(LIMIT) {
        let mut text = String::new();
        let read =
            File::open(file.path()).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
        let Some(Parsed { instance, network, counts }) = read.ok().and_then(|_| parse(&text))
        else {
            continue;
        };
        for ((command, outcome), (count, micros)) in LINES.into_iter().zip(counts) {
            if count > 0 {
                all.push(Calls {
                    instance: instance.to_owned(),
                    network: network.to_owned(),
                    command,
                    outcome,
                    count,
                    time: Duration::from_micros(micros),
                });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir =
                std::env::temp_dir().join(format!("plat-calls-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir(&dir).unwrap();
            Self(dir)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const PODS: (&str, &str) = ("node-local", "pods");

    #[test]
    fn calls_are_counted_by_network_command_and_outcome() {
        let scratch = Scratch::new("count");
        let dir = scratch.0.join("calls");
        assert_eq!(read(&dir), []);
        let begun = Instant::now();
        let long_ago = begun.checked_sub(Duration::from_millis(5)).unwrap_or(begun);
        for _ in 0..2 {
            count(&dir, PODS, (Command::Add, Outcome::Done), long_ago);
        }
        count(&dir, PODS, (Command::Del, Outcome::Done), begun);
        count(&dir, ("etcd-pool", "pods"), (Command::Add, Outcome::Refused), begun);
        // No such thing.
        count(&dir, PODS, (Command::Gc, Outcome::Undone), begun);
        let mut all = read(&dir);
        all.sort_by_key(|calls| (calls.instance.clone(), calls.command, calls.outcome));
        let told: Vec<(&str, &str, &str, u64)> = all
            .iter()
            .map(|c| (c.instance.as_str(), c.command.name(), c.outcome.name(), c.count))
            .collect();
        assert_eq!(
            told,
            [
                ("etcd-pool", "ADD", "refused", 1),
                ("node-local", "ADD", "done", 2),
                ("node-local", "DEL", "done", 1),
            ]
        );
        assert!(all[1].time >= Duration::from_millis(10), "{all:?}");
    }

    #[test]
    fn a_broken_file_begins_anew_and_a_full_directory_stays_as_it_is() {
        let scratch = Scratch::new("broken");
        let dir = scratch.0.join("calls");
        count(&dir, PODS, (Command::Add, Outcome::Done), Instant::now());
        let path = fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
        let good = fs::read(&path).unwrap();
        for broken in [
            &b""[..],
            b"\xff\xfe",
            b"x\ty\nADD done 1 1\n",
            &String::from_utf8(good.clone()).unwrap().replace("01 0", "0x 0").into_bytes(),
            &[&good[..], b"something behind it that is longer than it was"].concat(),
        ] {
            fs::write(&path, broken).unwrap();
            count(&dir, PODS, (Command::Add, Outcome::Done), Instant::now());
            let all = read(&dir);
            assert_eq!(all.len(), 1, "{broken:?}");
            assert_eq!((all[0].count, all[0].network.as_str()), (1, "pods"), "{broken:?}");
            assert_eq!(fs::read(&path).unwrap().len(), good.len(), "{broken:?}");
        }
        fs::remove_dir_all(&dir).unwrap();
        fs::write(&dir, "").unwrap();
        count(&dir, PODS, (Command::Add, Outcome::Done), Instant::now());
        assert_eq!(read(&dir), []);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            instance in "[a-z0-9/.-]{0,20}",
            network in "[a-zA-Z0-9/_. -]{0,300}",
            calls in proptest::collection::vec((0..LINES.len(), 0..u64::MAX), 1..6),
        ) {
            let scratch = Scratch::new("inverse");
            let mut expected = vec![(0, 0); LINES.len()];
            for (line, micros) in calls {
                add(&scratch.0, &instance, &network, line, micros).unwrap();
                expected[line].0 += 1;
                expected[line].1 = micros.saturating_add(expected[line].1);
            }
            let path = fs::read_dir(&scratch.0).unwrap().next().unwrap().unwrap().path();
            let text = fs::read_to_string(path).unwrap();
            prop_assert_eq!(parse(&text), Some(Parsed {
                instance: &instance,
                network: &network,
                counts: expected,
            }));
        }

        #[test]
        fn nothing_that_is_read_is_a_panic(text in "\\PC*|x\ty\n(ADD done [0-9 ]{0,50}\n){0,7}") {
            let _ = parse(&text);
        }
    }
}
