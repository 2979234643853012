/*!
`plat` and configurations: what it says of files, what nodes make of them, which node this is.
*/

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use support::{Scratch, binary, documented, repository};

/// What `plat` answered.
struct Answer {
    exit: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

/// Runs `plat` in a directory, with no state of this machine.
fn plat(dir: &Path, args: &[&str]) -> Answer {
    let Output { status, stdout, stderr } = Command::new(binary("plat"))
        .args(args)
        .current_dir(dir)
        .env_remove("NODE_INDEX")
        .env("PLAT_STATE_DIR", dir.join("state"))
        .env("PLAT_RUN_DIR", dir.join("run"))
        .output()
        .expect("plat can be run");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("plat prints UTF-8");
    let answer = Answer { exit: status.code(), stdout: text(stdout), stderr: text(stderr) };
    documented(["plat"].iter().chain(args), &answer.stdout);
    answer
}

/// The network configurations of a directory and those below it: lists, definitions of networks, the template.
fn files(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).expect("a directory of examples") {
        let path = entry.expect("an entry").path();
        let name = entry_name(&path);
        let definitions = dir.ends_with("networks") && name != "kustomization.yaml";
        if path.is_dir() {
            files(&path, found);
        } else if name.ends_with(".conflist")
            || name == "networks.yaml"
            || definitions
            || dir.ends_with("node-local-template")
        {
            found.push(path.to_string_lossy().into_owned());
        }
    }
}

fn entry_name(path: &Path) -> String {
    path.file_name().expect("an entry has a name").to_string_lossy().into_owned()
}

#[test]
fn every_example_is_valid() {
    let scratch = Scratch::new("conf");
    let examples = repository().join("conf-examples");
    let mut names = Vec::new();
    files(&examples, &mut names);
    assert!(names.len() >= 30, "{names:?}");
    let templates = examples.join("node-local-template");
    for name in &names {
        let templates = templates.to_str().expect("UTF-8");
        let args = ["conf", "validate", "--node", "vm-004", "--cfg-dir", templates, name];
        let answer = plat(scratch.path(), &args);
        assert_eq!(answer.exit, Some(0), "{name}: {}", answer.stdout);
        assert!(answer.stdout.contains(": fine: "), "{}", answer.stdout);
        let answer = plat(scratch.path(), &[&args[..], &["--json"]].concat());
        assert_eq!(answer.json()["errors"], 0, "{name}");
        assert_eq!(answer.json()["files"][0]["file"], name.as_str());
    }
}

#[test]
fn what_is_wrong_has_a_place() {
    const HEAD: &str = "{\n  \"cniVersion\": \"1.0.0\",\n  \"name\": \"n\",\n";
    let nad = |config: &str| {
        format!(
            "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata:\n  name: n\n\
             spec:\n  config: {config}\n"
        )
    };
    let scratch = Scratch::new("conf");
    for (name, text, exit, place, message) in [
        ("a.conf", format!("{HEAD}  \"type\" \"x\"\n}}"), 2, "4:10", "expected `:`"),
        ("b.conf", format!("{HEAD}  \"type\": \"x\",\n}}"), 2, "5:1", "trailing comma"),
        (
            "c.conf",
            format!(
                "{HEAD}  \"type\": \"x\",\n  \"ipam\": {{\"type\": \"host-local\", \"subnet\": \"10.1.2.3\"}}\n}}"
            ),
            2,
            "5:44",
            "ipam.subnet: ",
        ),
        (
            "d.conflist",
            format!(
                "{HEAD}  \"plugins\": [{{\"type\": \"x\",\n\t\"ipam\": {{\"type\": \"host-local\", \"ränges\": 1,\n\t\"ranges\": [[{{\"subnet\": \"10.1.2.0/24\"}}], [{{\"subnet\": \"10.1.2.0/25\"}}]]}}}}]\n}}"
            ),
            2,
            "6:",
            "range set 0 overlaps with 1",
        ),
        (
            "e.conf",
            format!(
                "{HEAD}  \"type\": \"x\",\n  \"ipam\": {{\"type\": \"host-local\", \"subnet\": \"10.1.2.0/24\", \"gatway\": \"\"}}\n}}"
            ),
            1,
            "5:59",
            "did you mean \"gateway\"?",
        ),
        (
            "f.conf",
            format!("{HEAD}  \"name\": \"m\", \"type\": \"x\"\n}}"),
            1,
            "4:3",
            "twice, first on line 3",
        ),
        (
            "g.conf",
            "{\"name\": \"n\",\n \"type\": \"x\"}".to_owned(),
            1,
            "1:1",
            "cniVersion is missing",
        ),
        (
            "h.yaml",
            nad("|\n    {\"cniVersion\": \"1.0.0\",\n     \"type\": \"x\",,}"),
            2,
            "8:18",
            "key must be",
        ),
        (
            "i.yaml",
            nad(
                "'{\"cniVersion\": \"1.0.0\", \"type\": \"x\",\n    \"ipam\": {\"type\": \"node-local\", \"carve\": {\"pool\": \"10.1.0.0\", \"prefix\": 24}}}'",
            ),
            2,
            "7:54",
            "ipam.carve.pool: ",
        ),
        ("j.yaml", nad("{}"), 2, "6:11", "config must be a text"),
        ("k.yaml", nad("*anchor"), 2, "6:11", "anchors"),
    ] {
        let path = scratch.write(name, &text);
        let path = path.to_str().expect("UTF-8");
        let answer = plat(scratch.path(), &["conf", "validate", "--node", "vm-004", path]);
        assert_eq!(answer.exit, Some(exit), "{name}: {}{}", answer.stdout, answer.stderr);
        let first = answer.stdout.lines().next().unwrap_or_default();
        assert!(first.starts_with(&format!("{path}:{place}")), "{name}: {first}");
        assert!(answer.stdout.contains(message), "{name}: {}", answer.stdout);
        assert!(!answer.stdout.contains('\u{1b}'), "no colours into a pipe");
        let json = plat(scratch.path(), &["conf", "validate", "--json", "--node", "vm-004", path]);
        assert_eq!(json.exit, Some(exit), "{name}");
        let finding = &json.json()["files"][0]["findings"][0];
        let told = format!("{}:{}", finding["line"], finding["column"]);
        assert!(told.starts_with(place), "{name}: {finding}");
    }
    let missing = plat(scratch.path(), &["conf", "validate", "nowhere.conf"]);
    assert_eq!(missing.exit, Some(3), "{}", missing.stderr);
    assert!(missing.stderr.contains("nowhere.conf"), "{}", missing.stderr);
}

#[test]
fn files_are_compared() {
    let scratch = Scratch::new("conf");
    let conf = |name: &str, network: &str, subnet: &str| {
        let text = format!(
            "{{\"cniVersion\": \"1.0.0\", \"name\": \"{network}\", \"type\": \"x\",\n\
             \"ipam\": {{\"type\": \"host-local\", \"subnet\": \"{subnet}\"}}}}"
        );
        scratch.write(name, text).to_str().expect("UTF-8").to_owned()
    };
    let one = conf("1.conf", "one", "10.1.0.0/16");
    let two = conf("2.conf", "two", "10.1.2.0/24");
    let same = conf("3.conf", "one", "10.9.2.0/24");
    let answer = plat(scratch.path(), &["conf", "validate", &one, &two, &same]);
    assert_eq!(answer.exit, Some(1), "{}", answer.stdout);
    let lines = [
        format!("{two}:2:9: warning: 10.1.2.1-10.1.2.254 of network \"two\" overlaps with"),
        format!("{same}:1:1: warning: the network \"one\" is defined in {one}, too"),
    ];
    for line in lines {
        assert!(answer.stdout.contains(&line), "{line}: {}", answer.stdout);
    }
}

#[test]
fn nodes_that_collide_are_found() {
    let scratch = Scratch::new("conf");
    let conf = |name: &str, ipam: &str| {
        let text = format!(
            "{{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"type\": \"x\", \"ipam\": {ipam}}}"
        );
        scratch.write(name, text).to_str().expect("UTF-8").to_owned()
    };
    for (name, ipam, range, exit, overlaps, failed) in [
        (
            "carve",
            r#"{"type": "node-local", "carve": {"pool": "10.1.0.0/16", "prefix": 24}}"#,
            "1-64",
            0,
            0,
            0,
        ),
        (
            "small",
            r#"{"type": "node-local", "carve": {"pool": "10.1.0.0/28", "prefix": 30}}"#,
            "0-5",
            1,
            0,
            2,
        ),
        (
            "octets",
            r#"{"type": "node-local", "subnet": "10.{i/256}.{i%256}.0/24"}"#,
            "0-2000",
            0,
            0,
            0,
        ),
        (
            "wide",
            r#"{"type": "node-local", "subnet": "10.0.0.0/8", "rangeStart": "10.{i}.0.1", "rangeEnd": "10.{i}.255.255"}"#,
            "0-255",
            0,
            0,
            0,
        ),
        (
            "long",
            r#"{"type": "node-local", "subnet": "10.0.0.0/8", "rangeStart": "10.{i}.0.1", "rangeEnd": "10.255.0.0"}"#,
            "1-9",
            2,
            8,
            0,
        ),
        (
            "wrong",
            r#"{"type": "node-local", "ranges": [[{"subnet": "15.{i%256}.{i/256}.0/24"}, {"subnet": "15.{i/256}.{i%256}.0/24"}]]}"#,
            "1-600",
            2,
            3,
            2,
        ),
        (
            "v6",
            r#"{"type": "node-local", "subnet": "fd00:0:0:1{i}::/64", "ranges": [[{"subnet": "fd00:0:0:{i}::/64"}]]}"#,
            "0-99",
            2,
            10,
            0,
        ),
        (
            "fixed",
            r#"{"type": "node-local", "index": 4, "carve": {"pool": "10.1.0.0/16", "prefix": 24}}"#,
            "1-3",
            2,
            2,
            0,
        ),
        ("host", r#"{"type": "host-local", "subnet": "10.1.0.0/24"}"#, "1-3", 2, 2, 0),
    ] {
        let path = conf(name, ipam);
        let answer = plat(scratch.path(), &["render", &path, "--all", range]);
        assert_eq!(answer.exit, Some(exit), "{name}: {}{}", answer.stdout, answer.stderr);
        let json = plat(scratch.path(), &["render", &path, "--all", range, "--json"]);
        assert_eq!(json.exit, Some(exit), "{name}");
        let json = json.json();
        let nodes = json["nodes"].as_array().expect("a list");
        let refused = nodes.iter().filter(|node| !node["error"].is_null()).count();
        let found = json["overlaps"].as_array().expect("a list").len();
        assert_eq!((found, refused), (overlaps, failed), "{name}: {}", answer.stdout);
        if name == "host" {
            assert!(answer.stdout.contains("host-local gives the same addresses to every node"));
        }
    }
}

#[test]
fn one_node_prints_its_section() {
    let scratch = Scratch::new("conf");
    let example = repository().join("conf-examples/node-local-carve.conflist");
    let example = example.to_str().expect("UTF-8");
    for args in [&["--node", "vm-004"][..], &["--index", "4"]] {
        let answer = plat(scratch.path(), &[&["render", example][..], args].concat());
        assert_eq!(answer.exit, Some(0), "{}", answer.stderr);
        assert_eq!(answer.json()["ranges"][0][0]["subnet"], "10.1.4.0/24");
        let json =
            plat(scratch.path(), &[&["render", example, "--json"][..], args].concat()).json();
        assert_eq!((&json["index"], &json["networks"][0]["network"]), (&4.into(), &"pods".into()));
    }
    let answer = plat(scratch.path(), &["render", example, "--node", "ip-10-0-0-1"]);
    assert_eq!((answer.exit, answer.stdout.as_str()), (Some(1), ""));
    assert!(answer.stderr.contains("more than one number"), "{}", answer.stderr);
    let answer = plat(scratch.path(), &["render", example, "--node", "vm-1,vm-01", "--json"]);
    assert_eq!(answer.exit, Some(2), "two names, one index");
    for args in [&["--all", "9-1"][..], &["--all", "1-2", "--index", "3"], &["--index", "x"]] {
        let answer = plat(scratch.path(), &[&["render", example][..], args].concat());
        assert_eq!(answer.exit, Some(3), "{args:?}: {}", answer.stderr);
    }
}

#[test]
fn another_root_is_another_node() {
    let scratch = Scratch::new("conf");
    scratch.write("root/etc/hostname", "vm-007\n");
    scratch.write(
        "root/etc/cni/node-local/default",
        r#"{"carve": {"pool": "10.0.0.0/16", "prefix": 24}}"#,
    );
    let conf =
        r#"{"cniVersion": "1.0.0", "name": "n", "type": "x", "ipam": {"type": "node-local"}}"#;
    scratch.write("root/etc/n.conf", conf);
    let root = scratch.join("root");
    let root = root.to_str().expect("UTF-8");
    let answer = plat(scratch.path(), &["--root", root, "render", "/etc/n.conf"]);
    assert_eq!(answer.json()["ranges"][0][0]["subnet"], "10.0.7.0/24");
    let show = |expected: &str, index: Value, exit| {
        let answer = plat(scratch.path(), &["--root", root, "node", "show"]);
        assert_eq!(answer.exit, Some(exit), "{}{}", answer.stdout, answer.stderr);
        assert!(answer.stdout.starts_with(expected), "{}", answer.stdout);
        let json = plat(scratch.path(), &["--root", root, "node", "show", "--json"]).json();
        assert_eq!(json["index"], index);
        assert_eq!(json["sources"].as_array().map(Vec::len), Some(5));
    };
    show("node vm-007 has index 7, from its host name", 7.into(), 0);
    scratch.write("root/etc/cni/node-local/index", "12\n");
    show("node vm-007 has index 12, from ", 12.into(), 0);
    scratch.write("root/etc/cni/node-local/index", "twelve\n");
    show("", Value::Null, 2);
    let answer = plat(scratch.path(), &["--root", root, "node", "repin", "nothing", "--yes"]);
    assert_eq!(answer.exit, Some(3));
    assert!(answer.stderr.contains("nothing"), "{}", answer.stderr);
}

#[test]
fn completions_and_pages_are_made() {
    let scratch = Scratch::new("conf");
    for (shell, text) in [
        ("bash", "complete -F _plat"),
        ("zsh", "#compdef plat"),
        ("fish", "complete -c plat"),
        ("elvish", "edit:completion:arg-completer[plat]"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let answer = plat(scratch.path(), &["completions", shell]);
        assert_eq!(answer.exit, Some(0));
        assert!(answer.stdout.contains(text), "{shell}");
        assert!(answer.stdout.contains("validate"), "{shell}");
    }
    assert_eq!(plat(scratch.path(), &["completions", "tcsh"]).exit, Some(3));
    let dir = scratch.join("man/man1");
    let answer = plat(scratch.path(), &["man", dir.to_str().expect("UTF-8"), "--json"]);
    let pages = answer.json()["pages"].as_array().expect("a list").len();
    assert!(pages >= 18, "{}", answer.stdout);
    assert_eq!(fs::read_dir(&dir).expect("the directory is made").count(), pages);
    let page = fs::read_to_string(dir.join("plat-render.1")).expect("a page");
    assert!(page.contains(".TH") && page.contains("\\-\\-all"), "{page}");
    scratch.write("file", "");
    let answer = plat(scratch.path(), &["man", "file/man"]);
    assert_eq!(answer.exit, Some(3));
    assert!(answer.stderr.contains("file/man"), "{}", answer.stderr);
}
