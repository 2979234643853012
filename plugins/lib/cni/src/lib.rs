/*!
The CNI protocol, spec versions 0.1.0 to 1.1.0, as plugins see it.

[`run`] is the frame around a plugin: it checks the environment, reads standard input, chooses the
operation, prints the result or the error and undoes what could not be delivered. A plugin implements
[`Plugin`] and sees one checked [`Call`]. IPAM plugins, main plugins and plugins that call others use the same frame
and differ in what they answer ([`Answer`]); [`Delegate`] calls another plugin.

Order of checks and texts are those of the reference's skeleton (containernetworking/cni 1.3.0), which
people and tools know; codes and the answer to VERSION follow the specification.

```no_run
use cni::{About, Added, Call, Code, Error, IpConfig, IpamResult, Plugin};

/// Gives everybody the same address.
struct Same;

impl Plugin for Same {
    fn about(&self) -> About {
        About { name: "same", version: "1.0.0" }
    }
    fn add(&self, _: &Call) -> Result<Added, Error> {
        let ip = IpConfig { address: [10, 0, 0, 2].into(), prefix: 24, gateway: None };
        let result = IpamResult { ips: vec![ip], ..IpamResult::default() };
        Ok(Added { result: result.into(), undo: Box::new(|| ()) })
    }
    fn check(&self, call: &Call) -> Result<(), Error> {
        let text = format!("{} is not looked after", call.container_id());
        Err(Error::new(Code::Internal, text))
    }
    fn del(&self, _: &Call) -> Result<(), Error> {
        Ok(())
    }
    fn gc(&self, _: &Call) -> Result<(), Error> {
        Ok(())
    }
    fn status(&self, _: &Call) -> Result<(), Error> {
        Ok(())
    }
}

fn main() -> std::process::ExitCode {
    cni::run(&Same)
}
```
*/

mod caller;
mod delegate;
mod environment;
mod error;
mod result;
mod run;
mod version;

pub use caller::Caller;
pub use delegate::{Delegate, PATIENCE};
pub use environment::{Command, Environment};
pub use error::{Code, Error};
pub use result::{Answer, Dns, FullResult, Interface, InterfaceIp, IpConfig, IpamResult, Route};
pub use run::{About, Added, Call, MARK, Plugin, run};
pub use version::{SUPPORTED, SpecVersion};
