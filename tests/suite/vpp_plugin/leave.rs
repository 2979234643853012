//! What a call does last: it takes leave of VPP, which may not notice otherwise that it is gone.

use serde_json::json;
use support::VppNode;
use support::vpp::Trouble;

use super::can_run;

#[test]
fn every_call_takes_leave() {
    if !can_run("leave::every_call_takes_leave") {
        return;
    }
    let node = VppNode::miniature();
    let config = node.config("veth");
    let pod = node.pod();
    let result = node.add(&pod, &config);
    node.check(&pod, &config, &result).ok();
    node.bare_call("STATUS", &config).run().ok();
    node.gc(&config, &[&pod]).ok();
    node.del(&pod, &config);
    // One that fails also.
    let mut other = config.clone();
    other["table"] = json!(7);
    node.vpp().plan("ip_table_add_del", Trouble::Refuse(-1));
    node.call("ADD", &node.pod(), &other).run().error();
    node.vpp().settle();
    assert_eq!(node.vpp().silent_ends(), 0);
}
