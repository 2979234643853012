//! The container image: built by podman from what is there, without a network, and run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use support::{
    Node, Outcome, Scratch, binary, finish, have, install_copy, is_root, program, skip_unless,
};

use super::{PLUGINS, assert_answers, package};

/// What makes Podman work on a node of the tests.
pub(crate) const CONTAINERS_CONF: &str = r#"
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "none"

[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"#;

/// A program of the development profile is not static: its libraries go along.
fn add_libraries(rootfs: &Path) {
    let list = finish(Command::new(program("ldd")).arg(binary("plat-cni")), b"");
    for library in list.stdout.split_whitespace().filter(|word| word.starts_with('/')) {
        let place = rootfs.join(library.trim_start_matches('/'));
        fs::create_dir_all(place.parent().expect("it lies somewhere")).expect("it can be made");
        install_copy(Path::new(library), &place);
    }
}

/// What the image is built of, below a scratch place: a Containerfile and `rootfs`.
pub(crate) fn lay_out(scratch: &Scratch) -> PathBuf {
    let context: PathBuf = scratch.path().join("image");
    let licences = scratch.write("licences", "all licences\n").to_string_lossy().into_owned();
    let dir = binary("plat-cni").parent().expect("it lies somewhere").to_path_buf();
    package("image.sh", &[&dir, &context], &[("THIRD_PARTY", &licences)]);
    add_libraries(&context.join("rootfs"));
    context
}

fn podman(node: &Node, words: &[&str]) -> Outcome {
    let podman =
        ["env", "CONTAINERS_CONF=/run/containers.conf", "podman", "--storage-driver", "vfs"];
    let outcome = node.run(&[&podman[..], words].concat());
    assert_eq!(outcome.exit, Some(0), "podman {words:?}: {}{}", outcome.stdout, outcome.stderr);
    outcome
}

#[test]
fn the_image_installs_and_becomes_the_agent() {
    let needs = [
        (is_root(), "root"),
        (have("podman"), "podman"),
        (have("runc"), "runc"),
        (have("conmon"), "conmon"),
    ];
    if !skip_unless("the_image_installs_and_becomes_the_agent", &needs) {
        return;
    }
    let scratch = Scratch::new("image");
    let node = Node::start("vm-009");
    node.write("/run/containers.conf", CONTAINERS_CONF);
    let context = lay_out(&scratch);
    let context = context.to_string_lossy();
    podman(&node, &["build", "--isolation", "chroot", "--tag", "localhost/plat-test", &context]);

    let routes = json!({"routes": [{"dst": "10.1.2.0/24", "gw": "127.9.9.9", "node": "vm-002"}]});
    let config = json!({
        "index": 9,
        "routes": {
            "sources": [{"type": "file", "path": "/etc/plat/routes.json"}],
            "sinks": [{"type": "kernel"}],
        },
    });
    node.write("/run/plat-etc/routes.json", routes.to_string());
    node.write("/run/plat-etc/agent.json", config.to_string());
    for dir in ["/run/host/opt/cni/bin", "/run/host/var/lib/plat"] {
        fs::create_dir_all(node.path(dir)).expect("a directory of the node can be made");
    }
    let cgroup = node.cgroup();
    let options = ["run", "--rm", "--network", "none", "--cgroup-parent", &cgroup];
    let mounts = ["-v", "/run/host:/host", "-v", "/run/plat-etc:/etc/plat"];
    let image = ["localhost/plat-test", "--once", "--dry-run", "--json"];
    let outcome = node.run(
        &[
            &["env", "CONTAINERS_CONF=/run/containers.conf", "podman", "--storage-driver", "vfs"],
            &options[..],
            &mounts,
            &image,
        ]
        .concat(),
    );
    // The agent has looked at the routes, and says what it would do.
    assert!(outcome.stdout.contains("10.1.2.0/24"), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stdout.contains("installed"), "{}", outcome.stdout);
    for name in PLUGINS {
        assert_answers(&node.path("/run/host/opt/cni/bin").join(name));
    }
    let manifest = fs::read_to_string(node.path("/run/host/var/lib/plat/install.json"));
    assert!(manifest.is_ok_and(|text| text.contains("\"/opt/cni/bin\"")));

    // As an init container would: it finds everything there.
    let plat = ["--entrypoint", "/bin/plat", "localhost/plat-test", "install", "--root", "/host"];
    let outcome = podman(&node, &[&options[..], &mounts, &plat].concat());
    assert!(outcome.stdout.contains("already"), "{}", outcome.stdout);
}
