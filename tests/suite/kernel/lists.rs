//! Lists while things change.

use std::sync::atomic::{AtomicBool, Ordering};

use kernel::{Route, RouteFilter};

use super::*;

#[test]
fn a_list_is_whole_while_others_change_things() {
    if !can_run("a_list_is_whole_while_others_change_things") {
        return;
    }
    let mut pair = Pair::new();
    let kept = 1_000_u32;
    let route = |index: u32, n: u32| {
        let [_, _, high, low] = n.to_be_bytes();
        Route::to(net(&format!("10.{}.{low}.0/24", 100 + high))).device(index).protocol(205)
    };
    let index = pair.index;
    let all: Vec<_> = (0..kept).map(|n| kernel::RouteChange::Add(route(index, n))).collect();
    let results = pair.one.netlink.change_routes(&all).expect("answers");
    assert!(results.iter().all(Result::is_ok));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let changing = scope.spawn(|| {
            let mut netlink = Netlink::open_in(&pair.one.namespace).expect("a socket");
            let mut rounds = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                let other = route(index, 5_000 + rounds % 100);
                netlink.add_route(&other).expect("added");
                assert!(netlink.delete_route(&other).expect("deleted"));
                rounds += 1;
            }
            rounds
        });
        let filter = RouteFilter { protocol: Some(205), ..RouteFilter::default() };
        let mut netlink = Netlink::open_in(&pair.one.namespace).expect("a socket");
        let mut answered = 0;
        // Stopped also when a list is wrong: the thread must end for the panic to be told.
        let lists = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..50 {
                match netlink.routes(&filter) {
                    Ok(list) => {
                        let count = list.len();
                        assert!((1_000..=1_001).contains(&count), "{count} routes");
                        answered += 1;
                    }
                    // Given up, and said: never a list that may be wrong.
                    Err(e) => assert!(e.is_temporary(), "{e}"),
                }
            }
        }));
        stop.store(true, Ordering::Relaxed);
        let rounds = changing.join().expect("no panic");
        assert!(lists.is_ok(), "see above");
        eprintln!("{answered} lists of 50 during {rounds} changes");
        assert!(answered > 0 && rounds > 0);
    });
}
