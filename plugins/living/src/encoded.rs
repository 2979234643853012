//! Bytes that JSON documents carry as text.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Base64 (RFC 4648, section 4) as Go and etcdctl write it; padding may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes; `None` for anything that is not Base64.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_may_be_missing() {
        for (text, bytes) in [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zg", Some("f")),
            ("Zm9vYg==", Some("foob")),
            ("Z", None),
            ("Zm9v!", None),
            ("Zm\n9v", None),
        ] {
            assert_eq!(base64(text).as_deref(), bytes.map(str::as_bytes), "{text:?}");
        }
    }
}
