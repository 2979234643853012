//! Reading a policy file.

use std::path::{Component, PathBuf};

use serde::Deserialize;

use super::{Pattern, Rules};
use crate::addr::Cidr;
use crate::config::json::shown;

/// The space of pools that name none.
const DEFAULT_SPACE: &str = "default";

/// The most entries of a list.
const MOST: usize = 10_000;

/// Why a policy file cannot be understood: one sentence that names the file, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RulesError {
    /// One sentence.
    pub message: String,
    /// What would be right.
    pub expected: String,
}

/// A policy file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct RulesSpec {
    networks: Option<Vec<String>>,
    data_dir: Option<Vec<String>>,
    database: Option<Vec<String>>,
    resolv_conf: Option<Vec<String>>,
    cfg_dir: Option<Vec<String>>,
    cfg: Option<Vec<String>>,
    node_index: Option<bool>,
    subnets: Option<Vec<String>>,
    requested_addresses: Option<bool>,
    pools: Option<Vec<String>>,
    pool_descriptions: Option<bool>,
    etcd_endpoints: Option<Vec<String>>,
    etcd_files: Option<Vec<String>>,
    socket: Option<Vec<String>>,
    memif_directory: Option<Vec<String>>,
    tables: Option<Vec<u32>>,
    node_settings: Option<bool>,
}

impl Rules {
    /// Reads the content of a policy file; `file` is its name, for errors.
    ///
    /// # Errors
    /// What of it cannot be meant so.
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, RulesError> {
        let wrong = |why: String| RulesError {
            message: format!("the policy file {file} cannot be understood: {why}"),
            expected:
                "one JSON object of rules, such as {\"dataDir\": [\"/var/lib/cni/networks\"]}"
                    .to_owned(),
        };
        // The library takes a list for the values in their order.
        if text.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte != b'{') {
            return Err(wrong("it is no JSON object".to_owned()));
        }
        // It names line and column, and the known keys where one is unknown.
        let spec: RulesSpec =
            serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
        let reader = Reader { file };
        Ok(Self {
            file: file.to_owned(),
            networks: reader.patterns("networks", spec.networks, "")?,
            data_dir: reader.places("dataDir", spec.data_dir)?,
            database: reader.places("database", spec.database)?,
            resolv_conf: reader.places("resolvConf", spec.resolv_conf)?,
            cfg_dir: reader.places("cfgDir", spec.cfg_dir)?,
            cfg: reader.patterns("cfg", spec.cfg, "")?,
            node_index: spec.node_index,
            subnets: reader.each("subnets", spec.subnets, SUBNET, |text| {
                Cidr::parse(text).filter(|cidr| cidr.network().first() == cidr.addr())
            })?,
            requested_addresses: spec.requested_addresses,
            pools: reader.patterns("pools", spec.pools, DEFAULT_SPACE)?,
            pool_descriptions: spec.pool_descriptions,
            etcd_endpoints: reader.each(
                "etcdEndpoints",
                spec.etcd_endpoints,
                ENDPOINT,
                |text| {
                    let url = text.starts_with("http://") || text.starts_with("https://");
                    url.then(|| text.to_owned())
                },
            )?,
            etcd_files: reader.places("etcdFiles", spec.etcd_files)?,
            socket: reader.places("socket", spec.socket)?,
            memif_directory: reader.places("memifDirectory", spec.memif_directory)?,
            tables: spec.tables,
            node_settings: spec.node_settings,
        })
    }
}

const SUBNET: &str = "a subnet without host bits, such as 10.1.0.0/16";
const ENDPOINT: &str = "an endpoint, such as https://etcd-1.example:2379";
const PLACE: &str = "an absolute path without ..";
const NAME: &str = "a name, or the beginning of names with * at its end";

/// What reads the lists of one file.
struct Reader<'a> {
    file: &'a str,
}

impl Reader<'_> {
    fn each<T>(
        &self,
        key: &str,
        texts: Option<Vec<String>>,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, RulesError> {
        let Some(texts) = texts else { return Ok(None) };
        let wrong = |what: String| RulesError {
            message: format!("the policy file {}: {key}{what}", self.file),
            expected: expected.to_owned(),
        };
        if texts.len() > MOST {
            return Err(wrong(format!(" has more than {MOST} entries")));
        }
        let read = texts.iter().enumerate().map(|(i, text)| {
            read(text).ok_or_else(|| wrong(format!("[{i}]: {:?} is none", shown(text))))
        });
        read.collect::<Result<_, _>>().map(Some)
    }

    fn places(
        &self,
        key: &str,
        texts: Option<Vec<String>>,
    ) -> Result<Option<Vec<PathBuf>>, RulesError> {
        self.each(key, texts, PLACE, |text| {
            let path = PathBuf::from(text);
            let climbs = path.components().any(|component| component == Component::ParentDir);
            (path.is_absolute() && !climbs && !text.contains('\0')).then_some(path)
        })
    }

    /// Names. With a `space`, each has one before a slash, and this one where it says none.
    fn patterns(
        &self,
        key: &str,
        texts: Option<Vec<String>>,
        space: &str,
    ) -> Result<Option<Vec<Pattern>>, RulesError> {
        self.each(key, texts, NAME, |text| {
            let (start, open) = text.strip_suffix('*').map_or((text, false), |start| (start, true));
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-/".contains(&b);
            let slashes = start.matches('/').count();
            let most = usize::from(!space.is_empty());
            if !start.bytes().all(plain) || slashes > most || (start.is_empty() && !open) {
                return None;
            }
            let name = match (space, slashes) {
                ("", _) | (_, 1) => start.to_owned(),
                // All pools of all spaces.
                _ if start.is_empty() => String::new(),
                _ => format!("{space}/{start}"),
            };
            Some(if open { Pattern::Start(name) } else { Pattern::Whole(name) })
        })
    }
}
