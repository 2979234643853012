/*!
Crashes: the plugin killed at its system calls, VPP killed in the middle of a call, or silent, or not there.

Whatever happens when: the answer comes in bounded time and says what kind of trouble it was, the same ADD
works afterwards, and DEL leaves nothing in VPP, the kernel, the records and with the IPAM plugin.

The plugin is killed on the real VPP, too, where `VPP_API_SOCK` is set. What VPP does wrong, the miniature does.
*/

mod killed;
mod trouble;

use std::process::Command;

use ipam_core::identity::{Attachment, ContainerId, IfName};
use serde_json::{Value, json};
use support::{VppNode, VppPod, program};
use vpp_plugin::names::host_device;

/// The network configuration of a node, with an IPAM plugin that gives a second ADD what the first has got.
fn config(node: &VppNode) -> Value {
    let mut config = node.config("veth");
    config["ipam"]["type"] = "node-local".into();
    config["ipam"]["index"] = 1.into();
    config["ipam"]["store"] = "dir".into();
    config
}

/// Asserts that nothing is left of a pod after its DEL.
#[track_caller]
fn assert_nothing_left(node: &VppNode, pod: &VppPod) {
    node.assert_nothing_left(0);
    let links = pod.namespace.ip(&["link", "show"]);
    let names: Vec<&Value> =
        links.as_array().expect("links").iter().map(|link| &link["ifname"]).collect();
    assert_eq!(names, [&json!("lo")], "in the pod");
    // Whatever became of its mark.
    let container = ContainerId::new(&pod.id).expect("a container ID");
    let attachment = Attachment { container, ifname: IfName::new("eth0").expect("a name") };
    let device = host_device(node.network(), &attachment);
    let shown = Command::new(program("ip")).args(["link", "show", "dev", &device]).output();
    assert!(!shown.expect("ip can be run").status.success(), "{device} is left on the host");
}
