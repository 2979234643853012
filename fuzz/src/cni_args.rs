//! CNI_ARGS: what was understood means the same when it is written again.

use ipam_core::addr::Addr;
use ipam_core::config::{Args, Owner};

/// Reads the input as CNI_ARGS. The requested addresses and the pod, written again, are read as the same.
pub fn cni_args(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let parsed = Args::parse(text);
    assert_eq!(parsed, Args::parse(text), "the same text is read in two ways");
    let Ok(args) = parsed else { return };
    let last = text.split(';').filter_map(|pair| pair.strip_prefix("IP=")).next_back();
    let wanted: Vec<Addr> = last.into_iter().flat_map(requested).collect();
    assert_eq!(args.ips, wanted, "of {text:?}");

    let ips: Vec<String> = args.ips.iter().map(ToString::to_string).collect();
    let ips = format!("IP={}", ips.join(","));
    let again = Args::parse(&ips).unwrap_or_else(|error| panic!("{ips:?}: {error}"));
    assert_eq!(again, Args { ips: args.ips.clone(), owner: Owner::default() }, "from {ips:?}");

    let Owner { namespace, name, uid } = &args.owner;
    let mut pairs = vec!["IgnoreUnknown=1".to_owned(), ips];
    for (key, value) in
        [("K8S_POD_NAMESPACE", namespace), ("K8S_POD_NAME", name), ("K8S_POD_UID", uid)]
    {
        assert_ne!(value.as_deref(), Some(""), "{key} is there and empty");
        pairs.extend(value.iter().map(|value| format!("{key}={value}")));
    }
    // The order of the pairs does not count.
    for _ in 0..pairs.len() {
        pairs.rotate_left(1);
        let text = pairs.join(";");
        let again = Args::parse(&text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(again, args, "from {text:?}");
    }
    // The last of two equal keys wins.
    if !text.is_empty() {
        let emptied = Args::parse(&format!("{text};IP="));
        assert_eq!(emptied.map(|args| args.ips), Ok(Vec::new()));
    }
}

/// The addresses of a text that was accepted.
pub(crate) fn requested(text: &str) -> impl Iterator<Item = Addr> {
    let each = text.split(',').filter(|ip| !ip.is_empty());
    each.map(|ip| {
        let (addr, _) = ip.split_once('/').unwrap_or((ip, ""));
        Addr::parse(addr).unwrap_or_else(|| panic!("accepted, but no address: {ip:?}"))
    })
}
