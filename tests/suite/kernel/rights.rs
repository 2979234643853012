//! Without capabilities.

use kernel::ethtool;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::*;

/// Runs `work` on a thread that has lost every capability; others keep theirs.
fn powerless<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let none = CapabilitySet::empty();
            let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
            set_capabilities(None, sets).expect("capabilities can be dropped");
            work()
        });
        thread.join().expect("no panic")
    })
}

#[test]
fn without_rights_a_refusal_says_so() {
    if !can_run("without_rights_a_refusal_says_so") {
        return;
    }
    let pair = Pair::new();
    let path = pair.one.path();
    let hint = "Operation not permitted; this needs root, or CAP_NET_ADMIN (CAP_SYS_ADMIN to enter a \
                namespace)";
    let refused = pair.one.namespace.run(|| {
        powerless(|| {
            let mut netlink = Netlink::open().expect("anybody may ask");
            assert!(netlink.link("one").expect("anybody may ask").is_some());
            let up = LinkChange { up: Some(false), ..LinkChange::default() };
            [
                netlink.change_link(pair.index, &up).err(),
                netlink.set_address(pair.index, net("10.9.0.1/24")).err(),
                netlink.set_neighbor(pair.index, ip("10.0.0.9"), mac(9)).err(),
                netlink.delete_link(pair.index).err(),
                ethtool::set_tx_checksum("one", false).err(),
            ]
        })
    });
    for error in refused.expect("entered") {
        let error = error.expect("refused");
        assert!(error.is_permission() && !error.is_not_found(), "{error}");
        assert!(error.to_string().ends_with(hint), "{error}");
    }
    let namespace = Namespace::open(&path).expect("there");
    let error = powerless(|| namespace.run(|| ()).expect_err("may not enter"));
    assert!(error.is_permission(), "{error}");
    assert_eq!(error.to_string(), format!("cannot enter the network namespace: {hint}"));
}
