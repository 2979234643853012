//! What the runtimes of the nodes do beside ADD, and what they take from its answer.

use ipam_core::addr::Addr;
use ipam_pool::ledger::Allocation;
use ipam_pool::memory::MemoryError;
use ipam_pool::ops::{self, Added};

use crate::job::{Job, Wish, attachment, network};
use crate::world::{Checked, Freed, Live, PODS, Pod, Rule, World};

impl World {
    /// What a DEL does. With `writes`, it dies after so many.
    pub(crate) fn del(&mut self, n: usize, pod: usize, writes: Option<u32>) -> Checked {
        let generation = self.nodes[n].generations[pod];
        // The runtime waits for an ADD, or kills it.
        self.nodes[n].processes.retain(|process| match &process.job {
            Job::Add(wish) => wish.pod != pod,
            _ => true,
        });
        let mut freed = Vec::new();
        self.live.retain(|addr, live| {
            let this = live.node == n && live.pod == pod;
            if this {
                freed.push(*addr);
            }
            !this
        });
        let now = self.now(n);
        let node = &mut self.nodes[n];
        node.ledger.set_now(now.boot);
        node.ledger.break_after(writes);
        let result =
            ops::release(&mut node.ledger, now, None, &network(pod), &attachment(pod, generation));
        node.ledger.break_after(None);
        match result {
            Ok(_) => {
                node.pods[pod] = Pod::Absent;
                node.generations[pod] += 1;
                let boot = node.boot.clone();
                for addr in freed {
                    let freed = Freed { at: self.time, node: n, boot: boot.clone(), pod };
                    self.freed.insert(addr, freed);
                }
                let left = self.held(n, pod, generation);
                if left.is_empty() {
                    Ok(())
                } else {
                    self.violate(Rule::Leak, format!("after a DEL there is {left:?}"))
                }
            }
            Err(MemoryError::Broken) => {
                node.pods[pod] = Pod::Leaving;
                Ok(())
            }
            Err(error) => self.violate(Rule::Refused, error.to_string()),
        }
    }

    /// A GC of one network.
    pub(crate) fn collect(&mut self, n: usize, net: usize) -> Checked {
        let now = self.now(n);
        let node = &mut self.nodes[n];
        // The runtime runs no GC beside an ADD.
        if node.processes.iter().any(|p| matches!(&p.job, Job::Add(wish) if wish.pod % 2 == net)) {
            return Ok(());
        }
        let pods = || (0..PODS).filter(|pod| pod % 2 == net);
        let valid: Vec<_> = pods()
            .filter(|pod| matches!(node.pods[*pod], Pod::Live(_)))
            .map(|pod| attachment(pod, node.generations[pod]))
            .collect();
        node.ledger.set_now(now.boot);
        if let Err(error) = ops::retain(&mut node.ledger, now, None, &network(net), &valid) {
            return self.violate(Rule::Refused, error.to_string());
        }
        for pod in pods() {
            let node = &mut self.nodes[n];
            let generation = node.generations[pod];
            if !matches!(node.pods[pod], Pod::Live(_)) {
                node.pods[pod] = Pod::Absent;
                node.generations[pod] += 1;
                let left = self.held(n, pod, generation);
                if !left.is_empty() {
                    return self.violate(Rule::Leak, format!("after a GC there is {left:?}"));
                }
            }
        }
        Ok(())
    }

    /// What a pod holds according to its node.
    pub(crate) fn held(&self, n: usize, pod: usize, generation: u32) -> Vec<Allocation> {
        let (network, attachment) = (network(pod), attachment(pod, generation));
        let of = |a: &&Allocation| a.network == network && a.attachment == attachment;
        self.nodes[n].ledger.allocations().filter(of).cloned().collect()
    }

    /// Nobody took the answer of an ADD.
    fn undo(&mut self, n: usize, wish: &Wish) -> Checked {
        let now = self.now(n);
        let (network, attachment) = (network(wish.pod), attachment(wish.pod, wish.generation));
        let ledger = &mut self.nodes[n].ledger;
        ledger.break_after(None);
        ledger.set_now(now.boot);
        if let Err(error) = ops::undo(ledger, now, &wish.nonce, &network, &attachment) {
            return self.violate(Rule::Refused, error.to_string());
        }
        let left = self.held(n, wish.pod, wish.generation);
        // What an earlier ADD has given, which nobody heard of either, is not this one's.
        if left.iter().all(|allocation| allocation.nonce != wish.nonce) {
            return Ok(());
        }
        self.violate(Rule::Half, format!("an ADD was taken back and left {left:?}"))
    }

    pub(crate) fn added(&mut self, n: usize, wish: &Wish, added: &Added) -> Checked {
        // A removed node's pods are cut off, whatever it thinks.
        let cut = |a: &Allocation| !self.live.contains_key(&a.addr);
        if matches!(self.nodes[n].pods[wish.pod], Pod::Live(_)) && added.allocations.iter().any(cut)
        {
            return Ok(());
        }
        self.check_added(n, wish, added)?;
        if wish.unheard && !added.held {
            return self.undo(n, wish);
        }
        let addrs: Vec<Addr> = added.allocations.iter().map(|a| a.addr).collect();
        for addr in &addrs {
            let live = Live { node: n, pod: wish.pod, generation: wish.generation };
            self.live.insert(*addr, live);
            self.freed.remove(addr);
        }
        self.nodes[n].pods[wish.pod] = Pod::Live(addrs);
        Ok(())
    }
}
