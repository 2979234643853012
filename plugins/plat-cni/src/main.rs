//! The binary `plat-cni`: each program of Plat by the name that it is called by, or by its first argument.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use host_local::{HostLocal, Ipam};

fn main() -> ExitCode {
    let mut arguments = env::args_os();
    let called = arguments.next().unwrap_or_default();
    match Path::new(&called).file_name().and_then(|name| name.to_str()).unwrap_or_default() {
        "host-local" => cni::run(&Ipam::new(HostLocal)),
        "node-local" => cni::run(&Ipam::new(node_local::NodeLocal)),
        "etcd-pool" => etcd_pool::main(),
        "vpp" => cni::run(&vpp_plugin::Vpp),
        "chain" => cni::run(&chain::Chain),
        "plat" => plat::main(),
        "plat-agent" => plat_agent::main(),
        name => {
            let known = "host-local, node-local, etcd-pool, vpp, chain, plat, plat-agent";
            let wanted = arguments.next().unwrap_or_default();
            if wanted.to_str().is_some_and(|wanted| known.split(", ").any(|known| known == wanted))
            {
                let error = Command::new("/proc/self/exe").arg0(&wanted).args(arguments).exec();
                eprintln!("plat-cni: cannot run itself by /proc/self/exe: {error}");
            } else {
                eprintln!(
                    "plat-cni: {name:?} is none of its names, and {wanted:?} none of its commands"
                );
                eprintln!("  link it as, or give as first argument, one of {known}");
            }
            ExitCode::from(3)
        }
    }
}
