//! What a call says of the pod, beside its network configuration: CNI_ARGS, `args` and `runtimeConfig`.

use ipam_core::config::json::{At, shown};
use ipam_core::config::{ConfigError, Owner};
use vpp_api::Mac;

/// A pair of CNI_ARGS; the last one of a key counts (Multus sends most of them twice). Whether the text as a
/// whole can be understood is for the IPAM plugin to say.
fn value<'a>(args: &'a str, key: &str) -> Option<&'a str> {
    let pairs = args.split(';').filter_map(|pair| pair.split_once('='));
    let last = pairs.rev().find(|(name, _)| *name == key);
    last.map(|(_, value)| value).filter(|value| !value.is_empty())
}

/// The pod, where the runtime is Kubernetes'.
pub(super) fn owner(args: &str) -> Owner {
    let value = |key| value(args, key).map(str::to_owned);
    Owner {
        namespace: value("K8S_POD_NAMESPACE"),
        name: value("K8S_POD_NAME"),
        uid: value("K8S_POD_UID"),
    }
}

/// The Ethernet address that the pod asks for: `runtimeConfig.mac`, else `args.cni.mac`, else `MAC` of CNI_ARGS, as
/// the reference's bridge plugin has it.
pub(super) fn mac(root: &At<'_>, args: &str) -> Result<Option<Mac>, ConfigError> {
    if let Some(runtime) = root.get("runtimeConfig")?
        && let Some(at) = runtime.get("mac")?
    {
        return read(&at);
    }
    if let Some(outer) = root.get("args")?
        && let Some(cni) = outer.get("cni")?
        && let Some(at) = cni.get("mac")?
    {
        return read(&at);
    }
    let Some(text) = value(args, "MAC") else { return Ok(None) };
    usable(text).map(Some).ok_or_else(|| ConfigError {
        message: "CNI_ARGS: MAC is no Ethernet address of an interface".to_owned(),
        path: "CNI_ARGS".to_owned(),
        found: shown(text),
        expected: EXPECTED.to_owned(),
    })
}

const EXPECTED: &str = "a unicast address such as 02:00:00:00:00:01";

fn read(at: &At<'_>) -> Result<Option<Mac>, ConfigError> {
    match at.string()? {
        "" => Ok(None),
        text => usable(text).map(Some).ok_or_else(|| {
            at.wrong(format!("{at}: no Ethernet address of an interface"), EXPECTED)
        }),
    }
}

/// An address that an interface can have: neither zero nor multicast.
fn usable(text: &str) -> Option<Mac> {
    let mac: Mac = text.parse().ok()?;
    let [first, ..] = mac.0;
    (mac != Mac::default() && first & 1 == 0).then_some(mac)
}
