//! A connection that is kept between two transactions of a process, and what others do meanwhile.

use super::*;
use crate::lock::Lock;

/// The addresses that a pool of a ledger holds.
fn held(ledger: &mut PoolLedger) -> Vec<String> {
    let whole = Interval::new(addr("10.0.0.0"), addr("10.255.255.255")).unwrap();
    let held = ledger.transact(|tx| tx.within(&id("a"), whole)).unwrap();
    held.iter().map(|held| held.addr.to_string()).collect()
}

/// A ledger that has had a transaction; 10.1.2.2 is held.
fn parked(dir: &Dir) -> PoolLedger {
    let mut ledger = dir.ledger();
    ledger.transact(|tx| tx.insert(&allocation("a", "red", "c1", "10.1.2.2"), 0)).unwrap();
    assert!(ledger.parked.is_some());
    ledger
}

#[test]
fn nothing_is_locked_meanwhile() {
    let dir = Dir::new();
    let mut ledger = parked(&dir);
    for commits in [true, false] {
        if !commits {
            // A pool's row is made for the look, and is not to stay.
            let request = sets(&["10.1.2.0/29"]);
            let owner = Owner::default();
            let wanted = attachment("c9");
            ledger
                .transact(|tx| {
                    let request = Request {
                        attachment: &wanted,
                        sets: &request,
                        requested: &[],
                        repeat: Repeat::Return,
                        pin: None,
                        policy: Policy::default(),
                        owner: &owner,
                    };
                    tx.decide(&id("only-looked-at"), &network("red"), &request)
                })
                .unwrap()
                .unwrap();
        }
        for path in ["run/plat.db-lock", "state/pool.json-lock"] {
            let path = dir.0.join(path);
            let file = fs::File::open(&path).unwrap();
            assert!(Lock::try_exclusive(file, &path).unwrap().is_some(), "{}", path.display());
        }
        let other = Connection::open(dir.0.join("run/plat.db")).unwrap();
        other.busy_timeout(Duration::ZERO).unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let networks: i64 =
            other.query_row("SELECT count(*) FROM network", [], |row| row.get(0)).unwrap();
        assert_eq!(networks, 1);
    }
}

#[test]
fn two_that_take_turns_see_what_the_other_did() {
    let dir = Dir::new();
    let (mut one, mut two) = (parked(&dir), dir.ledger());
    let sets = sets(&["10.1.2.0/26"]);
    let mut all = vec!["10.1.2.2".to_owned()];
    for n in 0..20 {
        for (ledger, name) in [(&mut one, "one"), (&mut two, "two")] {
            let container = format!("{name}-{n}");
            let given =
                add(ledger, "a", "red", &container, &sets, Policy::default()).unwrap().unwrap();
            all.extend(given.iter().map(ToString::to_string));
            let boot = BootState { seq: all.len() as u64, ..BootState::default() };
            ledger.transact(|tx| tx.set_boot(boot.clone())).unwrap();
        }
        let seq = |ledger: &mut PoolLedger| ledger.transact(|tx| Ok(tx.boot().seq)).unwrap();
        assert_eq!((seq(&mut one), seq(&mut two)), (all.len() as u64, all.len() as u64));
    }
    assert_eq!(held(&mut one), held(&mut two));
    let mut sorted: Vec<Addr> = all.iter().map(|text| addr(text)).collect();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), 41);
    assert_eq!(held(&mut one), sorted.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(faults(&dir), []);
}

#[test]
fn another_file_in_its_place_is_another_database() {
    let dir = Dir::new();
    let mut ledger = parked(&dir);
    let (done, aside) = dir
        .database("plat.db")
        .replace(|connection| {
            connection.execute("INSERT INTO network (instance, name) VALUES ('x', 'y')", [])?;
            Ok(Ok::<(), ()>(()))
        })
        .unwrap();
    done.unwrap();
    assert!(aside.is_some());
    assert_eq!(held(&mut ledger), Vec::<String>::new());
    // And the connection to that one is kept from then on.
    ledger.transact(|tx| tx.insert(&allocation("a", "red", "c2", "10.1.2.3"), 0)).unwrap();
    assert_eq!(held(&mut dir.ledger()), ["10.1.2.3"]);
    assert_eq!(held(&mut ledger), ["10.1.2.3"]);
}

#[test]
fn a_database_that_was_removed_is_missed() {
    let dir = Dir::new();
    let mut ledger = parked(&dir);
    fs::remove_file(dir.0.join("run/plat.db")).unwrap();
    assert!(matches!(ledger.visit(|_| Ok(())), Err(StoreError::Lost { .. })));
    let mut ledger = {
        fs::remove_dir_all(dir.0.join("state/databases")).unwrap();
        ledger
    };
    ledger.transact(|_| Ok(())).unwrap();
    assert_eq!(held(&mut ledger), Vec::<String>::new());
}

#[test]
fn another_boot_and_a_later_version_are_noticed() {
    let dir = Dir::new();
    let mut ledger = parked(&dir);
    let other = Connection::open(dir.0.join("run/plat.db")).unwrap();
    other.execute("UPDATE meta SET boot = 'a-former-boot'", []).unwrap();
    assert!(matches!(ledger.visit(|_| Ok(())), Err(StoreError::Lost { .. })));
    ledger.transact(|_| Ok(())).unwrap();
    assert_eq!(held(&mut ledger), Vec::<String>::new());
    // Another table changes what statements were prepared for.
    other
        .execute_batch("CREATE TABLE more (x); ALTER TABLE outbox ADD COLUMN more INTEGER")
        .unwrap();
    ledger.transact(|tx| tx.insert(&allocation("a", "red", "c1", "10.1.2.7"), 0)).unwrap();
    assert_eq!(held(&mut ledger), ["10.1.2.7"]);
    other.execute_batch("PRAGMA user_version = 1000").unwrap();
    assert!(matches!(ledger.transact(|_| Ok(())), Err(StoreError::Newer { schema: 1000, .. })));
}

#[test]
fn what_a_killed_call_has_left_is_rolled_back() {
    let dir = Dir::new();
    let mut ledger = parked(&dir);
    let (path, journal) = (dir.0.join("run/plat.db"), dir.0.join("run/plat.db-journal"));
    let before = fs::read(&path).unwrap();
    // A commit that was killed: pages are written, and the journal has what they were.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA journal_mode = PERSIST; PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE").unwrap();
    other.execute("DELETE FROM allocation", []).unwrap();
    for n in 0..400 {
        let text = "x".repeat(500);
        other
            .execute(
                "INSERT INTO history (network, addr, container, ifname, pod_uid, until, ended) \
                 VALUES (1, x'04', ?1, 'eth0', ?2, 0, 0)",
                (format!("c{n}"), text),
            )
            .unwrap();
    }
    let (torn, hot) = (fs::read(&path).unwrap(), fs::read(&journal).unwrap());
    drop(other);
    assert_ne!(torn, before);
    fs::write(&path, torn).unwrap();
    fs::write(&journal, hot).unwrap();
    assert_eq!(held(&mut ledger), ["10.1.2.2"]);
    assert_eq!(faults(&dir), []);
}
