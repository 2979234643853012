//! `plat pool` and `plat node` against a real etcd.

mod nodes;
mod pools;

use std::process::{Command, Output};

use serde_json::{Value, json};
use support::etcd::Etcd;
use support::{Scratch, binary, documented};

/// An etcd, and a machine that `plat` runs on.
struct Cluster {
    etcd: Etcd,
    scratch: Scratch,
}

impl Cluster {
    fn start(tag: &str) -> Self {
        Self { etcd: Etcd::single(), scratch: Scratch::new(tag) }
    }

    /// Runs `plat`, which has no terminal.
    fn plat(&self, arguments: &[&str]) -> Output {
        let output = Command::new(binary("plat"))
            .args(arguments)
            .args(["--etcd", &self.etcd.endpoint(0)])
            .env("PLAT_STATE_DIR", self.scratch.path().join("state"))
            .env("PLAT_RUN_DIR", self.scratch.path().join("run"))
            .env_remove("PLAT_ETCD_CONFIG")
            .stdin(std::process::Stdio::null())
            .output()
            .expect("plat can be started");
        documented(["plat"].iter().chain(arguments), &String::from_utf8_lossy(&output.stdout));
        output
    }

    /// The same, with an exit status that is expected; tells what it has printed.
    fn says(&self, arguments: &[&str], status: i32) -> String {
        let output = self.plat(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
        text
    }

    fn json(&self, arguments: &[&str], status: i32) -> Value {
        let output = self.plat(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).expect("a document")
    }

    /// Writes a key below the prefix.
    fn put(&self, key: &str, value: &str) {
        let key = base64(format!("/plat/v1/{key}").as_bytes());
        self.etcd.post(0, "/v3/kv/put", &json!({"key": key, "value": base64(value.as_bytes())}));
    }

    /// A node as its plugin registers it.
    fn node(&self, index: u32) {
        let (uuid, name) = (format!("u-{index}"), format!("vm-{index}"));
        self.put(
            &format!("n/{uuid}"),
            &json!({"name": name, "idx": index, "boot": "old"}).to_string(),
        );
        self.put(&format!("nn/{name}"), &uuid);
        self.put(&format!("ni/{index:010}"), &uuid);
        self.put(&format!("o/{uuid}"), "old");
    }

    /// A block of a node; `first` in hexadecimal.
    fn block(&self, first: &str, index: u32, pool: &str, mode: &str, autonomy: u64) {
        let record = json!({
            "n": index, "u": format!("u-{index}"), "len": 26, "p": pool, "m": mode, "aut": autonomy,
        });
        self.put(&format!("s/default/b/4/{first}"), &record.to_string());
    }

    /// An address that a pod of a node has.
    fn address(&self, hex: &str, index: u32, pod: &str) {
        let record =
            json!({"n": index, "u": format!("u-{index}"), "c": "c", "i": "eth0", "p": pod});
        self.put(&format!("s/default/a/4/{hex}"), &record.to_string());
    }
}

/// Base64 of RFC 4648, as etcd's gateway has it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(if digit > chunk.len() { '=' } else { char::from(DIGITS[value]) });
        }
    }
    text
}
