//! Opened, entered, told from what is none.

use std::fs::{self, File};

use kernel::Namespace;
use support::Scratch;

use super::*;

#[test]
fn work_runs_inside_and_the_caller_stays() {
    if !can_run("work_runs_inside_and_the_caller_stays") {
        return;
    }
    let place = Place::new();
    let before = Namespace::current().expect("the own").identity();
    let inside = place.namespace.run(|| Namespace::current().expect("inside").identity());
    assert_eq!(inside.expect("entered"), place.namespace.identity());
    assert_eq!(Namespace::current().expect("the own").identity(), before);
    assert_ne!(before, place.namespace.identity());
    assert!(Namespace::open(&place.path()).expect("there").is_same(&place.namespace));
}

#[test]
fn a_panic_inside_goes_on_in_the_caller_who_stays() {
    if !can_run("a_panic_inside_goes_on_in_the_caller_who_stays") {
        return;
    }
    let place = Place::new();
    let before = Namespace::current().expect("the own").identity();
    let caught = std::panic::catch_unwind(|| place.namespace.run(|| panic!("on purpose")));
    let text = caught.expect_err("the panic");
    assert_eq!(text.downcast_ref::<&str>(), Some(&"on purpose"));
    assert_eq!(Namespace::current().expect("the own").identity(), before);
}

#[test]
fn a_socket_stays_with_its_namespace() {
    if !can_run("a_socket_stays_with_its_namespace") {
        return;
    }
    let mut place = Place::new();
    // A namespace is born with nothing but its loopback.
    let names: Vec<String> =
        place.netlink.links().expect("a list").into_iter().map(|link| link.name).collect();
    assert_eq!(names, ["lo"]);
    let elsewhere = std::thread::spawn(move || {
        let lo = place.link("lo");
        (lo.loopback, lo.up, lo.kind, place)
    });
    let (loopback, up, kind, _place) = elsewhere.join().expect("no panic");
    assert!(loopback && !up && kind.is_none());
}

#[test]
fn what_is_no_namespace_is_refused() {
    let scratch = Scratch::new("namespace");
    let path = scratch.path().join("pod");
    let missing = Namespace::open(&path).expect_err("nothing is there");
    assert!(missing.is_not_found() && !missing.is_not_namespace(), "{missing}");
    File::create(&path).expect("a file");
    let empty = Namespace::open(&path).expect_err("an empty file");
    assert!(empty.is_not_namespace() && !empty.is_not_found(), "{empty}");
    assert_eq!(
        empty.to_string(),
        format!(
            "{} is no network namespace: it is an empty file, nothing is mounted on it",
            path.display()
        )
    );
    fs::remove_file(&path).expect("removed");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .expect("a FIFO");
    // Nobody writes to it: a plain open would wait for ever.
    let fifo = Namespace::open(&path).expect_err("a FIFO");
    assert!(fifo.is_not_namespace() && fifo.to_string().contains("FIFO"), "{fifo}");
}

#[test]
fn it_lives_as_long_as_it_is_open() {
    if !can_run("it_lives_as_long_as_it_is_open") {
        return;
    }
    let mut place = Place::new();
    let path = place.path();
    let _ = place.holder.kill();
    let _ = place.holder.wait();
    assert!(Namespace::open(&path).expect_err("its process is gone").is_not_found());
    assert!(place.netlink.link("lo").expect("an answer").is_some());
    place.namespace.run(|| Netlink::open().map(|_| ())).expect("entered").expect("a socket");
}
