//! etcd's roles: the commands of the documentation, on a real etcd, and what a node may do with them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::etcd::{Authority, Etcd, Pair, Setup, Subject, available_with_tls};
use support::{PoolNode, have, program, repository, skip_unless};

/// The shell commands of a page that have a text in them.
fn commands(page: &str, text: &str) -> String {
    let page = fs::read_to_string(repository().join("docs").join(page)).expect("the page is there");
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let found: Vec<&str> = blocks.filter(|block| block.contains(text)).collect();
    assert_eq!(found.len(), 1, "blocks with {text:?}");
    found[0].to_owned()
}

/// Runs shell commands in which etcdctl speaks as somebody.
fn shell(
    server: &Etcd,
    authority: &Authority,
    who: &Pair,
    commands: &str,
    variables: &[(&str, &str)],
) -> Output {
    Command::new(program("sh"))
        .args(["-e", "-u", "-c", commands])
        .env("ETCDCTL_API", "3")
        .env("ETCDCTL_ENDPOINTS", server.endpoint(0))
        .env("ETCDCTL_CACERT", authority.ca())
        .env("ETCDCTL_CERT", &who.cert)
        .env("ETCDCTL_KEY", &who.key)
        .envs(variables.iter().copied())
        .output()
        .expect("sh can be run")
}

fn must(output: &Output, what: &str) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{what}: {out}{err}");
}

fn connection(server: &Etcd, authority: &Authority, who: &Pair) -> Value {
    json!({"endpoints": server.endpoints(), "caCert": authority.ca(), "cert": who.cert, "key": who.key})
}

fn uuid(node: &PoolNode) -> String {
    let text =
        fs::read_to_string(node.state().join("pool.json")).expect("the first call has made it");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    json["uuid"].as_str().expect("a UUID").to_owned()
}

#[test]
fn a_node_does_what_its_role_lets_it() {
    const TEST: &str = "a_node_does_what_its_role_lets_it";
    let needs = [
        (have("etcdctl"), "etcdctl is not installed"),
        (support::is_root(), "a host name of its own needs root"),
    ];
    if !available_with_tls(TEST) || !skip_unless(TEST, &needs) {
        return;
    }
    let authority = Authority::new();
    let issue = |name| {
        authority.issue(Subject { name, names: "IP:127.0.0.1,DNS:localhost", ..Subject::default() })
    };
    let [member, root, operator, one, two] =
        ["member", "root", "operator", "vm-001", "vm-002"].map(issue);
    let server = Setup::new().tls(&authority, &member, Some(&root)).start();
    let run = |who: &Pair, commands: &str, variables: &[(&str, &str)]| {
        shell(&server, &authority, who, commands, variables)
    };
    // As the page says, from nothing.
    must(&run(&root, &commands("security.md", "auth enable"), &[]), "roles of operators");
    let pool = json!({"name": "pods", "cidr": "10.77.0.0/16"});
    let admin =
        PoolNode::named("admin-9", "roles-admin", &connection(&server, &authority, &operator));
    let made =
        admin.plat(&["pool", "create", "pods", "--cidr", "10.77.0.0/16"]).output().expect("plat");
    must(&made, "an operator makes a pool");

    let node = PoolNode::named("vm-001", "roles", &connection(&server, &authority, &one));
    let config = node.config(json!("pods"));
    let (code, said) = node.call("ADD", &config).run().error();
    assert!(code == 7 && said.contains("denies this client"), "{code} {said}");
    let grants = commands("etcd-pool.md", "grant-permission");
    must(&run(&root, &grants, &[("UUID", &uuid(&node))]), "roles of a node");
    let given = node.call("ADD", &config).run().addresses();
    assert!(given[0].starts_with("10.77."), "{given:?}");
    node.settle();
    let recorded = run(&one, "etcdctl get --prefix --keys-only /plat/v1/s/default/a/4/", &[]);
    assert!(String::from_utf8_lossy(&recorded.stdout).contains("/a/4/0a4d"), "{recorded:?}");
    node.del("c1", &config);
    node.settle();

    // What a node's certificate is not enough for.
    for commands in [
        "etcdctl put /plat/v1/s/default/pools x",
        "etcdctl put /plat/v1/nn/vm-002 x",
        "etcdctl put /plat/v1/ni/0000000002 x",
        "etcdctl put /plat/v1/n/00000000-0000-4000-8000-000000000000 x",
        "etcdctl put /plat/v1/t/00000000-0000-4000-8000-000000000000 x",
        "etcdctl put /registry/x x",
        "etcdctl get /registry/x",
        "etcdctl user list",
    ] {
        let output = run(&one, commands, &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains("permission denied"),
            "{commands}: {said}"
        );
    }
    let own = node.call("ADD", &node.config(pool)).id("c2").run();
    assert_eq!(
        own.exit,
        Some(0),
        "a description that is the pool's asks for nothing: {}",
        own.stdout
    );
    node.del("c2", &config);
    node.settle();
    let stranger = PoolNode::named("vm-002", "roles-two", &connection(&server, &authority, &two));
    let (code, said) = stranger.call("ADD", &stranger.config(json!("pods"))).run().error();
    assert!(code == 7 && said.contains("denies this client"), "no role yet: {code} {said}");
}

/// The pages name the same keys.
#[test]
fn the_documented_commands_are_there() {
    assert!(Path::new(&repository()).join("docs/security.md").exists());
    assert!(commands("etcd-pool.md", "grant-permission").contains("$UUID"));
}
