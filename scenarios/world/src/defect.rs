//! Every historical bug that a world can re-introduce.

/// A historical bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defect {
    /// Its public id.
    pub id: &'static str,
    /// What the old behaviour was, in a sentence.
    pub about: &'static str,
}

impl Defect {
    /// All of them: those of ZooKeeper, then those of Kafka.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let zookeeper = coordinator::Defect::ALL.iter().map(|it| Self { id: it.id(), about: it.about() });
        let kafka = broker::Defect::ALL.iter().map(|it| Self { id: it.id(), about: it.about() });
        zookeeper.chain(kafka).collect()
    }

    /// Their ids.
    #[must_use]
    pub fn ids() -> Vec<&'static str> {
        Self::all().into_iter().map(|defect| defect.id).collect()
    }
}
