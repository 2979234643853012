/*!
The conformance cases: recorded from the reference, and written by hand for what is wanted beyond it.

`must` is what a drop-in does alike. `quirk` and `bug` are what the reference does and a better plugin
need not do: where host-local differs from it is listed here, each with its reason.
*/

use std::path::Path;

use serde_json::{Value, json};
use support::{Case, Failure, Runner, binary, reference, repository, reservation, skip_unless};

/// Where host-local differs from the reference on purpose: the case, and why.
const DIFFERENT: &[(&str, &str)] = &[
    (
        "alloc-last-trailing-newline",
        "a mark is read with white space around it: an editor's newline is no reason to start over",
    ),
    (
        "check-prevresult-not-compared",
        "CHECK compares prevResult with what is recorded, every address of it",
    ),
    (
        "config-rangestart-is-broadcast",
        "a rangeStart above the default rangeEnd is refused: the reference leaves the subnet",
    ),
    ("del-empty-file-stays", "an empty reservation is the rest of a crash, and free"),
    ("del-invalid-config-leaks", "DEL needs no ranges: what is wrong with them does not stop it"),
    (
        "del-new-and-legacy-two-sets",
        "DEL is one pass whatever the number of sets: the old format only where the new finds nothing",
    ),
    (
        "disk-mark-is-a-directory-leaks",
        "a reservation whose mark cannot be written is taken back: an ADD that fails leaves nothing",
    ),
    ("gc-noop-empty-list", "GC is implemented, and an empty list means that nothing is valid"),
    ("netns-own-netns-del", "DEL never fails over the namespace"),
    (
        "requested-args-bad-on-del",
        "DEL needs no CNI_ARGS: what is wrong with them does not stop it",
    ),
    (
        "requested-args-go-field-name",
        "the name of a field inside the reference is an unknown key like any other",
    ),
    (
        "requested-args-two-in-one",
        "IP takes several addresses separated by commas, as Multus sends",
    ),
    ("requested-config-args-null-element", "refused with an error; the reference panics"),
    ("resolvconf-line-too-long", "a line of resolv.conf may be of any length"),
    ("routes-bad-route-on-del", "DEL needs no routes: what is wrong with them does not stop it"),
    ("routes-dst-missing", "a route without destination is refused"),
    ("routes-negative-mtu-kept", "an MTU below zero is refused"),
    ("status-exhausted-still-ok", "STATUS says 50 when a set has no free address"),
    ("stdin-no-ipam-on-del", "DEL needs no ipam section"),
    (
        "stdin-unknown-keys-ignored",
        "exclude is a key of ours; what is unknown is named on standard error",
    ),
    ("version-older-stdin", "VERSION echoes the cniVersion that it is asked with"),
];

fn cases(set: &str) -> Vec<Case> {
    Case::load(&repository().join("tests/data/conformance").join(set))
}

fn of_class(classes: &[&str]) -> Vec<Case> {
    cases("host-local").into_iter().filter(|c| classes.contains(&c.class.as_str())).collect()
}

fn assert_none(what: &str, failures: &[Failure]) {
    let text: Vec<String> = failures.iter().map(Failure::to_string).collect();
    assert!(failures.is_empty(), "{} {what} fail:\n{}", failures.len(), text.join("\n"));
}

#[test]
fn must_cases_hold() {
    let cases = of_class(&["must"]);
    assert!(cases.len() >= 200, "only {} cases", cases.len());
    assert_none(
        "cases of class must",
        &Runner::new(&binary("host-local")).spec_codes().run_all(&cases),
    );
}

#[test]
fn beyond_cases_hold() {
    let cases = cases("beyond");
    assert!(cases.len() >= 19, "only {} cases", cases.len());
    assert_none("cases beyond the reference", &Runner::new(&binary("host-local")).run_all(&cases));
}

#[test]
fn quirks_and_bugs_differ_only_where_listed() {
    let cases = of_class(&["quirk", "bug"]);
    assert!(cases.len() >= 35, "only {} cases", cases.len());
    let failures = Runner::new(&binary("host-local")).spec_codes().run_all(&cases);
    let listed = |name: &str| DIFFERENT.iter().any(|(listed, _)| *listed == name);
    let mut complaints: Vec<String> = failures
        .iter()
        .filter(|failure| !listed(&failure.name))
        .map(|failure| {
            let case = cases.iter().find(|c| c.name == failure.name);
            let (class, note) = case.map_or(("", ""), |c| (&c.class, &c.note));
            format!("differs and is not listed: {failure}\n    ({class}: {note})")
        })
        .collect();
    complaints.extend(
        DIFFERENT
            .iter()
            .filter(|(name, _)| !failures.iter().any(|failure| failure.name == *name))
            .map(|(name, reason)| {
                format!("listed as different ({reason}), but does as the reference: {name}")
            }),
    );
    assert!(complaints.is_empty(), "{}:\n{}", complaints.len(), complaints.join("\n"));
}

/// The same case in the newest version that Debian's reference knows: results of 1.0.0 and 1.1.0
/// have the same form.
fn in_version_1_0_0(case: &Case) -> Case {
    fn lower(value: &Value) -> Value {
        match value {
            Value::Array(list) => list.iter().map(lower).collect(),
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| match value.as_str() {
                    Some("1.1.0") if key == "cniVersion" => (key.clone(), json!("1.0.0")),
                    _ => (key.clone(), lower(value)),
                })
                .collect::<serde_json::Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }
    Case { steps: case.steps.iter().map(lower).collect(), ..case.clone() }
}

/// A case that ends in a successful ADD goes on with DEL of the same attachment, so that the plugin
/// which did not add has to delete.
fn with_del(mut case: Case) -> Case {
    let Some(last) = case.steps.last().filter(|step| step["command"] == "ADD") else { return case };
    let expected = &last["expect"];
    let (Some(files), true) = (expected["files"].as_object(), expected["exit"] == 0) else {
        return case;
    };
    let text = |key: &str| last["env"][key].as_str().unwrap_or_default();
    let own = reservation(text("CNI_CONTAINERID"), text("CNI_IFNAME"));
    let files: serde_json::Map<String, Value> = files
        .iter()
        .filter(|(_, content)| content.as_str().map(str::trim) != Some(&own))
        .map(|(path, content)| (path.clone(), content.clone()))
        .collect();
    let mut del = last.clone();
    del["command"] = json!("DEL");
    del["expect"] = json!({"exit": 0, "stdout": null, "files": files});
    case.steps.push(del);
    case
}

#[test]
fn every_second_step_by_the_reference() {
    let reference = reference("host-local");
    let test = "every_second_step_by_the_reference";
    if !skip_unless(test, &[(reference.is_some(), "Debian's containernetworking-plugins")]) {
        return;
    }
    let reference = reference.expect("checked above");
    let cases: Vec<Case> = of_class(&["must"])
        .iter()
        .map(|case| with_del(in_version_1_0_0(case)))
        .filter(|case| case.calls() >= 2)
        .collect();
    // An older reference differs in some texts and behaviours: what it does not hold alone says
    // nothing about the two together.
    let runner = |binary: &Path| Runner::new(binary).spec_codes().empty_dns_is_none();
    let alone = runner(&reference).run_all(&cases);
    let shared: Vec<Case> = cases
        .into_iter()
        .filter(|case| !alone.iter().any(|failure| failure.name == case.name))
        .collect();
    assert!(shared.len() >= 100, "only {} cases alternate", shared.len());
    let ours = binary("host-local");
    let first = runner(&ours).alternate(&reference).run_all(&shared);
    assert_none("cases with every second step by the reference", &first);
    let second = runner(&reference).alternate(&ours).run_all(&shared);
    assert_none("cases with every first step by the reference", &second);
}

/// A case that holds for any plugin which works, and wrong expectations of every kind made from it.
#[test]
fn wrong_expectations_are_reported() {
    let plugin = binary("host-local");
    let runner = Runner::new(&plugin);
    let case = cases("host-local")
        .into_iter()
        .find(|case| case.name == "alloc-first-add-silent-0.3.0")
        .expect("the case is there");
    runner.run(&case).expect("the case holds as it is");
    let address = "/expect/stdout/ips/0/address";
    let wrong: &[(&str, Value, &str)] = &[
        ("/expect/exit", json!(1), "exit: expected 1, got Some(0)"),
        ("/expect/exit", json!("nonzero"), "exit: expected non-zero"),
        (address, json!("10.99.0.1/24"), "stdout.ips[0].address"),
        (address, json!({"@re": "^11\\."}), "does not match"),
        ("/expect/stdout", Value::Null, "stdout: expected nothing"),
        ("/expect/stdout/ips", json!([]), "stdout.ips"),
        ("/expect/stdout/unknown", json!(1), "\"unknown\" missing"),
        ("/expect/stdout", json!({}), "unexpected \"ips\""),
        ("/expect/stdout_raw", json!("{}"), "stdout: expected \"{}\""),
        ("/expect/stdout_stream", json!([{}]), "stdout[0]: unexpected"),
        ("/expect/stdout", json!({"code": 7, "msg": "x"}), "\"code\" missing"),
        ("/expect/stderr", json!("a word"), "stderr: expected"),
        ("/expect/min_wall_ms", json!(100_000), "expected at least 100000 ms"),
        ("/expect/files", json!({}), "unexpected (content"),
        ("/expect/files/net~12001:db8::1", json!("x"), "file net/2001:db8::1: missing"),
        ("/expect/modes", json!({"mynet": "0000"}), "mode of mynet: expected"),
        ("/command", json!("DEL"), "stdout: not one JSON document"),
    ];
    for (place, value, complaint) in wrong {
        let mut case = case.clone();
        let (parent, key) = place.rsplit_once('/').expect("a place has a parent");
        let key = key.replace("~1", "/");
        let step = case.steps.last_mut().expect("the case has a step");
        match step.pointer_mut(parent).expect("the place is there") {
            Value::Object(map) => drop(map.insert(key, value.clone())),
            other => panic!("{parent} is {other}"),
        }
        let failure = runner.run(&case).expect_err(&format!("{place} = {value} is not seen"));
        assert!(failure.to_string().contains(complaint), "{place} = {value}: {failure}");
    }
    let mut unknown = case;
    unknown.steps.insert(0, json!({"do": "dance", "path": "@TMP@/x"}));
    let failure = runner.run(&unknown).expect_err("an unknown operation is not seen");
    assert_eq!(failure.errors, ["unknown operation \"dance\""]);
}
