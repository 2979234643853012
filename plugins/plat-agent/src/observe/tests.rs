use super::*;
use crate::engine::SinkReport;

fn board() -> Board {
    let text = r#"{"node": "vm-001", "etcd": {"endpoints": ["http://127.0.0.1:1"]},
        "routes": {"sources": [{"type": "file", "path": "/f"}, {"type": "pool"}], "sinks": [{"type": "kernel"}]}}"#;
    let spec = crate::config::ConfigSpec::parse(&serde_json::from_str(text).unwrap()).unwrap();
    let nowhere = std::env::temp_dir().join(format!("plat-observe-{}-none", std::process::id()));
    let dirs = StateDirs { durable: nowhere.join("state"), volatile: nowhere.join("run") };
    Board::new(&spec.on(None, "host").unwrap(), &dirs)
}

#[test]
fn pages() {
    let board = board();
    let good = |path: &str| board.page(path).map(|page| page.good);
    assert_eq!(good("/healthz"), Some(true));
    assert_eq!(good("/readyz"), Some(false));
    assert_eq!(good("/"), None);
    let sink = SinkReport { sink: "a \"b\"".to_owned(), ..SinkReport::default() };
    let report =
        Arc::new(Report { complete: true, sinks: vec![sink.clone()], ..Report::default() });
    board.looked(&report, Duration::from_millis(5));
    assert_eq!(good("/readyz"), Some(true));
    let metrics = board.page("/metrics").unwrap().text;
    for line in [
        "plat_routes_present{sink=\"a \\\"b\\\"\",family=\"ipv4\"} 0",
        "plat_agent_resyncs_total 1",
        "plat_agent_ready 1",
        "plat_source_up{source=\"pool\",position=\"1\"} 0",
    ] {
        assert!(metrics.lines().any(|it| it == line), "no {line} in\n{metrics}");
    }
    // A source that is away, and is back.
    board.contact((1, 0), Some("away"));
    assert_eq!(good("/readyz"), Some(false));
    board.contact((1, 0), None);
    assert_eq!(good("/readyz"), Some(true));
    assert!(
        board
            .page("/metrics")
            .unwrap()
            .text
            .contains("plat_source_up{source=\"pool\",position=\"1\"} 1\n")
    );
    // A sink that is away.
    let sink = SinkReport { trouble: Some("gone".to_owned()), ..sink };
    board.looked(
        &Arc::new(Report { complete: true, sinks: vec![sink], ..Report::default() }),
        Duration::ZERO,
    );
    assert_eq!(good("/readyz"), Some(false));
}

#[test]
fn the_document_tells_everything() {
    let board = board();
    let mut complaints = Complaints::default();
    let begun = complaints.are(&[Cause::Etcd.says("it is away")].into());
    board.troubles(&complaints, &begun);
    let text = board.page("/status").unwrap().text;
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["node"], "vm-001");
    assert_eq!(document["ready"], false);
    assert_eq!(document["unready"], "nothing was looked at yet");
    assert_eq!(document["troubles"][0]["cause"], "etcd");
    assert_eq!(document["troubles"][0]["text"], "it is away");
    assert_eq!(document["sources"][0]["position"], 1);
    assert_eq!(document["complete"], false);
    let metrics = board.page("/metrics").unwrap().text;
    assert!(metrics.contains("plat_agent_troubles{cause=\"etcd\"} 1\n"), "{metrics}");
    assert!(metrics.contains("plat_agent_errors_total{cause=\"etcd\"} 1\n"), "{metrics}");
    board.troubles(&Complaints::default(), &[]);
    let metrics = board.page("/metrics").unwrap().text;
    assert!(metrics.contains("plat_agent_troubles{cause=\"etcd\"} 0\n"), "{metrics}");
    assert!(metrics.contains("plat_agent_errors_total{cause=\"etcd\"} 1\n"), "{metrics}");
}
