//! In which order addresses are handed out, and for how long one rests.

use std::time::Duration;

use serde_json::{Value, json};
use support::{Outcome, Scratch, Site, Store, wait_until};

use super::{PLUGINS, for_pod, newest, reboot, site};

/// The configuration with one more key of the ipam section.
fn with(site: &Site, keys: &[(&str, Value)]) -> Value {
    let mut config = newest(site);
    for (key, value) in keys {
        config["ipam"][key] = value.clone();
    }
    config
}

fn add(site: &Site, id: &str, config: &Value) -> Outcome {
    site.call_with("ADD", id, config).run()
}

fn first(outcome: &Outcome) -> String {
    outcome.addresses().swap_remove(0)
}

#[test]
fn next_and_lowest() {
    for plugin in PLUGINS {
        for store in [Store::Dir, Store::Sqlite] {
            for (strategy, expected) in
                [(None, "10.7.0.5"), (Some("next"), "10.7.0.5"), (Some("lowest"), "10.7.0.2")]
            {
                let scratch = Scratch::new("db-order");
                let site = site(plugin, &scratch).in_store(store).dual_stack(true);
                let keys = strategy.map(|s| ("strategy", json!(s)));
                let config = with(&site, keys.as_slice());
                for (n, id) in ["c1", "c2", "c3"].iter().enumerate() {
                    assert_eq!(first(&add(&site, id, &config)), format!("10.7.0.{}", n + 2));
                }
                site.call_with("DEL", "c1", &config).run().ok();
                let got = first(&add(&site, "c4", &config));
                assert_eq!(got, expected, "{plugin:?}, {store:?}, {strategy:?}");
            }
        }
    }
}

fn sticky(site: &Site, id: &str, pod: &str) -> String {
    let config = with(site, &[("strategy", json!("sticky"))]);
    first(&for_pod(site, "ADD", id, pod).config(&config).run())
}

#[test]
fn sticky_addresses() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-sticky");
        let site = site(plugin, &scratch).dual_stack(true);
        let what = format!("{plugin:?}");
        assert_eq!(sticky(&site, "c1", "web-0"), "10.7.0.2");
        assert_eq!(sticky(&site, "c2", "web-1"), "10.7.0.3");
        site.call("DEL", "c1").run().ok();
        // Another pod gets the next one, though that of the first is free.
        assert_eq!(sticky(&site, "c3", "web-2"), "10.7.0.4", "{what}");
        // The first comes back in another container.
        assert_eq!(sticky(&site, "c4", "web-0"), "10.7.0.2", "{what}");
        // Without a pod, or for another pod of the name in another namespace, it is the next one.
        let config = with(&site, &[("strategy", json!("sticky"))]);
        assert_eq!(first(&add(&site, "c5", &config)), "10.7.0.5", "{what}");
        // An address that another one has meanwhile is not taken away.
        site.call("DEL", "c4").run().ok();
        let asking = site.call_with("ADD", "thief", &config);
        let asking = asking.env("CNI_ARGS", "IgnoreUnknown=1;IP=10.7.0.2").run();
        assert_eq!(first(&asking), "10.7.0.2");
        assert_eq!(sticky(&site, "c6", "web-0"), "10.7.0.6", "{what}");

        // The memory outlives the boot, the allocations do not.
        reboot(&site);
        assert_eq!(sticky(&site, "d1", "web-1"), "10.7.0.3", "{what}");
        assert_eq!(sticky(&site, "d2", "web-0"), "10.7.0.6", "{what}: its last one");
        assert_eq!(site.holdings().reservations().len(), 4, "{what}");
        assert_eq!(site.holdings().faults(), [] as [String; 0]);
    }
}

/// The memory is a hint: broken, it is no reason to fail.
#[test]
fn a_broken_memory_of_sticky_addresses() {
    for plugin in PLUGINS {
        for content in ["", "broken", "SQLite format 3\0"] {
            let scratch = Scratch::new("db-hint");
            let site = site(plugin, &scratch);
            sticky(&site, "c1", "web-0");
            site.call("DEL", "c1").run().ok();
            std::fs::write(site.state().join("sticky.db"), content).expect("a file");
            let config = with(&site, &[("strategy", json!("sticky"))]);
            let outcome = for_pod(&site, "ADD", "c2", "web-0").config(&config).run();
            assert_eq!(outcome.addresses().len(), 1, "{plugin:?}, {content:?}: {outcome:?}");
        }
    }
}

/// The time in a text such as `... 1.9 s ...`.
fn seconds_in(text: &str) -> Option<f64> {
    text.split_whitespace().zip(text.split_whitespace().skip(1)).find_map(|(number, unit)| {
        let unit = unit.trim_matches(|c: char| !c.is_alphanumeric());
        number.parse().ok().filter(|_| unit == "s" || unit.starts_with("second"))
    })
}

#[test]
fn addresses_rest() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-rest");
        // One address for pods.
        let site = site(plugin, &scratch).with_prefix(30);
        let config = with(&site, &[("cooldown", json!("1h"))]);
        let shortly = with(&site, &[("cooldown", json!("1s"))]);
        assert_eq!(first(&add(&site, "c1", &config)), "10.7.0.2");
        site.call_with("DEL", "c1", &config).run().ok();
        for command in ["ADD", "STATUS"] {
            let outcome = site.call_with(command, "c2", &config).run();
            let (code, message) = outcome.error();
            assert_eq!(code, if command == "ADD" { 11 } else { 50 }, "{message}");
            let text = format!("{message} {}", outcome.json()["details"]);
            assert!(text.contains("cooldown"), "{command}: {text}");
            if command == "ADD" {
                let rest = seconds_in(&text);
                assert!(rest.is_some_and(|rest| rest > 3000.0 && rest <= 3600.0), "{text}");
            }
        }
        assert!(site.holdings().reservations().is_empty());
        // Asked for, it rests as well.
        let asking = site.call_with("ADD", "c2", &config).env("CNI_ARGS", "IP=10.7.0.2").run();
        assert_eq!(asking.error().0, 11, "{asking:?}");
        // However long it rests is what the configuration says that asks for it.
        wait_until("the address has rested", || add(&site, "c2", &shortly).exit == Some(0));
        assert_eq!(site.holdings().held_by("c2", "eth0").len(), 1);
        // GC lets rest, too; a configuration without rest takes it at once.
        let mut gc = config.clone();
        gc["cni.dev/valid-attachments"] = json!([]);
        site.call_with("GC", "", &gc).run().ok();
        assert_eq!(add(&site, "c3", &config).error().0, 11);
        let at_once = with(&site, &[]);
        assert_eq!(first(&add(&site, "c3", &at_once)), "10.7.0.2");
        assert_eq!(site.holdings().faults(), [] as [String; 0]);
    }
}

/// Others first, and only when nothing else is left the wait.
#[test]
fn what_rests_comes_last() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-last");
        let site = site(plugin, &scratch).with_prefix(29);
        let keys = [("cooldown", json!("1h")), ("strategy", json!("lowest"))];
        let config = with(&site, &keys);
        for n in 2..7 {
            assert_eq!(first(&add(&site, "c1", &config)), format!("10.7.0.{n}"), "{plugin:?}");
            site.call_with("DEL", "c1", &config).run().ok();
        }
        let (code, message) = add(&site, "c1", &config).error();
        assert!(code == 11, "{message}");
        assert_eq!(site.holdings().states()[0].cooling.len(), 5);
        assert!(site.holdings().states()[0].cooling.iter().all(|cooling| {
            cooling.remaining > Duration::from_secs(3500)
                && cooling.remaining <= Duration::from_secs(3600)
        }));
    }
}

/// A pod's own address need not rest for it.
#[test]
fn a_sticky_address_does_not_rest() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-own");
        let site = site(plugin, &scratch).with_prefix(30);
        let config = with(&site, &[("cooldown", json!("1h")), ("strategy", json!("sticky"))]);
        let call = |id: &str, pod: &str| for_pod(&site, "ADD", id, pod).config(&config).run();
        assert_eq!(first(&call("c1", "web-0")), "10.7.0.2");
        site.call_with("DEL", "c1", &config).run().ok();
        assert_eq!(call("c2", "web-1").error().0, 11, "{plugin:?}: another pod");
        assert_eq!(first(&call("c3", "web-0")), "10.7.0.2", "{plugin:?}: its own");
        assert_eq!(site.holdings().faults(), [] as [String; 0]);
        // After a reboot nothing rests: nobody can still talk to the former pod.
        site.call_with("DEL", "c3", &config).run().ok();
        reboot(&site);
        assert_eq!(first(&call("d1", "web-1")), "10.7.0.2", "{plugin:?}: another boot");
    }
}

/// Others' packets still go to who had it since.
#[test]
fn a_sticky_address_rests_after_another_pod() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-since");
        let site = site(plugin, &scratch).with_prefix(30);
        assert_eq!(sticky(&site, "c1", "web-0"), "10.7.0.2");
        site.call_with("DEL", "c1", &with(&site, &[])).run().ok();
        let config = with(&site, &[("cooldown", json!("1h"))]);
        assert_eq!(first(&add(&site, "c2", &config)), "10.7.0.2", "{plugin:?}: nobody's pod");
        site.call_with("DEL", "c2", &config).run().ok();
        let config = with(&site, &[("cooldown", json!("1h")), ("strategy", json!("sticky"))]);
        let outcome = for_pod(&site, "ADD", "c3", "web-0").config(&config).run();
        assert_eq!(outcome.error().0, 11, "{plugin:?}");
    }
}

#[test]
fn the_directory_cannot() {
    for plugin in PLUGINS {
        for (key, value) in
            [("strategy", "sticky"), ("cooldown", "30s"), ("database", "/nowhere/plat.db")]
        {
            let scratch = Scratch::new("db-cannot");
            let site = site(plugin, &scratch).in_store(Store::Dir);
            let config = with(&site, &[(key, json!(value))]);
            let outcome = add(&site, "c1", &config);
            let (code, message) = outcome.error();
            assert!(code == 7 && message.contains(key), "{plugin:?}: {message}");
            let details = outcome.json()["details"].to_string();
            assert!(details.contains("sqlite"), "{plugin:?}: {details}");
            assert_eq!(site.call_with("STATUS", "", &config).run().error().0, 50);
            site.call_with("DEL", "c1", &config).run().ok();
            assert!(!site.data().exists(), "{plugin:?}: something was made");
        }
    }
}

/// An exclusion counts more than a request and than a memory.
#[test]
fn exclusions_win() {
    for plugin in PLUGINS {
        let scratch = Scratch::new("db-excluded");
        let site = site(plugin, &scratch);
        assert_eq!(sticky(&site, "c1", "web-0"), "10.7.0.2");
        site.call("DEL", "c1").run().ok();
        let keys = [("strategy", json!("sticky")), ("exclude", json!("10.7.0.2-10.7.0.9"))];
        let config = with(&site, &keys);
        let asking = site.call_with("ADD", "c2", &config).env("CNI_ARGS", "IP=10.7.0.5").run();
        let (code, message) = asking.error();
        assert!(code == 7 && message.contains("10.7.0.5"), "{plugin:?}: {code} {message}");
        let outcome = for_pod(&site, "ADD", "c3", "web-0").config(&config).run();
        assert_eq!(first(&outcome), "10.7.0.10", "{plugin:?}");
    }
}
