/*!
What runtimes keep of the results of their calls: libcni's cache, one file for each attachment.

`<dir>/<network>-<container ID>-<interface>`, JSON with `"kind": "cniCacheV1"` (libcni, api.go):
containerId, networkName, ifName, netns and cniArgs where the writer is new enough, the configuration in
Base64, and the result in the version of that configuration.
*/

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipam_core::addr::{Addr, Cidr};
use ipam_core::config::Owner;
use ipam_core::identity::{Attachment, ContainerId, IfName};
use serde_json::Value;

use crate::encoded;
use crate::spaces::{self, At};

/// The address space of a pool that names none, as etcd-pool has it.
const DEFAULT_SPACE: &str = "default";

/// The largest file that is read, in bytes: a configuration and a result have some kilobytes.
const LARGEST: u64 = 4 << 20;

/// An attachment that a runtime has made, and not deleted yet as far as it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// The network.
    pub network: String,
    /// The attachment.
    pub attachment: Attachment,
    /// The path of its network namespace, root applied, where it is written down.
    pub path: Option<PathBuf>,
    /// What is there now.
    pub at: At,
    /// The addresses of the result.
    pub addrs: Vec<Addr>,
    /// The pod.
    pub owner: Owner,
    /// The IPAM sections of its configuration, as far as they tell where state lies.
    pub ipams: Vec<IpamSection>,
}

/// Where an IPAM plugin keeps its state, from a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpamSection {
    /// `type`.
    pub plugin: String,
    /// `store`.
    pub store: Option<String>,
    /// `database`.
    pub database: Option<PathBuf>,
    /// `dataDir`.
    pub data_dir: Option<PathBuf>,
    /// `shared`: other nodes use the dataDir, too.
    pub shared: bool,
    /// `space` and `pool` of etcd-pool: what its rows are filed under, `default/pods`.
    pub pool: Option<String>,
}

/// Reads every file of the directories. A directory that is not there is none; a file that cannot be read or
/// is none of libcni's goes into the notes or is skipped.
pub fn read(root: &Path, dirs: &[PathBuf], notes: &mut Vec<String>) -> Vec<Cached> {
    let mut cached = Vec::new();
    let mut broken = 0_usize;
    for dir in dirs {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                notes.push(format!("{} cannot be read: {error}", dir.display()));
                continue;
            }
        };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
                continue;
            }
            match read_file(&entry.path()) {
                Some(text) => match parse(&text) {
                    Some(mut entry) => {
                        if let Some(path) = &mut entry.path {
                            *path = spaces::below(root, path);
                            entry.at = spaces::at(path);
                        }
                        cached.push(entry);
                    }
                    None => broken += 1,
                },
                None => broken += 1,
            }
        }
    }
    if broken > 0 {
        notes.push(format!("{broken} files of the runtime's result cache cannot be understood"));
    }
    cached
}

fn read_file(path: &Path) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(LARGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Reads one file's content.
pub fn parse(text: &str) -> Option<Cached> {
    let value: Value = serde_json::from_str(text).ok()?;
    let string = |key: &str| value.get(key).and_then(Value::as_str);
    if string("kind") != Some("cniCacheV1") {
        return None;
    }
    let attachment = Attachment {
        container: ContainerId::new(string("containerId")?).ok()?,
        ifname: IfName::new(string("ifName")?).ok()?,
    };
    let config = string("config").and_then(encoded::base64);
    let config: Option<Value> = config.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Some(Cached {
        network: string("networkName")?.to_owned(),
        attachment,
        path: string("netns").filter(|path| path.starts_with('/')).map(PathBuf::from),
        at: At::Untold,
        addrs: value.get("result").map(addresses).unwrap_or_default(),
        owner: owner(value.get("cniArgs")),
        ipams: config.as_ref().map(sections).unwrap_or_default(),
    })
}

/// The addresses of a result of any version: `ips[].address`, or before 0.3.0 `ip4.ip` and `ip6.ip`.
fn addresses(result: &Value) -> Vec<Addr> {
    let new = result.get("ips").and_then(Value::as_array).into_iter().flatten();
    let old = ["ip4", "ip6"].into_iter().filter_map(|key| result.get(key)?.get("ip"));
    new.filter_map(|ip| ip.get("address"))
        .chain(old)
        .filter_map(|text| Cidr::parse(text.as_str()?).map(Cidr::addr))
        .collect()
}

/// The pod, from pairs of CNI_ARGS.
fn owner(args: Option<&Value>) -> Owner {
    let find = |key: &str| {
        args?.as_array()?.iter().find_map(|pair| {
            let pair = pair.as_array()?;
            (pair.first()?.as_str()? == key).then(|| pair.get(1)?.as_str().map(str::to_owned))?
        })
    };
    Owner {
        namespace: find("K8S_POD_NAMESPACE"),
        name: find("K8S_POD_NAME"),
        uid: find("K8S_POD_UID"),
    }
}

/// The pool that a section names, or describes.
fn pool(ipam: &Value) -> Option<String> {
    let pool = ipam.get("pool")?;
    let name = pool.as_str().or_else(|| pool.get("name")?.as_str())?;
    let space = ipam.get("space").and_then(Value::as_str).unwrap_or(DEFAULT_SPACE);
    Some(format!("{space}/{name}"))
}

/// The IPAM sections of a configuration or a list.
fn sections(config: &Value) -> Vec<IpamSection> {
    let list = config.get("plugins").and_then(Value::as_array);
    let plugins = list.map_or_else(|| std::slice::from_ref(config), Vec::as_slice);
    let section = |plugin: &Value| {
        let ipam = plugin.get("ipam")?;
        let string = |key: &str| ipam.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(IpamSection {
            plugin: string("type")?,
            store: string("store"),
            database: string("database").map(PathBuf::from),
            data_dir: string("dataDir").map(PathBuf::from),
            shared: ipam.get("shared").and_then(Value::as_bool).unwrap_or_default(),
            pool: pool(ipam),
        })
    };
    plugins.iter().filter_map(section).collect()
}

/// An address that is of no use as evidence: loopback, link-local, unspecified, multicast.
pub(crate) fn is_common(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || v4.is_multicast()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unicast_link_local()
                || v6.is_unspecified()
                || v6.is_multicast()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_every_version_are_read() {
        // {"name":"pods","plugins":[{"ipam":{"type":"host-local","dataDir":"/d"}},{"type":"portmap"}]}
        let config = "eyJuYW1lIjoicG9kcyIsInBsdWdpbnMiOlt7ImlwYW0iOnsidHlwZSI6Imhvc3QtbG9jYWwiLCJkYXRhRGlyIjoiL2QifX0seyJ0eXBlIjoicG9ydG1hcCJ9XX0=";
        let text = format!(
            r#"{{"kind":"cniCacheV1","containerId":"c1","ifName":"eth0","networkName":"pods",
                "config":"{config}","netns":"/var/run/netns/x",
                "cniArgs":[["K8S_POD_NAMESPACE","ns"],["K8S_POD_NAME","web-0"]],
                "result":{{"cniVersion":"1.0.0","ips":[{{"address":"10.1.2.3/24"}},{{"address":"fd00::5/64"}}]}}}}"#
        );
        let entry = parse(&text).unwrap();
        assert_eq!(entry.network, "pods");
        assert_eq!(entry.attachment.to_string(), "c1 eth0");
        assert_eq!(entry.path.as_deref(), Some(Path::new("/var/run/netns/x")));
        assert_eq!(format!("{:?}", entry.addrs), "[10.1.2.3, fd00::5]");
        assert_eq!(entry.owner.name.as_deref(), Some("web-0"));
        let section = IpamSection {
            plugin: "host-local".to_owned(),
            data_dir: Some("/d".into()),
            ..IpamSection::default()
        };
        assert_eq!(entry.ipams, [section]);

        let old = r#"{"kind":"cniCacheV1","containerId":"c1","ifName":"eth0","networkName":"n",
            "config":"","result":{"ip4":{"ip":"10.1.2.3/24"}}}"#;
        let entry = parse(old).unwrap();
        assert_eq!(format!("{:?}", entry.addrs), "[10.1.2.3]");
        assert_eq!(entry.path, None);
        for wrong in ["", "{}", "[]", r#"{"kind":"other"}"#, r#"{"kind":"cniCacheV1"}"#] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
