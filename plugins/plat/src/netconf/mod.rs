/*!
Network configurations as files: what is in one, and where.

A file holds a configuration, a list, a template of node-local, or NetworkAttachmentDefinitions around
them. Each [`Document`] is JSON that has been parsed, with an index of its places in the file.
*/

mod positions;
mod text;
mod yaml;

use serde_json::{Map, Value};

pub(crate) use positions::Located;
pub(crate) use text::{Spot, Text, excerpt, printable, spot};

/// The largest file that is read, in bytes; a plugin reads no larger configuration.
pub(crate) const LARGEST: u64 = 1024 * 1024;

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One plugin's configuration.
    Conf,
    /// A list of plugins.
    List,
    /// A template file of node-local.
    Template,
}

impl Form {
    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Conf => "configuration",
            Self::List => "list",
            Self::Template => "template",
        }
    }
}

/// A network configuration of a file.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// What it is.
    pub(crate) form: Form,
    /// The name of the NetworkAttachmentDefinition around it, if there is one.
    pub(crate) manifest: Option<String>,
    /// Whether there is one at all.
    pub(crate) in_manifest: bool,
    /// The JSON.
    pub(crate) value: Value,
    text: Text,
    located: Option<Located>,
}

/// Something that is wrong with a file as a whole: nothing can be read from there on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// The offset in the file.
    pub(crate) offset: usize,
    /// One sentence.
    pub(crate) message: String,
    /// What would be right.
    pub(crate) advice: String,
}

/// A plugin of a document, as its binary would be given the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Where it stands in the document: nothing, or `plugins[0]`.
    pub(crate) path: String,
    /// The configuration with the network's name and version, as libcni makes it.
    pub(crate) net: Value,
}

impl Member {
    /// The plugin's type, or the IPAM plugin's.
    pub(crate) fn plugin(&self) -> &str {
        text_of(&self.net, "type").unwrap_or_default()
    }

    /// The IPAM plugin's type.
    pub(crate) fn ipam(&self) -> Option<&str> {
        text_of(entry(&self.net, "ipam")?, "type")
    }

    /// The network's name.
    pub(crate) fn network(&self) -> &str {
        text_of(&self.net, "name").unwrap_or_default()
    }
}

/// The value of a key, however its letters are cased; null is as absent.
pub(crate) fn entry<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    let found = object.get(key).or_else(|| {
        object.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
    });
    found.filter(|value| !value.is_null())
}

/// The text of a key.
pub(crate) fn text_of<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    entry(value, key)?.as_str()
}

impl Document {
    fn new(text: Text, manifest: Option<&str>, in_manifest: bool) -> Result<Self, Broken> {
        let value = parse(&text)?;
        let located = Located::of(text.as_str());
        let manifest = manifest.filter(|name| !name.is_empty()).map(str::to_owned);
        let form = form_of(&value, in_manifest);
        Ok(Self { form, manifest, in_manifest, value, text, located })
    }

    /// The network's name: its own, else that of the manifest around it, as Multus takes it.
    pub(crate) fn network(&self) -> Option<&str> {
        text_of(&self.value, "name").filter(|name| !name.is_empty()).or(self.manifest.as_deref())
    }

    /// The plugins, each as its binary would see it. Elements of a list that are no objects are left out.
    pub(crate) fn members(&self) -> Vec<Member> {
        let name = self.network().unwrap_or_default();
        let with = |plugin: &Value, path: String, keys: &[&str]| -> Option<Member> {
            let mut object = plugin.as_object()?.clone();
            for key in keys {
                ipam_core::template::remove(&mut object, key);
            }
            object.insert("name".to_owned(), Value::from(name));
            if let (true, Some(version)) =
                (keys.contains(&"cniVersion"), entry(&self.value, "cniVersion"))
            {
                object.insert("cniVersion".to_owned(), version.clone());
            }
            Some(Member { path, net: Value::Object(object) })
        };
        match self.form {
            Form::Conf => with(&self.value, String::new(), &["name"]).into_iter().collect(),
            Form::List => entry(&self.value, "plugins")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .enumerate()
                .filter_map(|(i, plugin)| {
                    with(plugin, format!("plugins[{i}]"), &["name", "cniVersion"])
                })
                .collect(),
            Form::Template => Vec::new(),
        }
    }

    /// Where in the file the value at a path stands, as exactly as the path can be followed.
    pub(crate) fn value_at(&self, path: &str) -> usize {
        let found = self.located.as_ref().map(|located| located.find(path));
        self.text.offset(found.map_or(0, |found| found.value))
    }

    /// Where in the file the key at a path stands; nothing if there is none.
    pub(crate) fn key_at(&self, path: &str) -> Option<usize> {
        let found = self.located.as_ref()?.find(path);
        found.key.filter(|_| found.complete).map(|key| self.text.offset(key))
    }

    /// Keys that stand twice: the later one's offset in the file, its name, and the former's name and offset.
    pub(crate) fn duplicates(&self) -> Vec<(usize, String, String, usize)> {
        let mut all = Vec::new();
        if let Some(located) = &self.located {
            located.duplicates(&mut |former, later| {
                all.push((
                    self.text.offset(later.start),
                    later.key.clone(),
                    former.key.clone(),
                    self.text.offset(former.start),
                ));
            });
        }
        all
    }
}

fn form_of(value: &Value, in_manifest: bool) -> Form {
    let has = |key: &str| entry(value, key).is_some();
    if has("plugins") {
        return Form::List;
    }
    let template = !in_manifest && !has("name") && !has("type");
    let ranges = template
        && (ipam_core::template::has_ranges(value)
            || entry(value, "ipam").is_some_and(ipam_core::template::has_ranges));
    if ranges { Form::Template } else { Form::Conf }
}

/// What a file holds, in its order. A part that is broken does not hide the others of a file.
pub(crate) fn read(file: &str) -> Vec<Result<Document, Broken>> {
    let content = file.trim_start_matches('\u{feff}');
    if content.len() < file.len() {
        return vec![Err(Broken {
            offset: 0,
            message: "the file begins with a byte order mark".to_owned(),
            advice: "no runtime reads JSON behind one: save the file as UTF-8 without it"
                .to_owned(),
        })];
    }
    if looks_like_yaml(file) { read_yaml(file) } else { read_json(file) }
}

/// Whether a file is a manifest in YAML rather than JSON, broken or not.
fn looks_like_yaml(file: &str) -> bool {
    let mut lines =
        file.lines().filter(|line| !line.trim().is_empty() && !line.starts_with(['#', '%']));
    let Some(first) = lines.next() else { return false };
    if first.trim_end() == "---" || first.starts_with("--- ") {
        return true;
    }
    let key = first.split_once(':').map_or("", |(key, _)| key.trim_end());
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn read_yaml(file: &str) -> Vec<Result<Document, Broken>> {
    let manifests = match yaml::read(file) {
        Ok(manifests) => manifests,
        Err(beyond) => {
            return vec![Err(Broken {
                offset: beyond.offset,
                message: format!("this YAML is not read here: {}", beyond.message),
                advice: "convert it: kubectl create --dry-run=client -o json -f FILE | plat conf \
                         validate -"
                    .to_owned(),
            })];
        }
    };
    let mut documents = Vec::new();
    for manifest in manifests {
        if manifest.kind != MANIFEST {
            continue;
        }
        match manifest.config {
            Some(text) => documents.push(Document::new(text, manifest.name.as_deref(), true)),
            None => documents.push(Err(without_config(manifest.start))),
        }
    }
    if documents.is_empty() {
        documents.push(Err(Broken {
            offset: 0,
            message: format!("there is no {MANIFEST} in this YAML"),
            advice: format!("kind: {MANIFEST}, with the JSON behind config: | in its spec"),
        }));
    }
    documents
}

/// The kind of the manifests that hold network configurations.
const MANIFEST: &str = "NetworkAttachmentDefinition";

fn without_config(offset: usize) -> Broken {
    Broken {
        offset,
        message: format!("the {MANIFEST} has no spec.config"),
        advice: "Multus then looks for a file of the same name on each node; to have it looked at \
                 here, give that file"
            .to_owned(),
    }
}

fn read_json(file: &str) -> Vec<Result<Document, Broken>> {
    let text = Text::whole(file);
    let value = match parse(&text) {
        Ok(value) => value,
        Err(broken) => return vec![Err(broken)],
    };
    let located = Located::of(file);
    let kind = text_of(&value, "kind").unwrap_or_default();
    if kind == MANIFEST {
        return vec![read_manifest(file, &value, located.as_ref(), "")];
    }
    if kind.ends_with("List") && entry(&value, "apiVersion").is_some() {
        let items = entry(&value, "items").and_then(Value::as_array);
        let all: Vec<_> = items
            .into_iter()
            .flatten()
            .enumerate()
            .filter(|(_, item)| text_of(item, "kind") == Some(MANIFEST))
            .map(|(i, item)| read_manifest(file, item, located.as_ref(), &format!("items[{i}].")))
            .collect();
        if !all.is_empty() {
            return all;
        }
    }
    if entry(&value, "apiVersion").is_some() && !kind.is_empty() {
        return vec![Err(Broken {
            offset: located.map_or(0, |located| located.find("kind").value),
            message: format!("a {} is no network configuration", printable(kind)),
            advice: format!("a {MANIFEST}, or what stands in its spec.config"),
        })];
    }
    let form = form_of(&value, false);
    vec![Ok(Document { form, manifest: None, in_manifest: false, value, text, located })]
}

/// A manifest in JSON, which holds its configuration as a text.
fn read_manifest(
    file: &str,
    manifest: &Value,
    located: Option<&Located>,
    path: &str,
) -> Result<Document, Broken> {
    let offset = |key: &str| located.map_or(0, |all| all.find(&format!("{path}{key}")).value);
    let config = entry(manifest, "spec").and_then(|spec| entry(spec, "config"));
    let Some(config) = config else { return Err(without_config(offset("spec"))) };
    let start = offset("spec.config");
    let Some(config) = config.as_str() else {
        return Err(Broken {
            offset: start,
            message: "spec.config is no text".to_owned(),
            advice: "the JSON as one string, with \\\" for each of its quotes".to_owned(),
        });
    };
    let name = entry(manifest, "metadata").and_then(|metadata| text_of(metadata, "name"));
    Document::new(unescaped(file, start, config), name, true)
}

/// A JSON string, whose quote is at `start` of the file, with the places of its characters.
fn unescaped(file: &str, start: usize, content: &str) -> Text {
    let mut text = Text::pieces();
    let mut source = file.get(start + 1..).unwrap_or_default().char_indices();
    for c in content.chars() {
        let Some((i, first)) = source.next() else { break };
        if first == '\\' {
            // \n, or \u and four digits; of a pair of surrogates, twice.
            let unicode = source.next().is_some_and(|(_, escape)| escape == 'u');
            let more = match (unicode, c.len_utf16()) {
                (false, _) => 0,
                (true, 1) => 4,
                (true, _) => 10,
            };
            for _ in 0..more {
                source.next();
            }
        }
        text.push(c, start + 1 + i);
    }
    text
}

/// Parses JSON; the error is placed in the file.
fn parse(text: &Text) -> Result<Value, Broken> {
    let source = text.as_str();
    let error = match serde_json::from_str::<Value>(source) {
        Ok(Value::Object(object)) => return Ok(Value::Object(object)),
        Ok(_) => {
            let at = source.len() - source.trim_start().len();
            return Err(Broken {
                offset: text.offset(at),
                message: "this is no JSON object".to_owned(),
                advice: "{\"cniVersion\": ..., \"name\": ..., ...}".to_owned(),
            });
        }
        Err(error) => error,
    };
    let at = if error.is_eof() {
        source.trim_end().len()
    } else {
        let start: usize =
            source.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        start + error.column().saturating_sub(1)
    };
    let mut message = error.to_string();
    if let Some(cut) = message.rfind(" at line ") {
        message.truncate(cut);
    }
    Err(Broken {
        offset: text.offset(at),
        advice: hint(source, at, &message).to_owned(),
        message: format!("no JSON: {message}"),
    })
}

/// What people usually meant where JSON ends.
fn hint(source: &str, at: usize, message: &str) -> &'static str {
    let rest = source.as_bytes().get(at..).unwrap_or_default();
    if source.trim().is_empty() {
        return "the file is empty: {\"cniVersion\": ..., \"name\": ..., ...}";
    }
    match rest.first() {
        Some(b'/' | b'#') => "JSON has no comments",
        Some(b'\'') => "JSON has double quotes only",
        Some(b'"') if message.contains("`,`") => "a comma is missing in front of it",
        Some(b'}' | b']') if message.contains("trailing comma") => {
            "no comma in front of a closing bracket"
        }
        Some(b',') => "one comma too many",
        None => "a bracket or a quote is not closed",
        _ if message.contains("key must be a string") => "a key stands in double quotes",
        _ if message.contains("trailing characters") => "one JSON object, and nothing behind it",
        _ => "",
    }
}

/// The ipam section of a configuration as text, for people: two spaces, keys as they came.
pub(crate) fn with_dns(mut ipam: Value, dns: &cni::Dns) -> Value {
    let mut object = Map::new();
    let lists =
        [("nameservers", &dns.nameservers), ("search", &dns.search), ("options", &dns.options)];
    for (key, list) in lists {
        if !list.is_empty() {
            object.insert(key.to_owned(), Value::from(list.clone()));
        }
    }
    if !dns.domain.is_empty() {
        object.insert("domain".to_owned(), Value::from(dns.domain.clone()));
    }
    if let (Some(section), false) = (ipam.as_object_mut(), object.is_empty()) {
        section.insert("dns".to_owned(), Value::Object(object));
    }
    ipam
}

#[cfg(test)]
mod tests;
