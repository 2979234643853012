//! The benchmarks, each in its smallest setting: they run, and the page takes what they write. Nothing is asked of how fast
//! anything is.

use std::collections::BTreeSet;
use std::process::Command;

use bench_report::Run;
use bench_report::page::Page;
use support::{Scratch, binary, etcd, have, is_root, skip_unless};

/// Runs a benchmark's program, reads its figures, and makes a page of them.
fn figures(bench: &str, program: &str, options: &str) -> (Run, Page) {
    let scratch = Scratch::new("bench-suite");
    let file = scratch.path().join("figures/run.json");
    let binaries = binary("host-local").parent().expect("a file is in a directory").to_path_buf();
    let output = Command::new(program)
        .args(options.split_whitespace())
        .arg("--json")
        .arg(&file)
        .env("PLAT_BIN_DIR", binaries)
        // Where there is a real VPP, it may serve somebody else.
        .env_remove("VPP_API_SOCK")
        .output()
        .expect("a benchmark can be started");
    let [said, wrong] =
        [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it).into_owned());
    assert!(output.status.success(), "{}: {said}{wrong}", output.status);
    let text = std::fs::read_to_string(&file).expect("figures were written");
    let run = Run::parse(&text).expect("figures can be read");
    assert_eq!(
        (run.bench.as_str(), run.command.as_str()),
        (bench, format!("bench-{bench} {options}").as_str())
    );
    assert!(
        run.machine.cores > 0 && !run.machine.load_end.is_empty() && run.seconds > 0.0,
        "{text}"
    );
    for program in &run.programs {
        assert_ne!(program.version, "unknown", "{text}");
    }
    for line in said.lines().filter(|line| line.starts_with("| ")) {
        assert_eq!(line.split('|').count(), 8, "{line}");
    }
    let page = Page::of(std::slice::from_ref(&run), "make bench", "images");
    for (name, svg) in &page.images {
        assert!(!svg.contains("nothing was measured") && !svg.contains("NaN"), "{name}: {svg}");
        assert!(page.markdown.contains(&format!("(images/{name})")), "{name}: {}", page.markdown);
    }
    (run, page)
}

/// The groups of figures; memory is not among them: it is known only where strace may trace, and sees the process in time.
fn groups(run: &Run) -> BTreeSet<&str> {
    run.figures.iter().map(|it| it.group.as_str()).filter(|group| *group != "memory").collect()
}

fn pictures(page: &Page) -> Vec<&str> {
    let names =
        page.images.keys().map(|name| name.trim_start_matches("bench-").trim_end_matches(".svg"));
    let mut names: Vec<&str> = names.filter(|name| *name != "memory").collect();
    names.sort_unstable();
    names
}

#[test]
fn ipam_writes_figures() {
    let options = "--sizes 0,5 --runs 1 --callers 1,2 --callers-held 0 --calls 4 --full 28 --dual 2 --only tmpfs";
    let (run, page) = figures("ipam", env!("CARGO_BIN_EXE_bench-ipam"), options);
    let wanted = ["callers", "processor", "size", "special", "start", "time"];
    assert_eq!(groups(&run), wanted.into());
    assert_eq!(pictures(&page), ["add", "callers-add", "callers-del", "del", "size", "start"]);
    assert!(run.figures.iter().all(|it| it.place.is_empty() || it.place == "tmpfs"));
    let is_compared = have("/usr/lib/cni/host-local");
    for figure in run.figures.iter().filter(|it| it.of.starts_with("host-local")) {
        assert_eq!(figure.against.is_some(), is_compared, "{figure:?}");
    }
}

#[test]
fn pool_writes_figures() {
    if !etcd::available("benches::pool_writes_figures") {
        return;
    }
    let options = "--runs 1 --held 2 --callers 1,2 --calls 4";
    let (run, page) = figures("pool", env!("CARGO_BIN_EXE_bench-pool"), options);
    let wanted =
        ["alone", "callers", "flat", "local", "processor", "requests", "sync", "unhindered"];
    assert_eq!(groups(&run), wanted.into());
    assert_eq!(pictures(&page), ["etcd", "etcd-callers"]);
}

#[test]
fn vpp_writes_figures() {
    let needs = [(is_root(), "root"), (have("ip"), "ip (Debian: iproute2)")];
    if !skip_unless("benches::vpp_writes_figures", &needs) {
        return;
    }
    let options = "--runs 1 --routes 3 --pods 1";
    let (run, page) = figures("vpp", env!("CARGO_BIN_EXE_bench-vpp"), options);
    assert_eq!(groups(&run), ["attach", "part", "routes", "trips"].into());
    assert_eq!(pictures(&page), ["vpp"]);
    assert!(page.markdown.contains("in miniature"), "{}", page.markdown);
}

#[test]
fn agent_writes_figures() {
    let needs = [
        (is_root(), "root"),
        (have("ip"), "ip (Debian: iproute2)"),
        (have("unshare"), "unshare (util-linux)"),
        (have("etcd"), "etcd (Debian: etcd-server)"),
    ];
    if !skip_unless("benches::agent_writes_figures", &needs) {
        return;
    }
    let options = "--runs 1 --routes 3 --nodes 2 --pods 1";
    let (run, page) = figures("agent", env!("CARGO_BIN_EXE_bench-agent"), options);
    assert_eq!(groups(&run), ["follow", "restart", "routes"].into());
    assert_eq!(pictures(&page), ["agent"]);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    for (program, options) in [
        (env!("CARGO_BIN_EXE_bench-ipam"), "--sizes 65001"),
        (env!("CARGO_BIN_EXE_bench-ipam"), "--callers 0"),
        (env!("CARGO_BIN_EXE_bench-ipam"), "--only nfs"),
        (env!("CARGO_BIN_EXE_bench-ipam"), "--reference /nonexistent/host-local"),
        (env!("CARGO_BIN_EXE_bench-pool"), "--runs none"),
        (env!("CARGO_BIN_EXE_bench-vpp"), "--pods 0"),
        (env!("CARGO_BIN_EXE_bench-agent"), "--routes 10001"),
        (env!("CARGO_BIN_EXE_bench-scale"), "--nodes 0"),
    ] {
        let output = Command::new(program).args(options.split_whitespace()).output();
        let output = output.expect("a benchmark can be started");
        let wrong = String::from_utf8_lossy(&output.stderr);
        let value = options.rsplit_once(' ').expect("an option and its value").1;
        assert!(!output.status.success() && wrong.contains(value), "{program} {options}: {wrong}");
    }
}
