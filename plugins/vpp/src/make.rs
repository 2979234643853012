/*!
Making an attachment: what is there is found and used, what is half there is finished or removed, what is missing
is made.

VPP takes 30 to 60 ms to open a veth pair's end. The pod is configured on another thread meanwhile.
*/

use kernel::{Link, Netlink};
use vpp_api::Client;
use vpp_api::msg::SwInterfaceDetails;

use crate::attach::plan::{Around, TAP_DEVICES, differences, finish, no_routes, repair};
use crate::attach::remove::{Going, from_vpp, is_ours};
use crate::attach::seen::{find_or_ask, look};
use crate::attach::step::{Step, apply};
use crate::attach::{create, veth};
use crate::config::Kind;
use crate::errors::Problem;
use crate::names::Macs;
use crate::node::{Dumped, Ready};
use crate::pod::plan::PodSide;
use crate::pod::{Pod, configure};
use crate::record::{Record, Records};
use crate::tag::Tag;

/// What this call has made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Made {
    /// Something in the kernel.
    pub(crate) link: bool,
    /// Something in VPP.
    pub(crate) interface: bool,
}

impl Made {
    /// Whether anything was made.
    pub(crate) const fn any(self) -> bool {
        self.link || self.interface
    }
}

/// What an attachment is between.
pub(crate) struct Ends<'a> {
    /// Its tag.
    pub(crate) tag: Tag,
    /// Its Ethernet addresses.
    pub(crate) macs: Macs,
    /// The node's part.
    pub(crate) ready: &'a Ready,
    /// What the pod gets.
    pub(crate) side: &'a PodSide,
    /// What an ADD before has recorded.
    pub(crate) earlier: Option<&'a Record>,
}

impl Ends<'_> {
    fn around(&self) -> Around {
        Around { gateway: self.ready.gateway, source: self.ready.pod_source }
    }
}

/// Makes an attachment, or finishes one. The node's part is done, and the attachment recorded.
///
/// # Errors
/// What VPP or the kernel refuse; `made` tells what is to be taken back then.
pub(crate) fn make(
    vpp: &mut Client,
    pod: &mut Pod,
    record: &Record,
    dumped: &Dumped,
    ends: &Ends<'_>,
    made: &mut Made,
) -> Result<(), Problem> {
    let mut making = Making { vpp, pod, record, dumped, ends, made };
    match record.kind {
        Kind::Veth => making.veth(),
        Kind::Tap => making.tap(),
        Kind::Memif => making.memif(),
    }
}

/// What VPP calls the devices of a kind.
const fn device_types(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Veth => &["af-packet"],
        Kind::Tap => TAP_DEVICES,
        Kind::Memif => &["memif"],
    }
}

struct Making<'a> {
    vpp: &'a mut Client,
    pod: &'a mut Pod,
    record: &'a Record,
    dumped: &'a Dumped,
    ends: &'a Ends<'a>,
    made: &'a mut Made,
}

impl<'a> Making<'a> {
    /// What VPP has of the attachment.
    fn existing(&mut self) -> Result<Option<&'a SwInterfaceDetails>, Problem> {
        let (interfaces, record) = (&self.dumped.interfaces, self.record);
        let socket = record.memif_socket.as_deref();
        Ok(find_or_ask(self.vpp, interfaces, self.ends.tag, &record.device, socket)?)
    }

    fn is_of_kind(&self, interface: &SwInterfaceDetails) -> bool {
        let device = interface.interface_dev_type.to_string();
        device_types(self.record.kind).contains(&device.as_str())
    }

    fn going(&self) -> Going<'_> {
        Going {
            tag: self.ends.tag,
            device: &self.record.device,
            record: self.ends.earlier.or(Some(self.record)),
            is_pending: false,
        }
    }

    fn veth(&mut self) -> Result<(), Problem> {
        let mut host = Netlink::open()?;
        let on_host = host.link(&self.record.device)?;
        let in_pod = self.pod.netlink.link(&self.record.ifname)?;
        let existing = self.existing()?;
        let is_whole =
            matches!((&on_host, &in_pod), (Some(host), Some(pod)) if veth::are_a_pair(host, pod));
        match existing {
            Some(interface) if is_whole && self.is_of_kind(interface) => {
                self.finish(interface)?;
                return Ok(configure(
                    &self.pod.namespace,
                    &mut self.pod.netlink,
                    self.ends.side,
                    true,
                )?);
            }
            // An interface on half a pair is dead, and stays so when the pair comes again.
            Some(_) => self.remove_from_vpp()?,
            None => {}
        }
        if !is_whole {
            if let Some(link) = &on_host {
                host.delete_link(link.index)?;
            }
            self.make_room()?;
            self.made.link = true;
            let Ends { tag, macs, .. } = self.ends;
            veth::make_pair(&mut host, &self.pod.namespace, self.record, *tag, macs)?;
        }
        self.both_ends()
    }

    /// VPP's end and the pod's, at the same time.
    fn both_ends(&mut self) -> Result<(), Problem> {
        let Pod { namespace, netlink } = &mut *self.pod;
        let side = self.ends.side;
        self.made.interface = true;
        let (record, ends, vpp) = (self.record, self.ends, &mut *self.vpp);
        let (in_pod, in_vpp) = std::thread::scope(|scope| {
            let pod = scope.spawn(|| configure(namespace, netlink, side, true));
            let in_vpp = new_interface(vpp, record, ends, false);
            (pod.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), in_vpp)
        });
        in_vpp?;
        Ok(in_pod?)
    }

    fn tap(&mut self) -> Result<(), Problem> {
        let in_pod = self.pod.netlink.link(&self.record.ifname)?;
        let is_tap =
            |link: &Link| link.kind.as_deref() == Some("tun") && is_ours(link, self.going());
        let adopts = in_pod.as_ref().is_some_and(is_tap);
        match self.existing()? {
            Some(interface) if adopts && self.is_of_kind(interface) => self.finish(interface)?,
            existing => {
                if existing.is_some() {
                    self.remove_from_vpp()?;
                }
                // Deleting VPP's interface has deleted its tap.
                let adopts = adopts && existing.is_none();
                if !adopts {
                    self.make_room()?;
                }
                self.made.interface = true;
                new_interface(self.vpp, self.record, self.ends, adopts)?;
            }
        }
        Ok(configure(&self.pod.namespace, &mut self.pod.netlink, self.ends.side, false)?)
    }

    fn memif(&mut self) -> Result<(), Problem> {
        match self.existing()? {
            Some(interface) if self.is_of_kind(interface) => self.finish(interface),
            existing => {
                if existing.is_some() {
                    self.remove_from_vpp()?;
                }
                self.made.interface = true;
                new_interface(self.vpp, self.record, self.ends, false)
            }
        }
    }

    /// Finishes, or repairs, an interface that is there.
    fn finish(&mut self, interface: &SwInterfaceDetails) -> Result<(), Problem> {
        let index = interface.sw_if_index;
        let seen = look(self.vpp, index, self.record)?;
        let around = self.ends.around();
        let tag = self.ends.tag;
        let found = differences(self.record, tag, Some(around.gateway), interface, &seen);
        let mut steps = repair(self.record, tag, around, &found, &seen);
        if found.is_empty() {
            // VPP's dump of interfaces does not tell it, and one that has it already takes no harm.
            steps.extend(self.record.rx_mode.map(Step::RxMode));
        }
        if let Some(earlier) = self.ends.earlier {
            // What the attachment had, and has not any more: of another table, say.
            let old = no_routes(earlier, around.source);
            steps.extend(old.filter(|step| !is_wanted(self.record, step)));
        }
        Ok(apply(self.vpp, index, &steps)?)
    }

    fn remove_from_vpp(&mut self) -> Result<(), Problem> {
        // No record is looked at for what has an interface.
        let none = Records::new(std::path::PathBuf::new());
        let going = Going {
            tag: self.ends.tag,
            device: &self.record.device,
            record: self.ends.earlier.or(Some(self.record)),
            is_pending: false,
        };
        from_vpp(self.vpp, self.dumped, going, &none)
    }

    /// Deletes what is left of ours in the pod; somebody else's interface is in the way.
    fn make_room(&mut self) -> Result<(), Problem> {
        let Some(link) = self.pod.netlink.link(&self.record.ifname)? else { return Ok(()) };
        if is_ours(&link, self.going()) {
            self.pod.netlink.delete_link(link.index)?;
            return Ok(());
        }
        let message = format!(
            "the pod has an interface {} already, which is not this attachment's",
            self.record.ifname
        );
        Err(cni::Error::new(cni::Code::InvalidEnvironment, message)
            .with_details(
                "CNI_IFNAME must be a name that the pod's network namespace does not have",
            )
            .into())
    }
}

/// Whether the route that a step takes away is one of the attachment's.
fn is_wanted(record: &Record, step: &Step) -> bool {
    match step {
        Step::NoRoute { table, address, .. } => record.holds(&record.socket, *table, *address),
        _ => false,
    }
}

/// A new interface in VPP, complete.
pub(crate) fn new_interface(
    vpp: &mut Client,
    record: &Record,
    ends: &Ends<'_>,
    adopts: bool,
) -> Result<(), Problem> {
    let index = create(vpp, record, ends.tag, adopts)?;
    Ok(apply(vpp, index, &finish(record, ends.tag, ends.around()))?)
}
