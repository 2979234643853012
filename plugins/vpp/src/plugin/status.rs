//! STATUS: whether an ADD could be served.

use cni::{Call, Code, Error};
use ipam_core::config::json::At;

use super::attachments::dump;
use super::{Ipam, Site, admin, connect};
use crate::attach::lacks;
use crate::config::{Config, Kind, KindSpec};
use crate::errors::Problem;
use crate::node::{self, NodeSpec};

pub(super) fn status(call: &Call) -> Result<(), Error> {
    let unavailable = |error: Error| Error { code: Code::NotAvailable, ..error };
    admin::check(call).map_err(unavailable)?;
    let config = Config::parse(&call.config, call.args()).map_err(Problem::from)?;
    let site = Site::new(&call.environment, config.timeout);
    let Some(name) = config.ipam.as_deref() else {
        let message = "the configuration names no IPAM plugin";
        return Err(Error::new(Code::NotAvailable, message));
    };
    let ipam = Ipam::find(name, call).map_err(unavailable)?;
    vpp(call, &config, &site)?;
    ipam.status(&site)
}

fn vpp(call: &Call, config: &Config, site: &Site) -> Result<(), Error> {
    let spec = NodeSpec::parse(&At::root(&config.node)).map_err(Problem::from)?;
    let unavailable = |error: Error| Error { code: Code::NotAvailable, ..error };
    let identity = if spec.needs_identity() {
        let around = node_local::Surroundings::of(call);
        let found = node_local::find(&call.config, &around);
        Some(found.map_err(|problem| unavailable(problem.error))?)
    } else {
        None
    };
    let setup = spec.render(identity.as_ref()).map_err(Problem::from)?;
    let look = || -> Result<(), Problem> {
        let mut vpp = connect(&config.socket, site.deadline)?;
        let kind = match config.kind {
            KindSpec::Fixed(kind) => kind,
            KindSpec::Auto => Kind::Veth,
        };
        if let Some(missing) = lacks(&mut vpp, kind).into_iter().next() {
            return Err(vpp_api::Error::from(missing).into());
        }
        let dumped = dump(&mut vpp)?;
        let wanted = node::Wanted {
            setup: &setup,
            network: &call.network,
            table: config.table,
            gateways: &[],
        };
        // What differs an ADD puts right; what is missing for that is an error.
        for difference in node::differences(&mut vpp, &wanted, &site.node(), Some(dumped))? {
            call.warn(&difference.to_string());
        }
        Ok(())
    };
    look().map_err(|problem| problem.to_status())
}
