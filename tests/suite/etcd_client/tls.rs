//! TLS: what works, and what is said when it does not.

use etcd_pool::client::{Connection, Etcd as Client, EtcdError, Kind};
use serde_json::{Value, json};
use support::etcd::{Authority, Etcd, Pair, Setup, Subject, available_with_tls};

use super::{LONG, client, put, soon, within};

const NAMED: Subject<'_> =
    Subject { name: "member", names: "IP:127.0.0.1,DNS:localhost", from: -1, until: 30 };

fn error(connection: &Value) -> EtcdError {
    let mut etcd = client(connection);
    let error = within(&mut etcd, &put("/k", "v"), LONG).unwrap_err();
    println!("{:?}: {} ({})", error.kind, error.message, error.advice);
    assert!(!error.advice.is_empty() && !error.message.contains("PRIVATE"), "{error}");
    error
}

fn with_client(server: &Etcd, authority: &Authority, pair: Option<&Pair>) -> Value {
    let mut connection = json!({"endpoints": server.endpoints(), "caCert": authority.ca()});
    if let Some(pair) = pair {
        connection["cert"] = json!(pair.cert);
        connection["key"] = json!(pair.key);
    }
    connection
}

#[test]
fn members_and_clients_show_certificates() {
    if !available_with_tls("members_and_clients_show_certificates") {
        return;
    }
    let (authority, foreign) = (Authority::new(), Authority::new());
    let member = authority.issue(NAMED);
    let node = authority.issue(Subject { name: "node", names: "DNS:node", ..NAMED });
    let server = Setup::new().tls(&authority, &member, Some(&node)).start();
    let mut etcd = client(&server.connection());
    assert!(etcd.txn(&put("/k", "v"), soon()).unwrap().succeeded);
    let members = etcd.members(LONG);
    assert!(members[0].problem.is_none() && members[0].leader, "{members:?}");

    let none = error(&with_client(&server, &authority, None));
    assert_eq!(none.kind, Kind::Denied);
    assert!(none.message.contains("wants a certificate of the client"), "{none}");

    let stranger = foreign.issue(Subject { name: "stranger", names: "DNS:node", ..NAMED });
    let refused = error(&with_client(&server, &authority, Some(&stranger)));
    assert_eq!(refused.kind, Kind::Denied);

    let old = authority.issue(Subject { name: "old", names: "DNS:node", from: -9, until: -2 });
    let expired = error(&with_client(&server, &authority, Some(&old)));
    assert_eq!(expired.kind, Kind::Denied);
    assert!(expired.message.contains("the clock here says"), "{expired}");

    let unknown = error(&with_client(&server, &foreign, Some(&node)));
    assert_eq!(unknown.kind, Kind::Denied);
    assert!(unknown.message.contains("authority"), "{unknown}");

    let plain = error(&json!({"endpoints": [server.endpoint(0).replace("https", "http")]}));
    assert_eq!(plain.kind, Kind::Denied);
    assert!(plain.message.contains("speaks TLS"), "{plain}");

    // Files that do not belong together are found before anything is connected.
    let mut crossed = server.connection();
    crossed["key"] = json!(stranger.key);
    let crossed = Client::new(&Connection::parse(&crossed).unwrap()).unwrap_err();
    assert_eq!(crossed.kind, Kind::Config);
    assert!(crossed.message.contains("is not the key of the certificate"), "{crossed}");
}

#[test]
fn a_certificate_of_a_member_is_looked_at() {
    if !available_with_tls("a_certificate_of_a_member_is_looked_at") {
        return;
    }
    let authority = Authority::new();
    for (subject, said) in [
        (Subject { from: -9, until: -2, ..NAMED }, ["was valid until", "the clock here says"]),
        (Subject { from: 2, until: 9, ..NAMED }, ["is valid from", "the clock here says"]),
        (Subject { names: "DNS:elsewhere", ..NAMED }, ["127.0.0.1", "elsewhere"]),
    ] {
        let member = authority.issue(subject);
        let server = Setup::new().tls(&authority, &member, None).start();
        let error = error(&server.connection());
        assert_eq!(error.kind, Kind::Denied);
        assert!(said.iter().all(|part| error.message.contains(part)), "{error}");
        if subject.names == "DNS:elsewhere" {
            let mut named = server.connection();
            named["serverName"] = json!("elsewhere");
            assert!(client(&named).txn(&put("/k", "v"), soon()).unwrap().succeeded);
        }
    }
}

#[test]
fn tls_to_a_port_without_it() {
    if !available_with_tls("tls_to_a_port_without_it") {
        return;
    }
    let authority = Authority::new();
    let server = Etcd::single();
    let https = server.endpoint(0).replace("http", "https");
    let error = error(&json!({"endpoints": [https], "caCert": authority.ca()}));
    assert_eq!(error.kind, Kind::Denied);
    assert!(error.message.contains("does not speak TLS"), "{error}");
}
