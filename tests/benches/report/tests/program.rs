//! `bench-page` as a program: figures in files, a page and pictures in files.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Output};

const FIGURES: &str = r#"{
  "schema": 1, "bench": "ipam", "command": "bench-ipam --quick", "begun": "2030-01-31 12:00 UTC", "seconds": 1.5,
  "machine": {"processor": "one", "cores": 2, "memoryGb": 24.6, "kernel": "6.1", "fileSystems": {"disk": "ext4"},
              "loadBegin": "0 0 0", "loadEnd": "1 0 0", "steal": null},
  "programs": [{"name": "host-local", "version": "0.1.0", "bytes": 3000000, "isReference": false}],
  "figures": [
    {"group": "time", "what": "ADD", "of": "host-local, dir", "place": "tmpfs", "at": {"held": 250}, "value": 1.5, "unit": "ms",
     "spread": {"count": 50, "min": 1.3, "p95": 1.75}, "against": {"of": "the reference", "value": 4.5}},
    {"group": "time", "what": "ADD", "of": "the reference", "place": "tmpfs", "at": {"held": 250}, "value": 4.5, "unit": "ms"}
  ]
}"#;

/// A directory of this test's own, removed with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("bench-page-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("docs"))?;
        Ok(Self(path))
    }

    fn run(&self, figures: &[&str]) -> io::Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bench-page"));
        command.current_dir(&self.0).args(["--command", "make bench BENCH_QUICK=1"]).args(figures);
        command.output()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_page_and_its_pictures_are_written() {
    let place = Place::new("writes").expect("a place");
    fs::write(place.0.join("ipam.json"), FIGURES).expect("a file can be written");
    let output = place.run(&["ipam.json", "pool.json"]).expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let page = fs::read_to_string(place.0.join("docs/benchmarks.md")).expect("a page");
    for wanted in [
        "`make bench BENCH_QUICK=1`",
        "| **0.33** |",
        "(images/bench-add.svg)",
        "`make bench-pool` measures it",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    let picture = fs::read_to_string(place.0.join("docs/images/bench-add.svg")).expect("a picture");
    assert!(picture.contains("×3.0") && picture.ends_with("</svg>\n"), "{picture}");
    // Twice the same.
    assert!(place.run(&["ipam.json"]).expect("it starts").status.success());
    assert_eq!(fs::read_to_string(place.0.join("docs/benchmarks.md")).expect("a page"), page);
}

#[test]
fn what_are_no_figures_is_refused() {
    let place = Place::new("refuses").expect("a place");
    fs::write(place.0.join("broken.json"), "{}").expect("a file can be written");
    for (figures, wanted) in [
        ("broken.json", "broken.json: these are no figures"),
        ("none.json", "run the benchmarks first"),
    ] {
        let output = place.run(&[figures]).expect("it starts");
        let wrong = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && wrong.contains(wanted), "{figures}: {wrong}");
    }
    assert!(!place.0.join("docs/benchmarks.md").exists());
}
