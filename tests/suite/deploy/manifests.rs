//! The manifests: what they name is there, and what is embedded is what the files say.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{Scratch, binary, finish};

use super::{can_render, documents, folder, kustomizations, list, of_kind, read, rendered, text};

fn containers(daemon_set: &Value) -> Vec<&Value> {
    let spec = &daemon_set["spec"]["template"]["spec"];
    list(&spec["initContainers"]).iter().chain(list(&spec["containers"])).collect()
}

/// What a volume is filled from: the kinds and names of ConfigMaps and Secrets, with the keys that are used.
fn sources(volume: &Value) -> Vec<(&'static str, &str, Vec<&str>)> {
    let mut found = Vec::new();
    for source in list(&volume["projected"]["sources"]) {
        for (key, kind) in [("configMap", "ConfigMap"), ("secret", "Secret")] {
            if !source[key].is_null() {
                let items = list(&source[key]["items"]).iter().map(|item| text(&item["key"]));
                found.push((kind, text(&source[key]["name"]), items.collect()));
            }
        }
    }
    found
}

#[test]
fn what_manifests_name_is_there() {
    if !can_render("what_manifests_name_is_there") {
        return;
    }
    let mut daemon_sets = 0;
    for name in kustomizations() {
        let all = rendered(&folder().join(&name));
        assert!(!all.is_empty(), "{name}");
        for daemon_set in of_kind(&all, "DaemonSet") {
            daemon_sets += 1;
            check(&name, &all, daemon_set);
        }
        for account in of_kind(&all, "ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{name}");
        }
        // Nothing speaks to the API.
        for kind in ["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"] {
            assert!(of_kind(&all, kind).is_empty(), "{name}: a {kind}");
        }
    }
    assert!(daemon_sets >= 7, "{daemon_sets}");
}

fn check(name: &str, all: &[Value], daemon_set: &Value) {
    let spec = &daemon_set["spec"]["template"]["spec"];
    let namespace = &daemon_set["metadata"]["namespace"];
    let labels = daemon_set["spec"]["template"]["metadata"]["labels"].as_object();
    let selector = daemon_set["spec"]["selector"]["matchLabels"].as_object().expect("a selector");
    for (key, value) in selector {
        assert_eq!(labels.and_then(|labels| labels.get(key)), Some(value), "{name}: {key}");
    }
    let account = of_kind(all, "ServiceAccount").into_iter().find(|account| {
        account["metadata"]["name"] == spec["serviceAccountName"]
            && account["metadata"]["namespace"] == *namespace
    });
    assert!(account.is_some(), "{name}: {}", spec["serviceAccountName"]);

    let mut mounted = BTreeSet::new();
    for container in containers(daemon_set) {
        let what = format!("{name}, {}", container["name"]);
        let image = text(&container["image"]);
        let version = env!("CARGO_PKG_VERSION");
        let ours = image == format!("registry.example.org/plat:{version}");
        let pause = image.starts_with("registry.k8s.io/pause:") && container["name"] == "pause";
        assert!(ours || pause, "{what}: {image}");
        check_rights(&what, container);
        let mut places = BTreeSet::new();
        for mount in list(&container["volumeMounts"]) {
            assert!(places.insert(text(&mount["mountPath"])), "{what}: {mount} stands there twice");
            mounted.insert(text(&mount["name"]));
        }
        assert!(container["resources"]["requests"]["memory"].is_string(), "{what}");
        assert!(container["resources"]["limits"]["memory"].is_string(), "{what}");
    }
    let volumes: BTreeSet<&str> =
        list(&spec["volumes"]).iter().map(|volume| text(&volume["name"])).collect();
    assert_eq!(mounted, volumes, "{name}: left: mounted; right: volumes");

    for volume in list(&spec["volumes"]) {
        for (kind, source, keys) in sources(volume) {
            // The one that the operator makes.
            if (kind, source) == ("Secret", "plat-etcd-client") {
                continue;
            }
            let there = of_kind(all, kind).into_iter().find(|one| {
                one["metadata"]["name"] == source && one["metadata"]["namespace"] == *namespace
            });
            let there = there.unwrap_or_else(|| panic!("{name}: no {kind} {source}"));
            for key in keys {
                assert!(there["data"][key].is_string(), "{name}: {source} has no {key}");
            }
        }
        let path = volume["hostPath"]["path"].as_str().unwrap_or("/");
        assert!(path.starts_with('/'), "{name}: {volume}");
    }
    for config in of_kind(all, "ConfigMap") {
        let used = list(&spec["volumes"])
            .iter()
            .flat_map(sources)
            .any(|(kind, source, _)| kind == "ConfigMap" && config["metadata"]["name"] == source);
        assert!(used, "{name}: nothing uses {}", config["metadata"]["name"]);
    }
}

/// No more rights than capabilities that are named, and no contradiction that an API server refuses.
fn check_rights(what: &str, container: &Value) {
    let rights = &container["securityContext"];
    assert!(rights["privileged"].is_null(), "{what}");
    assert_eq!(rights["readOnlyRootFilesystem"], true, "{what}");
    assert_eq!(rights["capabilities"]["drop"], serde_json::json!(["ALL"]), "{what}");
    let added = list(&rights["capabilities"]["add"]);
    let known = ["NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"];
    assert!(added.iter().all(|one| known.contains(&text(one))), "{what}: {added:?}");
    let escalation = added.iter().any(|one| one == "SYS_ADMIN");
    assert_eq!(rights["allowPrivilegeEscalation"], escalation, "{what}");
    for probe in ["livenessProbe", "readinessProbe"] {
        let wanted = container["name"] == "plat-agent";
        assert_eq!(!container[probe].is_null(), wanted, "{what}: {probe}");
    }
}

#[test]
fn a_component_more_is_whole_too() {
    if !can_render("a_component_more_is_whole_too") {
        return;
    }
    // As an operator does it: a folder beside the others.
    let scratch = Scratch::new("kustomize");
    copy(&folder(), &scratch.path().join("kubernetes"));
    let own = |components: &str, base: &str| {
        let text = format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [{base}]\n\
             components: [{components}]\nimages:\n  - {{name: registry.example.org/plat, newName: plat}}\n"
        );
        scratch.write("kubernetes/overlays/own/kustomization.yaml", text);
        rendered(&scratch.path().join("kubernetes/overlays/own"))
    };
    let tls = own("../../components/etcd-tls", "../install-only");
    let daemon_set = of_kind(&tls, "DaemonSet")[0];
    assert_eq!(containers(daemon_set)[0]["image"], format!("plat:{}", env!("CARGO_PKG_VERSION")));
    let files = &daemon_set["spec"]["template"]["spec"]["volumes"][0];
    let kinds: Vec<&str> = sources(files).into_iter().map(|(kind, ..)| kind).collect();
    assert_eq!(kinds, ["ConfigMap", "Secret"], "{files}");
    let key = list(&files["projected"]["sources"]).iter().flat_map(|source| {
        list(&source["secret"]["items"]).iter().filter(|item| item["key"] == "tls.key")
    });
    let modes: Vec<&Value> = key.map(|item| &item["mode"]).collect();
    assert_eq!(modes, [&serde_json::json!(0o400)]);
    // Where etcd-pool and plat-agent look for them.
    let file: Value = serde_json::from_str(&read(&folder().join("components/etcd-tls/etcd.json")))
        .expect("it is JSON");
    for (name, key) in [("ca.pem", "caCert"), ("node.pem", "cert"), ("node-key.pem", "key")] {
        assert_eq!(file[key], format!("/etc/plat/etcd/{name}"));
        let text = files.to_string();
        assert!(text.contains(&format!("\"etc/plat/etcd/{name}\"")), "{text}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    for entry in fs::read_dir(from).expect("a folder can be read").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a file can be copied");
        }
    }
}

/// Every YAML file below a folder.
fn yaml_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(yaml_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The network definitions of all files, by their files.
pub(super) fn networks() -> Vec<(PathBuf, Value)> {
    let mut found = Vec::new();
    for path in yaml_files(&folder()) {
        for document in documents(&read(&path)) {
            if document["kind"] == "NetworkAttachmentDefinition" {
                found.push((path.clone(), document));
            }
        }
    }
    found
}

#[test]
fn files_that_kustomizations_name_are_there() {
    let mut named = 0;
    for path in yaml_files(&folder()) {
        let all = documents(&read(&path));
        let dir = path.parent().expect("a file is in a directory");
        if path.file_name().is_none_or(|name| name != "kustomization.yaml") {
            continue;
        }
        for document in &all {
            let generated = ["configMapGenerator", "secretGenerator"]
                .iter()
                .flat_map(|key| list(&document[key]))
                .flat_map(|generator| list(&generator["files"]));
            let patches = list(&document["patches"]).iter().map(|patch| &patch["path"]);
            let listed = ["resources", "components"].iter().flat_map(|key| list(&document[key]));
            for file in listed.chain(generated).chain(patches.filter(|path| !path.is_null())) {
                named += 1;
                assert!(dir.join(text(file)).exists(), "{}: {file}", path.display());
            }
        }
    }
    assert!(named > 25, "{named}");
}

#[test]
fn network_definitions_are_fine() {
    let all = networks();
    let mut names = BTreeSet::new();
    for (path, network) in &all {
        let what = path.display();
        let config: Value = serde_json::from_str(text(&network["spec"]["config"]))
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(config["name"], network["metadata"]["name"], "{what}");
        if path.starts_with(folder().join("networks")) {
            assert!(names.insert(config["name"].to_string()), "{what}: twice");
        }
    }
    assert_eq!(names.len(), 5, "{names:?}");
    let kinds: BTreeSet<String> = all
        .iter()
        .filter_map(|(_, network)| serde_json::from_str(text(&network["spec"]["config"])).ok())
        .map(|config: Value| config["ipam"]["type"].as_str().unwrap_or_default().to_owned())
        .collect();
    let expected = ["chain", "etcd-pool", "host-local", "node-local"];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    let mut files: Vec<PathBuf> = all.into_iter().map(|(path, _)| path).collect();
    for overlay in ["kubenet", "registry", "vpp"] {
        files.push(folder().join("overlays").join(overlay).join("10-plat.conflist"));
    }
    files.push(folder().join("../nomad/pods.conflist"));
    files.push(folder().join("../podman/10-pods.conflist"));
    for file in files {
        let mut command = Command::new(binary("plat"));
        command.args(["conf", "validate"]).arg(&file).env("NODE_INDEX", "4");
        let outcome = finish(command.env_remove("PLAT_ETCD_CONFIG"), b"");
        assert_eq!(outcome.exit, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    }
}
