//! CHECK: prevResult, the pod, VPP and the record say the same.

use std::path::Path;

use cni::{Call, Code, Error, FullResult};
use host_local::call::attachment;
use kernel::Namespace;
use serde_json::Value;

use super::attachments::dump;
use super::{Ipam, Site, connect};
use crate::attach::plan::differences as vpp_differences;
use crate::attach::seen::{find, gateway, look};
use crate::config::{Config, Kind};
use crate::errors::Problem;
use crate::pod::plan::PodSide;
use crate::pod::{Pod, differences as pod_differences};
use crate::record::Record;
use crate::tag::Tag;

pub(super) fn check(call: &Call) -> Result<(), Error> {
    let config = Config::parse(&call.config, call.args()).map_err(Problem::from)?;
    let site = Site::new(&call.environment, config.timeout);
    let attachment = attachment(call)?;
    let tag = Tag::of(&call.network, &attachment);
    let previous = previous(&call.config)?;
    if let Some(name) = &config.ipam {
        Ipam::find(name, call)?.check(&site)?;
    }
    let Some(record) = site.records.read(tag).map_err(Problem::from)? else {
        let message = format!("nothing is attached for {attachment}");
        return Err(Error::new(Code::UnknownContainer, message)
            .with_details("no ADD of this network is recorded for this container and interface"));
    };
    let netns = call.environment.value("CNI_NETNS");
    let mut found = result_differences(&record, &previous, netns);
    if record.kind != Kind::Memif {
        let namespace = Namespace::open(Path::new(netns)).map_err(Problem::from)?;
        found.extend(in_pod(&record, tag, namespace)?);
    }
    found.extend(in_vpp(&record, tag, &site)?);
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::new(Code::Inconsistent, format!("{attachment}: {}", found.join(", "))).with_details(
        "the attachment is not as it was answered; `plat vpp check --fix` puts VPP's side right",
    ))
}

fn previous(config: &Value) -> Result<FullResult, Error> {
    let object = config.as_object();
    let value = object.and_then(|object| {
        let named = |(key, _): &(&String, &Value)| key.eq_ignore_ascii_case("prevResult");
        object.iter().find(named).map(|(_, value)| value).filter(|value| !value.is_null())
    });
    let Some(value) = value else {
        return Err(Error::new(Code::InvalidConfig, "prevResult is missing")
            .with_details("CHECK compares what is there with the result of ADD"));
    };
    FullResult::parse(value)
}

/// What prevResult says otherwise than the record.
fn result_differences(record: &Record, previous: &FullResult, netns: &str) -> Vec<String> {
    let mut found = Vec::new();
    let ifname = &record.ifname;
    let is_ours =
        |interface: &&cni::Interface| interface.name == *ifname && !interface.sandbox.is_empty();
    let Some(position) = previous.interfaces.iter().position(|interface| is_ours(&interface))
    else {
        return vec![format!("prevResult has no interface {ifname} of a container")];
    };
    let interface = previous.interfaces.get(position);
    if let Some(interface) = interface {
        if Path::new(&interface.sandbox) != Path::new(netns) {
            found.push(format!("prevResult has {ifname} in {}, not in {netns}", interface.sandbox));
        }
        let mac = record.pod_mac.to_string();
        if !interface.mac.is_empty() && !interface.mac.eq_ignore_ascii_case(&mac) {
            found.push(format!(
                "prevResult has {ifname} with Ethernet address {}, not {mac}",
                interface.mac
            ));
        }
    }
    let ips: Vec<std::net::IpAddr> = previous
        .ips
        .iter()
        .filter(|ip| ip.interface.is_none_or(|at| at == position))
        .map(|ip| ip.config.address)
        .collect();
    let recorded = record.addresses.iter().map(|address| address.address.addr());
    for address in recorded.clone() {
        if !ips.contains(&address) {
            found.push(format!("prevResult lacks {address}"));
        }
    }
    for address in &ips {
        if !recorded.clone().any(|held| held == *address) {
            found.push(format!("prevResult has {address}, which is not this attachment's"));
        }
    }
    found
}

fn in_pod(record: &Record, tag: Tag, namespace: Namespace) -> Result<Vec<String>, Problem> {
    let mut pod = Pod::enter(namespace)?;
    Ok(pod_differences(&mut pod, &PodSide::of(record, tag))?)
}

fn in_vpp(record: &Record, tag: Tag, site: &Site) -> Result<Vec<String>, Problem> {
    let mut vpp = connect(&record.socket, site.deadline)?;
    let dumped = dump(&mut vpp)?;
    let Some(interface) = find(&dumped.interfaces, tag, &record.device) else {
        return Ok(vec!["VPP has no interface for it".to_owned()]);
    };
    let gateway = gateway(&dumped.interfaces, record.table);
    let seen = look(&mut vpp, interface.sw_if_index, record)?;
    let found = vpp_differences(record, tag, gateway, interface, &seen);
    Ok(found.iter().map(ToString::to_string).collect())
}
