//! A root file system and an image for containers, made on the spot: no registry is needed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::finish;
use crate::program::program;

/// The media types of an OCI image.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Makes a root file system at `root` with busybox, which has to be the static one, and the few of
/// its programs that tests use.
pub fn make_root(root: &Path) {
    for directory in ["bin", "dev", "etc", "proc", "run", "sys", "tmp", "var"] {
        fs::create_dir_all(root.join(directory)).expect("a directory can be made");
    }
    fs::copy(program("busybox"), root.join("bin/busybox")).expect("busybox can be copied");
    for applet in ["cat", "ip", "ping", "sh", "sleep"] {
        symlink("busybox", root.join("bin").join(applet)).expect("a link can be made");
    }
}

/// Makes an image archive (OCI layout, one layer) named `name` of the root file system at `root`, and
/// tells where it is: below `dir`, which is made.
pub fn make_image(dir: &Path, name: &str, root: &Path, command: &[&str]) -> PathBuf {
    let layout = dir.join("layout");
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a directory can be made");
    let layer = dir.join("layer.tar");
    tar(root, &layer);
    let layer = add_blob(&blobs, LAYER, &layer);
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": { "Cmd": command, "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
    });
    let config = add_json(&blobs, CONFIG, dir, &config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": [layer],
    });
    let mut manifest = add_json(&blobs, MANIFEST, dir, &manifest);
    manifest["annotations"] = json!({ "io.containerd.image.name": name });
    manifest["platform"] = json!({ "os": "linux", "architecture": architecture() });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    let version = json!({ "imageLayoutVersion": "1.0.0" });
    for (file, content) in [("index.json", index), ("oci-layout", version)] {
        fs::write(layout.join(file), content.to_string()).expect("a file can be written");
    }
    let archive = dir.join("image.tar");
    tar(&layout, &archive);
    archive
}

/// The architecture's name in images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn add_json(blobs: &Path, media_type: &str, dir: &Path, content: &Value) -> Value {
    let file = dir.join("blob.json");
    fs::write(&file, content.to_string()).expect("a blob can be written");
    add_blob(blobs, media_type, &file)
}

/// Moves a file to the blobs, and tells its descriptor.
fn add_blob(blobs: &Path, media_type: &str, file: &Path) -> Value {
    let sum = finish(Command::new(program("sha256sum")).arg(file), b"");
    assert_eq!(sum.exit, Some(0), "{}", sum.stderr);
    let digest = sum.stdout.split(' ').next().expect("a digest");
    let size = fs::metadata(file).expect("a blob is there").len();
    fs::rename(file, blobs.join(digest)).expect("a blob can be moved");
    json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size })
}

fn tar(directory: &Path, archive: &Path) {
    let mut command = Command::new(program("tar"));
    command.args(["--owner=0", "--group=0", "--numeric-owner", "-cf"]);
    let outcome = finish(command.arg(archive).arg("-C").arg(directory).arg("."), b"");
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
}
