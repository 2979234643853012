//! The frame around a plugin: one process, one call.

use std::io::{self, Read, Write as _};
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use serde_json::Value;

use crate::caller::Caller;
use crate::environment::{Command, Environment, is_plain};
use crate::error::{Code, Error, cut, printable};
use crate::result::{Answer, pretty};
use crate::version::{SUPPORTED, SpecVersion, allows};

/// The most that is read from standard input.
const STDIN_LIMIT: u64 = 1024 * 1024;
/// The same for GC, whose list has one entry for each attachment of the node, sent twice by libcni.
const GC_STDIN_LIMIT: u64 = 16 * 1024 * 1024;
/// How long VERSION waits for an input that it can do without.
const VERSION_WAIT: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// What every plugin of Plat says of itself, and has in its file: other projects have plugins of the same names.
pub const MARK: &str = "Plat, https://github.com/plat-cni/plat";

/// Who the plugin is.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its name, as in `type`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// One checked call.
#[derive(Debug)]
pub struct Call {
    /// The variables.
    pub environment: Environment,
    /// The network configuration as it came.
    pub config: Value,
    /// Its version.
    pub version: SpecVersion,
    /// The network's name, checked.
    pub network: String,
    /// Who waits for the answer.
    pub caller: Caller,
    name: &'static str,
}

impl Call {
    /// The container ID, checked; empty for GC and STATUS.
    pub fn container_id(&self) -> &str {
        self.environment.value("CNI_CONTAINERID")
    }

    /// The interface name, checked; empty for GC and STATUS.
    pub fn ifname(&self) -> &str {
        self.environment.value("CNI_IFNAME")
    }

    /// CNI_ARGS as they came.
    pub fn args(&self) -> &str {
        self.environment.value("CNI_ARGS")
    }

    /// Tells people something: standard error, which runtimes put into their log.
    pub fn warn(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{}: {}", self.name, printable(text));
    }
}

/// A result, and how to take it back if nobody gets it.
pub struct Added {
    /// What to answer.
    pub result: Answer,
    /// Undoes the ADD.
    pub undo: Box<dyn FnOnce()>,
}

/// The operations of a plugin. VERSION needs none.
pub trait Plugin {
    /// Who it is.
    fn about(&self) -> About;

    /// ADD.
    ///
    /// # Errors
    /// The answer to the runtime; nothing is changed then.
    fn add(&self, call: &Call) -> Result<Added, Error>;

    /// DEL.
    ///
    /// # Errors
    /// The answer to the runtime, which will try again.
    fn del(&self, call: &Call) -> Result<(), Error>;

    /// CHECK.
    ///
    /// # Errors
    /// What is not as it was answered.
    fn check(&self, call: &Call) -> Result<(), Error>;

    /// GC.
    ///
    /// # Errors
    /// What could not be freed.
    fn gc(&self, call: &Call) -> Result<(), Error>;

    /// STATUS.
    ///
    /// # Errors
    /// Why an ADD could not be served.
    fn status(&self, call: &Call) -> Result<(), Error>;
}

/// Runs a plugin in this process: environment and standard input in, standard output and exit status out.
pub fn run(plugin: &impl Plugin) -> ExitCode {
    let caller = Caller::now();
    let about = plugin.about();
    std::panic::set_hook(Box::new(move |panic| {
        // A defect still answers in the runtime's language; the process ends right after.
        let error = Error::new(Code::Internal, format!("{}: internal error: {panic}", about.name));
        let _ = print(&render_error(&error, SpecVersion::V1_1_0.as_str()));
    }));
    let mut version = SpecVersion::V1_1_0.as_str().to_owned();
    let environment = Environment::new(std::env::vars_os());
    match answer(plugin, environment, caller, &mut version) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = print(&render_error(&error, &version));
            ExitCode::FAILURE
        }
    }
}

fn answer(
    plugin: &impl Plugin,
    environment: Environment,
    caller: Caller,
    version: &mut String,
) -> Result<(), Error> {
    let About { name, .. } = plugin.about();
    let Some(command) = environment.command()? else {
        introduce(plugin.about());
        return Ok(());
    };
    if command == Ok(Command::Version) {
        return print(&render_versions(&asked_version())).map_err(|e| undeliverable(&e));
    }
    let limit = if command == Ok(Command::Gc) { GC_STDIN_LIMIT } else { STDIN_LIMIT };
    let config = read_config(limit)?;
    let network = network_name(&config)?;
    let command = command.map_err(|command| {
        Error::new(Code::InvalidEnvironment, format!("unknown CNI_COMMAND: {}", cut(&command)))
            .with_details("ADD, DEL, CHECK, GC, STATUS and VERSION are known")
    })?;
    let text = cni_version(&config)?;
    if is_version(&text) {
        version.clone_from(&text);
    }
    match command {
        Command::Check => allows(&text, SpecVersion::V0_4_0, "CHECK")?,
        Command::Gc => allows(&text, SpecVersion::V1_1_0, "GC")?,
        Command::Status => allows(&text, SpecVersion::V1_1_0, "STATUS")?,
        _ => {}
    }
    let spec = SpecVersion::parse(&text)?;
    let call = Call { environment, config, version: spec, network, caller, name };
    match command {
        Command::Add => {
            refuse_own_namespace(&call.environment)?;
            let Added { result, undo } = plugin.add(&call)?;
            let printed = result
                .render(spec)
                .and_then(|text| print(&text).map_err(|error| undeliverable(&error)));
            if printed.is_err() {
                undo();
            }
            printed
        }
        Command::Del => plugin.del(&call),
        Command::Check => plugin.check(&call),
        Command::Gc => plugin.gc(&call),
        Command::Status => plugin.status(&call),
        Command::Version => Ok(()),
    }
}

/// Called by a person rather than a runtime.
fn introduce(about: About) {
    let _ = writeln!(
        io::stderr(),
        "CNI {} plugin v{} ({MARK})\nCNI protocol versions supported: {}",
        about.name,
        about.version,
        SUPPORTED.join(", ")
    );
}

fn undeliverable(error: &io::Error) -> Error {
    Error::new(Code::Io, format!("the answer cannot be written to standard output: {error}"))
}

/// Writes an answer in one piece: standard output of the library would cut it at its last line, and a
/// reader that goes away in between would have seen a part.
fn print(text: &str) -> io::Result<()> {
    let stdout = io::stdout().lock();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match rustix::io::write(&stdout, rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct WireError<'a> {
    #[serde(rename = "cniVersion")]
    version: &'a str,
    code: u32,
    msg: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    details: &'a str,
}

fn render_error(error: &Error, version: &str) -> String {
    pretty(&WireError {
        version,
        code: error.code.number(),
        msg: &printable(&error.message),
        details: &printable(&error.details),
    })
}

fn render_versions(version: &str) -> String {
    // On one line with a newline, as the reference prints it.
    let value = serde_json::json!({"cniVersion": version, "supportedVersions": SUPPORTED});
    format!("{value}\n")
}

/// The version that VERSION was asked in. An input is optional: nobody to send one must not block us.
fn asked_version() -> String {
    let latest = || SpecVersion::V1_1_0.as_str().to_owned();
    let stdin = io::stdin();
    if rustix::termios::isatty(&stdin) {
        return latest();
    }
    let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
    if !poll(&mut fds, Some(&VERSION_WAIT)).is_ok_and(|ready| ready > 0) {
        return latest();
    }
    // One document, not up to the end: the writer may keep its end open.
    let mut documents =
        serde_json::Deserializer::from_reader(stdin.lock().take(STDIN_LIMIT)).into_iter::<Value>();
    match documents.next() {
        Some(Ok(document)) => {
            cni_version(&document).ok().filter(|text| is_version(text)).unwrap_or_else(latest)
        }
        _ => latest(),
    }
}

/// Whether a text looks like a version, so that it may be repeated in an answer.
fn is_version(text: &str) -> bool {
    !text.is_empty() && text.len() <= 32 && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

fn read_config(limit: u64) -> Result<Value, Error> {
    let mut text = Vec::with_capacity(4096);
    let read = io::stdin().lock().take(limit + 1).read_to_end(&mut text);
    read.map_err(|e| Error::new(Code::Io, format!("error reading from stdin: {e}")))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > limit) {
        return Err(Error::new(
            Code::Decode,
            format!("the network configuration is larger than {limit} bytes"),
        ));
    }
    parse_config(&text)
}

/// The configuration as JSON.
fn parse_config(text: &[u8]) -> Result<Value, Error> {
    let wrong = |why: String, details: &str| {
        Err(Error::new(Code::Decode, format!("error unmarshall network config: {why}"))
            .with_details(details))
    };
    match serde_json::from_slice::<Value>(text) {
        Ok(Value::Object(object)) => Ok(Value::Object(object)),
        Ok(_) => wrong(
            "it is no JSON object".to_owned(),
            "standard input must be a network configuration: {\"cniVersion\": ..., \"name\": ...}",
        ),
        // The library names line and column.
        Err(error) => wrong(error.to_string(), "standard input must be one JSON object"),
    }
}

/// A key as written, else without regard to case, as the reference decodes it.
pub(crate) fn key<'a>(config: &'a Value, name: &str) -> Option<&'a Value> {
    let object = config.as_object()?;
    object
        .get(name)
        .or_else(|| {
            object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        })
        .filter(|value| !value.is_null())
}

fn network_name(config: &Value) -> Result<String, Error> {
    let Some(name) = key(config, "name") else {
        return Err(Error::new(Code::InvalidConfig, "missing network name"));
    };
    let Some(name) = name.as_str() else {
        return Err(Error::new(Code::Decode, "error unmarshall network config: name is no string"));
    };
    if name.is_empty() {
        return Err(Error::new(Code::InvalidConfig, "missing network name"));
    }
    if !is_plain(name) {
        return Err(Error::new(Code::InvalidConfig, "invalid characters found in network name")
            .with_details(cut(name)));
    }
    Ok(name.to_owned())
}

fn cni_version(config: &Value) -> Result<String, Error> {
    match key(config, "cniVersion") {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(Error::new(
            Code::Decode,
            "decoding version from network config: cniVersion is no string",
        )),
    }
}

/// A container must not get its addresses in the namespace of the plugin itself: a runtime's mistake that
/// would cut off the host. A namespace that cannot be looked at is none of this plugin's business.
fn refuse_own_namespace(environment: &Environment) -> Result<(), Error> {
    if environment.namespace_override() {
        return Ok(());
    }
    let identity = |path: &str| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
    let Ok(theirs) = identity(environment.value("CNI_NETNS")) else { return Ok(()) };
    if identity("/proc/self/ns/net").is_ok_and(|ours| ours == theirs) {
        return Err(Error::new(
            Code::InvalidNamespace,
            "plugin's netns and netns from CNI_NETNS should not be the same",
        )
        .with_details("CNI_NETNS must be the container's network namespace"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bad_json_is_told_with_line_and_column() {
        let error = parse_config(b"{\"name\": \"n\",\n  x}").unwrap_err();
        assert_eq!(error.code, Code::Decode);
        assert!(error.message.contains("line 2 column 3"), "{error}");
        for text in [&b"[]"[..], b"", b"null", b"{} x", b"\xff", b"\xef\xbb\xbf{}"] {
            assert_eq!(parse_config(text).unwrap_err().code, Code::Decode);
        }
        let deep = "[".repeat(100_000);
        assert_eq!(parse_config(deep.as_bytes()).unwrap_err().code, Code::Decode);
    }

    #[test]
    fn names_are_checked() {
        let name = |text: &str| network_name(&serde_json::from_str(text).unwrap());
        assert_eq!(name(r#"{"NAME": "n"}"#).unwrap(), "n");
        assert_eq!(name(r#"{"name": ""}"#).unwrap_err().message, "missing network name");
        assert_eq!(name(r#"{"name": 5}"#).unwrap_err().code, Code::Decode);
        assert_eq!(name(r#"{"name": "a/b"}"#).unwrap_err().details, "a/b");
    }

    #[test]
    fn errors_carry_the_version() {
        let error = Error::new(Code::InvalidConfig, "what").with_details("how");
        let value: Value = serde_json::from_str(&render_error(&error, "0.4.0")).unwrap();
        let expected =
            serde_json::json!({"cniVersion": "0.4.0", "code": 7, "msg": "what", "details": "how"});
        assert_eq!(value, expected);
    }

    proptest! {
        #[test]
        fn no_input_is_too_much(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_config(&text).map(|config| (network_name(&config), cni_version(&config)));
        }
    }
}
