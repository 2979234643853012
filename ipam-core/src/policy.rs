/*!
In which order addresses are handed out, and how long one rests before it is given out again.
*/

use std::fmt;
use std::time::Duration;

/// In which order addresses are handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// After the last one handed out, round and round, as the reference host-local does.
    #[default]
    Next,
    /// The lowest free one.
    Lowest,
    /// A pod (its namespace, name and interface) gets its last address again, if it is free, also after a
    /// reboot; any other the next one.
    Sticky,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Next, Self::Lowest, Self::Sticky];

    /// The word in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Lowest => "lowest",
            Self::Sticky => "sticky",
        }
    }

    /// The strategy of that word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|strategy| strategy.as_str() == text)
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How addresses are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Policy {
    /// In which order.
    pub strategy: Strategy,
    /// For how long an address that was freed is not handed out; zero: not at all.
    pub cooldown: Duration,
}
