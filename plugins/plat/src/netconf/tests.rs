//! Files, what is in them, and where they are broken.

use super::*;
use proptest::prelude::*;

fn broken(file: &str) -> (Spot, String) {
    let error = read(file).into_iter().find_map(Result::err).unwrap();
    (spot(file, error.offset), error.message)
}

#[test]
fn broken_files_have_a_place() {
    let json = |text: &str| {
        format!(
            "{{\"kind\": \"NetworkAttachmentDefinition\",\n \"spec\": {{\"config\": {}}}}}",
            Value::from(text)
        )
    };
    for (file, line, column, text) in [
        ("", 1, 1, "EOF"),
        ("[]", 1, 1, "no JSON object"),
        ("{\n  \"a\": 1,\n}", 3, 1, "trailing comma"),
        ("{\"a\": 1}\n}", 2, 1, "trailing characters"),
        ("{\n\t// x\n}", 2, 2, "key must be a string"),
        ("{\"ä\" 5}", 1, 6, "expected `:`"),
        ("{\"a\":\n", 1, 6, "EOF"),
        ("\u{feff}{}", 1, 1, "byte order mark"),
        (&json("{\n \"a\" 5}"), 2, 32, "expected `:`"),
        (
            "kind: NetworkAttachmentDefinition\nspec:\n  config: |\n    {\n     \"a\" 5}\n",
            5,
            10,
            "expected `:`",
        ),
        (
            "kind: NetworkAttachmentDefinition\nspec:\n  config: '{ ''x''\n     \"a\"}'\n",
            3,
            14,
            "key must",
        ),
        ("kind: NetworkAttachmentDefinition\nmetadata:\n  name: x\n", 1, 1, "no spec.config"),
        ("apiVersion: v1\nkind: Pod\n", 1, 1, "there is no NetworkAttachmentDefinition"),
        ("{\"apiVersion\": \"v1\", \"kind\": \"Pod\"}", 1, 30, "a Pod is no"),
    ] {
        let (spot, message) = broken(file);
        assert_eq!((spot.line, spot.column), (line, column), "{file}: {message}");
        assert!(message.contains(text), "{file}: {message}");
    }
}

#[test]
fn members_are_what_libcni_makes() {
    let file = r#"{"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "a", "name": "x"}, 5, {"type": "b"}]}"#;
    let document = read(file).remove(0).unwrap();
    let members = document.members();
    let all: Vec<_> = members.iter().map(|m| (m.path.as_str(), m.plugin(), m.network())).collect();
    assert_eq!(all, [("plugins[0]", "a", "n"), ("plugins[2]", "b", "n")]);
    assert_eq!(members[0].net["cniVersion"], "1.0.0");
    for (file, form) in [
        (r#"{"name": "n", "type": "t"}"#, Form::Conf),
        (r#"{"ipam": {"carve": {}}}"#, Form::Template),
        (r#"{"ranges": []}"#, Form::Template),
        (r#"{"PLUGINS": []}"#, Form::List),
        ("{}", Form::Conf),
    ] {
        assert_eq!(read(file).remove(0).unwrap().form, form, "{file}");
    }
}

#[test]
fn manifests_give_their_name() {
    let file = r#"{"apiVersion": "v1", "kind": "List", "items": [{"kind": "Pod"},
        {"kind": "NetworkAttachmentDefinition", "metadata": {"name": "m"},
         "spec": {"config": "{\"type\": \"\u00e4\ud83d\ude00\",\n \"x\": 5}"}}]}"#;
    let document = read(file).remove(0).unwrap();
    assert_eq!(document.network(), Some("m"));
    assert!(file[document.value_at("x")..].starts_with("5}"));
    assert!(file[document.key_at("x").unwrap()..].starts_with("\\\"x"));
}

proptest! {
    #[test]
    fn no_file_is_too_much(file in "(\\{|\\}|\\[|\\]|\"|:|,|kind|NetworkAttachmentDefinition|spec|config|plugins|ipam|\n| |é|\\\\){0,40}") {
        for document in read(&file) {
            match document {
                Ok(document) => {
                    let _ = (document.members(), document.duplicates(), document.value_at("plugins[0].ipam"));
                }
                Err(broken) => { let _ = excerpt(&file, broken.offset); }
            }
        }
    }
}
