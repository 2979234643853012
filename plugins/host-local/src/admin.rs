/*!
The administrator's policy file, read and applied to a call. What it means is decided in `ipam_core::rules`.

Without the file nothing is forbidden, and it costs one open that fails. With it, what gives something out (ADD, and
STATUS, which tells whether an ADD could) keeps the rules, and nothing is given out while the file cannot be
understood, or belongs to somebody else than root. What takes back or looks (DEL, GC, CHECK) is never refused: it leaves
the places alone that are not allowed, but for those that were used by the network before, which are remembered.
*/

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use cni::{Call, Code, Environment, Error};
use ipam_core::config::json::At;
use ipam_core::config::{ConfigError, Place};
use ipam_core::identity::Network;
use ipam_core::rules::{PathKey, Rules};
use ipam_stores::{Places, Remembered, check_private, open_regular};
use serde_json::Value;

use crate::call::{data_dir, database_path, state_dirs};
use crate::errors::{config_error, store_error};

/// Where the policy file is, unless the environment names another one.
const POLICY_FILE: &str = "/etc/plat/policy.json";

/// The environment variable that names it. The environment is the runtime's, not a configuration's.
const POLICY_VARIABLE: &str = "PLAT_POLICY";

/// The largest policy file, in bytes.
const LIMIT: u64 = 1 << 20;

/// The permissions of others than the owner to write.
const WRITABLE: u32 = 0o022;

/// What the administrator has said.
#[derive(Clone, Debug)]
pub enum Standing {
    /// Nothing: there is no policy file.
    Free,
    /// These rules.
    Ruled(Box<Rules>),
    /// Something that cannot be understood, or need not be his.
    Unclear(Error),
}

/// Reads the policy file.
pub fn standing(environment: &Environment) -> Standing {
    let (path, named) = match environment.value(POLICY_VARIABLE) {
        "" => (Path::new(POLICY_FILE), false),
        path => (Path::new(path), true),
    };
    match read(path) {
        Ok(rules) => Standing::Ruled(Box::new(rules)),
        Err(Unread::Missing) if !named => Standing::Free,
        Err(Unread::Missing) => Standing::Unclear(unclear(
            format!("the policy file {} does not exist", path.display()),
            format!("{POLICY_VARIABLE} in the runtime's environment names it"),
        )),
        Err(Unread::Unclear(error)) => Standing::Unclear(error),
    }
}

/// Reads the policy file of that path as a plugin would.
///
/// # Errors
/// Why a plugin would give nothing out.
pub fn rules_of(path: &Path) -> Result<Rules, Error> {
    read(path).map_err(|unread| match unread {
        Unread::Unclear(error) => error,
        Unread::Missing => unclear(
            format!("the policy file {} does not exist", path.display()),
            "without a policy file nothing is forbidden".to_owned(),
        ),
    })
}

enum Unread {
    Missing,
    Unclear(Error),
}

fn unclear(message: String, details: String) -> Error {
    Error::new(Code::InvalidConfig, message).with_details(details)
}

fn read(path: &Path) -> Result<Rules, Unread> {
    const ADVICE: &str =
        "no address is given out until the policy file is one that root alone can write";
    let shown = path.display();
    let wrong = |message: String| Unread::Unclear(unclear(message, ADVICE.to_owned()));
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Unread::Missing,
        _ => wrong(format!("the policy file {shown} cannot be read: {error}")),
    };
    // A link to nothing is no missing file: somebody has meant one.
    let file = open_regular(path).map_err(|error| match fs::symlink_metadata(path) {
        Ok(_) if error.kind() == io::ErrorKind::NotFound => {
            wrong(format!("the policy file {shown} is a link to nothing"))
        }
        _ => failed(error),
    })?;
    let meta = file.metadata().map_err(failed)?;
    let (mode, owner) = (meta.mode() & 0o7777, meta.uid());
    if mode & WRITABLE != 0 || owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(wrong(format!(
            "the policy file {shown} can be written by others than root (mode {mode:04o}, user {owner})"
        )));
    }
    let mut text = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut text).map_err(failed)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > LIMIT) {
        return Err(wrong(format!("the policy file {shown} is longer than {LIMIT} bytes")));
    }
    Rules::parse(&shown.to_string(), &text)
        .map_err(|error| Unread::Unclear(unclear(error.message, error.expected)))
}

/// The rules that what gives something out must keep; `None` if there are none. Makes sure, too, that what is
/// remembered cannot be somebody else's.
///
/// # Errors
/// The policy file cannot be understood (7), or others can change the state directories (5).
pub fn rules(call: &Call) -> Result<Option<Box<Rules>>, Error> {
    check_private(&state_dirs(&call.environment)).map_err(|e| store_error(&e))?;
    match standing(&call.environment) {
        Standing::Free => Ok(None),
        Standing::Ruled(rules) => Ok(Some(rules)),
        Standing::Unclear(error) => Err(error),
    }
}

/// Where a path leads to, symbolic links followed as far as there is something; `None` if that cannot be told:
/// it is not absolute, or a link on the way leads to nothing.
pub fn resolve(path: &Path) -> Option<PathBuf> {
    if !path.is_absolute() {
        return None;
    }
    for here in path.ancestors() {
        match fs::canonicalize(here) {
            Ok(real) => return Some(real.join(path.strip_prefix(here).ok()?)),
            // What is not there leads nowhere else; a link that is there does.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::symlink_metadata(here).is_ok() {
                    return None;
                }
            }
            Err(_) => return None,
        }
    }
    None
}

/// Judges the ipam section of a call by the rules, if there are any.
///
/// # Errors
/// Code 7: the first value that is not allowed.
pub fn check_ipam(rules: Option<&Rules>, net: &Value) -> Result<(), Error> {
    rules.map_or(Ok(()), |rules| rules.ipam(net, &resolve)).map_err(|e| config_error(&e))
}

/// Whether what only looks may follow what the ipam section of a call names: files, and where etcd is.
pub fn may_follow(call: &Call) -> bool {
    match standing(&call.environment) {
        Standing::Free => true,
        Standing::Ruled(rules) => rules.ipam(&call.config, &resolve).is_ok(),
        Standing::Unclear(_) => false,
    }
}

/// The place of state that what takes back may look at, and what was left out, a sentence each.
///
/// A tenant may send a DEL of any configuration. Where rules forbid its `dataDir` or `database`, nothing of ours can
/// be there, unless the rules are younger than the allocation: then the place is remembered, by the network's name,
/// and stays.
pub fn permitted(call: &Call, network: &Network, place: &Place) -> (Place, Vec<String>) {
    let mut place = place.clone();
    if place.data_dir.is_none() && place.database.is_none() {
        return (place, Vec::new());
    }
    let standing = standing(&call.environment);
    if matches!(standing, Standing::Free) {
        return (place, Vec::new());
    }
    let known = Places::new(&state_dirs(&call.environment).durable, network).all();
    let known = known.unwrap_or_default();
    let mut left_out = Vec::new();
    let data_dir = Remembered::DataDir(data_dir(call, &place));
    let database = Remembered::Database(database_path(call, &place));
    let mut judge = |name: &str, key: PathKey, there: &Remembered| {
        let judged = judge_path(&standing, &call.config, name, key);
        let Some(why) = judged.err().filter(|_| !known.contains(there)) else { return true };
        left_out.push(format!("not looked at: {why}"));
        false
    };
    if !judge("dataDir", PathKey::DataDir, &data_dir) {
        place.data_dir = None;
    }
    if !judge("database", PathKey::Database, &database) {
        place.database = None;
    }
    (place, left_out)
}

/// What a GC or a CHECK says of a place that [`permitted`] has left out.
pub fn never_used(left_out: &[String]) -> Error {
    Error::new(Code::InvalidConfig, left_out.join("; "))
        .with_details("this network has never used that place")
}

fn judge_path(standing: &Standing, net: &Value, name: &str, key: PathKey) -> Result<(), String> {
    let root = At::root(net);
    let text = |e: ConfigError| e.message;
    let Some(ipam) = root.get("ipam").map_err(text)? else { return Ok(()) };
    match standing {
        Standing::Free => Ok(()),
        Standing::Ruled(rules) => rules.path(&ipam, name, key, &resolve).map_err(text),
        Standing::Unclear(error) => match ipam.get(name).map_err(text)? {
            Some(at) if at.value().as_str() != Some("") => {
                Err(format!("{at}, as {}", error.message))
            }
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn paths_are_followed_as_far_as_there_is_something() {
        let dir = std::env::temp_dir().join(format!("plat-admin-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("a")).unwrap();
        symlink(dir.join("a"), dir.join("to-a")).unwrap();
        symlink("/nowhere/at/all", dir.join("to-nothing")).unwrap();
        symlink(dir.join("loop"), dir.join("loop")).unwrap();
        fs::write(dir.join("file"), "").unwrap();
        let real = fs::canonicalize(&dir).unwrap();
        for (path, leads_to) in [
            ("a", Some("a")),
            ("to-a/x/y", Some("a/x/y")),
            ("a/x", Some("a/x")),
            ("to-nothing", None),
            ("to-nothing/x", None),
            ("loop/x", None),
            ("file/x", None),
        ] {
            assert_eq!(resolve(&dir.join(path)), leads_to.map(|to| real.join(to)), "{path}");
        }
        assert_eq!(resolve(Path::new("a")), None);
        assert_eq!(resolve(Path::new("/")), Some(PathBuf::from("/")));
        fs::remove_dir_all(&dir).unwrap();
    }
}
