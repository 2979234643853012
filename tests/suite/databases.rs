/*!
The store `sqlite`, through both plugins: where its file may be and what is wrong with it, boots, whose rows
are whose, what it takes over from a directory, and how it chooses addresses.
*/

mod boots;
mod broken;
mod cost;
mod importing;
mod places;
mod policies;
mod sharing;

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Value, json};
use support::{Outcome, Plugin, Scratch, Site, Snapshot, Store};

const PLUGINS: [Plugin; 2] = [Plugin::HostLocal, Plugin::NodeLocal];

/// A plugin with a database of its own.
fn site(plugin: Plugin, scratch: &Scratch) -> Site {
    let run = scratch.path().join("run");
    Site::new(plugin, scratch.path(), &run).in_store(Store::Sqlite)
}

/// The configuration of a version that has STATUS and GC.
fn newest(site: &Site) -> Value {
    let mut config = site.config();
    config["cniVersion"] = json!("1.1.0");
    config
}

fn status(site: &Site) -> Outcome {
    site.call_with("STATUS", "", &newest(site)).run()
}

/// Asserts an error of one of these codes that names the path.
fn assert_refused(outcome: &Outcome, codes: &[u64], path: &Path, what: &str) {
    let (code, _) = outcome.error();
    assert!(codes.contains(&code), "{what}: code {code}: {outcome:?}");
    let path = path.to_string_lossy();
    assert!(outcome.stdout.contains(&*path), "{what}: {path} is not named: {outcome:?}");
    let details = outcome.json()["details"].as_str().unwrap_or_default().to_owned();
    assert!(!details.is_empty(), "{what}: nothing says what to do: {outcome:?}");
}

/// What lies in the places of a site but locks and journals, which every call may make.
fn recorded(site: &Site) -> Snapshot {
    Snapshot::of_all([site.data(), site.state(), &site.database()])
}

fn assert_unchanged(before: &Snapshot, after: &Snapshot, what: &str) {
    let changes = before.changes(after);
    assert!(changes.is_empty(), "{what}: changed:\n{}", changes.join("\n"));
}

/// Asserts that no ADD is served because what living pods hold is not known, and that a DEL is.
fn assert_lost(site: &Site, held: &str, what: &str) {
    let database = site.database();
    assert_refused(&site.call("ADD", "new").run(), &[11], &database, what);
    assert_refused(&status(site), &[51], &database, what);
    assert_refused(&site.call("ADD", "newer").run(), &[11], &database, what);
    let outcome = site.call("DEL", held).run();
    assert_eq!(outcome.exit, Some(0), "{what}: DEL: {outcome:?}");
    let outcome = site.call_with("DEL", held, &site.stripped_config()).run();
    assert_eq!(outcome.exit, Some(0), "{what}: stripped DEL: {outcome:?}");
    assert_refused(&site.call("ADD", "newest").run(), &[11], &database, what);
}

/// Changes the database as another program would.
fn edit(database: &Path, sql: &str) {
    let connection = Connection::open(database).expect("a database can be opened");
    connection.execute_batch(sql).expect("a database can be changed");
}

/// Makes the database and its marker those of another boot.
fn reboot(site: &Site) {
    edit(&site.database(), "UPDATE meta SET boot = 'an earlier boot'");
    for marker in markers(site) {
        let text = fs::read_to_string(&marker).expect("a marker can be read");
        let mut value: Value = serde_json::from_str(&text).expect("a marker is JSON");
        value["boot"] = json!("an earlier boot");
        fs::write(&marker, value.to_string()).expect("a marker can be written");
    }
}

/// The durable markers.
fn markers(site: &Site) -> Vec<PathBuf> {
    let entries = fs::read_dir(site.state().join("databases")).into_iter().flatten();
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// Names beside the database that begin with its name and this.
fn set_aside(site: &Site, why: &str) -> Vec<PathBuf> {
    let prefix = format!("plat.db.{why}-");
    let entries = fs::read_dir(site.run()).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.starts_with(&prefix) && !name.ends_with("-journal")
        })
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

/// A call for a pod.
fn for_pod(site: &Site, command: &str, id: &str, pod: &str) -> support::Call {
    let args =
        format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME={pod};K8S_POD_UID=u-{id}");
    site.call(command, id).env("CNI_ARGS", args)
}
