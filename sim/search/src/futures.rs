//! Many futures of one instant: a world is forked, each fork is given another key, and all run to their end.

use engine::{Judges, World};
use machine::Machine;
use serde::Serialize;

use crate::workers;

/// How one future ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// With the failure in question.
    Same,
    /// With another one.
    Other,
    /// Every rule held.
    Held,
    /// Without a verdict.
    Undecided,
}

/// How many futures of one instant ended how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Tally {
    /// With the failure in question.
    pub same: u32,
    /// With another one.
    pub other: u32,
    /// Every rule held.
    pub held: u32,
    /// Without a verdict.
    pub undecided: u32,
}

impl Tally {
    /// All of them.
    #[must_use]
    pub const fn all(self) -> u32 {
        self.same + self.other + self.held + self.undecided
    }

    /// Those that ended with the failure in question, of a hundred.
    #[must_use]
    pub const fn percent(self) -> u32 {
        if self.all() == 0 { 0 } else { self.same * 100 / self.all() }
    }

    fn add(&mut self, ending: Ending) {
        let count = match ending {
            Ending::Same => &mut self.same,
            Ending::Other => &mut self.other,
            Ending::Held => &mut self.held,
            Ending::Undecided => &mut self.undecided,
        };
        *count += 1;
    }
}

/// How many futures are tried, and by how many threads; the second changes nothing but the speed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Futures {
    /// Futures of each instant.
    pub count: u32,
    /// Threads.
    pub jobs: usize,
}

impl Futures {
    /// Runs the futures of a world as it is now. `end` runs one to its end and says which that is.
    pub fn of<M, J>(self, world: &World<M, J>, end: &(dyn Fn(World<M, J>) -> Ending + Sync)) -> Tally
    where
        M: Machine,
        J: Judges<M>,
        World<M, J>: Send + Sync,
    {
        let endings = workers::in_order(self.jobs, self.count as usize, |number| {
            let mut future = world.clone();
            // Zero would be a key of its own as well; from one on the numbers read as "the first future".
            future.reseed(number as u64 + 1);
            end(future)
        });
        let mut tally = Tally::default();
        endings.into_iter().for_each(|ending| tally.add(ending));
        tally
    }
}
