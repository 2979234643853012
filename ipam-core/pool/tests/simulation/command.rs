//! What may happen in a world.

use ipam_core::addr::{Addr, Cidr};
use ipam_pool::node::{Block, BlockState};
use ipam_pool::pool::Pool;
use proptest::prelude::*;

use crate::job::{Job, Wish, pool_id};
use crate::setup;
use crate::world::{Checked, Fate, PODS, Pod, Rule, Violation, World};

/// How many processes a node runs at once.
const PROCESSES: usize = 4;

/// How many requests are on their way at once.
const PACKETS: usize = 8;

/// Something that happens. Numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command {
    /// An ADD begins.
    Add {
        node: usize,
        pod: usize,
        pool: usize,
        wish: usize,
    },
    /// A DEL; with a number it dies after so many writes.
    Del {
        node: usize,
        pod: usize,
        writes: Option<u32>,
    },
    Gc {
        node: usize,
        net: usize,
    },
    Join {
        node: usize,
    },
    Flush {
        node: usize,
    },
    Upkeep {
        node: usize,
    },
    /// A process goes on.
    Step {
        process: usize,
        fate: Fate,
    },
    /// All processes of a node run to their ends.
    Drain {
        node: usize,
    },
    /// A late request arrives.
    Late {
        packet: usize,
    },
    Pass {
        milliseconds: u64,
    },
    Pause {
        node: usize,
        milliseconds: u64,
    },
    Jump {
        node: usize,
        seconds: i64,
    },
    Reboot {
        node: usize,
    },
    Shut {
        node: usize,
    },
    Entomb {
        node: usize,
    },
    Reclaim,
    Renew {
        node: usize,
    },
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        12 => Just(Fate::Deliver),
        5 => Just(Fate::Apply),
        1 => Just(Fate::Unsent),
        2 => Just(Fate::Mute),
        2 => Just(Fate::Late),
        2 => Just(Fate::Twice),
        1 => Just(Fate::Kill),
        2 => Just(Fate::KillSent),
        1 => Just(Fate::KillApplied),
        1 => (0_u32..8).prop_map(Fate::Break),
    ]
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    let node = || 0_usize..4;
    prop_oneof![
        14 => (node(), 0..PODS, 0_usize..3, 0_usize..8)
            .prop_map(|(node, pod, pool, wish)| Command::Add { node, pod, pool, wish }),
        9 => (node(), 0..PODS, prop_oneof![6 => Just(None), 1 => (0_u32..5).prop_map(Some)])
            .prop_map(|(node, pod, writes)| Command::Del { node, pod, writes }),
        1 => (node(), 0_usize..2).prop_map(|(node, net)| Command::Gc { node, net }),
        3 => node().prop_map(|node| Command::Join { node }),
        5 => node().prop_map(|node| Command::Flush { node }),
        5 => node().prop_map(|node| Command::Upkeep { node }),
        40 => (0_usize..16, fate()).prop_map(|(process, fate)| Command::Step { process, fate }),
        10 => node().prop_map(|node| Command::Drain { node }),
        4 => (0..PACKETS).prop_map(|packet| Command::Late { packet }),
        4 => prop_oneof![Just(1), Just(900), Just(10_000), Just(31_000), Just(61_000), Just(150_000), Just(280_000)]
            .prop_map(|milliseconds| Command::Pass { milliseconds }),
        1 => (node(), prop_oneof![Just(10_000_u64), Just(250_000)])
            .prop_map(|(node, milliseconds)| Command::Pause { node, milliseconds }),
        1 => (node(), prop_oneof![Just(-100_000_i64), Just(-100), Just(0), Just(100), Just(100_000)])
            .prop_map(|(node, seconds)| Command::Jump { node, seconds }),
        1 => node().prop_map(|node| Command::Reboot { node }),
        1 => node().prop_map(|node| Command::Shut { node }),
        1 => node().prop_map(|node| Command::Entomb { node }),
        3 => Just(Command::Reclaim),
        1 => node().prop_map(|node| Command::Renew { node }),
    ]
}

impl World {
    /// Lets something happen, and checks what must hold.
    pub(crate) fn obey(&mut self, pools: &[&'static str], command: Command) -> Checked {
        self.say(format!("> {command:?}"));
        self.happen(pools, command)?;
        for n in 0..self.nodes.len() {
            self.check_table(n)?;
            self.check_drift(n)?;
        }
        Ok(())
    }

    /// Lets all of it happen. What is found is told with what led to it.
    pub(crate) fn live_through(
        &mut self,
        pools: &[&'static str],
        commands: &[Command],
        to_the_end: bool,
    ) -> Checked {
        let mut result = commands.iter().try_for_each(|command| self.obey(pools, *command));
        if to_the_end {
            result = result.and_then(|()| self.wind_up(pools));
        }
        result.map_err(|violation| Violation {
            what: format!("{}\n{}\n{:?}", violation.what, self.log.join("\n"), self.etcd),
            ..violation
        })
    }

    fn happen(&mut self, pools: &[&'static str], command: Command) -> Checked {
        let count = self.nodes.len();
        let on = |world: &Self, n: usize| Some(n % count).filter(|n| world.nodes[*n].on);
        match command {
            Command::Add { node, pod, pool, wish } => {
                let Some(n) = on(self, node) else { return Ok(()) };
                match self.wish(n, pod, pools[pool % pools.len()], wish) {
                    Some(wish) => self.start(n, Job::Add(wish)),
                    None => Ok(()),
                }
            }
            Command::Del { node, pod, writes } => match on(self, node) {
                Some(n) => self.del(n, pod, writes),
                None => Ok(()),
            },
            Command::Gc { node, net } => match on(self, node) {
                Some(n) => self.collect(n, net),
                None => Ok(()),
            },
            Command::Join { node } => self.begin(on(self, node), Job::Join),
            Command::Flush { node } => self.begin(on(self, node), Job::Flush),
            Command::Upkeep { node } => self.begin(on(self, node), Job::Upkeep),
            Command::Step { process, fate } => {
                let all: Vec<(usize, usize)> = (0..count)
                    .flat_map(|n| (0..self.nodes[n].processes.len()).map(move |p| (n, p)))
                    .collect();
                if all.is_empty() {
                    return Ok(());
                }
                let (n, p) = all[process % all.len()];
                self.step(n, p, fate)?;
                if self.wire.len() > PACKETS {
                    self.wire.remove(0);
                }
                Ok(())
            }
            Command::Drain { node } => self.drain(node % count),
            Command::Late { packet } => {
                if self.wire.is_empty() {
                    return Ok(());
                }
                let packet = self.wire.remove(packet % self.wire.len());
                self.carry_out(&packet).map(|_| ())
            }
            Command::Pass { milliseconds } => {
                self.pass(milliseconds);
                Ok(())
            }
            // Each node has one clock that can be wrong, and one that is right.
            Command::Pause { node, milliseconds } => {
                if let Some(n) = on(self, node).filter(|n| n % 2 == 1) {
                    self.pause(n, milliseconds);
                }
                Ok(())
            }
            Command::Jump { node, seconds } => {
                if let Some(n) = on(self, node).filter(|n| n % 2 == 0) {
                    self.jump(n, seconds);
                }
                Ok(())
            }
            Command::Reboot { node } => {
                self.boot(node % count);
                Ok(())
            }
            Command::Shut { node } => {
                let n = node % count;
                if self.nodes[n].on {
                    self.shut(n);
                } else {
                    self.boot(n);
                }
                Ok(())
            }
            Command::Entomb { node } => self.entomb(node % count),
            Command::Reclaim => self.reclaim(),
            Command::Renew { node } => {
                let uuid = self.nodes[node % count].ledger.node().uuid.clone();
                if self.stones.contains_key(&uuid) {
                    self.renew(node % count);
                }
                Ok(())
            }
        }
    }

    fn begin(&mut self, n: Option<usize>, job: Job) -> Checked {
        match n.filter(|n| self.nodes[*n].processes.len() < PROCESSES) {
            Some(n) => self.start(n, job),
            None => Ok(()),
        }
    }

    /// What a pod asks for: the same again, where it has asked before.
    pub(crate) fn wish(
        &mut self,
        n: usize,
        pod: usize,
        pool: &'static str,
        wish: usize,
    ) -> Option<Wish> {
        let node = &mut self.nodes[n];
        let running = node.processes.iter().any(|p| matches!(&p.job, Job::Add(w) if w.pod == pod));
        if running || node.pods[pod] == Pod::Leaving || node.processes.len() >= PROCESSES {
            return None;
        }
        if node.pods[pod] == Pod::Absent || node.wishes[pod].is_none() {
            let cidr = Cidr::parse(setup::pool(pool).cidr.as_deref().unwrap()).unwrap();
            let requested: Vec<Addr> = match wish {
                // Some of them are withheld, or another's.
                4.. => cidr.network().first().offset(wish as u128 - 3).into_iter().collect(),
                _ => Vec::new(),
            };
            node.wishes[pod] = Some((pool, requested, wish == 1));
        }
        let (pool, requested, sticky) = node.wishes[pod].clone()?;
        Some(Wish {
            pod,
            generation: node.generations[pod],
            pool,
            requested,
            sticky,
            nonce: String::new(),
            unheard: wish == 3,
            joined: false,
        })
    }

    /// Everything comes to rest: nothing may be left, and addresses can be had.
    pub(crate) fn wind_up(&mut self, pools: &[&'static str]) -> Checked {
        self.say("> the end");
        while let Some(packet) = self.wire.pop() {
            self.carry_out(&packet)?;
        }
        for n in 0..self.nodes.len() {
            if !self.nodes[n].on {
                self.boot(n);
            }
            self.drain(n)?;
            for pod in 0..PODS {
                self.del(n, pod, None)?;
            }
        }
        if !self.stones.is_empty() {
            self.pass(crate::operator::HOLD + 1);
        }
        loop {
            let before = self.etcd.revision();
            self.reclaim()?;
            if self.etcd.revision() == before {
                break;
            }
        }
        for n in 0..self.nodes.len() {
            if self.stones.contains_key(&self.nodes[n].ledger.node().uuid) {
                self.renew(n);
            }
        }
        for _ in 0..4 {
            self.pass(61_000);
            for n in 0..self.nodes.len() {
                for job in [Job::Join, Job::Flush, Job::Upkeep] {
                    self.run(n, job)?;
                }
                self.check_drift(n)?;
            }
        }
        self.check_nothing_left()?;
        for n in 0..self.nodes.len() {
            for pool in pools {
                self.check_can_have(n, pool)?;
            }
        }
        Ok(())
    }

    fn check_nothing_left(&mut self) -> Checked {
        use ipam_pool::key::Key;
        for kv in self.etcd.all() {
            let stays = matches!(
                self.keys.parse(&kv.key),
                Some(
                    Key::Meta
                        | Key::Pools { .. }
                        | Key::Block { .. }
                        | Key::Sticky { .. }
                        | Key::Node { .. }
                        | Key::Boot { .. }
                        | Key::Name { .. }
                        | Key::Index { .. }
                        | Key::Tombstone { .. }
                )
            );
            if !stays {
                let key = String::from_utf8_lossy(&kv.key).into_owned();
                return self.violate(Rule::Leak, format!("{key} is left"));
            }
        }
        for (interval, block, fence) in self.blocks() {
            let known = self.nodes.iter().any(|node| {
                let node = node.ledger.node();
                block.u.as_ref() == Some(&node.uuid) && node.blocks.iter().any(|b| b.fence == fence)
            });
            if !known && block.u.is_some() {
                let what = format!("nobody knows of the block at {}: {block:?}", interval.first());
                self.violate(Rule::Leak, what)?;
            }
        }
        for (n, node) in self.nodes.iter().enumerate() {
            let (ledger, boot) = (&node.ledger, node.ledger.boot().cloned().unwrap_or_default());
            if ledger.allocations().count() + ledger.outbox().count() + boot.sweeps.len() > 0 {
                let outbox: Vec<_> = ledger.outbox().collect();
                let what = format!("node {n} has {outbox:?} and {:?} left", boot.sweeps);
                self.violate(Rule::Leak, what)?;
            }
            if let Some(evicted) = boot.evicted {
                self.violate(Rule::Alarm, format!("node {n} is {evicted:?}"))?;
            }
        }
        Ok(())
    }

    /// A pod gets an address, unless others hold all blocks.
    fn check_can_have(&mut self, n: usize, pool: &'static str) -> Checked {
        let possible = self.has_room(n, pool);
        let wish = self.wish(n, 0, pool, 0).unwrap();
        self.run(n, Job::Add(wish))?;
        if possible && !matches!(self.nodes[n].pods[0], Pod::Live(_)) {
            self.violate(Rule::Stuck, format!("node {n} gets no address of {pool}"))?;
        }
        self.del(n, 0, None)?;
        self.pass(61_000);
        self.run(n, Job::Flush)?;
        self.run(n, Job::Upkeep)
    }

    /// Whether a node that uses no address has a block of each family with one in it, or can claim one.
    fn has_room(&self, n: usize, pool: &str) -> bool {
        let pool = Pool::try_from(&setup::pool(pool)).unwrap();
        let blocks = self.blocks();
        let ledger = &self.nodes[n].ledger;
        pool.families().all(|family| {
            let part = pool.part(family).unwrap();
            (0..part.blocks()).any(|position| {
                let cidr = part.block_at(position).unwrap();
                let block = Block {
                    id: pool_id(&pool.name),
                    first: cidr.addr(),
                    prefix: cidr.prefix(),
                    fence: 0,
                    mode: pool.mode,
                    autonomy: 0,
                    state: BlockState::Held,
                };
                let set = pool.range_set(std::iter::once(&block));
                let usable =
                    set.is_some_and(|set| set.ranges().iter().any(|r| !r.usable().is_empty()));
                let claimed = blocks.iter().any(|(interval, ..)| interval.contains(block.first));
                let own = ledger.node().blocks.iter().any(|own| own.first == block.first);
                usable && (own || !claimed)
            })
        })
    }
}
