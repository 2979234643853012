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
    let good = |path: &str| board.page(path, Format::Plain).map(|page| page.good);
    assert_eq!(good("/healthz"), Some(true));
    assert_eq!(good("/readyz"), Some(false));
    assert_eq!(good("/"), None);
    let sink = SinkReport { sink: "a \"b\"".to_owned(), ..SinkReport::default() };
    let report =
        Arc::new(Report { complete: true, sinks: vec![sink.clone()], ..Report::default() });
    board.looked(&report, Duration::from_millis(5));
    assert_eq!(good("/readyz"), Some(true));
    let metrics = board.page("/metrics", Format::Plain).unwrap().text;
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
            .page("/metrics", Format::Plain)
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
fn each_client_gets_the_format_that_it_asks_for() {
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    for (header, expected) in [
        (Some(prometheus), Format::Open),
        (Some("*/*"), Format::Plain),
        (Some("text/plain"), Format::Plain),
        (None, Format::Plain),
    ] {
        assert_eq!(Format::accepted(header), expected, "{header:?}");
    }
    let board = board();
    let told = |format: Format| board.page("/metrics", format).unwrap();
    let (open, plain) = (told(Format::Open), told(Format::Plain));
    assert!(
        open.kind.starts_with("application/openmetrics-text") && open.text.ends_with("# EOF\n")
    );
    assert!(plain.kind.starts_with("text/plain; version=0.0.4") && !plain.text.contains("# EOF"));
    assert!(open.text.contains("# TYPE plat_gc_freed counter\nplat_gc_freed_total 0\n"));
    assert!(plain.text.contains("# TYPE plat_gc_freed_total counter\nplat_gc_freed_total 0\n"));
}

#[test]
fn the_document_tells_everything() {
    let board = board();
    let mut complaints = Complaints::default();
    let begun = complaints.are(&[Cause::Etcd.says("it is away")].into());
    board.troubles(&complaints, &begun);
    let text = board.page("/status", Format::Plain).unwrap().text;
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["node"], "vm-001");
    assert_eq!(document["ready"], false);
    assert_eq!(document["unready"], "nothing was looked at yet");
    assert_eq!(document["troubles"][0]["cause"], "etcd");
    assert_eq!(document["troubles"][0]["text"], "it is away");
    assert_eq!(document["sources"][0]["position"], 1);
    assert_eq!(document["complete"], false);
    let metrics = board.page("/metrics", Format::Plain).unwrap().text;
    assert!(metrics.contains("plat_agent_troubles{cause=\"etcd\"} 1\n"), "{metrics}");
    assert!(metrics.contains("plat_agent_errors_total{cause=\"etcd\"} 1\n"), "{metrics}");
    board.troubles(&Complaints::default(), &[]);
    let metrics = board.page("/metrics", Format::Plain).unwrap().text;
    assert!(metrics.contains("plat_agent_troubles{cause=\"etcd\"} 0\n"), "{metrics}");
    assert!(metrics.contains("plat_agent_errors_total{cause=\"etcd\"} 1\n"), "{metrics}");
}
