//! "Did you mean".

/// The known word that is meant by a word that is not, if one is near enough.
pub(super) fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().take(64).collect();
    // A slip in a short word makes another word; a long one bears two.
    let most = if word.len() <= 5 { 1 } else { 2 };
    let near = known.into_iter().map(|known| {
        let letters: Vec<char> = known.to_lowercase().chars().collect();
        (distance(&word, &letters), known)
    });
    near.filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|n| n.1)
}

/// How many letters must be added, left out, changed, or swapped with their neighbour (optimal string
/// alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, c) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(last.len());
        row.push(i + 1);
        for (j, d) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
            let mut least = at(&last, j) + usize::from(c != d);
            least = least.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(d) && b.get(j - 1) == Some(c);
            if swapped {
                least = least.min(at(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood() {
        let known = ["ipam", "subnet", "rangeStart", "gateway", "type", "name"];
        for (word, meant) in [
            ("ipma", Some("ipam")),
            ("IPAM", Some("ipam")),
            ("subnets", Some("subnet")),
            ("range_start", Some("rangeStart")),
            ("gatway", Some("gateway")),
            ("mode", None),
            ("mtu", None),
            ("", None),
        ] {
            assert_eq!(suggest(word, known), meant, "{word}");
        }
        assert_eq!(suggest(&"x".repeat(100_000), known), None);
    }
}
