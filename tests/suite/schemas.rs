/*!
The schemas of what is printed with `--json`: that they are printed as they lie in the documentation, and that what holds
documents against them finds what is wrong. That documents are as they say is looked at wherever a test asks for one:
`support::documented`.
*/

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::schema::{Others, fits};
use support::{binary, documented, repository};

fn schema(arguments: &[&str]) -> Output {
    let output = Command::new(binary("plat")).arg("schema").args(arguments).output();
    output.expect("plat can be run")
}

fn printed(arguments: &[&str]) -> String {
    let output = schema(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("plat prints UTF-8")
}

#[test]
fn the_documentation_has_every_document() {
    let page = repository().join("docs/reference/json.md");
    let written = fs::read_to_string(&page).expect("the page is there");
    let (_, tables) = written.split_once("\n## ").expect("it has headings");
    let told = printed(&["--markdown"]);
    assert!(
        Some(tables) == told.strip_prefix("## "),
        "{} is not what `plat schema --markdown` prints below its introduction",
        page.display()
    );
}

#[test]
fn one_schema_or_all_as_they_lie_in_the_documentation() {
    let all = printed(&["--json"]);
    documented(["plat", "schema", "--json"], &all);
    let all: Value = serde_json::from_str(&all).expect("a document");
    let table = printed(&[]);
    for document in all["documents"].as_array().expect("a list") {
        let name = document["name"].as_str().expect("a name");
        let file = repository().join(format!("docs/reference/schemas/{name}.json"));
        let written = fs::read_to_string(&file).expect("the schema is there");
        assert_eq!(printed(&[name]), written);
        let schema: Value = serde_json::from_str(&written).expect("a document");
        assert_eq!(document["schema"], schema);
        assert_eq!(schema["$id"], json!(format!("urn:plat:document:{name}")));
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        let is_listed = |line: &str| line.trim_start().starts_with(&format!("{name} "));
        assert!(table.lines().any(is_listed), "{name}");
    }
    let wrong = schema(&["nothing"]);
    assert_eq!(wrong.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("pool-show"));
}

#[test]
fn what_is_not_described_is_found() {
    let schema: Value = serde_json::from_str(&printed(&["who"])).expect("a document");
    let held = json!({
        "address": "10.1.2.3", "network": "pods", "instance": null, "store": "dir", "path": "/x", "container": "c1",
        "interface": "eth0", "namespace": null, "pod": null, "uid": null, "set": 0, "since": null, "ranges": null,
        "gateway": null, "others": [],
    });
    let document = |held: &Value| json!({"complete": true, "answers": [{"query": "c1", "held": [held], "standing": []}]});
    assert_eq!(fits(&document(&held), &schema, Others::Refused), Ok(()));
    for (key, value, found) in [
        ("address", None, "\"address\" is missing"),
        ("others", Some(json!("10.1.2.4")), ".answers[0].held[0].others: \"10.1.2.4\""),
        ("set", Some(json!(-1)), "minimum"),
        ("colour", Some(json!("red")), ".answers[0].held[0].colour: not described"),
    ] {
        let mut wrong = held.clone();
        let members = wrong.as_object_mut().expect("an object");
        match value {
            Some(value) => members.insert(key.to_owned(), value),
            None => members.remove(key),
        };
        let said = fits(&document(&wrong), &schema, Others::Refused).expect_err(key);
        assert!(said.contains(found), "{key}: {said}");
        // Whoever reads documents takes newer ones, too.
        assert_eq!(fits(&document(&wrong), &schema, Others::AsSaid).is_ok(), key == "colour");
    }
}

#[test]
fn what_is_printed_is_held_against_its_schema() {
    let held = |words: &[&str], printed: &str| {
        std::panic::catch_unwind(|| documented(words, printed)).is_ok()
    };
    // Several of a command's schemas may be meant, and what stands before it are options.
    for (words, printed, right) in [
        (&["plat", "man", "--json"][..], r#"{"pages": []}"#, true),
        (&["/x/plat", "--root", "/ls", "man", "/dir", "--json"], r#"{"pages": []}"#, true),
        (&["plat", "node", "remove", "n", "--json"], r#"{"node": "n", "state": "kept"}"#, true),
        (&["plat", "man", "--json"], r#"{"pages": [], "more": 1}"#, false),
        (&["plat", "man", "--json"], r#"{"pages": [1]}"#, false),
        (&["plat", "man", "--json"], r#"{"pages": []}{}"#, false),
        (&["plat", "man", "--json"], "text", false),
        (&["plat", "nothing", "--json"], "{}", false),
        (&["plat-agent", "--gc", "--json"], "{}", false),
        // Not asked for, nothing printed, or none of ours.
        (&["plat", "man"], "text", true),
        (&["plat", "man", "--json"], "", true),
        (&["nft", "--json"], "{}", true),
        (&["plat", "conf", "keys", "--json"], "{}", true),
    ] {
        assert_eq!(held(words, printed), right, "{words:?} {printed}");
    }
}
