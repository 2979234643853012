//! Forms that are read, forms that are not, and garbage.

use super::*;
use proptest::prelude::*;

fn manifest(config: &str) -> String {
    format!("kind: NetworkAttachmentDefinition\nmetadata:\n  name: n\nspec:\n  config: {config}")
}

fn config(file: &str) -> Result<String, String> {
    let manifests = read(file).map_err(|e| e.message)?;
    let text = manifests.into_iter().find_map(|manifest| manifest.config);
    text.map(|text| text.as_str().to_owned()).ok_or_else(|| "none".to_owned())
}

#[test]
fn the_usual_forms_are_read() {
    for (written, text) in [
        ("|\n    {\"a\":\n      1}\n", "{\"a\":\n  1}\n"),
        ("|-  # JSON\n    {}\n\n  other: 5\n", "{}\n\n"),
        (">2+\n     {}\n", " {}\n"),
        (">\n    {}\nstatus:\n  x: y\n", "{}\n"),
        ("'{\"a\": ''b''}'  # end\n", "{\"a\": 'b'}"),
        ("'{\n      \"a\": 1,\n\n      \"b\": 2\n}'\n", "{ \"a\": 1,\n\"b\": 2 }"),
        ("\"{\\\"a\\\": \\\"\\u0062\\\\n\\\"}\"", "{\"a\": \"b\\n\"}"),
        ("\"{ \\\n     }\"", "{ }"),
        ("\n    '{}'\n", "{}"),
    ] {
        assert_eq!(config(&manifest(written)).as_deref(), Ok(text), "{written}");
    }
}

#[test]
fn the_rest_is_beyond() {
    for (written, text) in [
        ("{\"a\": 1}\n", "config must be a text"),
        ("\n    a: b\n", "config must be a text"),
        ("&a '{}'\n", "anchors"),
        ("*a\n", "anchors"),
        ("plain\n", "without quotes"),
        ("'{}\n", "not closed"),
        ("'{}' x\n", "behind the closing quote"),
        ("\"\\q\"\n", "escape"),
        ("|x\n    {}\n", "not read"),
        ("|\n    {\n   }\n", "indented less"),
        ("\n", "config is empty"),
    ] {
        let error = config(&manifest(written)).unwrap_err();
        assert!(error.contains(text), "{written}: {error}");
    }
    for (file, text) in [
        ("kind: [a]\n", "plain text"),
        ("spec: {config: x}\n", "not a block"),
        ("- a\n", "block mapping"),
        ("spec:\n\tconfig: x\n", "tab"),
    ] {
        let error = read(file).unwrap_err().message;
        assert!(error.contains(text), "{file}: {error}");
    }
}

#[test]
fn a_file_may_hold_several() {
    let file = format!(
        "# two\n---\n{}---\nkind: 'ConfigMap'\nmetadata:\n  labels:\n    - x\n  name: \"m\"\ndata: {{}}\n...\n",
        manifest("'{}'\n")
    );
    let all = read(&file).unwrap();
    let names: Vec<_> = all.iter().map(|m| (m.kind.as_str(), m.name.as_deref())).collect();
    assert_eq!(names, [("NetworkAttachmentDefinition", Some("n")), ("ConfigMap", Some("m"))]);
}

#[test]
fn places_are_those_of_the_file() {
    for written in
        ["|\r\n    ab\r\n    c\u{e4}X\r\n", "'ab\r\n   c\u{e4}X'", "\"ab\\u0020\n c\u{e4}X\""]
    {
        let file = manifest(written);
        let text = read(&file).unwrap().remove(0).config.unwrap();
        let at = text.as_str().find('X').unwrap();
        assert_eq!(file[text.offset(at)..].chars().next(), Some('X'), "{written}");
    }
}

proptest! {
    #[test]
    fn no_file_is_too_much(file in "(kind|spec|metadata|config|name|:|[ \n\r\t'\"|>{}#é\\\\-]){0,60}") {
        let _ = read(&file).map(|all| {
            for manifest in all {
                if let Some(text) = manifest.config {
                    assert!(text.offset(text.as_str().len()) <= file.len());
                }
            }
        });
    }

    #[test]
    fn a_block_is_what_was_indented(lines in proptest::collection::vec("[a-z\"{}: ]{0,9}", 1..6)) {
        let lines: Vec<String> = lines.iter().map(|line| format!("x{line}")).collect();
        let written: String = lines.iter().map(|line| format!("    {line}\n")).collect();
        let expected: String = lines.iter().map(|line| format!("{line}\n")).collect();
        prop_assert_eq!(config(&manifest(&format!("|\n{written}"))), Ok(expected));
    }
}
