//! A container as a manifest describes it, run by podman on a node: with these volumes, capabilities and commands, and no
//! others.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use support::{Node, Outcome, Owned, Scratch, have, is_root, skip_unless, wait_until};

use crate::install::image::{CONTAINERS_CONF, lay_out};

/// Where directories of the host lie on the node: what is there of the machine's own is not touched.
pub(super) const HOST: &str = "/run/host";
/// Where the image lies on the node.
const IMAGE: &str = "/run/image";

/// A container.
#[derive(Clone, Debug, Default)]
pub(super) struct Container {
    pub(super) name: String,
    /// The program and its arguments.
    pub(super) command: Vec<String>,
    pub(super) capabilities: Vec<String>,
    /// What of the host is where in the container, with options for `--volume`.
    pub(super) volumes: Vec<(String, String, &'static str)>,
    pub(super) host_network: bool,
    pub(super) host_pid: bool,
    pub(super) no_new_privileges: bool,
    pub(super) read_only: bool,
}

impl Container {
    /// The words for podman.
    fn words(&self, cgroup: &str) -> Vec<String> {
        let mut words: Vec<String> =
            ["env", "CONTAINERS_CONF=/run/containers.conf", "podman", "--storage-driver", "vfs"]
                .map(str::to_owned)
                .into();
        words.extend(["run", "--rm", "--cgroup-parent", cgroup, "--user", "0"].map(str::to_owned));
        words.extend(["--name".to_owned(), self.name.clone(), "--cap-drop=all".to_owned()]);
        words.extend(self.capabilities.iter().map(|name| format!("--cap-add={name}")));
        words.push(format!("--network={}", if self.host_network { "host" } else { "none" }));
        if self.host_pid {
            words.push("--pid=host".to_owned());
        }
        if self.no_new_privileges {
            words.push("--security-opt=no-new-privileges".to_owned());
        }
        if self.read_only {
            words.extend(["--read-only", "--read-only-tmpfs=false"].map(str::to_owned));
        }
        for (from, to, options) in &self.volumes {
            words.push("--volume".to_owned());
            words.push(format!("{from}:{to}:{options}"));
        }
        words.extend(["--rootfs", IMAGE].map(str::to_owned));
        words.extend(self.command.iter().cloned());
        words
    }
}

/// A node with podman and the image.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) node: Node,
    _scratch: Scratch,
}

impl Host {
    /// Whether there can be one; otherwise it says that the test is skipped.
    pub(super) fn available(test: &str) -> bool {
        let needs = [
            (is_root(), "root"),
            (have("podman"), "podman"),
            (have("runc"), "runc"),
            (have("conmon"), "conmon"),
            (have("jq"), "jq"),
        ];
        skip_unless(test, &needs)
    }

    /// Node 4 of a cluster, with an uplink that leads nowhere.
    pub(super) fn start() -> Self {
        let scratch = Scratch::new("deploy");
        let node = Node::start("vm-004");
        node.write("/run/containers.conf", CONTAINERS_CONF);
        node.ok(&["mkdir", IMAGE]);
        let rootfs = lay_out(&scratch).join("rootfs");
        let rootfs = rootfs.to_str().expect("a plain path");
        node.ok(&["cp", "-a", &format!("{rootfs}/."), IMAGE]);
        for words in [
            "link add eth0 type veth peer name far",
            "address add 192.168.16.4/24 dev eth0",
            "link set far up",
            "link set eth0 up",
        ] {
            node.ok(&[&["ip"], &words.split(' ').collect::<Vec<_>>()[..]].concat());
        }
        Self { node, _scratch: scratch }
    }

    /// A directory of the host, made as `DirectoryOrCreate` makes it.
    pub(super) fn directory(&self, path: &str) -> String {
        let inside = format!("{HOST}{path}");
        fs::create_dir_all(self.node.path(&inside)).expect("a directory of the node can be made");
        inside
    }

    /// Whether a file of the host is there.
    pub(super) fn has(&self, path: &str) -> bool {
        self.node.path(format!("{HOST}{path}")).exists()
    }

    /// Runs a container to its end.
    pub(super) fn run(&self, container: &Container) -> Outcome {
        let words = container.words(&self.node.cgroup());
        self.node.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts a container that goes on. It ends with the node.
    pub(super) fn start_container(&self, container: &Container) -> Owned {
        let words = container.words(&self.node.cgroup());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let log = fs::File::create(self.node.path(format!("/run/{}.log", container.name)));
        let log = log.expect("a log can be made");
        let mut command = self.node.command(&words);
        let errors = log.try_clone().expect("a file can be had twice");
        command.stdin(Stdio::null()).stdout(Stdio::from(log)).stderr(Stdio::from(errors));
        Owned(command.spawn().expect("podman can be started"))
    }

    /// What a container has said.
    pub(super) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.node.path(format!("/run/{name}.log"))).unwrap_or_default()
    }

    /// Ends a container as kubelet does: with SIGTERM.
    pub(super) fn stop(&self, mut container: Owned, name: &str) {
        let podman = ["podman", "--storage-driver", "vfs", "stop", "--time", "60", name];
        let env = ["env", "CONTAINERS_CONF=/run/containers.conf"];
        self.node.ok(&[&env[..], &podman[..]].concat());
        let _ = container.0.wait();
    }

    /// What a page of the agent says: the status and the text. The agent lets slow clients go, so it is asked again.
    pub(super) fn page(&self, port: u64, path: &str) -> (u32, String) {
        let mut page = None;
        wait_until(&format!("{path} is answered"), || {
            page = self.get(port, path);
            page.is_some()
        });
        page.expect("there was an answer")
    }

    /// What a probe gets: the status and the text; `None` if nobody listens, or has no patience.
    pub(super) fn get(&self, port: u64, path: &str) -> Option<(u32, String)> {
        let script = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET {path} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\n\
             Connection: close\\r\\n\\r\\n' >&3 && cat <&3"
        );
        let answer = self.node.run(&["bash", "-c", &script]);
        let (head, body) = answer.stdout.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }
}

/// Files as kubelet lays them out: in a directory of this moment, behind links.
pub(super) fn project(dir: &Path, files: &[(String, String, u32)]) {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let data = dir.join("..2026_11_21_20_00_00.1");
    fs::create_dir_all(&data).expect("a directory can be made");
    for (path, content, mode) in files {
        let file = data.join(path);
        fs::create_dir_all(file.parent().expect("it is in a directory")).expect("it can be made");
        fs::write(&file, content).expect("a file can be written");
        fs::set_permissions(&file, fs::Permissions::from_mode(*mode)).expect("it has a mode");
        let first = path.split('/').next().expect("a path has a part");
        if !dir.join(first).exists() {
            symlink(format!("..data/{first}"), dir.join(first)).expect("a link can be made");
            let _ = symlink("..2026_11_21_20_00_00.1", dir.join("..data"));
        }
    }
}
