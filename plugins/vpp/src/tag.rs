/*!
The tag that VPP's interfaces of ours carry: `plat/<8 hex of the network>/<16 hex of container ID and ifname>`.

VPP's numbers of interfaces are used again at once, so nothing is known by its number. The tag is the
only mark that VPP keeps, as long as the interface lives.
*/

use std::fmt;

use ipam_core::identity::Attachment;

use crate::names::{AttachmentHash, NetworkHash};

/// The tag of an attachment's interface. Hashes are shown as they stand in VPP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// Of which network.
    pub network: NetworkHash,
    /// Of which attachment.
    pub attachment: AttachmentHash,
}

impl Tag {
    /// The tag of an attachment to a network.
    pub fn of(network: &str, attachment: &Attachment) -> Self {
        Self { network: NetworkHash::of(network), attachment: AttachmentHash::of(attachment) }
    }

    /// Reads a tag; `None` for every other text, also for our tags of other things.
    pub fn parse(text: &str) -> Option<Self> {
        let (network, attachment) = text.strip_prefix("plat/")?.split_once('/')?;
        let hex = |text: &str, digits: usize| {
            let small = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            (text.len() == digits && small).then(|| u64::from_str_radix(text, 16).ok())?
        };
        let network = u32::try_from(hex(network, 8)?).ok()?;
        Some(Self {
            network: NetworkHash(network),
            attachment: AttachmentHash(hex(attachment, 16)?),
        })
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plat/{}/{}", self.network, self.attachment)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tags_are_read_as_they_are_written(network: u32, attachment: u64) {
            let tag =
                Tag { network: NetworkHash(network), attachment: AttachmentHash(attachment) };
            prop_assert_eq!(Tag::parse(&tag.to_string()), Some(tag));
            prop_assert!(tag.to_string().len() <= 63);
        }

        #[test]
        fn every_text_is_taken(text in ".{0,80}") {
            if let Some(tag) = Tag::parse(&text) {
                prop_assert_eq!(tag.to_string(), text);
            }
        }
    }

    #[test]
    fn other_texts_are_no_tags() {
        for text in [
            "",
            "plat/",
            "plat/gateway/0",
            "plat/host/0",
            "plat/0000000/0000000000000000",
            "plat/00000000/000000000000000",
            "plat/00000000/000000000000000G",
            "plat/00000000/00000000000000000",
            "plat/+0000000/0000000000000000",
            "Plat/00000000/0000000000000000",
            "plat/00000000/0000000000000000/",
        ] {
            assert_eq!(Tag::parse(text), None, "{text}");
        }
    }
}
