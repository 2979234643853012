//! A main plugin that makes no interface: it hands its call on to its IPAM plugin, and writes down what
//! it got.

use std::fs;
use std::path::{Path, PathBuf};

use crate::program;
use crate::program::install_script;

/// Notes environment and standard input, then becomes the IPAM plugin.
const HAND_ON: &str = r#"
call="$0/$(ls "$0" | wc -l)"
mkdir "$call" && env >"$call/environment" && cat >"$call/stdin" && exec "$1" <"$call/stdin"
"#;

/// A directory for `CNI_PATH` with a main plugin in it that stands in for one whose links this kernel may
/// lack. The calls must come one after the other.
#[derive(Debug)]
pub struct MainPlugin {
    path: PathBuf,
    calls: PathBuf,
}

/// A call as the main plugin saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// Its environment, sorted, without what a shell adds.
    pub environment: Vec<String>,
    /// Its standard input.
    pub stdin: String,
}

impl MainPlugin {
    /// Installs a main plugin of this type below `dir`, with `ipam` as its IPAM plugin.
    pub fn install(dir: &Path, kind: &str, ipam: &Path) -> Self {
        let (path, calls) = (dir.join("cni-path").join(kind), dir.join("calls"));
        for made in [&dir.join("cni-path"), &calls] {
            fs::create_dir_all(made).expect("a scratch directory can be made");
        }
        let shell = program("sh");
        let command = [shell.as_os_str(), "-c".as_ref(), HAND_ON.as_ref(), calls.as_os_str()];
        install_script(&path, &command, ipam);
        Self { path, calls }
    }

    /// The program.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the program is: the value of `CNI_PATH`.
    pub fn cni_path(&self) -> String {
        self.path.parent().expect("a program is in a directory").display().to_string()
    }

    /// All calls so far, in order.
    pub fn calls(&self) -> Vec<Handed> {
        (0..)
            .map(|n: u32| self.calls.join(n.to_string()))
            .map_while(|call| {
                let stdin = fs::read_to_string(call.join("stdin")).ok()?;
                let environment = fs::read_to_string(call.join("environment")).ok()?;
                let ours = |line: &&str| {
                    !["PWD=", "SHLVL=", "_=", "OLDPWD="].iter().any(|name| line.starts_with(name))
                };
                let mut environment: Vec<String> =
                    environment.lines().filter(ours).map(str::to_owned).collect();
                environment.sort();
                Some(Handed { environment, stdin })
            })
            .collect()
    }
}
