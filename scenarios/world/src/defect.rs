//! Everything that can be switched on in a world: historical bugs, and mutants.

/// What kind of bug it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DefectKind {
    /// A historical bug, under its public id: on restores the old behaviour.
    Historical,
    /// A bug of the kill matrix (invariants-and-faults.md §5.4): wrong on purpose, to test the judges.
    Mutant,
    /// A recipe that a client does wrong, while every server is right: it tests the judges of recipes.
    Misuse,
}

/// A bug that can be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defect {
    /// Its public id, or that of the kill matrix.
    pub id: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// What kind it is.
    pub kind: DefectKind,
    /// The historical bug that a mutant is, if it is one.
    pub is: Option<&'static str>,
}

impl Defect {
    /// All of them: the historical bugs of ZooKeeper's servers, of its client, those of Kafka, then the mutants and the misuses in the
    /// order of their numbers.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let zookeeper = coordinator::Defect::ALL.iter().map(|it| (it.id(), it.alias(), it.about()));
        let client = zkclient::Defect::ALL.iter().map(|it| (it.id(), it.alias(), it.about()));
        let kafka = broker::Defect::ALL.iter().map(|it| (it.id(), it.alias(), it.about()));
        let mut defects = Vec::new();
        for (id, alias, about) in zookeeper.chain(client).chain(kafka) {
            let kind = if id.starts_with('M') { DefectKind::Mutant } else { DefectKind::Historical };
            defects.push(Self { id, about, kind, is: None });
            defects.extend(alias.map(|alias| Self { id: alias, about, kind: DefectKind::Mutant, is: Some(id) }));
        }
        let misuses = clients::Misuse::ALL.iter();
        defects.extend(misuses.map(|it| Self { id: it.id(), about: it.about(), kind: DefectKind::Misuse, is: None }));
        let number = |defect: &Self| if defect.kind == DefectKind::Historical { "" } else { defect.id };
        defects.sort_by(|a, b| (a.kind, number(a)).cmp(&(b.kind, number(b))));
        defects
    }

    /// Their ids.
    #[must_use]
    pub fn ids() -> Vec<&'static str> {
        Self::all().into_iter().map(|defect| defect.id).collect()
    }

    /// The one with an id.
    #[must_use]
    pub fn find(id: &str) -> Option<Self> {
        Self::all().into_iter().find(|defect| defect.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::{Defect, DefectKind};

    #[test]
    fn the_first_28_mutants_of_the_kill_matrix_are_there() {
        let mutants: Vec<&str> =
            Defect::all().iter().filter(|it| it.kind == DefectKind::Mutant).map(|it| it.id).collect();
        let expected: Vec<String> = (1..=28).map(|number| format!("M{number:02}")).collect();
        assert_eq!(mutants, expected);
    }

    #[test]
    fn no_id_is_used_twice() {
        let ids = Defect::ids();
        for id in &ids {
            assert_eq!(ids.iter().filter(|other| other == &id).count(), 1, "{id}");
        }
        assert_eq!(Defect::find("M22").and_then(|it| it.is), Some("KAFKA-1211"));
    }
}
