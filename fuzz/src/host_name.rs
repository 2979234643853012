//! A host name tells one index, or none.

use ipam_core::node::index_of_host_name;

/// Reads the input's first line as a host name and what follows it, if anything, as a pattern.
pub fn host_name(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (name, pattern) = match text.split_once('\n') {
        Some((name, pattern)) => (name, Some(pattern)),
        None => (text, None),
    };
    let found = index_of_host_name(name, pattern);
    assert_eq!(found, index_of_host_name(name, pattern), "the same name tells two things");
    if let Err(error) = &found {
        assert!(!error.to_string().is_empty() && !error.advice().is_empty());
    }
    let found = found.ok();
    // Only the first label counts.
    let label = name.split('.').next().unwrap_or_default();
    assert_eq!(index_of_host_name(label, pattern).ok(), found, "without its domain");
    assert_eq!(index_of_host_name(&format!("{label}.0.d7"), pattern).ok(), found, "with another");

    match (pattern, found) {
        (None, _) => {
            assert_eq!(found, only_number(label));
            if let Some(index) = found {
                let stem = label.trim_end_matches(|c: char| c.is_ascii_digit());
                let padded = format!("{stem}00{index}");
                assert_eq!(index_of_host_name(&padded, None).ok(), found, "zeros do not count");
            }
        }
        (Some(_), Some(index)) => {
            assert!(label.contains(&index.to_string()), "{index} is not in {label:?}");
        }
        (Some(_), None) => {}
    }
}

/// The number at the end of a label, if it is the only one in it.
fn only_number(label: &str) -> Option<u32> {
    let runs: Vec<&str> =
        label.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty()).collect();
    match runs.as_slice() {
        [run] if label.ends_with(run) => {
            // More digits than any index has.
            let digits = run.trim_start_matches('0');
            let number: u64 =
                if digits.is_empty() { 0 } else { digits.get(..digits.len())?.parse().ok()? };
            u32::try_from(number).ok()
        }
        _ => None,
    }
}
