/*!
Prometheus' text format, version 0.0.4, made of the OpenMetrics format.

They differ where this crate's metrics can differ only in this: a counter's help and type stand under the name that its
samples have, with `_total`, and there is no mark at the end. Everybody reads it: old versions of Prometheus, the textfile
collector of node_exporter, `promtool check metrics`.
*/

/// The same text in the other format.
#[must_use]
pub fn plain(open: &str) -> String {
    let mut plain = String::with_capacity(open.len() + 64);
    // The help comes before the type says that it is a counter's.
    let mut help: Option<(&str, &str)> = None;
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let end = if kind == "counter" { "_total" } else { "" };
            if let Some((_, help)) = help.take().filter(|(of, _)| *of == name) {
                plain.push_str(&format!("# HELP {name}{end} {help}\n"));
            }
            plain.push_str(&format!("# TYPE {name}{end} {kind}\n"));
        } else if !line.starts_with('#') {
            plain.push_str(line);
            plain.push('\n');
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_counters_and_the_end_differ() {
        let open = "# HELP a It is.\n# TYPE a gauge\na{b=\"# HELP \\\"\"} 1\n# HELP c How often.\n# TYPE c counter\n\
                    c_total 2\n# UNIT d seconds\n# TYPE d histogram\nd_bucket{le=\"+Inf\"} 0\n# EOF\n";
        let expected = "# HELP a It is.\n# TYPE a gauge\na{b=\"# HELP \\\"\"} 1\n# HELP c_total How often.\n\
                        # TYPE c_total counter\nc_total 2\n# TYPE d histogram\nd_bucket{le=\"+Inf\"} 0\n";
        assert_eq!(plain(open), expected);
        assert_eq!(plain(""), "");
    }
}
