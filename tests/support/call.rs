//! One call of a plugin, as a runtime makes it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The top of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_path_buf()
}

/// A built binary of ours: from `PLAT_BIN_DIR`, else `target/release`, where `make build` puts it.
pub fn binary(name: &str) -> PathBuf {
    let dir = std::env::var_os("PLAT_BIN_DIR")
        .map_or_else(|| repository().join("target/release"), PathBuf::from);
    let path = dir.join(name);
    assert!(path.exists(), "{} is not there: run `make build` first", path.display());
    path
}

/// The reference plugin of Debian's containernetworking-plugins, where it is installed.
pub fn reference(name: &str) -> Option<PathBuf> {
    let path = Path::new("/usr/lib/cni").join(name);
    path.exists().then_some(path)
}

/// A call in the making.
#[derive(Clone, Debug)]
pub struct Call {
    binary: PathBuf,
    environment: BTreeMap<String, String>,
    stdin: Vec<u8>,
    directory: Option<PathBuf>,
    deadline: Duration,
}

/// What a call answered.
#[derive(Debug)]
pub struct Outcome {
    /// The exit status; `None` if a signal ended the process.
    pub exit: Option<i32>,
    /// Standard output, byte for byte.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Call {
    /// A call of `binary` with `command` (`ADD`, `DEL`, ...), attachment `c1`/`eth0`, a namespace that
    /// does not exist, and an otherwise empty environment.
    pub fn new(binary: &Path, command: &str) -> Self {
        let environment = [
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", "/var/run/netns/none"),
            ("CNI_PATH", "/opt/cni/bin"),
        ];
        Self {
            binary: binary.to_path_buf(),
            environment: environment
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            stdin: Vec::new(),
            directory: None,
            deadline: Duration::from_secs(120),
        }
    }

    /// The same call of another program, such as one that runs the plugin under another.
    #[must_use]
    pub fn through(mut self, program: &Path) -> Self {
        self.binary = program.to_path_buf();
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<str>) -> Self {
        self.environment.insert(key.to_owned(), value.as_ref().to_owned());
        self
    }

    /// Removes a variable.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.environment.remove(key);
        self
    }

    /// State and runtime state of the plugin below `dir`, not in the system's places.
    #[must_use]
    pub fn state_in(self, dir: &Path) -> Self {
        let place = |name: &str| dir.join(name).to_string_lossy().into_owned();
        self.env("PLAT_STATE_DIR", place("state")).env("PLAT_RUN_DIR", place("run"))
    }

    /// The container ID.
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        self.env("CNI_CONTAINERID", id)
    }

    /// The configuration, as JSON.
    #[must_use]
    pub fn config(self, config: &Value) -> Self {
        self.stdin(config.to_string())
    }

    /// Standard input, as it is.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Vec<u8>>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// The working directory.
    #[must_use]
    pub fn directory(mut self, dir: &Path) -> Self {
        self.directory = Some(dir.to_path_buf());
        self
    }

    /// The process, started, with its input written and its outputs as pipes.
    pub fn spawn(&self) -> Child {
        let mut command = Command::new(&self.binary);
        command.env_clear().envs(&self.environment);
        if let Some(dir) = &self.directory {
            command.current_dir(dir);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{} cannot be started: {e}", self.binary.display()));
        // A plugin may answer without reading everything.
        let _ = child.stdin.take().expect("stdin is a pipe").write_all(&self.stdin);
        child
    }

    /// Runs it to its end; panics when it takes longer than two minutes.
    pub fn run(&self) -> Outcome {
        let start = Instant::now();
        let mut child = self.spawn();
        let mut stdout = child.stdout.take().expect("stdout is a pipe");
        let mut stderr = child.stderr.take().expect("stderr is a pipe");
        let out = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stdout.read_to_end(&mut text);
            text
        });
        let err = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            text
        });
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if start.elapsed() > self.deadline {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{} did not end within {:?}", self.binary.display(), self.deadline);
            }
            std::thread::sleep(Duration::from_micros(300));
        };
        let took = start.elapsed();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Outcome {
            exit: status.code(),
            stdout: text(out.join().expect("reader thread")),
            stderr: text(err.join().expect("reader thread")),
            took,
        }
    }
}

impl Outcome {
    /// Standard output as one JSON document.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| {
            panic!("stdout is not JSON ({e}): {:?}; stderr: {:?}", self.stdout, self.stderr)
        })
    }

    /// Asserts success and tells the result (`null` where nothing was printed).
    pub fn ok(&self) -> Value {
        assert_eq!(self.exit, Some(0), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        if self.stdout.is_empty() { Value::Null } else { self.json() }
    }

    /// Asserts a failure with a CNI error and tells its code and message.
    pub fn error(&self) -> (u64, String) {
        assert_eq!(self.exit, Some(1), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        let error = self.json();
        (
            error["code"].as_u64().unwrap_or_else(|| panic!("no code in {error}")),
            error["msg"].as_str().unwrap_or_else(|| panic!("no msg in {error}")).to_owned(),
        )
    }

    /// The addresses of a result (spec 0.3.0 and later), without prefix length.
    pub fn addresses(&self) -> Vec<String> {
        self.ok()["ips"]
            .as_array()
            .map(|ips| {
                ips.iter()
                    .filter_map(|ip| ip["address"].as_str())
                    .map(|a| a.split('/').next().unwrap_or(a).to_owned())
                    .collect()
            })
            .unwrap_or_default()
    }
}
