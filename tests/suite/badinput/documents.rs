//! Standard input that is no configuration at all: code 6, with line and column where JSON is broken.

use serde_json::{Value, json};

use super::{PLUGINS, Report, bench, complaints_about_code, error_of, good, touched};

const COMMANDS: [&str; 5] = ["ADD", "DEL", "CHECK", "GC", "STATUS"];

#[test]
fn documents_that_are_no_json() {
    let deep_lists = format!("{{\"name\": \"n\", \"x\": {}", "[".repeat(100_000));
    let deep_objects = format!("{{\"name\": \"n\", \"x\": {}", "{\"x\":".repeat(50_000));
    let closed = format!("{{\"name\": \"n\",\n\"x\": {}{}}}", "[".repeat(200), "]".repeat(200));
    let rows: Vec<(&[u8], &str)> = vec![
        (b"", "line 1 column 0"),
        (b" \n\n", "line 3 column 0"),
        (b"{", "line 1 column 1"),
        (b"{\"name\": \"n\",\n  x}", "line 2 column 3"),
        (b"{\"name\": \"n\"", "line 1 column 12"),
        (b"{\"name\": \"n\",}", "line 1 column 14"),
        (b"{\"name\" \"n\"}", "line 1 column 9"),
        (b"{'name': 'n'}", "line 1 column 2"),
        (b"{\"name\": n}", "line 1 column 11"),
        (b"{\"name\": NaN}", "line 1 column 10"),
        (b"{\"name\": 01}", "line 1 column 11"),
        (b"{\"name\": \"n\"} x", "line 1 column 15"),
        (b"{\"name\": \"n\"}{}", "line 1 column 14"),
        (b"{\"name\": \"a\nb\"}", "line 2 column 0"),
        (b"{\"name\": \"\\ud800\"}", "line 1 column 17"),
        (b"{\"name\": \"\\x\"}", "line 1 column 12"),
        (b"{\"name\": \"\xff\"}", "line 1 column"),
        (b"\xef\xbb\xbf{\"name\": \"n\"}", "line 1 column 1"),
        (b"\xff\xfe{\0}\0", "line 1 column 1"),
        (b"\0", "line 1 column 1"),
        (b"// comment\n{}", "line 1 column 1"),
        (b"{\"x\": 1e999}", "line 1 column"),
        (deep_lists.as_bytes(), "line 1 column"),
        (deep_objects.as_bytes(), "line 1 column"),
        (closed.as_bytes(), "line 2 column"),
        (b"[]", "no JSON object"),
        (b"null", "no JSON object"),
        (b"5", "no JSON object"),
        (b"\"{}\"", "no JSON object"),
    ];
    let mut report = Report::default();
    for plugin in PLUGINS {
        for command in COMMANDS {
            for (document, found) in &rows {
                let bench = bench(plugin);
                let outcome = bench.call(command, &Value::Null).stdin(*document).run();
                let mut wrong = complaints_about_code(&outcome, 6);
                let error = error_of(&outcome);
                if !error["msg"].as_str().unwrap_or_default().contains(found) {
                    wrong.push(format!("{found:?} is not in msg"));
                }
                if error["details"].as_str().unwrap_or_default().is_empty() {
                    wrong.push("no details".to_owned());
                }
                wrong.extend(touched(&bench));
                let what = String::from_utf8_lossy(document);
                report.row(&format!("{} {command} {:.60}", plugin.name(), what), wrong, &outcome);
            }
        }
    }
    report.done();
}

/// What every plugin needs before it looks at anything else.
#[test]
fn names_and_versions() {
    let long = "n".repeat(100_000);
    let rows = [
        ("name", Value::Null, 7, "name"),
        ("name", json!(""), 7, "name"),
        ("name", json!("a/b"), 7, "a/b"),
        ("name", json!("../x"), 7, "../x"),
        ("name", json!(".x"), 7, ".x"),
        ("name", json!("a b"), 7, "a b"),
        ("name", json!("a\n"), 7, "a"),
        ("name", json!("ä"), 7, "ä"),
        ("name", json!("a\0"), 7, "a"),
        ("name", json!(5), 6, "name"),
        ("name", json!([]), 6, "name"),
        ("name", json!({}), 6, "name"),
        ("name", json!(true), 6, "name"),
        ("name", json!(format!("/{long}")), 7, "/nnn"),
        ("cniVersion", json!(1), 6, "cniVersion"),
        ("cniVersion", json!(1.1), 6, "cniVersion"),
        ("cniVersion", json!([]), 6, "cniVersion"),
        ("cniVersion", json!({}), 6, "cniVersion"),
        ("cniVersion", json!("1.2.0"), 1, "version"),
        ("cniVersion", json!("2.0.0"), 1, "version"),
        ("cniVersion", json!("0.0.0"), 1, "version"),
    ];
    let mut report = Report::default();
    for plugin in PLUGINS {
        for command in COMMANDS {
            for (key, value, code, found) in &rows {
                let bench = bench(plugin);
                let mut config = good(&bench);
                config[key] = value.clone();
                let outcome = bench.call(command, &config).run();
                let mut wrong = complaints_about_code(&outcome, *code);
                let error = error_of(&outcome);
                let both = format!("{} {}", error["msg"], error["details"]);
                if !both.contains(found) {
                    wrong.push(format!("{found:?} is not named"));
                }
                wrong.extend(touched(&bench));
                let what = format!("{} {command} {key} {:.60}", plugin.name(), value.to_string());
                report.row(&what, wrong, &outcome);
            }
        }
    }
    report.done();
}
