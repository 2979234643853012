/*!
The plugin `vpp`, called as a runtime calls it: real namespaces and links on the pod's side, and on VPP's side a VPP
in miniature, or the real one where `VPP_API_SOCK` is set.
*/

mod again;
mod check;
mod del;
mod gc;
mod kinds;
mod leave;
mod replay;
mod rollback;
mod rx_mode;
mod status;

use serde_json::Value;
use support::{VppNode, is_root, skip_unless};

/// True if namespaces can be made.
fn can_run(test: &str) -> bool {
    skip_unless(&format!("vpp_plugin::{test}"), &[(is_root(), "root")])
}

/// The interface of the pod in a result.
fn pod_interface(result: &Value) -> &Value {
    let interfaces = result["interfaces"].as_array().expect("interfaces");
    interfaces.iter().find(|it| it["name"] == "eth0").expect("the pod's interface")
}

/// The addresses of a result with their prefix lengths.
fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().expect("addresses");
    ips.iter().map(|ip| ip["address"].as_str().expect("a text").to_owned()).collect()
}

/// The destinations of a pod's routes, without what the kernel makes itself.
fn routes(pod: &support::VppPod) -> Vec<String> {
    let mut all = Vec::new();
    for family in ["-4", "-6"] {
        for route in pod.namespace.ip(&[family, "route", "show"]).as_array().expect("routes") {
            if route["protocol"] == "kernel" || route["dev"] != "eth0" {
                continue;
            }
            let dst = route["dst"].as_str().expect("a destination");
            let via = route["gateway"].as_str().map_or(String::new(), |via| format!(" via {via}"));
            all.push(format!("{dst}{via}"));
        }
    }
    all.sort();
    all
}

/// The kinds that a node can have here: a real VPP needs /dev/vhost-net for taps.
fn kinds(node: &VppNode) -> Vec<&'static str> {
    let taps = node.is_miniature() || std::path::Path::new("/dev/vhost-net").exists();
    if taps { vec!["veth", "tap", "memif"] } else { vec!["veth", "memif"] }
}
