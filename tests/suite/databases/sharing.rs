//! Whose rows are whose, and where a DEL without configuration looks for them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Plugin, Scratch, Site, Store, reservation};

use super::{PLUGINS, newest, site};

/// The holdings of one plugin in the database that both share.
fn of(site: &Site, plugin: Plugin) -> support::Holdings {
    site.holdings().of(plugin)
}

/// Both plugins, the same network, the same container, the same database: two IPAMs of one chain.
#[test]
fn two_plugins_in_one_database() {
    let scratch = Scratch::new("db-two");
    let [host, node] = PLUGINS.map(|plugin| site(plugin, &scratch));
    let both = [Plugin::HostLocal, Plugin::NodeLocal];
    for id in ["c1", "c2"] {
        // Each gives its own first address: neither sees the other's.
        let got = [&host, &node].map(|site| site.call("ADD", id).run().addresses());
        assert_eq!(got[0], got[1], "{id}");
    }
    let held = |id: &str| both.map(|plugin| of(&host, plugin).held_by(id, "eth0").len());
    assert_eq!((held("c1"), held("c2")), ([1, 1], [1, 1]));
    // ADD twice: the refusal and the repetition are about their own.
    assert!(host.call("ADD", "c1").run().error().1.contains("duplicate"));
    assert_eq!(node.call("ADD", "c1").run().addresses(), ["10.7.0.2"]);

    host.call("DEL", "c1").run().ok();
    assert_eq!((held("c1"), held("c2")), ([0, 1], [1, 1]));
    // CHECK tells the one that has it from the one that has not.
    for (site, fine) in [(&host, false), (&node, true)] {
        let mut config = newest(site);
        config["prevResult"] = json!({"cniVersion": "1.1.0", "ips": [{"address": "10.7.0.2/16"}]});
        let check = site.call_with("CHECK", "c1", &config).run();
        assert_eq!(check.exit == Some(0), fine, "{check:?}");
    }
    node.gc(&[]).run().ok();
    assert_eq!((held("c1"), held("c2")), ([0, 0], [1, 0]));
    node.call_with("DEL", "c2", &node.stripped_config()).run().ok();
    assert_eq!(held("c2"), [1, 0]);
    let outcome = host.call_with("DEL", "c2", &host.stripped_config()).run();
    assert_eq!(outcome.exit, Some(0), "{outcome:?}");
    assert_eq!(held("c2"), [0, 0]);
    for plugin in both {
        assert_eq!(of(&host, plugin).faults(), [] as [String; 0]);
    }
}

/// A network's name and a container's do for one network only.
#[test]
fn networks_in_one_database() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-nets");
        let site = site(plugin, &scratch);
        let named = |name: &str| {
            let mut config = newest(&site);
            config["name"] = json!(name);
            config
        };
        let names = ["net", "net2", "ne", "NET", "net'; DROP TABLE allocation; --"];
        let names = &names[..4];
        for name in names {
            assert_eq!(site.call_with("ADD", "c1", &named(name)).run().addresses(), ["10.7.0.2"]);
        }
        let stripped = json!({"name": "net", "ipam": {"type": plugin.name()}});
        site.call_with("DEL", "c1", &stripped).run().ok();
        let held = |name: &str| {
            support::Holdings::new(name, site.data(), site.run()).held_by("c1", "eth0").len()
        };
        let left: Vec<usize> = names.iter().map(|name| held(name)).collect();
        assert_eq!(left, [0, 1, 1, 1]);
        let mut gc = named("NET");
        gc["cni.dev/valid-attachments"] = json!([]);
        site.call_with("GC", "", &gc).without("CNI_CONTAINERID").run().ok();
        let left: Vec<usize> = names.iter().map(|name| held(name)).collect();
        assert_eq!(left, [0, 1, 1, 0]);
    }
}

/// Interfaces of one container are attachments of their own.
#[test]
fn interfaces_in_one_database() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-ifs");
        let site = site(plugin, &scratch);
        for ifname in ["eth0", "net1"] {
            site.call("ADD", "c1").env("CNI_IFNAME", ifname).run().ok();
        }
        site.call("DEL", "c1").env("CNI_IFNAME", "net1").run().ok();
        assert_eq!(site.holdings().held_by("c1", "eth0").len(), 1);
        assert!(site.holdings().held_by("c1", "net1").is_empty());
    }
}

/// The links by which places are remembered.
fn links(site: &Site) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(site.state().join("places")).into_iter().flatten().flatten();
    let mut links: Vec<(String, PathBuf)> = entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read_link(entry.path()).expect("a link"))
        })
        .collect();
    links.sort();
    links
}

fn paths(site: &Site) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = links(site).into_iter().map(|(_, path)| path).collect();
    paths.sort();
    paths
}

/// A configuration with another store or another place.
fn in_place(site: &Site, store: Store, database: Option<&Path>) -> Value {
    let mut config = newest(site);
    config["ipam"]["store"] = json!(store.name());
    if let Some(database) = database {
        config["ipam"]["database"] = json!(database);
    }
    config
}

/// Wherever an attachment lies, name and type are enough to delete it; a link for each place that is not
/// looked into anyway is there for as long as something is.
#[test]
fn name_and_type_are_enough() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-strip");
        let site = site(plugin, &scratch);
        let other = scratch.path().join("elsewhere/other.db");
        let default = site.database();
        let dir = site.data().to_path_buf();
        let wheres = [
            ("default database", in_place(&site, Store::Sqlite, None), &default),
            ("other database", in_place(&site, Store::Sqlite, Some(&other)), &other),
            ("directory", in_place(&site, Store::Dir, None), &dir),
        ];
        for (what, config, place) in &wheres {
            let what = format!("{plugin:?}, {what}");
            let holdings = match *what == format!("{plugin:?}, other database") {
                true => site.holdings().in_database(&other),
                false => site.holdings(),
            };
            for id in ["c1", "c2"] {
                site.call_with("ADD", id, config).run().ok();
                assert_eq!(holdings.held_by(id, "eth0").len(), 1, "{what}");
            }
            // node-local looks into the default database anyway.
            let expected = plugin == Plugin::NodeLocal && **place == default;
            let known: Vec<PathBuf> = if expected { vec![] } else { vec![(*place).clone()] };
            assert_eq!(paths(&site), known, "{what}");
            for id in ["c1", "c2", "c2"] {
                site.call_with("DEL", id, &site.stripped_config()).run().ok();
                assert!(holdings.held_by(id, "eth0").is_empty(), "{what}: {id}");
            }
            assert_eq!(paths(&site), [] as [PathBuf; 0], "{what}: still remembered");
        }
    }
}

#[test]
fn links_are_named_after_the_network() {
    let scratch = Scratch::new("db-links");
    let site = site(Plugin::HostLocal, &scratch);
    site.call("ADD", "c1").run().ok();
    let links = links(&site);
    assert_eq!(links.len(), 1);
    let hash = links[0].0.strip_prefix("net@db-").expect("network and kind");
    assert!(hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{hash}");
    assert_eq!(links[0].1, site.database());
}

/// GC that empties a place makes it forgotten, as DEL does.
#[test]
fn gc_forgets_an_empty_database() {
    let scratch = Scratch::new("db-gc");
    let site = site(Plugin::HostLocal, &scratch);
    for id in ["c1", "c2"] {
        site.call("ADD", id).run().ok();
    }
    site.gc(&["c2"]).run().ok();
    assert_eq!(paths(&site), [site.database()]);
    site.gc(&[]).run().ok();
    assert_eq!(paths(&site), [] as [PathBuf; 0]);
}

/// A database that is gone for good (another boot, a removed volume) is forgotten when it is looked for.
#[test]
fn a_database_that_is_gone_is_forgotten() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-forget");
        let site = site(plugin, &scratch);
        let other = scratch.path().join("volume/other.db");
        let config = in_place(&site, Store::Sqlite, Some(&other));
        site.call_with("ADD", "c1", &config).run().ok();
        assert_eq!(paths(&site), [other]);
        fs::remove_dir_all(scratch.path().join("volume")).expect("a directory");
        site.call_with("DEL", "c1", &site.stripped_config()).run().ok();
        assert_eq!(paths(&site), [] as [PathBuf; 0], "{plugin:?}");
        assert!(!scratch.path().join("volume").exists());
    }
}

/// One place that cannot be looked into does not keep the others from being freed.
#[test]
fn a_broken_place_hides_no_other() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-hide");
        let site = site(plugin, &scratch);
        let other = scratch.path().join("volume/other.db");
        let config = in_place(&site, Store::Sqlite, Some(&other));
        site.call_with("ADD", "c-sqlite", &config).run().ok();
        // A directory that the network has used, too.
        site.directory().fill("10.7.0.9".parse().expect("an address"), 0);
        fs::write(site.directory().path().join("10.7.0.9"), reservation("c1", "eth0"))
            .expect("a reservation");
        let link = site.state().join("places").join(format!("{}@0", Site::NETWORK));
        std::os::unix::fs::symlink(site.data(), link).expect("a link");
        fs::write(&other, "broken").expect("a database");
        let del = site.call_with("DEL", "c1", &site.stripped_config()).run();
        assert_eq!(del.exit, Some(0), "{plugin:?}: {del:?}");
        assert!(site.directory().reservations().is_empty(), "{plugin:?}");
    }
}
