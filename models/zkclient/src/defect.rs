//! Historical bugs of the client that can be switched on (zookeeper.md §13).

machine::defects! {
    /// A bug that can be switched on.
    pub enum Defect {
        /// A client never takes its session for expired by itself: as long as no server answers it goes on connecting, and every
        /// operation ends with CONNECTIONLOSS (§13 ZB-51; ZOOKEEPER-4508, 4921; until 3.9.2).
        NoClientExpiry = "ZOOKEEPER-4508",
            "A client that hears nothing of any server goes on connecting for ever, long after its session must have ended (until 3.9.2).";
    }
}

/// The defects a client is made with.
pub type Defects = machine::Defects<Defect>;
