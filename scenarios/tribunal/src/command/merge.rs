//! `tribunal merge`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use tribunal::campaign::{CampaignOutcome, Gate, merge};
use tribunal::read;

use super::fuzz::OutcomeArguments;
use super::{Failure, UNDECIDED, narrate};

/// Makes one summary of the outcomes of several shards of a campaign.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tribunal merge shard-*.json
  tribunal merge shard-*.json --json whole.json --junit whole.xml

Shards must be of one campaign: same version, scenarios, configuration, defects and seeds.
Missing ones are named, and the exit status is 3 then if nothing worse was found.")]
pub(crate) struct Merge {
    /// Outcomes, as tribunal fuzz --json has written them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Fails if marks were not reached that a campaign must reach: those of the list that comes with the command, or of a file.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    gate: Option<Option<PathBuf>>,
    #[command(flatten)]
    exports: OutcomeArguments,
}

impl Merge {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let gate = match &self.gate {
            None => None,
            Some(None) => Some(Gate::of_the_catalogue()),
            Some(Some(path)) => Some(Gate::parse(&path.display().to_string(), &read(path)?)?),
        };
        let mut outcomes = Vec::new();
        for path in &self.files {
            let name = path.display().to_string();
            let outcome = CampaignOutcome::from_json(&name, &read(path)?)?;
            outcomes.push((name, outcome));
        }
        let merged = merge(outcomes)?;
        let unmet = gate.map(|gate| gate.unmet(&merged));
        let status = self.exports.report(&merged, &BTreeMap::new(), unmet.as_deref())?;
        let missing: Vec<String> = merged.shards.missing().iter().map(u64::to_string).collect();
        if missing.is_empty() {
            return Ok(status);
        }
        narrate(&format!("warning: of {} shards these are missing: {}", merged.shards.of, missing.join(", ")));
        Ok(if status == 0 { UNDECIDED } else { status })
    }
}
