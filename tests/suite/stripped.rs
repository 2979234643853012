//! DEL without configuration: some runtimes lose it, and send the network's name and the plugin's type.
//!
//! What was reserved elsewhere than in the default `dataDir` is found by a memory of places:
//! `PLAT_STATE_DIR/places` holds a symbolic link for each, `<network>@<hash>`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{
    Call, MountNamespace, NetworkDir, Plugin, Scratch, Workbench, binary, is_root, reference,
    skip_unless,
};

const PLUGINS: [Plugin; 2] = [Plugin::HostLocal, Plugin::NodeLocal];

fn bench(plugin: Plugin) -> Workbench {
    match plugin {
        Plugin::HostLocal => Workbench::new(plugin, "strip"),
        Plugin::NodeLocal => Workbench::on_node(2, "strip"),
    }
}

/// A configuration with two addresses for each attachment, and this `dataDir`.
fn whole(bench: &Workbench, data_dir: impl AsRef<Path>) -> Value {
    let ranges = json!([[{"subnet": "10.1.2.0/24"}], [{"subnet": "fd00::/64"}]]);
    bench.config(json!({"ranges": ranges, "store": "dir", "dataDir": data_dir.as_ref()}))
}

/// All that is left of a configuration.
fn stripped(plugin: Plugin) -> Value {
    json!({"cniVersion": "1.1.0", "name": Workbench::NETWORK, "ipam": {"type": plugin.name()}})
}

/// What is left of it under other circumstances; DEL needs none of what differs.
fn forms(plugin: Plugin) -> Vec<Value> {
    let ipam = json!({"type": plugin.name()});
    let name = Workbench::NETWORK;
    vec![
        stripped(plugin),
        json!({"cniVersion": "1.0.0", "name": name, "type": "bridge", "ipam": ipam, "prevResult": {
            "cniVersion": "1.0.0",
            "ips": [{"address": "10.1.2.2/24", "gateway": "10.1.2.1"}, {"address": "fd00::2/64"}],
        }}),
        json!({"name": name, "ipam": ipam}),
        json!({"cniVersion": "0.3.1", "name": name, "ipam": {}}),
        json!({"cniVersion": "0.4.0", "name": name, "ipam": null}),
        json!({"cniVersion": "1.1.0", "name": name}),
        json!({"cniVersion": "1.1.0", "name": name, "ipam": {"type": plugin.name(), "ranges": [], "dataDir": "", "cfg": "../x"}}),
    ]
}

/// A DEL as it comes then: no namespace, whatever arguments.
fn del(bench: &Workbench, id: &str, config: &Value) -> Call {
    bench.call("DEL", config).id(id).env("CNI_NETNS", "").env("CNI_ARGS", "K8S_POD_NAME=p;broken")
}

fn held(data_dir: &Path) -> usize {
    NetworkDir::new(data_dir, Workbench::NETWORK).reservations().len()
}

fn held_by(data_dir: &Path, id: &str) -> usize {
    NetworkDir::new(data_dir, Workbench::NETWORK).held_by(id, "eth0").len()
}

#[test]
fn name_and_type_are_enough() {
    for plugin in PLUGINS {
        for form in forms(plugin) {
            let bench = bench(plugin);
            let config = whole(&bench, bench.data());
            for id in ["c1", "c2"] {
                assert_eq!(bench.add(id, &config).len(), 2);
            }
            for _ in 0..2 {
                del(&bench, "c1", &form).run().ok();
                assert_eq!(held_by(&bench.data(), "c1"), 0, "{form}");
                assert_eq!(held_by(&bench.data(), "c2"), 2, "{form}");
            }
            // Its own address, another one's interface.
            del(&bench, "c2", &form).env("CNI_IFNAME", "net1").run().ok();
            assert_eq!(held(&bench.data()), 2, "{form}");
            del(&bench, "c2", &form).run().ok();
            assert_eq!(held(&bench.data()), 0, "{form}");
        }
    }
}

/// Other networks with the same containers, in the same places, keep what they have.
#[test]
fn only_this_network() {
    for plugin in PLUGINS {
        let bench = bench(plugin);
        let names = ["net", "net2", "net-2", "ne", "other"];
        for name in names {
            let mut config = whole(&bench, bench.data());
            config["name"] = json!(name);
            bench.add("c1", &config);
        }
        assert_eq!(bench.places().len(), names.len());
        del(&bench, "c1", &stripped(plugin)).run().ok();
        for name in names {
            let left = if name == "net" { 0 } else { 2 };
            assert_eq!(NetworkDir::new(&bench.data(), name).reservations().len(), left, "{name}");
        }
        assert_eq!(bench.places().len(), names.len() - 1);
    }
}

#[test]
fn places_are_links_named_after_the_network() {
    for plugin in PLUGINS {
        let bench = bench(plugin);
        let [a, b] = ["a", "b"].map(|name| bench.scratch().path().join(name));
        for (id, place) in [("c1", &a), ("c2", &a), ("c3", &b)] {
            bench.add(id, &whole(&bench, place));
        }
        assert_eq!(bench.places(), [a.clone(), b.clone()]);
        for entry in fs::read_dir(bench.state().join("places")).expect("places are remembered") {
            let name = entry.expect("an entry").file_name().into_string().expect("a plain name");
            let (network, hash) = name.split_once('@').expect("a network and a hash");
            assert_eq!(network, Workbench::NETWORK);
            assert!(hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
        }
        // As long as one attachment is left the place is known.
        del(&bench, "c1", &stripped(plugin)).run().ok();
        assert_eq!(bench.places(), [a, b.clone()]);
        del(&bench, "c2", &stripped(plugin)).run().ok();
        assert_eq!(bench.places(), [b]);
        bench
            .call("GC", &bench.gc_config(&whole(&bench, bench.scratch().path().join("b")), &[]))
            .run()
            .ok();
        assert_eq!(bench.places(), [] as [PathBuf; 0]);
    }
}

#[test]
fn two_places_for_one_network() {
    for plugin in PLUGINS {
        let bench = bench(plugin);
        let [a, b] = ["a", "b"].map(|name| bench.scratch().path().join(name));
        // One attachment in each, and one that is in both: its network was changed in between.
        for (id, place) in [("c1", &a), ("c2", &b), ("c3", &a), ("c3", &b)] {
            bench.add(id, &whole(&bench, place));
        }
        del(&bench, "c2", &stripped(plugin)).run().ok();
        assert_eq!((held(&a), held(&b)), (4, 2));
        del(&bench, "c3", &stripped(plugin)).run().ok();
        assert_eq!((held(&a), held(&b)), (2, 0));
        assert_eq!(bench.places(), std::slice::from_ref(&a));
        del(&bench, "c1", &stripped(plugin)).run().ok();
        assert_eq!((held(&a), held(&b)), (0, 0));
        assert_eq!(bench.places(), [] as [PathBuf; 0]);
    }
}

/// A configuration that names another place than the one of the ADD.
#[test]
fn a_place_that_was_changed() {
    for plugin in PLUGINS {
        let bench = bench(plugin);
        let [old, new] = ["old", "new"].map(|name| bench.scratch().path().join(name));
        bench.add("c1", &whole(&bench, &old));
        del(&bench, "c1", &whole(&bench, &new)).run().ok();
        assert_eq!(held(&old), 0);
        assert!(!new.exists(), "looking makes nothing");
    }
}

#[test]
fn spellings_of_a_place() {
    for plugin in PLUGINS {
        for spelling in [
            "data",
            "./data",
            "data/",
            "sub/../data",
            "DIR/data/",
            "DIR//data",
            "DIR/./data/.",
            "DIR/x/../data",
        ] {
            let bench = bench(plugin);
            let top = bench.scratch().path().to_path_buf();
            fs::create_dir(top.join("elsewhere")).expect("a scratch directory can be made");
            let spelled = spelling.replace("DIR", &top.display().to_string());
            let mut config = whole(&bench, &spelled);
            config["ipam"]["dataDir"] = json!(spelled);
            let added = bench.call("ADD", &config).directory(&top).run();
            assert_eq!(added.addresses().len(), 2);
            let place = top.join("data");
            assert_eq!(held(&place), 2, "{spelled}");
            assert_eq!(bench.places(), std::slice::from_ref(&place), "{spelled}");
            // The DEL comes from a process with another working directory.
            del(&bench, "c1", &stripped(plugin)).directory(&top.join("elsewhere")).run().ok();
            assert_eq!(held(&place), 0, "{spelled}");
            assert_eq!(bench.places(), [] as [PathBuf; 0], "{spelled}");
            assert!(!top.join("elsewhere/data").exists());
        }
    }
}

#[test]
fn places_behind_links() {
    for plugin in PLUGINS {
        let bench = bench(plugin);
        let top = bench.scratch().path().to_path_buf();
        let (real, link, parent) = (top.join("real"), top.join("link"), top.join("parent"));
        fs::create_dir_all(real.join("sub")).expect("a scratch directory can be made");
        symlink(&real, &link).expect("a link can be made");
        symlink("real", &parent).expect("a link can be made");
        for place in [link.clone(), parent.join("sub"), link.join("sub/deeper")] {
            let config = whole(&bench, &place);
            bench.add("c1", &config);
            assert_eq!(held(&place), 2);
            del(&bench, "c1", &stripped(plugin)).run().ok();
            assert_eq!(held(&place), 0);
            assert_eq!(bench.places(), [] as [PathBuf; 0]);
            assert!(link.is_symlink() && parent.is_symlink());
        }
    }
}

#[test]
fn a_place_that_was_removed() {
    for plugin in PLUGINS {
        for what in ["dataDir", "network"] {
            let bench = bench(plugin);
            let other = bench.scratch().path().join("other");
            bench.add("c1", &whole(&bench, bench.data()));
            bench.add("c1", &whole(&bench, &other));
            let removed = match what {
                "dataDir" => bench.data(),
                _ => bench.network().directory().path().to_path_buf(),
            };
            fs::remove_dir_all(&removed).expect("a directory can be removed");
            for _ in 0..2 {
                del(&bench, "c1", &stripped(plugin)).run().ok();
                assert_eq!(held(&other), 0, "{what}");
                assert_eq!(bench.places(), [] as [PathBuf; 0], "{what}");
                assert!(!removed.exists(), "{what} was made again");
            }
        }
    }
}

/// A place that cannot be looked at may hold addresses: an error names it, and the others are freed.
#[test]
fn a_place_that_cannot_be_looked_at() {
    for plugin in PLUGINS {
        let bench = bench(plugin);
        let (bad, good) = (bench.scratch().path().join("bad"), bench.scratch().path().join("good"));
        for place in [&bad, &good] {
            bench.add("c1", &whole(&bench, place));
        }
        let aside = bench.scratch().path().join("aside");
        fs::rename(&bad, &aside).expect("a directory can be moved");
        symlink("bad", &bad).expect("a link can be made");
        let (code, message) = del(&bench, "c1", &stripped(plugin)).run().error();
        assert!(code == 5 && message.contains(&bad.display().to_string()), "{code} {message}");
        assert_eq!(held(&good), 0);
        assert_eq!(bench.places(), std::slice::from_ref(&bad));

        fs::remove_file(&bad).expect("a link can be removed");
        fs::rename(&aside, &bad).expect("a directory can be moved");
        del(&bench, "c1", &stripped(plugin)).run().ok();
        assert_eq!(held(&bad), 0);
        assert_eq!(bench.places(), [] as [PathBuf; 0]);
    }
}

/// What lies between the places and is none is left alone.
#[test]
fn strangers_among_the_places() {
    for plugin in PLUGINS {
        let bench = bench(plugin);
        bench.add("c1", &whole(&bench, bench.data()));
        let places = bench.state().join("places");
        fs::write(places.join("net@file"), "").expect("a file can be written");
        fs::create_dir(places.join("net@dir")).expect("a directory can be made");
        fs::write(places.join("README"), "").expect("a file can be written");
        symlink("/nonexistent", places.join("net@0000000000000000")).expect("a link can be made");
        del(&bench, "c1", &stripped(plugin)).run().ok();
        assert_eq!(held(&bench.data()), 0);
        for stranger in ["net@file", "net@dir", "README"] {
            assert!(places.join(stranger).exists(), "{stranger}");
        }
    }
}

/// The place is remembered before anything is reserved in it; where it cannot be, nothing is reserved.
#[test]
fn a_place_that_cannot_be_remembered() {
    for plugin in PLUGINS {
        for obstacle in ["state", "places"] {
            let bench = bench(plugin);
            let path =
                if obstacle == "state" { bench.state() } else { bench.state().join("places") };
            fs::create_dir_all(path.parent().expect("a parent"))
                .expect("a scratch directory can be made");
            fs::write(&path, "").expect("a scratch file can be written");
            let config = whole(&bench, bench.data());
            for _ in 0..2 {
                let (code, message) = bench.call("ADD", &config).run().error();
                assert!(
                    code == 5 && message.contains(&bench.state().display().to_string()),
                    "{code} {message}"
                );
                assert_eq!(held(&bench.data()), 0, "{obstacle}");
                assert_eq!(
                    bench.network().directory().strangers(),
                    [] as [String; 0],
                    "{obstacle}"
                );
            }
            // Later it can.
            fs::remove_file(&path).expect("a scratch file can be removed");
            assert_eq!(bench.add("c1", &config), ["10.1.2.2", "fd00::2"]);
            del(&bench, "c1", &stripped(plugin)).run().ok();
            assert_eq!(held(&bench.data()), 0);
        }
    }
}

/// An ADD that gets no address leaves no place behind that would be looked at for ever.
#[test]
fn a_refused_add_is_forgotten() {
    for plugin in PLUGINS {
        let bench = bench(plugin);
        let config = whole(&bench, bench.data());
        let refused = bench.call("ADD", &config).env("CNI_ARGS", "IP=10.9.9.9").run();
        assert_eq!(refused.error().0, 7);
        assert_eq!(held(&bench.data()), 0);
        del(&bench, "c1", &stripped(plugin)).run().ok();
        assert_eq!(bench.places(), [] as [PathBuf; 0]);
    }
}

#[test]
fn deleting_nothing_makes_nothing() {
    for plugin in PLUGINS {
        let bench = bench(plugin);
        for config in [stripped(plugin), whole(&bench, bench.data())] {
            del(&bench, "c1", &config).run().ok();
            for place in [bench.data(), bench.state(), bench.run_dir()] {
                assert!(!place.exists(), "{} was made", place.display());
            }
        }
        // Directories that are there stay as they are.
        fs::create_dir_all(bench.network().directory().path())
            .expect("a scratch directory can be made");
        fs::create_dir_all(bench.state().join("places")).expect("a scratch directory can be made");
        let before = bench.snapshot();
        for config in [stripped(plugin), whole(&bench, bench.data())] {
            del(&bench, "c1", &config).run().ok();
            assert_eq!(before.changes(&bench.snapshot()), [] as [String; 0]);
        }
        assert!(!bench.run_dir().exists());
    }
}

/// What the reference has reserved is freed where it can be found: in the default place, or in a place
/// that this network is known to use.
#[test]
fn reservations_of_the_reference() {
    let Some(reference) = reference("host-local") else {
        let _ =
            skip_unless("reservations_of_the_reference", &[(false, "containernetworking-plugins")]);
        return;
    };
    for plugin in PLUGINS {
        let bench = bench(plugin);
        let ours = whole(&bench, bench.data());
        let mut theirs = ours.clone();
        theirs["cniVersion"] = json!("1.0.0");
        theirs["ipam"]["type"] = json!("host-local");
        bench.add("c1", &ours);
        assert_eq!(bench.call_of(&reference, "ADD", &theirs).id("c2").run().addresses().len(), 2);
        del(&bench, "c2", &stripped(plugin)).run().ok();
        assert_eq!(held_by(&bench.data(), "c2"), 0);
        assert_eq!(held_by(&bench.data(), "c1"), 2);
    }
}

/// A machine's own `/var/lib` and `/run`, which nobody else sees.
struct Machine {
    namespace: MountNamespace,
    bench: Workbench,
    _scratch: Scratch,
}

impl Machine {
    fn new(plugin: Plugin) -> Self {
        let namespace = MountNamespace::new();
        for dir in ["/var/lib", "/run"] {
            namespace.mount_tmpfs(Path::new(dir), "mode=755");
        }
        let scratch = Scratch::new("strip");
        let script = scratch.join(plugin.name());
        let mut bench = bench(plugin);
        bench.use_binary(namespace.wrapper(&binary(plugin.name()), &script));
        Self { namespace, bench, _scratch: scratch }
    }

    /// A call with the default places for state.
    fn call(&self, command: &str, id: &str, config: &Value) -> Call {
        let call = self.bench.call(command, config).id(id);
        call.without("PLAT_STATE_DIR").without("PLAT_RUN_DIR")
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.namespace.path(Path::new(inside))
    }

    /// A configuration that names no place.
    fn whole(&self) -> Value {
        let mut config = whole(&self.bench, "");
        config["ipam"].as_object_mut().expect("a section").remove("dataDir");
        config
    }

    fn default_place(&self) -> PathBuf {
        self.path("/var/lib/cni/networks")
    }
}

fn can_mount(test: &str) -> bool {
    skip_unless(test, &[(is_root(), "root, to make mount namespaces")])
}

#[test]
fn the_default_place_needs_no_memory() {
    if !can_mount("the_default_place_needs_no_memory") {
        return;
    }
    for plugin in PLUGINS {
        let machine = Machine::new(plugin);
        // A state directory that cannot be used is none of its business.
        fs::write(machine.path("/var/lib/plat"), "").expect("a file can be written");
        for (n, form) in forms(plugin).iter().enumerate() {
            let id = format!("c{n}");
            assert_eq!(machine.call("ADD", &id, &machine.whole()).run().addresses().len(), 2);
            machine.call("DEL", &id, form).env("CNI_NETNS", "").run().ok();
            assert_eq!(held(&machine.default_place()), 0, "{form}");
        }
    }
}

#[test]
fn the_default_place_written_out() {
    if !can_mount("the_default_place_written_out") {
        return;
    }
    for plugin in PLUGINS {
        for spelling in
            ["/var/lib/cni/networks", "/var/lib/cni/networks/", "/var//lib/./cni/networks", ""]
        {
            let machine = Machine::new(plugin);
            let mut config = machine.whole();
            config["ipam"]["dataDir"] = json!(spelling);
            machine.call("ADD", "c1", &config).run().ok();
            assert_eq!(held(&machine.default_place()), 2, "{spelling}");
            assert!(!machine.path("/var/lib/plat/places").exists(), "{spelling}");
            machine.call("DEL", "c1", &stripped(plugin)).run().ok();
            assert_eq!(held(&machine.default_place()), 0, "{spelling}");
        }
    }
}

#[test]
fn the_default_place_beside_others() {
    if !can_mount("the_default_place_beside_others") {
        return;
    }
    for plugin in PLUGINS {
        let machine = Machine::new(plugin);
        let mut config = machine.whole();
        machine.call("ADD", "c1", &config).run().ok();
        config["ipam"]["dataDir"] = json!("/run/ipam");
        machine.call("ADD", "c1", &config).run().ok();
        let other = machine.path("/run/ipam");
        assert_eq!((held(&machine.default_place()), held(&other)), (2, 2));
        let places = machine.path("/var/lib/plat/places");
        assert_eq!(fs::read_dir(&places).expect("places").count(), 1);
        machine.call("DEL", "c1", &stripped(plugin)).run().ok();
        assert_eq!((held(&machine.default_place()), held(&other)), (0, 0));
        assert_eq!(fs::read_dir(&places).expect("places").count(), 0);
    }
}

/// Without the memory only the default place is looked at; who knows the place can still delete.
#[test]
fn a_memory_that_was_lost() {
    if !can_mount("a_memory_that_was_lost") {
        return;
    }
    for plugin in PLUGINS {
        let machine = Machine::new(plugin);
        let mut config = machine.whole();
        machine.call("ADD", "c1", &config).run().ok();
        config["ipam"]["dataDir"] = json!("/run/ipam");
        machine.call("ADD", "c1", &config).run().ok();
        fs::remove_dir_all(machine.path("/var/lib/plat")).expect("a directory can be removed");
        let other = machine.path("/run/ipam");
        machine.call("DEL", "c1", &stripped(plugin)).run().ok();
        assert_eq!((held(&machine.default_place()), held(&other)), (0, 2));
        machine.call("DEL", "c1", &config).run().ok();
        assert_eq!(held(&other), 0);
        // The next ADD remembers it again.
        machine.call("ADD", "c2", &config).run().ok();
        machine.call("DEL", "c2", &stripped(plugin)).run().ok();
        assert_eq!(held(&other), 0);
    }
}

#[test]
fn a_fresh_machine_stays_fresh() {
    if !can_mount("a_fresh_machine_stays_fresh") {
        return;
    }
    for plugin in PLUGINS {
        let machine = Machine::new(plugin);
        for config in [stripped(plugin), machine.whole()] {
            machine.call("DEL", "c1", &config).run().ok();
        }
        for dir in ["/var/lib", "/run"] {
            assert_eq!(fs::read_dir(machine.path(dir)).expect("a directory").count(), 0, "{dir}");
        }
    }
}
