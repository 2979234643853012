//! How etcd is reached, as written by the user.

use std::fmt;
use std::io::{ErrorKind, Read as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipam_core::config::parse_duration;
use ipam_pool::key::DEFAULT_PREFIX;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::errors::{EtcdError, visible};

/// How etcd is reached: the `etcd` section of a configuration, or a file with the same content.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// `http://` or `https://` with host and port.
    pub endpoints: Vec<String>,
    /// The certificate of the authority that signed the members' certificates, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_cert: Option<PathBuf>,
    /// The client's certificate, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// The client's key, PEM; readable by its owner only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The name in the members' certificates, where it is not the host of the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Where everything lies.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// For how long a call waits for etcd, as in `10s`; else each kind of call has a time of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

fn default_prefix() -> String {
    DEFAULT_PREFIX.to_owned()
}

const EXAMPLE: &str = "as in \"etcd\": {\"endpoints\": [\"http://127.0.0.1:2379\"]}";
const KEYS: &str = "known are endpoints, caCert, cert, key, serverName, prefix and timeout";
const URL: &str = "an endpoint is http:// or https://, a host or an address, a colon and a port: \
                   https://etcd-1.example:2379";
/// No description of a connection is longer.
const LONGEST: u64 = 1 << 20;
/// Nobody has more members.
const MOST_ENDPOINTS: usize = 64;
/// The shortest and the longest `timeout`: above it, every runtime has given up.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<String> = self.endpoints.iter().map(|url| without_user(url)).collect();
        f.debug_struct("Connection")
            .field("endpoints", &endpoints)
            .field("ca_cert", &self.ca_cert)
            .field("cert", &self.cert)
            .field("key", &self.key)
            .field("server_name", &self.server_name)
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl Connection {
    /// Reads the `etcd` section of a configuration.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(value: &Value) -> Result<Self, EtcdError> {
        let wrong = |place: &str, wanted: &str, found: &Value| {
            let found = kind_of(found);
            EtcdError::config(format!("etcd{place} must be {wanted}, not {found}"), EXAMPLE)
        };
        let Value::Object(members) = value else {
            return Err(wrong("", "an object", value));
        };
        let mut connection = Self {
            endpoints: Vec::new(),
            ca_cert: None,
            cert: None,
            key: None,
            server_name: None,
            prefix: default_prefix(),
            timeout: None,
        };
        for (name, value) in members {
            if !["endpoints", "caCert", "cert", "key", "serverName", "prefix", "timeout"]
                .contains(&name.as_str())
            {
                let name = visible(name);
                return Err(EtcdError::config(format!("etcd has an unknown key {name:?}"), KEYS));
            }
            if name == "endpoints" {
                let Value::Array(list) = value else {
                    return Err(wrong(".endpoints", "a list of URLs", value));
                };
                for (position, url) in list.iter().enumerate() {
                    let place = format!(".endpoints[{position}]");
                    let url = url.as_str().ok_or_else(|| wrong(&place, "a URL as text", url))?;
                    connection.endpoints.push(url.to_owned());
                }
                continue;
            }
            let text = value.as_str().ok_or_else(|| wrong(&format!(".{name}"), "text", value))?;
            if text.is_empty() {
                let message = format!("etcd.{name} is empty");
                return Err(EtcdError::config(message, "give a value, or leave the key out"));
            }
            match name.as_str() {
                "caCert" => connection.ca_cert = Some(text.into()),
                "cert" => connection.cert = Some(text.into()),
                "key" => connection.key = Some(text.into()),
                "serverName" => connection.server_name = Some(text.to_owned()),
                "timeout" => connection.timeout = Some(text.to_owned()),
                _ => connection.prefix = text.to_owned(),
            }
        }
        connection.check()?;
        Ok(connection)
    }

    /// Reads a file with the same content.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(path: &Path) -> Result<Self, EtcdError> {
        let shown = path.display();
        let failed = |error: &std::io::Error| match error.kind() {
            ErrorKind::NotFound => EtcdError::config(
                format!(
                    "nothing says where etcd is: the configuration has no \"etcd\", and there is no {shown}"
                ),
                "write \"etcd\": {\"endpoints\": [\"http://127.0.0.1:2379\"]} into the configuration, or \
                 {\"endpoints\": […]} into that file; PLAT_ETCD_CONFIG names another one",
            ),
            _ => EtcdError::config(
                format!("{shown} cannot be read: {error}"),
                "see to the file and its permissions",
            ),
        };
        let file = ipam_stores::open_regular(path).map_err(|e| failed(&e))?;
        let mut text = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut text).map_err(|e| failed(&e))?;
        if text.len() as u64 > LONGEST {
            return Err(EtcdError::config(format!("{shown} is longer than 1 MiB"), EXAMPLE));
        }
        let value: Value = serde_json::from_slice(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            EtcdError::config(
                format!("{shown} is not JSON: line {line}, column {column}"),
                "it must be one object, such as {\"endpoints\": [\"http://127.0.0.1:2379\"]}",
            )
        })?;
        Self::parse(&value)
            .map_err(|e| EtcdError { message: format!("{shown}: {}", e.message), ..e })
    }

    /// Checks what can be checked without looking at a file.
    pub(super) fn check(&self) -> Result<(), EtcdError> {
        if self.endpoints.is_empty() {
            return Err(EtcdError::config("etcd.endpoints is missing or empty", EXAMPLE));
        }
        if self.endpoints.len() > MOST_ENDPOINTS {
            let message = format!("etcd.endpoints has more than {MOST_ENDPOINTS} members");
            return Err(EtcdError::config(message, "name each member of the cluster once"));
        }
        let mut seen = Vec::new();
        for url in &self.endpoints {
            let place = Url::parse(url)?;
            if seen.contains(&place) {
                return Err(EtcdError::config(
                    format!("etcd.endpoints names {place} twice"),
                    "name each member of the cluster once",
                ));
            }
            if place.secure && self.ca_cert.is_none() {
                return Err(EtcdError::config(
                    format!("etcd.caCert is missing, and {place} cannot be trusted without it"),
                    "give the certificate of the authority that signed the members' certificates",
                ));
            }
            let tls = [&self.ca_cert, &self.cert, &self.key].iter().any(|file| file.is_some());
            if !place.secure && tls {
                return Err(EtcdError::config(
                    format!("etcd has certificates, but {place} would be spoken to without TLS"),
                    "write https://, or leave caCert, cert and key out",
                ));
            }
            seen.push(place);
        }
        match (&self.cert, &self.key) {
            (Some(_), None) => {
                let message = "etcd.cert is given without etcd.key";
                return Err(EtcdError::config(message, "give both, or neither"));
            }
            (None, Some(_)) => {
                let message = "etcd.key is given without etcd.cert";
                return Err(EtcdError::config(message, "give both, or neither"));
            }
            _ => {}
        }
        if let Some(name) = &self.server_name
            && !is_host(name)
        {
            let name = visible(name);
            return Err(EtcdError::config(
                format!("etcd.serverName {name:?} is no host name"),
                "give the name that stands in the members' certificates",
            ));
        }
        if !self.prefix.starts_with('/') || self.prefix.chars().any(char::is_control) {
            let prefix = visible(&self.prefix);
            return Err(EtcdError::config(
                format!(
                    "etcd.prefix {prefix:?} does not begin with a slash, or has control characters"
                ),
                "such as \"/plat/v1\", which is what it is when it is left out",
            ));
        }
        if let Some(text) = &self.timeout
            && self.waits().is_none()
        {
            let text = visible(text);
            return Err(EtcdError::config(
                format!("etcd.timeout {text:?} is no time from 1s to 10m"),
                "such as \"10s\"; ms, s and m are units",
            ));
        }
        Ok(())
    }

    /// For how long a call waits for etcd, where that is said and in range.
    pub fn waits(&self) -> Option<Duration> {
        parse_duration(self.timeout.as_deref()?).filter(|time| TIMEOUTS.contains(time))
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) secure: bool,
    /// A name or an address; an IPv6 address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        if self.host.contains(':') {
            return write!(f, "{scheme}://[{}]:{}", self.host, self.port);
        }
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl Url {
    /// Reads an endpoint. What stands before an `@` is never repeated.
    pub(super) fn parse(text: &str) -> Result<Self, EtcdError> {
        let shown = visible(&without_user(text));
        let wrong =
            |what: &str| Err(EtcdError::config(format!("the endpoint {shown:?} {what}"), URL));
        if text.contains('@') {
            return Err(EtcdError::config(
                format!("the endpoint {shown:?} has a user name or a password in it"),
                "take it out: Plat identifies itself with a client certificate (cert and key) only",
            ));
        }
        let (secure, rest) = if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else {
            return wrong("does not begin with http:// or https://");
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return wrong("has something after the port");
        }
        let Some((host, port)) = rest.rsplit_once(':') else { return wrong("has no port") };
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                match rest.strip_suffix(']').map(|a| (a, a.parse::<std::net::Ipv6Addr>())) {
                    Some((address, Ok(_))) => address,
                    _ => return wrong("has no IPv6 address between its brackets"),
                }
            }
            None if host.contains(':') => {
                return wrong("has an IPv6 address without brackets, or no port");
            }
            None if is_host(host) => host,
            None => return wrong("has no host"),
        };
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        match port.parse::<u16>() {
            Ok(port @ 1..) if digits => Ok(Self { secure, host: host.to_owned(), port }),
            _ => wrong("has no port from 1 to 65535"),
        }
    }
}

fn is_host(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if text.contains(':') {
        return text.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(allowed)
        && !text.starts_with(['-', '.'])
}

/// A URL without what stands before its last `@`, but for the scheme.
fn without_user(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((before, rest))) if scheme.len() < before.len() => {
            format!("{scheme}://…@{rest}")
        }
        (_, Some((_, rest))) => format!("…@{rest}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn endpoints_are_read() {
        for (text, shown) in [
            ("http://127.0.0.1:2379", "http://127.0.0.1:2379"),
            ("https://etcd-1.example:2379/", "https://etcd-1.example:2379"),
            ("http://[::1]:1", "http://[::1]:1"),
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), shown);
        }
        for (text, said) in [
            ("127.0.0.1:2379", "does not begin"),
            ("unix:///run/etcd.sock", "does not begin"),
            ("HTTP://a:1", "does not begin"),
            ("http://127.0.0.1", "has no port"),
            ("http://127.0.0.1:", "no port from"),
            ("http://127.0.0.1:0", "no port from"),
            ("http://127.0.0.1:+80", "no port from"),
            ("http://127.0.0.1:65536", "no port from"),
            ("http://:2379", "no host"),
            ("http://::1:2379", "without brackets"),
            ("http://[x]:2379", "brackets"),
            ("http://a:2379/v3", "after the port"),
            ("http://a b:2379", "no host"),
            ("http://a:1\u{1b}[31m", "no port from"),
            ("http://root:hunter2@a:2379", "password"),
            ("root:hunter2@a:2379", "password"),
            ("http://a:2379@hunter2@b:1", "password"),
        ] {
            let error = Url::parse(text).unwrap_err();
            assert!(error.message.contains(said), "{text}: {error}");
            assert!(!error.message.contains("hunter2") && !error.message.contains('\u{1b}'));
            assert_eq!(error.kind, super::super::Kind::Config);
        }
    }

    #[test]
    fn a_section_is_read_and_what_is_wrong_with_it_is_told() {
        let whole = json!({"endpoints": ["https://a:1", "https://b:1"], "caCert": "/ca", "cert": "/c",
            "key": "/k", "serverName": "etcd", "prefix": "/p", "timeout": "20s"});
        let connection = Connection::parse(&whole).unwrap();
        assert_eq!(connection.waits(), Some(Duration::from_secs(20)));
        assert_eq!(serde_json::to_value(&connection).unwrap(), whole);
        assert_eq!(serde_json::from_value::<Connection>(whole).unwrap(), connection);
        let least = Connection::parse(&json!({"endpoints": ["http://a:1"]})).unwrap();
        assert_eq!((least.prefix.as_str(), least.waits()), (DEFAULT_PREFIX, None));
        let http = "http://a:1";
        for (value, said) in [
            (json!([]), "etcd must be an object, not a list"),
            (json!({}), "etcd.endpoints is missing or empty"),
            (json!({"endpoints": []}), "etcd.endpoints is missing or empty"),
            (json!({"endpoints": http}), "etcd.endpoints must be a list of URLs, not text"),
            (
                json!({"endpoints": [http, 7]}),
                "etcd.endpoints[1] must be a URL as text, not a number",
            ),
            (json!({"endpoints": [http], "cacert": "/x"}), "unknown key \"cacert\""),
            (json!({"endpoints": [http], "prefix": 1}), "etcd.prefix must be text, not a number"),
            (json!({"endpoints": [http], "timeout": 5}), "etcd.timeout must be text, not a number"),
            (json!({"endpoints": [http], "timeout": "999ms"}), "timeout \"999ms\" is no time from"),
            (json!({"endpoints": [http], "timeout": "11m"}), "timeout \"11m\" is no time from"),
            (json!({"endpoints": [http], "timeout": "5"}), "timeout \"5\" is no time from"),
            (json!({"endpoints": [http], "prefix": "p"}), "begin with a slash"),
            (json!({"endpoints": [http], "cert": ""}), "etcd.cert is empty"),
            (json!({"endpoints": [http, "http://a:1/"]}), "names http://a:1 twice"),
            (json!({"endpoints": ["https://a:1"]}), "etcd.caCert is missing"),
            (json!({"endpoints": [http], "caCert": "/x"}), "without TLS"),
            (
                json!({"endpoints": ["https://a:1"], "caCert": "/x", "cert": "/c"}),
                "without etcd.key",
            ),
            (
                json!({"endpoints": ["https://a:1"], "caCert": "/x", "key": "/c"}),
                "without etcd.cert",
            ),
            (
                json!({"endpoints": ["https://a:1"], "caCert": "/x", "serverName": "a b"}),
                "is no host name",
            ),
        ] {
            let error = Connection::parse(&value).unwrap_err();
            assert!(error.message.contains(said), "{value}: {error}");
            assert!(!error.advice.is_empty());
        }
    }

    #[test]
    fn a_password_is_shown_nowhere() {
        let mut connection = Connection::parse(&json!({"endpoints": ["http://a:1"]})).unwrap();
        connection.endpoints = vec!["http://root:hunter2@a:1".to_owned(), "x:hunter2@b".to_owned()];
        assert!(!format!("{connection:?}").contains("hunter2"), "{connection:?}");
    }

    #[test]
    fn a_missing_file_names_both_ways() {
        let error = Connection::read(Path::new("/nonexistent/etcd.json")).unwrap_err();
        assert!(
            error.message.contains("/nonexistent/etcd.json") && error.message.contains("\"etcd\"")
        );
        assert!(error.advice.contains("PLAT_ETCD_CONFIG"));
    }
}
