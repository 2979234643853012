use super::*;
use crate::figures::{Figure, Goal, Machine, Program, SCHEMA};

fn run(bench: &str, figures: Vec<Figure>) -> Run {
    Run {
        schema: SCHEMA,
        bench: bench.to_owned(),
        command: format!("bench-{bench} --quick"),
        begun: "2030-01-31 12:00 UTC".to_owned(),
        seconds: 12.3,
        machine: Machine {
            processor: "A <processor> | 2".to_owned(),
            cores: 2,
            memory_gb: 24.6,
            kernel: "6.1".to_owned(),
            file_systems: [("disk".to_owned(), "ext4".to_owned())].into(),
            load_begin: "0.1 0.2 0.3".to_owned(),
            load_end: "1 1 1".to_owned(),
            steal: Some(0.012),
        },
        programs: vec![Program {
            name: "host-local".to_owned(),
            version: "0.1.0, commit 1f2e".to_owned(),
            bytes: Some(3_000_000),
            is_reference: false,
        }],
        figures,
    }
}

/// The IPAM plugins: ours, and one that takes as long as so many are held.
fn ipam() -> Run {
    let mut figures = Vec::new();
    for what in ["ADD", "DEL"] {
        for held in [0, 250, 60_000] {
            let slow = 2.0 + f64::from(held) / 100.0;
            let at = |it: Figure, of: &str| it.of(of).on("tmpfs").at("held", held);
            figures.push(
                at(Figure::new("time", what, 1.0, "ms"), "host-local, dir")
                    .against("the other", slow),
            );
            figures.push(at(Figure::new("time", what, slow, "ms"), "the other"));
            let cpu = if what == "ADD" { "CPU of an ADD" } else { "CPU of a DEL" };
            figures.push(at(Figure::new("processor", cpu, 0.7, "ms"), "host-local, dir"));
        }
        for callers in [1, 16] {
            let at =
                |it: Figure, of: &str| it.of(of).on("tmpfs").at("held", 250).at("callers", callers);
            figures.push(
                at(Figure::new("callers", what, 1600.0, "/s"), "host-local, dir")
                    .against("the other", 400.0),
            );
            figures.push(at(Figure::new("callers", what, 400.0, "/s"), "the other"));
        }
    }
    for (group, unit) in [("size", "MB"), ("start", "ms")] {
        figures.push(
            Figure::new(group, "binary", 3.0, unit).of("host-local").against("the other", 2.0),
        );
        figures.push(Figure::new(group, "binary", 2.0, unit).of("the other"));
    }
    let memory = Figure::new("memory", "a call", 2.0, "MB").of("host-local, dir").on("tmpfs");
    figures.push(memory.at("held", 60_000).against("the other", 13.0));
    run("ipam", figures)
}

fn others() -> [Run; 3] {
    let goal = Goal::ratio_at_most(1.2);
    let pool = vec![
        Figure::new("local", "ADD", 1.76, "ms")
            .of("etcd-pool, local")
            .against("node-local", 1.6)
            .goal(goal),
        Figure::new("sync", "ADD", 3.5, "ms")
            .of("etcd-pool, sync")
            .against("a bare transaction", 2.0)
            .goal(goal),
        Figure::new("callers", "ADD", 300.0, "/s").of("etcd-pool, sync").at("callers", 16),
    ];
    let vpp = vec![
        Figure::new("attach", "ADD by veth", 20.0, "ms").of("vpp").against("bare requests", 10.0),
        Figure::new("part", "the veth pair", 4.0, "ms"),
    ];
    let agent = vec![
        Figure::new("routes", "routes added", 60.0, "ms")
            .of("plat-agent")
            .on("the kernel")
            .at("routes", 5000)
            .against("a bare program", 40.0),
    ];
    [run("pool", pool), run("vpp", vpp), run("agent", agent)]
}

#[test]
fn a_page_has_all_that_was_measured() {
    let runs: Vec<Run> = [ipam()].into_iter().chain(others()).collect();
    let page = Page::of(&runs, "make bench", "images");
    for name in [
        "add",
        "del",
        "callers-add",
        "callers-del",
        "memory",
        "size",
        "start",
        "etcd",
        "etcd-callers",
        "vpp",
        "agent",
    ] {
        let svg = page.images.get(&format!("bench-{name}.svg")).expect(name);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{name}: {svg}");
        assert!(!svg.contains("nothing was measured") && !svg.contains("NaN"), "{name}: {svg}");
        assert!(
            page.markdown.contains(&format!("(images/bench-{name}.svg)")),
            "{name}: {}",
            page.markdown
        );
    }
    for wanted in [
        "Written by `make bench`",
        "| **0.002** | smaller | host-local, dir: ADD (tmpfs, 60,000 held) | 1 ms | the other | 602 ms |",
        "| **4.00** | larger | host-local, dir: ADD (tmpfs, 16 callers, 250 held) | 1,600/s | the other | 400/s |",
        "| etcd-pool, local: ADD | ratio 1.10 | ratio at most 1.2 | met |",
        "| 1.75 | etcd-pool, sync: ADD | 3.5 ms | ratio at most 1.2 | **missed** |",
        "| 0.50 | 0.50 | tmpfs | 0 | host-local, dir | 1 |  | 0.7 | 1 |  | 0.7 |  |",
        "| etcd-pool, sync: ADD | ratio 1.75 | ratio at most 1.2 | **missed** |",
        "A &lt;processor> \\| 2, 2 cores, 24.6 GB of memory, Linux 6.1. File systems: disk is ext4.",
        "| `bench-pool --quick` | 2030-01-31 12:00 UTC | 12 s | 0.1 0.2 0.3 | 1 1 1 | 1.2 % |",
        "| host-local | 0.1.0, commit 1f2e |  |",
        "With 0 addresses held, an ADD of host-local, dir takes 0.50 of the reference's time, with 60,000 held 0.002.",
    ] {
        assert!(page.markdown.contains(wanted), "{wanted}: {}", page.markdown);
    }
    let add = page.images.get("bench-add.svg").expect("a chart");
    assert!(add.contains("×602") && add.contains("×2.0<"), "{add}");
    assert_eq!(page.markdown.lines().filter(|line| line.starts_with("# ")).count(), 1);
    assert!(
        !page.markdown.contains("\n\n\n") && page.markdown.ends_with(".\n"),
        "{}",
        page.markdown
    );
}

#[test]
fn what_was_not_measured_is_said_to_be_so() {
    let page = Page::of(&[ipam()], "make bench", "images");
    for bench in ["pool", "vpp", "agent"] {
        let wanted = format!("Not measured in this run: `make bench-{bench}` measures it.");
        assert!(page.markdown.contains(&wanted), "{wanted}: {}", page.markdown);
    }
    assert!(!page.images.contains_key("bench-etcd.svg"));
    let page = Page::of(&[], "make bench", "images");
    assert!(page.images.is_empty() && page.markdown.contains("Nothing was measured."));
}

#[test]
fn figures_without_a_reference_are_shown_all_the_same() {
    let mut run = ipam();
    run.figures.retain(|figure| figure.of != "the other");
    for figure in &mut run.figures {
        figure.against = None;
    }
    let page = Page::of(&[run], "make bench", "images");
    let add = page.images.get("bench-add.svg").expect("a chart");
    assert!(add.contains("host-local, dir") && !add.contains('×'), "{add}");
    // And nothing at all is no reason to fail.
    for bench in BENCHES {
        let page = Page::of(&[super::tests::run(bench, Vec::new())], "make bench", "images");
        assert!(page.images.values().all(|svg| !svg.contains("NaN")), "{bench}");
    }
}
