//! The content of a reservation file: `<container id>` CR LF `<ifname>`, no final newline.

use ipam_core::identity::{Attachment, ContainerId, Holder, IfName};

/// The largest content that is looked at. A longer one is no record: the kernel passes no longer text in the
/// environment than 128 KiB.
pub(super) const LARGEST: u64 = 160 * 1024;

/// A content that names nobody: what a holder that is not known is written as. Its address stays taken.
pub(super) const NOBODY: &str = "?";

/// Renders the content for an attachment, exactly as the reference does.
pub(super) fn render(attachment: &Attachment) -> String {
    format!("{}\r\n{}", attachment.container, attachment.ifname)
}

/// Reads a content leniently: `None` if there is nothing, [`Holder::Unknown`] if it names nobody.
///
/// The reference compares the trimmed text with `<id>\r\n<ifname>` or, for records from before v0.8.0,
/// with `<id>`. A line feed alone is understood, too: it can only be the work of a person or a script.
pub(super) fn parse(content: &[u8]) -> Option<Holder> {
    if content.is_empty() {
        return None;
    }
    let cut = u64::try_from(content.len()).is_ok_and(|length| length >= LARGEST);
    Some(holder(content).filter(|_| !cut).unwrap_or(Holder::Unknown))
}

fn holder(content: &[u8]) -> Option<Holder> {
    let text = std::str::from_utf8(content).ok()?.trim();
    let Some((id, ifname)) = text.split_once('\n') else {
        return ContainerId::new(text).ok().map(Holder::Container);
    };
    let container = ContainerId::new(id.strip_suffix('\r').unwrap_or(id)).ok()?;
    let ifname = IfName::new(ifname).ok()?;
    Some(Holder::Attachment(Attachment { container, ifname }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn attachment(id: &str, ifname: &str) -> Attachment {
        Attachment {
            container: ContainerId::new(id).unwrap(),
            ifname: IfName::new(ifname).unwrap(),
        }
    }

    #[test]
    fn records_are_read_leniently_and_written_exactly() {
        assert_eq!(render(&attachment("c1", "eth0")), "c1\r\neth0");
        let both = Some(Holder::Attachment(attachment("c1", "eth0")));
        for text in ["c1\r\neth0", "c1\neth0", " c1\r\neth0\n", "c1\r\neth0\r\n"] {
            assert_eq!(parse(text.as_bytes()), both, "{text:?}");
        }
        let id = Some(Holder::Container(ContainerId::new("c1").unwrap()));
        for text in ["c1", "c1\n", "c1\r\n"] {
            assert_eq!(parse(text.as_bytes()), id, "{text:?}");
        }
        for text in [
            NOBODY,
            "some other tool's text",
            "\n",
            "c1\r\na b",
            "c1\r\neth0\r\nx",
            "c1\reth0",
            "\0\0\0",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(Holder::Unknown), "{text:?}");
        }
        assert_eq!(parse(&[0xff, 0xfe]), Some(Holder::Unknown));
        assert_eq!(parse(b""), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(id in "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,80}", ifname in "[a-z][a-z0-9.@-]{0,14}") {
            let attachment = attachment(&id, &ifname);
            let read = parse(render(&attachment).as_bytes());
            prop_assert_eq!(read, Some(Holder::Attachment(attachment)));
        }

        #[test]
        fn no_content_is_too_much(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&content);
        }
    }
}
