//! Recipes done wrong on purpose: mistakes that clients of ZooKeeper make, to put the judges of recipes to the test.
//!
//! The servers are right all the while: what is wrong is how they are used.

machine::defects! {
    /// A recipe done wrong.
    pub enum Misuse {
        /// A create that ended unknown is not looked for: another one is made, behind the first (lock, election).
        ForgetsItsZnode = "R01", "A contender whose create ended unknown makes another znode and does not look for the first: it may wait for itself, and everybody for it.";
        /// The leader does not look at its session, and its writes do not check the epoch (election).
        LeadsOn = "R02", "A leader takes no notice of the end of its session and writes on in the next one, without a check of its epoch.";
        /// A delete that finds nothing passes for success (queue).
        TakesWhatIsGone = "R03", "A consumer takes an element although its delete found nothing: somebody else has it as well.";
        /// A lost connection passes for a lifted barrier (barrier).
        PassesOnLoss = "R04", "Whoever waits at a barrier takes a read that failed for a barrier that is not there.";
        /// Who enters counts those inside by itself, and no `ready` tells the others (double barrier).
        EntersWithoutReady = "R05", "Everybody who enters a double barrier counts those inside, without `ready`: whoever counts when the first have left waits for good.";
        /// Who leaves waits for nobody (double barrier).
        LeavesAlone = "R06", "Whoever leaves a double barrier deletes its own znode and is gone.";
    }
}

/// The misuses that are switched on; none by default.
pub type Misuses = machine::Defects<Misuse>;

#[cfg(test)]
mod tests {
    use super::Misuse;

    #[test]
    fn every_misuse_is_found_by_its_id() {
        for &misuse in Misuse::ALL {
            assert_eq!(Misuse::from_id(misuse.id()), Some(misuse));
        }
        assert_eq!(Misuse::from_id("M01"), None);
    }
}
