/*!
The message table: which messages this VPP has, and by which numbers.

VPP sends it once, in the answer to the handshake: names with the CRC of their layout, `show_version_51077d14`.
The numbers depend on the order in which VPP loaded its plugins, and are good for one connection.
*/

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{Missing, MissingReason};
use crate::wire::{DecodeError, Field as _, Reader};

/// What of VPP has a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// VPP itself: always there.
    Core,
    /// The af_packet plugin (part of VPP up to 22.10).
    AfPacket,
    /// The tap plugin (part of VPP up to 25.10).
    Tap,
    /// The memif plugin.
    Memif,
}

impl Component {
    /// A message that it has in every version.
    const fn mark(self) -> &'static str {
        match self {
            Self::Core => "control_ping_",
            Self::AfPacket => "af_packet_dump_",
            Self::Tap => "tap_delete_v2_",
            Self::Memif => "memif_dump_",
        }
    }
}

/// As in `plugins { plugin ..._plugin.so { enable } }`, without the ending.
impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Core => "core",
            Self::AfPacket => "af_packet",
            Self::Tap => "tap",
            Self::Memif => "memif",
        })
    }
}

/// A message by its name and the CRC of its layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Its name.
    pub name: &'static str,
    /// The CRC of its layout.
    pub crc: u32,
    /// What of VPP has it.
    pub component: Component,
}

/// Bytes of an entry: a number, and a name that is filled up with NUL.
const ENTRY: usize = 2 + 64;

/// The messages of a VPP.
#[derive(Clone, Debug, Default)]
pub struct MessageTable {
    /// Entries as they were sent: few of them are ever looked at.
    entries: Vec<u8>,
    known: BTreeMap<Name, u16>,
}

impl MessageTable {
    /// Reads a table: a count, and so many entries.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if there are fewer entries than are counted.
    pub fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = usize::from(u16::read(from)?);
        let entries = from.take(count.saturating_mul(ENTRY))?.to_vec();
        Ok(Self { entries, known: BTreeMap::new() })
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.entries.len() / ENTRY
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries: name and number.
    fn entries(&self) -> impl Iterator<Item = (&[u8], u16)> {
        self.entries.chunks_exact(ENTRY).filter_map(|entry| {
            let ([high, low], name) = entry.split_first_chunk::<2>()?;
            let name = name.split(|&byte| byte == 0).next()?;
            Some((name, u16::from_be_bytes([*high, *low])))
        })
    }

    /// The number of a message.
    ///
    /// # Errors
    ///
    /// [`Missing`], with the reason.
    pub fn number(&mut self, name: Name) -> Result<u16, Missing> {
        if let Some(number) = self.known.get(&name) {
            return Ok(*number);
        }
        let wanted = format!("{}_{:08x}", name.name, name.crc);
        let found = self.entries().find(|(entry, _)| *entry == wanted.as_bytes());
        let number = found.map(|(_, number)| number).ok_or_else(|| self.missing(name))?;
        self.known.insert(name, number);
        Ok(number)
    }

    /// Whether a message is there.
    pub fn has(&mut self, name: Name) -> bool {
        self.number(name).is_ok()
    }

    fn missing(&self, name: Name) -> Missing {
        let Name { name: message, crc, component } = name;
        let other = self.entries().find_map(|(entry, _)| {
            let rest = entry.strip_prefix(message.as_bytes())?.strip_prefix(b"_")?;
            // Not `sw_interface_details` for `sw_interface`: a CRC has eight digits.
            let digits = std::str::from_utf8(rest).ok().filter(|digits| digits.len() == 8)?;
            u32::from_str_radix(digits, 16).ok()
        });
        let reason = match other {
            Some(other) => MissingReason::OtherLayout(other),
            None if component == Component::Core || self.has_some_of(component) => {
                MissingReason::NotInThisVersion
            }
            None => MissingReason::NotLoaded,
        };
        Missing { message, crc, component, reason }
    }

    fn has_some_of(&self, component: Component) -> bool {
        self.entries().any(|(entry, _)| entry.starts_with(component.mark().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Text;

    fn table(names: &[(&str, u16)]) -> MessageTable {
        let mut bytes = Vec::new();
        u16::try_from(names.len()).unwrap().write(&mut bytes);
        for (name, number) in names {
            number.write(&mut bytes);
            Text::<64>::new(name).unwrap().write(&mut bytes);
        }
        MessageTable::read(&mut Reader::new(&bytes)).unwrap()
    }

    const V3: Name =
        Name { name: "af_packet_create_v3", crc: 0xb3a8_09d4, component: Component::AfPacket };

    #[test]
    fn a_message_is_found_by_name_and_crc() {
        let mut table =
            table(&[("show_version_51077d14", 7), ("af_packet_create_v3_b3a809d4", 513)]);
        assert_eq!(table.number(V3), Ok(513));
        assert_eq!(table.number(V3), Ok(513));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn what_is_missing_is_missing_for_a_reason() {
        let core =
            Name { name: "ip_table_add_del_v2", crc: 0x14e5_081f, component: Component::Core };
        for (names, name, text) in [
            (
                &[][..],
                V3,
                "plugin af_packet is not loaded in this VPP: it has no af_packet_create_v3",
            ),
            (
                &[("af_packet_dump_51077d14", 1)],
                V3,
                "this VPP's af_packet has no message af_packet_create_v3",
            ),
            (
                &[("af_packet_create_v3_0000abcd", 1)],
                V3,
                "this VPP's af_packet_create_v3 has another layout (CRC 0000abcd, not b3a809d4)",
            ),
            (
                &[("af_packet_create_v3_reply_5383d31f", 1)],
                V3,
                "plugin af_packet is not loaded in this VPP: it has no af_packet_create_v3",
            ),
            (&[], core, "this VPP's core has no message ip_table_add_del_v2"),
        ] {
            assert_eq!(table(names).number(name).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn a_count_that_lies_is_an_error() {
        assert!(MessageTable::read(&mut Reader::new(&[0xff, 0xff, 0, 1])).is_err());
        assert!(MessageTable::read(&mut Reader::new(&[0])).is_err());
    }
}
