//! The messages of a VPP in miniature and their numbers, which are others after each start.

use std::collections::BTreeMap;

use super::layout::{Layout, Values, layouts};
use super::setup::Setup;

/// The number of `sockclnt_create`, always.
pub(super) const HELLO: u16 = 15;
const HELLO_REPLY: u16 = 16;

/// Messages by number and by name.
#[derive(Debug)]
pub(super) struct Table {
    by_number: BTreeMap<u16, Layout>,
    numbers: BTreeMap<String, u16>,
    /// What a client is told: names with CRC, and numbers.
    told: Vec<(u16, String)>,
}

impl Table {
    /// The table of a VPP that starts for the `start`-th time.
    pub(super) fn new(setup: &Setup, start: u32) -> Self {
        let mut table =
            Self { by_number: BTreeMap::new(), numbers: BTreeMap::new(), told: Vec::new() };
        let first = 100 + 37 * u16::try_from(start % 100).expect("few");
        let mut others = 0..setup.other_messages;
        let mut next = first;
        for layout in layouts(&setup.release, &setup.without) {
            let number = match layout.name.as_str() {
                "sockclnt_create" => HELLO,
                "sockclnt_create_reply" => HELLO_REPLY,
                _ => {
                    // Those of other plugins lie between.
                    for other in others.by_ref().take(4) {
                        table.told.push((next, format!("other_message_{other}_{other:08x}")));
                        next += 1;
                    }
                    next += 1;
                    next - 1
                }
            };
            let strange = setup.strange.contains(&layout.name.as_str());
            let crc = if strange { "0badc0de" } else { &layout.crc };
            table.told.push((number, format!("{}_{crc}", layout.name)));
            table.numbers.insert(layout.name.clone(), number);
            table.by_number.insert(number, layout);
        }
        for other in others {
            table.told.push((next, format!("other_message_{other}_{other:08x}")));
            next += 1;
        }
        table
    }

    /// The message of a number.
    pub(super) fn message(&self, number: u16) -> Option<&Layout> {
        self.by_number.get(&number)
    }

    /// Whether there is a message of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.numbers.contains_key(name)
    }

    /// Writes a message, without its header.
    pub(super) fn write(&self, name: &str, values: &Values) -> Vec<u8> {
        let number = self.numbers.get(name).unwrap_or_else(|| panic!("no message {name}"));
        self.by_number[number].write(*number, values)
    }

    /// The answer to the handshake.
    pub(super) fn welcome(&self, context: u32, index: u32) -> Vec<u8> {
        let record = |(number, name): &(u16, String)| {
            Values::default().with("index", u32::from(*number)).with("name", name.as_str())
        };
        let records = self.told.iter().map(record).collect();
        let values = Values::default()
            .with("context", context)
            .with("index", index)
            .with("count", u32::try_from(self.told.len()).expect("few messages"))
            .with("message_table", super::layout::Value::Records(records));
        self.write("sockclnt_create_reply", &values)
    }
}
