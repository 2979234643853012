//! Keeping a node whose removal has begun.

use crate::admin::error::AdminError;
use crate::admin::look::{Look, Wanted};
use crate::admin::{Administer, TRIES};
use crate::key::Keys;
use crate::op::{Now, Step};
use crate::txn::{Compare, Op, Reply, Txn};

/// Takes a tombstone away while nothing was given back. Tells the node's name.
#[derive(Clone, Debug)]
pub struct CancelRemoval {
    keys: Keys,
    node: String,
    look: Option<Look>,
    name: String,
    sent: bool,
    tries: u32,
}

impl CancelRemoval {
    /// The machine; `node` is a name, an index or a UUID.
    pub const fn new(keys: Keys, node: String) -> Self {
        Self { keys, node, look: None, name: String::new(), sent: false, tries: 0 }
    }

    fn look(&mut self, now: Now) -> Result<Step<String>, AdminError> {
        // Blocks do not matter: a space that is not there has none.
        let wanted = Wanted { space: Some("-".to_owned()), ..Wanted::default() };
        let mut look = Look::new(self.keys.clone(), wanted);
        let step = look.advance(now, None)?;
        self.look = Some(look);
        Ok(match step {
            Step::Ask(txn) => Step::Ask(txn),
            Step::Done(_) => Step::Done(String::new()),
        })
    }
}

impl Administer for CancelRemoval {
    type Output = String;

    fn advance(&mut self, now: Now, reply: Option<&Reply>) -> Result<Step<String>, AdminError> {
        let Some(reply) = reply else { return self.look(now) };
        let Some(look) = &mut self.look else {
            if reply.succeeded {
                return Ok(Step::Done(std::mem::take(&mut self.name)));
            }
            self.tries += 1;
            if self.tries >= TRIES {
                return Err(AdminError::Contended { tries: self.tries });
            }
            return self.look(now);
        };
        let cluster = match look.advance(now, Some(reply))? {
            Step::Ask(txn) => return Ok(Step::Ask(txn)),
            Step::Done(cluster) => cluster,
        };
        self.look = None;
        let node = cluster.node(&self.node)?;
        self.name = node.name().to_owned();
        match &node.tombstone {
            // The answer to the request was lost, or another operator was faster.
            None if self.sent => Ok(Step::Done(std::mem::take(&mut self.name))),
            None => Err(AdminError::NotRemoved(std::mem::take(&mut self.name))),
            Some((tombstone, ..)) if tombstone.begun || tombstone.done => {
                Err(AdminError::GivenBack(std::mem::take(&mut self.name)))
            }
            Some((_, _, modified)) => {
                let key = self.keys.tombstone(&node.uuid);
                self.sent = true;
                Ok(Step::Ask(Txn {
                    compares: vec![Compare::modified(key.clone(), *modified)],
                    then: vec![Op::delete(key)],
                    otherwise: Vec::new(),
                }))
            }
        }
    }
}
