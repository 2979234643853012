/*!
chain: one IPAM made of several, and a whole network made of one configuration.

As `ipam.type` under any main plugin it runs the IPAM plugins that it lists: all of them (IPv4 from one, IPv6 from
another), or the next one only when one is full or away. As a top-level plugin it fills the node's placeholders into
a whole configuration, gives the main plugin its ipam section and calls it.

```text
 runtime ─► chain ─► main plugin ─► chain ─► IPAM, IPAM, ..       "type": "chain": `top`
 runtime ─► main plugin ─► chain ─► IPAM, IPAM, ..                "ipam": {"type": "chain"}: `ipam`
```

Every plugin is run as a process, found in CNI_PATH. What an attachment got is written down before anything is asked
for (`record`), so that a DEL undoes it whatever is left of the configuration. `config`, `apart`, `request`, `merge`
and `place` are values in, values out.
*/

mod apart;
mod config;
mod errors;
mod ipam;
mod merge;
mod place;
mod record;
mod request;
mod sections;
mod top;

use cni::{About, Added, Call, Error, Plugin};
use ipam_core::config::json::At;

/// The plugin's type.
pub const NAME: &str = "chain";

/// The plugin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chain;

/// Whether the configuration is a top-level one.
fn is_top(call: &Call) -> bool {
    let root = At::root(&call.config);
    let kind = root.get("type").ok().flatten();
    kind.is_some_and(|kind| kind.value().as_str() == Some(NAME))
}

impl Plugin for Chain {
    fn about(&self) -> About {
        About { name: NAME, version: env!("CARGO_PKG_VERSION") }
    }

    fn add(&self, call: &Call) -> Result<Added, Error> {
        if is_top(call) { top::add(call) } else { ipam::add(call) }
    }

    fn del(&self, call: &Call) -> Result<(), Error> {
        if is_top(call) { top::del(call) } else { ipam::del(call) }
    }

    fn check(&self, call: &Call) -> Result<(), Error> {
        if is_top(call) { top::check(call) } else { ipam::check(call) }
    }

    fn gc(&self, call: &Call) -> Result<(), Error> {
        if is_top(call) { top::gc(call) } else { ipam::gc(call) }
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        if is_top(call) { top::status(call) } else { ipam::status(call) }
    }
}
