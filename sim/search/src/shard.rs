//! A part of a campaign: one of several machines, jobs or pods that share its seeds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The shard `index` of `of`; the first is 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    index: u64,
    of: u64,
}

/// What is wrong with a shard, and which variable or argument says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardError {
    /// The variable; empty for text that was given directly.
    pub variable: &'static str,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub hint: &'static str,
}

impl fmt::Display for ShardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for ShardError {}

const FORM: &str = "a shard is I/N: the number of this one, from 0, and how many there are, such as 0/8";

/// An environment that says which part this is: where the number is, what it starts at and steps by, and how many there are.
struct Environment {
    index: &'static str,
    count: &'static str,
    /// The number of the first, or the variable that has it.
    first: First,
    /// The variable with the difference between neighbours, if there is one.
    step: Option<&'static str>,
    /// Whether the index alone is enough to say that there are several.
    is_certain: bool,
}

enum First {
    Number(u64),
    Variable(&'static str),
}

const ENVIRONMENTS: &[Environment] = &[
    // A Kubernetes Job with completionMode: Indexed. It does not tell its pods how many there are.
    Environment {
        index: "JOB_COMPLETION_INDEX",
        count: "TRIBUNAL_SHARDS",
        first: First::Number(0),
        step: None,
        is_certain: true,
    },
    // A Slurm job array, such as --array=0-7 or --array=10-40:10.
    Environment {
        index: "SLURM_ARRAY_TASK_ID",
        count: "SLURM_ARRAY_TASK_COUNT",
        first: First::Variable("SLURM_ARRAY_TASK_MIN"),
        step: Some("SLURM_ARRAY_TASK_STEP"),
        is_certain: true,
    },
    // GitLab's `parallel: N`.
    Environment {
        index: "CI_NODE_INDEX",
        count: "CI_NODE_TOTAL",
        first: First::Number(1),
        step: None,
        is_certain: false,
    },
];

impl Shard {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// A shard; none if there is no such.
    #[must_use]
    pub const fn new(index: u64, of: u64) -> Option<Self> {
        if index < of { Some(Self { index, of }) } else { None }
    }

    /// Its number, from 0.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }

    /// How many there are.
    #[must_use]
    pub const fn of(self) -> u64 {
        self.of
    }

    /// True if the seed at this place of the campaign, from 0, is this shard's: each seed is exactly one's.
    #[must_use]
    pub const fn takes(self, place: u64) -> bool {
        place % self.of == self.index
    }

    /// What the environment says: `TRIBUNAL_SHARD=I/N`, a Kubernetes Indexed Job (`JOB_COMPLETION_INDEX` with our
    /// `TRIBUNAL_SHARDS`), a Slurm array, or GitLab's `parallel`. With the name of the variable that said so.
    ///
    /// # Errors
    /// If it contradicts itself, or does not say how many there are.
    pub fn from_environment(
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<(Self, &'static str)>, ShardError> {
        const OWN: &str = "TRIBUNAL_SHARD";
        if let Some(text) = variable(OWN) {
            let shard: Result<Self, ShardError> = text.parse();
            return shard.map(|shard| Some((shard, OWN))).map_err(|error| ShardError { variable: OWN, ..error });
        }
        let number = |name: &'static str| -> Result<Option<u64>, ShardError> {
            let Some(text) = variable(name) else { return Ok(None) };
            let hint = "--shard I/N says it whatever the environment does; --shard 0/1 is all of it";
            let parsed = text.parse().map(Some);
            parsed.map_err(|_| ShardError { variable: name, what: format!("\"{text}\" is not a number"), hint })
        };
        for environment in ENVIRONMENTS {
            let Some(index) = number(environment.index)? else { continue };
            let Some(of) = number(environment.count)? else {
                if !environment.is_certain {
                    continue;
                }
                return Err(ShardError {
                    variable: environment.index,
                    what: format!(
                        "says that this is shard {index}, and {} does not say of how many",
                        environment.count
                    ),
                    hint: "set it to the number of shards; --shard 0/1 is all of it, whatever the environment says",
                });
            };
            let first = match environment.first {
                First::Number(number) => number,
                First::Variable(name) => number(name)?.unwrap_or(0),
            };
            let step = environment.step.map_or(Ok(None), number)?.unwrap_or(1).max(1);
            let place = index.checked_sub(first).filter(|from_first| from_first % step == 0).map(|all| all / step);
            let shard = place.and_then(|place| Self::new(place, of));
            return shard.map(|shard| Some((shard, environment.index))).ok_or_else(|| ShardError {
                variable: environment.index,
                what: format!("says {index}, which is none of {of} that start at {first} and are {step} apart"),
                hint: "--shard I/N says it whatever the environment does; --shard 0/1 is all of it",
            });
        }
        Ok(None)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let wrong = |what: String| ShardError { variable: "", what, hint: FORM };
        let numbers = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        let (index, of) = numbers.ok_or_else(|| wrong(format!("\"{text}\" is no shard")))?;
        Self::new(index, of).ok_or_else(|| match of {
            0 => wrong(format!("there is no shard {text}: there must be at least one")),
            of => wrong(format!("there is no shard {text}: {of} shards are 0 to {}", of - 1)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Shard, ShardError};

    fn environment(pairs: &[(&str, &str)]) -> Result<Option<(String, &'static str)>, ShardError> {
        let read = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Ok(Shard::from_environment(&read)?.map(|(shard, from)| (shard.to_string(), from)))
    }

    #[test]
    fn shards_partition_the_seeds_exactly() {
        for of in 1..20 {
            let shards: Vec<Shard> = (0..of).map(|index| Shard::new(index, of).unwrap()).collect();
            for place in 0..100 {
                assert_eq!(shards.iter().filter(|shard| shard.takes(place)).count(), 1, "place {place} of {of}");
            }
        }
    }

    #[test]
    fn a_shard_is_read_and_a_wrong_one_refused() {
        assert_eq!("2/8".parse::<Shard>().unwrap(), Shard::new(2, 8).unwrap());
        for wrong in ["", "2", "8/8", "9/8", "0/0", "-1/2", "a/b", "1/2/3"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
        assert_eq!("8/8".parse::<Shard>().unwrap_err().to_string(), "there is no shard 8/8: 8 shards are 0 to 7");
    }

    #[test]
    fn each_environment_says_which_shard_this_is() {
        let found = |pairs: &[(&str, &str)]| environment(pairs).unwrap().map(|(shard, _)| shard);
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("TRIBUNAL_SHARD", "3/4"), ("CI_NODE_INDEX", "1"), ("CI_NODE_TOTAL", "2")]).unwrap(), "3/4");
        assert_eq!(found(&[("JOB_COMPLETION_INDEX", "5"), ("TRIBUNAL_SHARDS", "8")]).unwrap(), "5/8");
        let slurm = |id, min, step| {
            found(&[
                ("SLURM_ARRAY_TASK_ID", id),
                ("SLURM_ARRAY_TASK_COUNT", "4"),
                ("SLURM_ARRAY_TASK_MIN", min),
                ("SLURM_ARRAY_TASK_STEP", step),
            ])
        };
        assert_eq!(slurm("3", "0", "1").unwrap(), "3/4");
        assert_eq!(slurm("1", "1", "1").unwrap(), "0/4");
        assert_eq!(slurm("30", "10", "10").unwrap(), "2/4");
        assert_eq!(found(&[("CI_NODE_INDEX", "1"), ("CI_NODE_TOTAL", "3")]).unwrap(), "0/3");
        assert_eq!(found(&[("CI_NODE_INDEX", "3"), ("CI_NODE_TOTAL", "3")]).unwrap(), "2/3");
        assert_eq!(found(&[("CI_NODE_TOTAL", "1")]), None, "GitLab sets the total in every job");
    }

    #[test]
    fn an_environment_that_contradicts_itself_is_refused() {
        let wrong = |pairs: &[(&str, &str)]| environment(pairs).unwrap_err();
        let error = wrong(&[("JOB_COMPLETION_INDEX", "5")]);
        assert_eq!(error.variable, "JOB_COMPLETION_INDEX");
        assert_eq!(error.what, "says that this is shard 5, and TRIBUNAL_SHARDS does not say of how many");
        assert_eq!(wrong(&[("JOB_COMPLETION_INDEX", "8"), ("TRIBUNAL_SHARDS", "8")]).variable, "JOB_COMPLETION_INDEX");
        assert_eq!(wrong(&[("CI_NODE_INDEX", "0"), ("CI_NODE_TOTAL", "3")]).variable, "CI_NODE_INDEX");
        assert_eq!(wrong(&[("TRIBUNAL_SHARD", "4/4")]).variable, "TRIBUNAL_SHARD");
        assert_eq!(wrong(&[("SLURM_ARRAY_TASK_ID", "x")]).what, "\"x\" is not a number");
    }
}
