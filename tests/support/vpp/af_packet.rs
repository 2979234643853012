//! Interfaces on network devices.

use super::answer::Answer;
use super::interface::mac_of;
use super::layout::Values;
use super::state::{Interface, Kind, State, errno};

/// Bytes of a page: frames of a block are a multiple.
const PAGE: u64 = 4096;
/// What the default rings take.
const DEFAULT_MEMORY: u64 = 78 << 20;
/// Blocks that are received into with TPACKET version 3, whatever is asked for.
const BLOCKS: u64 = 160;

/// Does what a request asks for, if it is about af_packet.
pub(super) fn handle(state: &mut State, message: &str, m: &Values) -> Option<Answer> {
    Some(match message {
        "af_packet_create_v2" | "af_packet_create_v3" => create(state, m),
        "af_packet_delete" => Answer::of(delete(state, m.text("host_if_name"))),
        "af_packet_dump" => dump(state),
        _ => return None,
    })
}

/// The interface on a device.
fn on(state: &State, wanted: &str) -> Option<u32> {
    let is_on = |interface: &Interface| matches!(&interface.kind, Kind::AfPacket { device, .. } if device == wanted);
    let mut all = state.interfaces.iter();
    all.find(|(_, interface)| is_on(interface)).map(|(index, _)| *index)
}

fn create(state: &mut State, m: &Values) -> Answer {
    let device = m.text("host_if_name").to_owned();
    if let Some(index) = on(state, &device) {
        return Answer::Reply(errno::IF_EXISTS, Values::default().with("sw_if_index", index));
    }
    if device.is_empty() || device.len() > 15 || !state.has_device(&device) {
        // What is in the field then means nothing.
        let garbage = Values::default().with("sw_if_index", 0);
        return Answer::Reply(errno::INVALID_INTERFACE, garbage);
    }
    let Some(memory) = memory(m) else { return Answer::made(Err(errno::SYSCALL_1)) };
    let mac = if m.truth("use_random_hw_addr") {
        let [a, b, c, d] = state.random().to_be_bytes();
        [0x02, 0xfe, a, b, c, d]
    } else {
        mac_of(m.bytes("hw_addr"))
    };
    let name = format!("host-{device}");
    let kind = Kind::AfPacket { device, dead: false, memory };
    Answer::made(Ok(state.add(Interface::new(kind, &name, mac))))
}

/// Bytes of the rings; none if the kernel would refuse them.
fn memory(m: &Values) -> Option<u64> {
    const VERSION_2: u32 = 8;
    let ring = |direction: &str| {
        let size = u64::from(m.number(&format!("{direction}_frame_size")));
        let frames = u64::from(m.number(&format!("{direction}_frames_per_block")));
        let block = size * frames;
        if block == 0 {
            Some(DEFAULT_MEMORY / 2)
        } else {
            block.is_multiple_of(PAGE).then_some(block)
        }
    };
    let (rx, tx) = (ring("rx")?, ring("tx")?);
    let blocks =
        if m.number("flags") & VERSION_2 == 0 && rx < DEFAULT_MEMORY / 2 { BLOCKS } else { 1 };
    Some(rx * blocks + tx)
}

fn delete(state: &mut State, device: &str) -> Result<(), i32> {
    let index = on(state, device).ok_or(errno::SYSCALL_1)?;
    state.remove(index);
    Ok(())
}

fn dump(state: &State) -> Answer {
    let details = state.interfaces.iter().filter_map(|(index, interface)| match &interface.kind {
        Kind::AfPacket { device, .. } => Some(
            Values::default().with("sw_if_index", *index).with("host_if_name", device.as_str()),
        ),
        _ => None,
    });
    Answer::Details("af_packet_details", details.collect())
}

impl State {
    /// A network device is deleted: the interface on it stays, dead, also if a device of this name comes again.
    pub fn device_is_gone(&mut self, wanted: &str) {
        for interface in self.interfaces.values_mut() {
            if let Kind::AfPacket { device, dead, .. } = &mut interface.kind
                && device == wanted
            {
                *dead = true;
            }
        }
        if let super::setup::Devices::Named(names) = &mut self.setup.devices {
            names.remove(wanted);
        }
    }
}
