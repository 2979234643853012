/*!
A synchronous client of VPP's binary API, over the Unix socket that VPP has at `/run/vpp/api.sock`.

One connection for each run of a program: connecting, the handshake and reading VPP's message table take
about a millisecond. Messages are written by hand for VPP 21.06 to 26.06, whose CRCs are the same; a message
is only sent if VPP's table has its name with the same CRC, which is VPP's own check of the layout.

```no_run
use vpp_api::{Client, msg};

# fn main() -> Result<(), vpp_api::Error> {
let mut vpp = Client::connect("/run/vpp/api.sock".as_ref(), &vpp_api::Options::new("plat"))?;
// One round trip: everything is sent at once, and answers are matched by their context.
let mut batch = vpp.batch();
let interfaces = batch.dump(&msg::SwInterfaceDump::all())?;
let tables = batch.dump(&msg::IpTableDump {})?;
let mut answers = batch.send()?;
for interface in answers.details(interfaces)? {
    let up = interface.flags.is_up();
    assert!(!interface.interface_name.is_empty() || up);
}
assert!(!answers.details(tables)?.is_empty());
# Ok(())
# }
```

| room | what is in it |
|---|---|
| [`wire`], [`types`] | numbers, texts and VPP's compound types as bytes: pure, every read is checked |
| [`frame`], [`table`], `exchange` | the stream cut into messages, the names that VPP knows, answers matched to requests: pure |
| [`msg`] | the messages, a file for each of VPP's subjects |
| [`retval`], [`error`] | what VPP and the connection may answer instead |
| [`Client`], [`Batch`] | the socket: deadlines, pipelining, events; and `ops`, short names for common calls |

Nothing here prints. No byte that VPP sends makes it panic: what cannot be read is [`Error::Malformed`].
*/

#![forbid(unsafe_code)]

pub mod catalogue;
mod client;
pub mod error;
mod exchange;
pub mod frame;
pub mod msg;
mod ops;
pub mod retval;
pub mod table;
pub mod types;
pub mod wire;

pub use client::{Answers, Batch, Client, DumpTicket, Event, Options, Ticket};
pub use error::{Error, Missing};
pub use exchange::{Exchange, Offered};
pub use ops::{AfPacket, Created, Memif, MemifSocket, Tap, TapFlags};
pub use retval::Retval;
pub use types::{Family, FibPath, IfIndex, Mac, Prefix, Table};
