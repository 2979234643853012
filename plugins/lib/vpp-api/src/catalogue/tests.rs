use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::msg::Kind;
use crate::table::Component;

/// What VPP's API compiler says of the messages that are used here, in three releases: name, CRC, API
/// file, fields. Only facts of the interface; made from the `*.api.json` of each release.
const RELEASES: [(&str, &str); 3] = [
    ("22.10", include_str!("../../testdata/22.10.txt")),
    ("24.06", include_str!("../../testdata/24.06.txt")),
    ("26.06", include_str!("../../testdata/26.06.txt")),
];

/// A message in VPP's words.
struct Described<'a> {
    crc: u32,
    file: &'a str,
    fields: &'a str,
}

fn described(text: &str) -> BTreeMap<&str, Described<'_>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let messages = lines.map(|line| {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("{line}"));
        let (name, crc, file) = (word(), word(), word());
        let crc = u32::from_str_radix(crc, 16).unwrap_or_else(|_| panic!("{line}"));
        (name, Described { crc, file, fields: word() })
    });
    messages.collect()
}

/// From which of the releases on a message is there.
fn since(name: &str) -> &'static str {
    match name.trim_end_matches("_reply") {
        "ip_table_add_del_v2" => "26.06",
        "memif_create_v2" | "memif_socket_filename_add_del_v2" => "24.06",
        _ => "22.10",
    }
}

#[test]
fn every_message_is_what_each_release_has() {
    let known = known();
    assert!(known.len() > 110, "{}", known.len());
    for (release, text) in RELEASES {
        let releases = described(text);
        for message in &known {
            let name = message.name.name;
            let Some(theirs) = releases.get(name) else {
                assert!(since(name) > release, "VPP {release} has no {name}");
                continue;
            };
            assert!(since(name) <= release, "VPP {release} has {name} already");
            assert_eq!(message.name.crc, theirs.crc, "{name} of {release}");
            assert_eq!(message.layout(), theirs.fields, "{name} of {release}");
            let component = match theirs.file {
                "af_packet" => Component::AfPacket,
                "tapv2" => Component::Tap,
                "memif" => Component::Memif,
                _ => Component::Core,
            };
            assert_eq!(message.name.component, component, "{name}");
        }
    }
}

#[test]
fn every_message_of_the_excerpts_is_known() {
    let known: BTreeSet<&str> = known().iter().map(|message| message.name.name).collect();
    // The handshake has its own code; its numbers and layout are checked by the server for tests.
    let handshake = ["sockclnt_create", "sockclnt_delete"];
    for (release, text) in RELEASES {
        let strange: Vec<_> = described(text)
            .into_keys()
            .filter(|name| !handshake.contains(&name.trim_end_matches("_reply")))
            .filter(|name| !known.contains(name))
            .collect();
        assert!(strange.is_empty(), "of {release}: {strange:?}");
    }
}

#[test]
fn no_message_is_listed_twice() {
    let mut names: Vec<_> = known().iter().map(|message| message.name.name).collect();
    names.sort_unstable();
    assert!(names.is_sorted_by(|a, b| a != b), "{names:?}");
}

#[test]
fn the_marks_of_components_are_their_messages() {
    for (release, text) in RELEASES {
        let releases = described(text);
        for mark in ["control_ping", "af_packet_dump", "tap_delete_v2", "memif_dump"] {
            assert!(releases.contains_key(mark), "{mark} of {release}");
        }
    }
}

/// Requests by hand, byte for byte: what the layout test cannot see is the order of the bytes.
#[test]
fn requests_are_these_bytes() {
    use crate::msg;
    use crate::types::{IfIndex, InterfaceFlags, Mac, Prefix};
    use crate::wire::Field;
    fn hex(message: &impl Field) -> String {
        let mut out = Vec::new();
        message.write(&mut out);
        out.iter().map(|byte| format!("{byte:02x}")).collect()
    }
    let one = IfIndex(1);
    let up = msg::SwInterfaceSetFlags { sw_if_index: one, flags: InterfaceFlags::ADMIN_UP };
    assert_eq!(hex(&up), "0000000100000001");
    assert_eq!(hex(&msg::SwInterfaceDump::all()), "ffffffff0000000000");
    assert_eq!(hex(&msg::SwInterfaceDump::named_like("ab")), "ffffffff01000000026162");
    let prefix = Prefix::new("10.1.1.1".parse().unwrap(), 32).unwrap();
    let address =
        msg::SwInterfaceAddDelAddress { sw_if_index: one, is_add: true, del_all: false, prefix };
    assert_eq!(hex(&address), format!("00000001010000{}{}20", "0a010101", "00".repeat(12)));
    let neighbor =
        msg::IpNeighborAddDel::set(one, "2001:db8::1".parse().unwrap(), Mac([2, 0xfe, 0, 0, 0, 1]));
    assert_eq!(
        hex(&neighbor),
        format!("01000000010102fe0000000101{}{}{}", "20010db8", "00".repeat(11), "01")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No bytes make any decoder panic, and what can be read is written and read as the same.
    #[test]
    fn any_bytes_can_be_read_as_any_message(
        bytes in proptest::collection::vec(prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 0..900),
    ) {
        for message in known() {
            if let Ok(written) = message.recode(&bytes) {
                prop_assert_eq!(message.recode(&written), Ok(written.clone()), "{}", message.name.name);
            }
        }
    }

    /// Each message that was written ends where it has to: one byte less is too short.
    #[test]
    fn a_message_cut_short_is_refused(cut in 1usize..40) {
        let zeros = vec![0; 2048];
        for message in known() {
            let whole = message.recode(&zeros).unwrap();
            if let Some(length) = whole.len().checked_sub(cut) {
                prop_assert!(message.recode(&whole[..length]).is_err(), "{}", message.name.name);
            }
            prop_assert_eq!(message.recode(&whole), Ok(whole.clone()));
        }
    }
}

#[test]
fn kinds_follow_names() {
    for message in known() {
        let name = message.name.name;
        let wanted = if name.ends_with("_reply") {
            Kind::Reply
        } else if name.ends_with("_details") {
            Kind::Details
        } else if name.ends_with("_event") {
            Kind::Event
        } else {
            Kind::Request
        };
        assert_eq!(message.kind, wanted, "{name}");
    }
}
