//! ADD: addresses, the node's part of VPP, the record, the interface, both ends. All of it, or nothing.

use std::path::{Path, PathBuf};

use cni::{
    Added, Answer, Call, Code, Error, FullResult, Interface, InterfaceIp, IpConfig, IpamResult,
};
use host_local::call::attachment;
use ipam_core::config::json::At;
use ipam_core::identity::Attachment;
use ipam_core::node::NodeIdentity;
use kernel::{Family, Namespace};
use serde_json::Value;
use vpp_api::Client;

use super::attachments::{clean_pending, dump, is_at, leave};
use super::undo::Undo;
use super::{Ipam, Site, admin, connect};
use crate::attach::{lacks, memif_socket};
use crate::config::{Config, Kind, KindSpec};
use crate::errors::Problem;
use crate::make::{Ends, Made, make};
use crate::names::{AttachmentHash, Macs, host_device};
use crate::node::{self, NodeSetup, NodeSpec};
use crate::pod::Pod;
use crate::pod::plan::{Layout, PodSide, layout};
use crate::record::{Beginning, Netns, Record};
use crate::tag::Tag;

/// The MTU where neither the configuration nor an uplink says one.
const DEFAULT_MTU: u32 = 1500;
/// What IPv6 needs (RFC 8200).
const IPV6_MTU: u32 = 1280;

pub(super) fn add(call: &Call) -> Result<Added, Error> {
    admin::check(call)?;
    let config = Config::parse(&call.config, call.args()).map_err(Problem::from)?;
    let site = Site::new(&call.environment, config.timeout);
    let attachment = attachment(call)?;
    let Some(name) = config.ipam.as_deref() else {
        let message = "the configuration names no IPAM plugin";
        return Err(Error::new(Code::InvalidConfig, message).with_details(
            "\"ipam\": {\"type\": \"host-local\", ...}: VPP routes to pods by their addresses",
        ));
    };
    let ipam = Ipam::find(name, call)?;
    let (setup, identity) = setup(call, &config)?;
    for warning in &setup.warnings {
        call.warn(warning);
    }
    let path = PathBuf::from(call.environment.value("CNI_NETNS"));
    let pod = Pod::enter(open(&path)?).map_err(Problem::from)?;
    let (device, inode) = pod.namespace.identity();
    let netns = Netns { path, device, inode };
    let tag = Tag::of(&call.network, &attachment);
    let lock = site.records.share(tag.network, site.deadline).map_err(Problem::from)?;
    let mut adding = Adding {
        call,
        config: &config,
        site: &site,
        attachment: &attachment,
        tag,
        ipam: &ipam,
        setup: &setup,
        identity,
        vpp: connect(&config.socket, site.deadline)?,
        pod,
        earlier: None,
        record: None,
        took_addresses: false,
        made: Made::default(),
    };
    let answer = adding.run(netns);
    drop(lock);
    match answer {
        Ok(result) => {
            let undo = adding.undo();
            Ok(Added { result: Answer::Full(result), undo: Box::new(move || undo.run()) })
        }
        Err(problem) => {
            adding.undo().run();
            Err(problem.into())
        }
    }
}

/// The node's part, rendered for this node.
fn setup(call: &Call, config: &Config) -> Result<(NodeSetup, Option<NodeIdentity>), Error> {
    let spec = NodeSpec::parse(&At::root(&config.node)).map_err(Problem::from)?;
    let identity = if spec.needs_identity() {
        let around = node_local::Surroundings::of(call);
        let found = node_local::find(&call.config, &around);
        Some(found.map_err(|problem| problem.error)?)
    } else {
        None
    };
    let setup = spec.render(identity.as_ref()).map_err(Problem::from)?;
    Ok((setup, identity))
}

/// Opens the pod's namespace.
fn open(path: &Path) -> Result<Namespace, Error> {
    Namespace::open(path).map_err(|error| {
        let code = if error.is_not_found() || error.is_not_namespace() {
            Code::InvalidNamespace
        } else {
            Code::Io
        };
        Error::new(code, error.to_string())
    })
}

/// An ADD under way.
struct Adding<'a> {
    call: &'a Call,
    config: &'a Config,
    site: &'a Site,
    attachment: &'a Attachment,
    tag: Tag,
    ipam: &'a Ipam,
    setup: &'a NodeSetup,
    identity: Option<NodeIdentity>,
    vpp: Client,
    pod: Pod,
    /// What an ADD before this one has recorded.
    earlier: Option<Record>,
    record: Option<Record>,
    took_addresses: bool,
    made: Made,
}

impl Adding<'_> {
    fn run(&mut self, netns: Netns) -> Result<FullResult, Problem> {
        self.earlier = match self.site.records.read(self.tag) {
            Ok(earlier) => earlier,
            Err(error) => {
                self.call.warn(&error.to_string());
                None
            }
        };
        let begun = self.earlier.take_if(|earlier| !earlier.is_complete()).is_some();
        if let Some(earlier) =
            self.earlier.as_ref().filter(|earlier| !is_at(earlier, &self.config.socket))
            && let Some(away) = leave(self.site, self.tag, earlier)?
        {
            self.call
                .warn(&format!("{away}: what it has of the pod is removed when it is met again"));
        }
        let kind = self.kind()?;
        if self.earlier.is_none() {
            let record = self.begin(netns.clone(), kind, &Layout::default(), Value::Null);
            self.site.records.write(self.tag, &record)?;
            self.record = Some(record);
        }
        let (answer, raw) = self.addresses(begun)?;
        let ifname = self.attachment.ifname.as_str().to_owned();
        let taken = if self.config.default_route.is_none() {
            self.pod.default_routes(&ifname)?
        } else {
            Vec::new()
        };
        let has_default = |family: Family| taken.contains(&family);
        let layout = layout(&answer, self.config.default_route, has_default)?;
        for warning in &layout.warnings {
            self.call.warn(warning);
        }
        let mut record = self.begin(netns, kind, &layout, raw);
        let dumped = dump(&mut self.vpp)?;
        for problem in clean_pending(&mut self.vpp, &dumped, &self.site.records) {
            self.call.warn(&problem.to_string());
        }
        let gateways = record.gateways();
        let wanted = node::Wanted {
            setup: self.setup,
            network: &self.call.network,
            table: record.table,
            gateways: &gateways,
        };
        let ready = node::ensure(&mut self.vpp, &wanted, &self.site.node(), Some(dumped.clone()))?;
        for note in &ready.notes {
            self.call.warn(note);
        }
        record.mtu = self.mtu(ready.mtu, &layout)?;
        self.site.records.write(self.tag, &record)?;
        self.record = Some(record.clone());
        let side = PodSide::of(&record, self.tag);
        let ends = Ends {
            tag: self.tag,
            macs: Macs::of(self.attachment),
            ready: &ready,
            side: &side,
            earlier: self.earlier.as_ref(),
        };
        let auto = self.config.kind == KindSpec::Auto;
        let made = make(&mut self.vpp, &mut self.pod, &record, &dumped, &ends, &mut self.made);
        let result = match made {
            // VPP may lack the device that the host has.
            Err(problem) if auto && record.kind == Kind::Tap && lacks_vhost(&problem) => {
                self.call.warn(&format!("{problem}: a veth pair is used instead"));
                record.kind = Kind::Veth;
                record.device = host_device(&self.call.network, self.attachment);
                self.site.records.write(self.tag, &record)?;
                self.record = Some(record.clone());
                make(&mut self.vpp, &mut self.pod, &record, &dumped, &ends, &mut self.made)
            }
            made => made,
        };
        result?;
        Ok(self.result(&record, &layout, answer))
    }

    /// Which kind it is: that of an attachment that is there stays.
    fn kind(&mut self) -> Result<Kind, Problem> {
        let kind = match (self.config.kind, &self.earlier) {
            (KindSpec::Fixed(kind), _) => kind,
            (KindSpec::Auto, Some(earlier)) => earlier.kind,
            (KindSpec::Auto, None) => {
                let vhost = self.site.root.join("dev/vhost-net").exists();
                if vhost && lacks(&mut self.vpp, Kind::Tap).is_empty() {
                    Kind::Tap
                } else {
                    Kind::Veth
                }
            }
        };
        match lacks(&mut self.vpp, kind).into_iter().next() {
            Some(missing) => Err(vpp_api::Error::from(missing).into()),
            None => Ok(kind),
        }
    }

    /// Addresses from the IPAM plugin. One that refuses a second ADD has its answer in the record, if it still
    /// stands by it. `begun`: whether an ADD before this one stopped before it knew the answer; what it got nobody
    /// uses, and is freed.
    fn addresses(&mut self, begun: bool) -> Result<(IpamResult, Value), Problem> {
        let answer = match self.ipam.add(self.site) {
            Err(_) if begun => {
                self.ipam.del(self.site)?;
                self.ipam.add(self.site)
            }
            answer => answer,
        };
        match answer {
            Ok(answer) => {
                self.took_addresses = self.earlier.is_none();
                Ok(answer)
            }
            Err(error) => {
                let recorded = self.earlier.as_ref().map(|earlier| earlier.ipam_result.clone());
                match recorded.filter(|answer| self.ipam.holds(answer, self.site)) {
                    Some(answer) => Ok((IpamResult::parse(&answer)?, answer)),
                    None => Err(error.into()),
                }
            }
        }
    }

    fn begin(&self, netns: Netns, kind: Kind, layout: &Layout, raw: Value) -> Record {
        let macs = Macs::of(self.attachment);
        let hash = AttachmentHash::of(self.attachment);
        let mut record = Beginning {
            network: &self.call.network,
            attachment: self.attachment,
            netns,
            socket: self.config.socket.clone(),
            kind,
            pod_mac: self.config.mac.unwrap_or(macs.pod),
            vpp_mac: macs.vpp,
        }
        .record();
        record.set_owner(&self.config.owner);
        if kind == Kind::Veth {
            record.device = host_device(&self.call.network, self.attachment);
        }
        if kind == Kind::Memif {
            record.memif_socket = Some(memif_socket(&self.config.memif, hash));
        }
        record.rx_mode = self.config.rx_mode;
        record.tap = self.config.tap;
        record.memif = self.config.memif.clone();
        record.table = self.config.table;
        record.addresses.clone_from(&layout.addresses);
        record.routes.clone_from(&layout.routes);
        record.ipam.clone_from(&self.config.ipam);
        record.ipam_result = raw;
        record.node = self.config.node.clone();
        if let Some(identity) = &self.identity {
            record.node_index = Some(identity.index);
            record.node_name = Some(identity.name.clone());
        }
        record
    }

    fn mtu(&self, uplink: Option<u32>, layout: &Layout) -> Result<u32, Problem> {
        let mtu = self.config.mtu.or(uplink).unwrap_or(DEFAULT_MTU);
        let has_ipv6 = layout.addresses.iter().any(|address| address.gateway.is_ipv6());
        if has_ipv6 && mtu < IPV6_MTU {
            let message = format!("an MTU of {mtu} bytes is too small for IPv6");
            let error = Error::new(Code::InvalidConfig, message)
                .with_details(format!("IPv6 needs {IPV6_MTU} bytes or more"));
            return Err(error.into());
        }
        Ok(mtu)
    }

    fn result(&self, record: &Record, layout: &Layout, answer: IpamResult) -> FullResult {
        let mut interfaces = Vec::new();
        if record.kind == Kind::Veth {
            interfaces.push(Interface {
                name: record.device.clone(),
                mac: Macs::of(self.attachment).host.to_string(),
                mtu: Some(record.mtu),
                ..Interface::default()
            });
        }
        let own = interfaces.len();
        let socket = record.memif_socket.as_ref();
        interfaces.push(Interface {
            name: record.ifname.clone(),
            mac: record.pod_mac.to_string(),
            sandbox: record.netns.path.to_string_lossy().into_owned(),
            mtu: Some(record.mtu),
            socket_path: socket.map(|path| path.to_string_lossy().into_owned()),
            pci_id: None,
        });
        let ips = record.addresses.iter().map(|address| InterfaceIp {
            config: IpConfig {
                address: address.address.addr(),
                prefix: address.address.max_prefix_len(),
                gateway: Some(address.gateway),
            },
            interface: Some(own),
        });
        let mut routes = answer.routes;
        routes.extend(layout.added.iter().map(|route| cni::Route {
            dst: route.destination.to_string(),
            gw: Some(route.via),
            mtu: 0,
            advmss: 0,
            priority: 0,
            table: None,
            scope: None,
        }));
        FullResult { interfaces, ips: ips.collect(), routes, dns: answer.dns }
    }

    /// What takes it back: what this call has made, nothing else.
    fn undo(self) -> Undo {
        Undo {
            site: self.site.clone(),
            tag: self.tag,
            device: host_device(&self.call.network, self.attachment),
            ifname: self.attachment.ifname.as_str().to_owned(),
            ipam: self.took_addresses.then(|| self.ipam.clone()),
            had_record: self.earlier.is_some(),
            record: self.record,
            made: self.made,
            vpp: self.vpp,
            pod: self.pod,
        }
    }
}

/// Whether VPP has no /dev/vhost-net.
fn lacks_vhost(problem: &Problem) -> bool {
    let Problem::Vpp(error) = problem else { return false };
    error.retval() == Some(vpp_api::Retval::SYSCALL_ERROR_1)
}
