//! Every order in which a few processes can take their steps, with at most one fault at any point.

use ipam_core::addr::Addr;

use crate::controls;
use crate::job::{Job, Wish};
use crate::operator::HOLD;
use crate::world::{Checked, Fate, Packet, Pod, Process, Rule, Violation, World};

/// Who takes steps.
#[derive(Clone, Copy)]
enum Client {
    /// An ADD on this node for this pod; with an address, or any.
    Add(usize, usize, &'static str, Option<&'static str>),
    /// A DEL and a flush.
    Leave(usize, usize),
    Upkeep(usize),
    /// An operator removes this node, waits, and takes its blocks one after the other.
    Remove(usize),
}

/// What can go wrong, once.
const FAULTS: [Fate; 6] =
    [Fate::Mute, Fate::Late, Fate::Twice, Fate::Kill, Fate::KillSent, Fate::KillApplied];

/// One way through a tree: which branch was taken at each fork, and how many there were.
#[derive(Default)]
struct Path {
    taken: Vec<(usize, usize)>,
    at: usize,
}

impl Path {
    fn choose(&mut self, branches: usize) -> usize {
        if self.at == self.taken.len() {
            self.taken.push((0, branches));
        }
        let (branch, before) = self.taken[self.at];
        assert_eq!(branches, before, "the same steps lead to the same place");
        self.at += 1;
        branch
    }

    /// The next way, if there is one.
    fn turn(&mut self) -> bool {
        self.at = 0;
        while let Some((branch, branches)) = self.taken.pop() {
            if branch + 1 < branches {
                self.taken.push((branch + 1, branches));
                return true;
            }
        }
        false
    }
}

/// How far a client is.
struct Progress {
    client: Client,
    /// How many of its own steps are done; its process has steps of its own.
    done: usize,
}

#[derive(Clone, Copy)]
enum Move {
    Step(usize, Fate),
    /// A late request arrives.
    Late(usize),
}

impl Progress {
    /// Its process, where it has one.
    fn process(&self, world: &World) -> Option<(usize, usize)> {
        let is = |process: &Process| match (&process.job, self.client) {
            (Job::Add(wish), Client::Add(_, pod, ..)) => wish.pod == pod,
            (Job::Flush, Client::Leave(..)) | (Job::Upkeep, Client::Upkeep(_)) => true,
            _ => false,
        };
        let (Client::Add(n, ..) | Client::Leave(n, _) | Client::Upkeep(n) | Client::Remove(n)) =
            self.client;
        world.nodes[n].processes.iter().position(is).map(|p| (n, p))
    }

    fn is_over(&self, world: &World) -> bool {
        let steps = match self.client {
            Client::Add(..) | Client::Upkeep(_) => 1,
            Client::Leave(..) => 2,
            Client::Remove(_) => 4,
        };
        self.done >= steps && self.process(world).is_none()
    }

    fn advance(&mut self, world: &mut World, fate: Fate) -> Checked {
        if let Some((n, p)) = self.process(world) {
            return world.step(n, p, fate);
        }
        self.done += 1;
        match (self.client, self.done) {
            (Client::Add(n, pod, pool, addr), _) => {
                let wish = Wish {
                    pod,
                    generation: world.nodes[n].generations[pod],
                    pool,
                    requested: addr.and_then(Addr::parse).into_iter().collect(),
                    sticky: false,
                    nonce: String::new(),
                    unheard: false,
                    joined: false,
                };
                world.start(n, Job::Add(wish))
            }
            (Client::Leave(n, pod), 1) => world.del(n, pod, None),
            (Client::Leave(n, _), _) => world.start(n, Job::Flush),
            (Client::Upkeep(n), _) => world.start(n, Job::Upkeep),
            (Client::Remove(n), 1) => world.entomb(n),
            (Client::Remove(_), 2) => {
                world.pass(HOLD + 1);
                Ok(())
            }
            (Client::Remove(_), _) => world.reclaim(),
        }
    }
}

/// What has happened on all ways.
#[derive(Debug, Default)]
struct Tally {
    ways: u64,
    steps: u64,
    /// How many pods had an address at the end of a way: how often that was so.
    live: std::collections::BTreeMap<usize, u64>,
}

/// Tries every order; the first one that breaks a rule ends it.
fn explore(before: &World, clients: &[Client], faults: bool) -> Result<Tally, Violation> {
    let mut path = Path::default();
    let mut tally = Tally::default();
    loop {
        let mut world = before.fork();
        if let Err(violation) = walk(&mut world, clients, faults, &mut path, &mut tally) {
            let what = format!("{}\n{}", violation.what, world.log.join("\n"));
            return Err(Violation { what, ..violation });
        }
        tally.ways += 1;
        let live = |pod: &&Pod| matches!(pod, Pod::Live(_));
        let count = world.nodes.iter().flat_map(|node| node.pods.iter()).filter(live).count();
        *tally.live.entry(count).or_default() += 1;
        if !path.turn() {
            return Ok(tally);
        }
    }
}

/// Tries every order and finds nothing; tells how much that was, where the test's output is shown.
#[allow(clippy::disallowed_macros, reason = "for whoever runs this test with --nocapture")]
fn holds(name: &str, before: &World, clients: &[Client], faults: bool) -> Tally {
    match explore(before, clients, faults) {
        Ok(tally) => {
            std::eprintln!("{name}, faults: {faults}: {tally:?}");
            tally
        }
        Err(violation) => panic!("{name}: {violation}"),
    }
}

/// Whether there is time for what takes minutes.
fn long() -> bool {
    proptest::test_runner::Config::default().cases > 1000
}

fn walk(
    world: &mut World,
    clients: &[Client],
    faults: bool,
    path: &mut Path,
    tally: &mut Tally,
) -> Checked {
    let mut all: Vec<Progress> =
        clients.iter().map(|client| Progress { client: *client, done: 0 }).collect();
    let mut faultless = true;
    loop {
        let mut moves = Vec::new();
        for (c, progress) in all.iter().enumerate().filter(|(_, p)| !p.is_over(world)) {
            let Some((n, p)) = progress.process(world) else {
                moves.push(Move::Step(c, Fate::Deliver));
                continue;
            };
            // Where a node has one process, nothing can come between what etcd does and its answer.
            let shared = world.nodes[n].processes.len() > 1;
            let answered = world.nodes[n].processes[p].is_answered();
            moves
                .push(Move::Step(c, if shared && !answered { Fate::Apply } else { Fate::Deliver }));
            if faults && faultless && !answered {
                moves.extend(FAULTS.iter().map(|fault| Move::Step(c, *fault)));
            }
        }
        moves.extend((0..world.wire.len()).map(Move::Late));
        if moves.is_empty() {
            break;
        }
        tally.steps += 1;
        match moves[path.choose(moves.len())] {
            Move::Step(c, fate) => {
                world.say(format!("> client {c}: {fate:?}"));
                faultless &= !FAULTS.contains(&fate);
                all[c].advance(world, fate)?;
            }
            Move::Late(packet) => {
                world.say("> a late request arrives");
                let packet: Packet = world.wire.remove(packet);
                world.carry_out(&packet)?;
            }
        }
        for n in 0..world.nodes.len() {
            world.check_table(n)?;
            world.check_drift(n)?;
        }
    }
    Ok(())
}

/// Nodes that have joined.
fn joined(nodes: usize) -> World {
    let mut world = World::new(nodes);
    for n in 0..nodes {
        world.run(n, Job::Join).unwrap();
    }
    world
}

fn add(world: &mut World, client: Client) {
    let mut progress = Progress { client, done: 0 };
    while !progress.is_over(world) {
        progress.advance(world, Fate::Deliver).unwrap();
    }
}

#[test]
fn nodes_claim_the_same_block() {
    let world = joined(3);
    let clients = [
        Client::Add(0, 0, "single", Some("10.0.5.1")),
        Client::Add(1, 0, "single", Some("10.0.5.1")),
        Client::Add(2, 0, "single", None),
    ];
    let tally = holds("claim", &world, &clients, true);
    assert!(tally.live.contains_key(&2) && !tally.live.contains_key(&3), "{tally:?}");
}

/// Two blocks of one address; one was used, and is given back.
fn returning() -> World {
    let mut world = joined(3);
    add(&mut world, Client::Add(0, 0, "single", Some("10.0.5.1")));
    add(&mut world, Client::Leave(0, 0));
    world
}

#[test]
fn a_block_is_given_back_while_others_claim_it() {
    let clients = [
        Client::Upkeep(0),
        Client::Add(1, 0, "single", Some("10.0.5.1")),
        Client::Add(2, 0, "single", Some("10.0.5.1")),
    ];
    let tally = holds("give back, claim", &returning(), &clients, long());
    assert!(tally.live.contains_key(&1) && !tally.live.contains_key(&2), "{tally:?}");
}

#[test]
fn without_the_fence_an_order_gives_an_address_twice() {
    let clients = [
        Client::Upkeep(0),
        Client::Add(1, 0, "single", Some("10.0.5.1")),
        Client::Add(2, 0, "single", Some("10.0.5.1")),
    ];
    let mut world = returning();
    world.only = Some(Rule::Duplicate);
    world.etcd.ignore(Some(controls::fence()));
    assert_eq!(explore(&world, &clients, true).map_err(|v| v.rule).err(), Some(Rule::Duplicate));
}

#[test]
fn a_block_is_given_back_while_its_node_wants_it() {
    let clients = [
        Client::Upkeep(0),
        Client::Add(0, 1, "single", Some("10.0.5.1")),
        Client::Add(1, 0, "single", Some("10.0.5.1")),
    ];
    let tally = holds("give back, use", &returning(), &clients, long());
    assert!(tally.live.contains_key(&1) && !tally.live.contains_key(&2), "{tally:?}");
}

#[test]
fn a_block_is_given_back_while_others_borrow_of_it() {
    let mut world = joined(2);
    add(&mut world, Client::Add(0, 0, "sync", Some("10.0.2.1")));
    add(&mut world, Client::Add(0, 1, "sync", Some("10.0.2.5")));
    add(&mut world, Client::Leave(0, 1));
    // The record stays until the address has rested.
    world.pass(61_000);
    world.run(0, Job::Flush).unwrap();
    let clients = [Client::Upkeep(0), Client::Add(1, 0, "sync", Some("10.0.2.5"))];
    let tally = holds("give back, borrow", &world, &clients, long());
    assert!(tally.live.contains_key(&2), "{tally:?}");
}

/// A block of two addresses, one of them in use.
fn shared() -> (World, [Client; 3]) {
    let mut world = joined(2);
    add(&mut world, Client::Add(0, 0, "sync", Some("10.0.2.1")));
    let clients = [
        Client::Add(0, 1, "sync", Some("10.0.2.2")),
        Client::Add(1, 0, "sync", Some("10.0.2.2")),
        Client::Leave(0, 0),
    ];
    (world, clients)
}

#[test]
fn a_node_and_a_borrower_want_the_same_address() {
    let (world, clients) = shared();
    let tally = holds("allocate, borrow", &world, &clients[..2], true);
    assert!(tally.live.contains_key(&2) && !tally.live.contains_key(&3), "{tally:?}");
    if long() {
        holds("allocate, borrow, release", &world, &clients, false);
    }
}

#[test]
fn without_the_revision_of_the_address_an_order_gives_it_twice() {
    let (mut world, clients) = shared();
    world.only = Some(Rule::Duplicate);
    world.etcd.ignore(Some(controls::address()));
    let found = explore(&world, &clients[..2], false).map_err(|v| v.rule).err();
    assert_eq!(found, Some(Rule::Duplicate));
}

#[test]
fn a_node_is_removed_while_it_works() {
    let clients = [
        Client::Remove(0),
        Client::Add(0, 1, "single", Some("10.0.5.1")),
        Client::Add(1, 0, "single", Some("10.0.5.1")),
    ];
    let tally = holds("remove, claim", &returning(), &clients, true);
    assert!(tally.live.contains_key(&1), "{tally:?}");
}

#[test]
fn a_node_is_removed_while_others_borrow_of_it() {
    let (world, mut clients) = shared();
    clients[2] = Client::Remove(0);
    let tally = holds("remove, borrow", &world, &clients, long());
    assert!(tally.live.contains_key(&2), "{tally:?}");
}
