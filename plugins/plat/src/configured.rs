//! What the network configurations of a node say about ranges: for state that does not keep its layout.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use ipam_core::config::{Config, StoreKind};
use ipam_core::layout::Layout;
use ipam_core::node::NodeIdentity;
use ipam_core::template::fill_known;
use node_local::{Problem, Rendered, Surroundings};
use serde_json::Value;

use crate::context::Context;
use crate::netconf::{self, Member, entry, printable, text_of};

/// One IPAM section of a configuration file.
#[derive(Clone, Debug)]
pub(crate) struct Configured {
    /// The network's name.
    pub(crate) network: String,
    /// The IPAM plugin's type, `host-local` or `node-local`.
    pub(crate) plugin: String,
    /// The file.
    pub(crate) file: PathBuf,
    /// Range sets and policy.
    pub(crate) layout: Layout,
    /// `dataDir`, where it is given, as written.
    pub(crate) data_dir: Option<PathBuf>,
    /// What remembers its allocations.
    pub(crate) store: StoreKind,
    /// `database`, where it is given, as written.
    pub(crate) database: Option<PathBuf>,
}

/// The IPAM plugins whose configuration is understood here.
pub(crate) const PLUGINS: [&str; 2] = ["host-local", "node-local"];

/// The ends of the names of configuration files, as libcni takes them.
const ENDINGS: [&str; 3] = ["conf", "conflist", "json"];

/// Every IPAM section in the context's configuration directory that can be read, and a sentence for each
/// file that cannot.
pub(crate) fn all(context: &Context) -> (Vec<Configured>, Vec<String>) {
    let around = surroundings(context);
    let dir = context.survey.at(&context.conf_dir);
    let mut found = Vec::new();
    let mut sentences = Vec::new();
    let paths = match files(&dir) {
        Ok(paths) => paths,
        Err(sentence) => return (found, sentence.into_iter().collect()),
    };
    for path in paths {
        let shown = printable(&path.display().to_string());
        match read_file(&path) {
            Ok(text) => sections(&path, &text, &around, &mut found, &mut |sentence| {
                sentences.push(format!("{shown}: {}", printable(&sentence)));
            }),
            Err(error) => sentences.push(format!("{shown}: {error}")),
        }
    }
    (found, sentences)
}

/// The first configuration of a network for an IPAM plugin of this type, in the context's directory.
pub(crate) fn member(context: &Context, network: &str, plugin: &str) -> Option<Member> {
    let is_it = |member: &Member| member.network() == network && member.ipam() == Some(plugin);
    members(context).into_iter().find(is_it)
}

/// Every plugin of the configurations in the context's directory that can be read.
pub(crate) fn members(context: &Context) -> Vec<Member> {
    let paths = files(&context.survey.at(&context.conf_dir)).unwrap_or_default();
    let documents = paths
        .into_iter()
        .filter_map(|path| read_file(&path).ok())
        .flat_map(|text| netconf::read(&text).into_iter().flatten());
    documents.flat_map(|document| document.members()).collect()
}

/// The configuration files of a directory, by name. A directory that is not there has none.
fn files(dir: &Path) -> Result<Vec<PathBuf>, Option<String>> {
    let entries = fs::read_dir(dir).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        (!missing).then(|| format!("{} cannot be read: {error}", dir.display()))
    })?;
    let is_conf = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        ENDINGS.contains(&ending)
    };
    let mut paths: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_conf).collect();
    paths.sort();
    Ok(paths)
}

/// A file that may be a configuration: regular, not too large, UTF-8.
///
/// # Errors
/// A sentence without the path.
pub(crate) fn read_file(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    // A pipe in the place of a file would be waited for when it is opened.
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err("is no regular file".to_owned());
    }
    read_text(File::open(path).map_err(cannot)?)
}

/// The text that a reader gives.
///
/// # Errors
/// A sentence without the path.
pub(crate) fn read_text(reader: impl Read) -> Result<String, String> {
    let mut content = Vec::new();
    let read = reader.take(netconf::LARGEST + 1).read_to_end(&mut content);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if u64::try_from(content.len()).is_ok_and(|length| length > netconf::LARGEST) {
        return Err(format!("is larger than {} bytes", netconf::LARGEST));
    }
    String::from_utf8(content)
        .map_err(|error| format!("is no UTF-8 from byte {} on", error.utf8_error().valid_up_to()))
}

/// The members that a chain stands for, one for each IPAM plugin that it lists; another member itself.
fn listed(member: Member, around: &Surroundings) -> Vec<Member> {
    let top = member.plugin() == "chain";
    let ipam = entry(&member.net, "ipam");
    let holder =
        if member.ipam() == Some("chain") { ipam } else { Some(&member.net).filter(|_| top) };
    let list = holder.and_then(|holder| entry(holder, "ipams")).and_then(Value::as_array);
    let sections: Vec<Value> = match (list, ipam) {
        (Some(list), _) => list.clone(),
        (None, Some(ipam)) if top => vec![ipam.clone()],
        _ => return vec![member],
    };
    // At the top a chain fills the node's number into what node-local does not fill in itself.
    let node =
        top.then(|| node_local::find(&serde_json::json!({"ipam": {}}), around).ok()).flatten();
    let made = sections.into_iter().map(|section| {
        let own = text_of(&section, "type") == Some("node-local");
        let section = match &node {
            Some(node) if !own => fill_known(&section, node),
            _ => section,
        };
        let mut net = member.net.clone();
        if let Some(object) = net.as_object_mut() {
            object.retain(|key, _| !key.eq_ignore_ascii_case("ipam"));
            object.insert("ipam".to_owned(), section);
        }
        Member { path: member.path.clone(), net }
    });
    made.collect()
}

fn sections(
    path: &Path,
    text: &str,
    around: &Surroundings,
    found: &mut Vec<Configured>,
    tell: &mut dyn FnMut(String),
) {
    for document in netconf::read(text) {
        let document = match document {
            Ok(document) => document,
            Err(broken) => {
                let netconf::Spot { line, column } = netconf::spot(text, broken.offset);
                tell(format!("line {line}, column {column}: {}", broken.message));
                continue;
            }
        };
        for member in document.members().into_iter().flat_map(|member| listed(member, around)) {
            let Some(plugin) = member.ipam().filter(|plugin| PLUGINS.contains(plugin)) else {
                continue;
            };
            let rendered = match rendered(&member, around, None) {
                Ok((rendered, _)) => rendered,
                Err(problem) => {
                    let at = if member.path.is_empty() { "" } else { ": " };
                    tell(format!("{}{at}{}", member.path, problem.error.message));
                    continue;
                }
            };
            let Config { sets, policy, place, .. } = rendered.config;
            found.push(Configured {
                network: member.network().to_owned(),
                plugin: plugin.to_owned(),
                file: path.to_path_buf(),
                store: place.store.unwrap_or(match plugin {
                    "node-local" => StoreKind::Sqlite,
                    _ => StoreKind::Dir,
                }),
                data_dir: place.data_dir.map(PathBuf::from),
                database: place.database.map(PathBuf::from),
                layout: Layout { sets, policy },
            });
        }
    }
}

/// What the IPAM plugin of a configuration makes of it: on this node, or as `node`. The node is told where
/// it has been asked for.
///
/// # Errors
/// The plugin's error.
pub(crate) fn rendered(
    member: &Member,
    around: &Surroundings,
    node: Option<&NodeIdentity>,
) -> Result<(Rendered, Option<NodeIdentity>), Problem> {
    if member.ipam() == Some("node-local") {
        let supplied = node_local::supply(&member.net, around)?;
        let node = match node {
            Some(node) => node.clone(),
            None => node_local::find(&member.net, around)?,
        };
        let rendered = node_local::render(&member.net, "", &supplied, &node)?;
        return Ok((rendered, Some(node)));
    }
    let config = Config::parse(&member.net, "", &[])?;
    let ipam = entry(&member.net, "ipam").cloned().unwrap_or_default();
    Ok((Rendered { ipam, config, dns: cni::Dns::default() }, None))
}

/// What node-local would see of this node; below another root, the files of that root and its host name.
pub(crate) fn surroundings(context: &Context) -> Surroundings {
    let root = context.survey.root.clone();
    let here = root == Path::new("/");
    let host_name = if here {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    } else {
        let text = fs::read_to_string(root.join("etc/hostname")).unwrap_or_default();
        text.lines().next().unwrap_or_default().trim().to_owned()
    };
    let environment = std::env::var("NODE_INDEX").ok().filter(|text| here && !text.is_empty());
    Surroundings { root, host_name, environment, state_dir: context.survey.state.durable.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipam_stores::StateDirs;
    use ipam_stores::survey::Survey;
    use std::time::Duration;

    #[test]
    fn a_directory_of_all_sorts() {
        let root = std::env::temp_dir().join(format!("plat-configured-{}", std::process::id()));
        let dir = root.join("etc/cni/net.d");
        fs::create_dir_all(dir.join("40-dir.conf")).unwrap();
        fs::create_dir_all(root.join("etc/cni/node-local")).unwrap();
        let write = |name: &str, text: &str| fs::write(root.join("etc").join(name), text).unwrap();
        write("hostname", "vm-007\n");
        write("cni/node-local/default", r#"{"carve": {"pool": "10.7.0.0/16", "prefix": 24}}"#);
        write(
            "cni/net.d/20-b.conflist",
            r#"{"cniVersion": "1.0.0", "name": "b", "plugins": [{"type": "bridge", "ipam": {
                "type": "node-local", "dataDir": "/d"}}, {"type": "portmap"}]}"#,
        );
        write(
            "cni/net.d/10-a.conf",
            r#"{"cniVersion": "1.0.0", "name": "a", "type": "bridge", "ipam": {
                "type": "host-local", "subnet": "10.1.0.0/24"}}"#,
        );
        write(
            "cni/net.d/25-c.conf",
            r#"{"cniVersion": "1.0.0", "name": "c", "type": "bridge", "ipam": {"type": "chain", "ipams": [
                {"type": "node-local", "subnet": "10.8.{i}.0/24"}, {"type": "dhcp"},
                {"type": "host-local", "subnet": "10.9.0.0/24"}]}}"#,
        );
        write(
            "cni/net.d/26-d.conf",
            r#"{"cniVersion": "1.0.0", "name": "d", "type": "chain", "main": {"type": "bridge"}, "ipam":
                {"type": "host-local", "subnet": "10.4.{i}.0/24"}}"#,
        );
        write("cni/net.d/30-bad.json", "{\n x}");
        write(
            "cni/net.d/35-wrong.conf",
            r#"{"name": "w", "type": "x", "ipam": {"type": "host-local"}}"#,
        );
        write("cni/net.d/50-ignored.txt", "{");
        fs::write(dir.join("60-latin.conf"), b"{\"\xe4\"}").unwrap();
        let context = Context {
            data_dirs: Vec::new(),
            databases: Vec::new(),
            survey: Survey::new(&root, StateDirs::default()),
            conf_dir: PathBuf::from("/etc/cni/net.d"),
            etcd: None,
            space: None,
            json: false,
            colour: false,
            width: 80,
            progress: false,
            lock_timeout: Duration::from_secs(1),
        };
        let (found, sentences) = all(&context);
        fs::remove_dir_all(&root).unwrap();
        let shown: Vec<String> = found
            .iter()
            .map(|c| format!("{} {} {} {:?}", c.network, c.plugin, c.layout.sets[0], c.data_dir))
            .collect();
        assert_eq!(
            shown,
            [
                "a host-local 10.1.0.1-10.1.0.254 None",
                "b node-local 10.7.7.1-10.7.7.254 Some(\"/d\")",
                "c node-local 10.8.7.1-10.8.7.254 None",
                "c host-local 10.9.0.1-10.9.0.254 None",
                "d host-local 10.4.7.1-10.4.7.254 None",
            ]
        );
        let expected = [
            "30-bad.json: line 2, column 2",
            "35-wrong.conf: no IP ranges specified",
            "40-dir.conf: is no regular file",
            "60-latin.conf: is no UTF-8 from byte 2 on",
        ];
        assert_eq!(sentences.len(), expected.len(), "{sentences:?}");
        for (sentence, expected) in sentences.iter().zip(expected) {
            assert!(sentence.contains(expected), "{sentence}");
        }
        let none = Context { conf_dir: PathBuf::from("/nowhere"), ..context };
        assert!(all(&none).0.is_empty() && all(&none).1.is_empty());
    }
}
