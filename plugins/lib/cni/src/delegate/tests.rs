//! Delegates that are scripts.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A directory with a plugin `p` that is this script.
struct Bin(PathBuf);

impl Bin {
    fn new(script: &str) -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir =
            std::env::temp_dir().join(format!("plat-delegate-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("p");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    fn environment(&self) -> Environment {
        let dir = self.0.display();
        [
            ("CNI_PATH", format!("/nonexistent::{dir}")),
            ("CNI_COMMAND", "ADD".to_owned()),
            ("CNI_IFNAME", "eth0".to_owned()),
        ]
        .into_iter()
        .fold(Environment::new([]), |environment, (name, value)| environment.with(name, value))
    }

    fn call(&self, command: Command, config: &Value) -> Result<Option<Value>, Error> {
        let environment = self.environment();
        let delegate = Delegate::find("p", &environment)?;
        delegate.call(command, &environment, config, Some(Duration::from_secs(20)))
    }
}

impl Drop for Bin {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn names_that_are_paths_are_refused() {
    let bin = Bin::new("true");
    for name in ["", ".", "..", "/bin/sh", "../p", "p/", "a\nb", "a\0"] {
        let error = Delegate::find(name, &bin.environment()).unwrap_err();
        assert_eq!(error.code, Code::InvalidConfig, "{name:?}");
        assert!(error.message.starts_with("invalid plugin name"), "{error}");
    }
    let error = Delegate::find("q", &bin.environment()).unwrap_err();
    assert!(
        error.message.starts_with("failed to find plugin \"q\" in path [/nonexistent /"),
        "{error}"
    );
    assert!(Delegate::find("p", &Environment::new([])).is_err());
}

#[test]
fn a_delegate_gets_environment_and_input_and_answers() {
    let bin = Bin::new(
        r#"printf '{"command": "%s", "ifname": "%s", "other": "%s", "input": ' "$CNI_COMMAND" "$CNI_IFNAME" "$CNI_ARGS"
cat; echo '}'"#,
    );
    let environment = bin.environment().with("CNI_IFNAME", "net1");
    let delegate = Delegate::find("p", &environment).unwrap();
    // Larger than a pipe in both directions.
    let config = serde_json::json!({"text": "x".repeat(300_000)});
    let answer = delegate.call(Command::Version, &environment, &config, None).unwrap().unwrap();
    assert_eq!(answer["command"], "VERSION");
    assert_eq!(answer["ifname"], "net1");
    assert_eq!(answer["input"], config);
}

#[test]
fn what_a_delegate_says_is_passed_on() {
    let config = serde_json::json!({});
    for (script, code, message, details) in [
        (
            r#"echo '{"code": 11, "msg": "full", "details": "later"}'; exit 1"#,
            11,
            "p: full",
            "later",
        ),
        (r#"echo '{"code": 222, "msg": "p: odd"}'; exit 1"#, 222, "p: odd", ""),
        ("exit 3", 999, "p: ADD failed without an error message (exit status 3)", ""),
        (
            "echo oops; exit 3",
            999,
            "p: ADD failed without an error message (exit status 3)",
            "oops\n",
        ),
        ("kill -9 $$", 999, "p: ADD failed without an error message (signal 9)", ""),
        ("true", 6, "p: answered ADD with nothing", ""),
        ("echo 5", 6, "p: its answer to ADD is no JSON object", "5\n"),
        ("head -c 2000000 /dev/zero", 6, "p: its answer is longer than 1048576 bytes", ""),
    ] {
        let error = Bin::new(script).call(Command::Add, &config).unwrap_err();
        let got = (error.code.number(), error.message.as_str(), error.details.as_str());
        assert_eq!(got, (code, message, details), "{script}");
    }
    assert_eq!(Bin::new("true").call(Command::Del, &config), Ok(None));
    assert_eq!(Bin::new("echo 5").call(Command::Del, &config), Ok(None));
}

#[test]
fn whatever_still_holds_standard_output_does_not_matter() {
    let began = Instant::now();
    let bin = Bin::new("sleep 30 2>&- & echo '{}'");
    assert!(bin.call(Command::Add, &Value::Null).unwrap().is_some());
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[test]
fn at_the_deadline_the_whole_group_is_killed() {
    let bin = Bin::new("sleep 60 & echo $! > \"$CNI_PATH/pid\"; wait");
    let dir = bin.0.display().to_string();
    let environment = bin.environment().with("CNI_PATH", dir);
    let delegate = Delegate::find("p", &environment).unwrap();
    let called =
        delegate.call(Command::Add, &environment, &Value::Null, Some(Duration::from_millis(1500)));
    let error = called.unwrap_err();
    assert_eq!(error.code, Code::TryAgainLater);
    assert_eq!(error.message, "p: no answer to ADD within 2 s, so it was killed");
    let pid = std::fs::read_to_string(bin.0.join("pid")).unwrap();
    let stat = PathBuf::from(format!("/proc/{}/stat", pid.trim()));
    let end = Instant::now() + Duration::from_secs(10);
    // A zombie that nobody waits for is dead enough.
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
        assert!(Instant::now() < end, "the child of the delegate lives");
        std::thread::sleep(Duration::from_millis(5));
    }
}
