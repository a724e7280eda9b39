//! `tribunal check`.

use std::path::Path;

use clap::Args;
use tribunal::{Changes, Prepared, Source, read};
use world::ZooCfg;

use super::{Failure, print};

/// Checks a scenario file, or a zoo.cfg, without running anything.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tribunal check mine.toml\n  tribunal check /etc/zookeeper/conf/zoo.cfg")]
pub(crate) struct Check {
    /// The file.
    file: String,
}

impl Check {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let path = Path::new(&self.file);
        if path.extension().is_some_and(|extension| extension == "cfg") {
            let cfg = ZooCfg::parse(&self.file, &read(path)?)?;
            for (label, remarks) in [("unknown", &cfg.unknown), ("not modelled", &cfg.unmodelled)] {
                for remark in remarks {
                    print(&format!("{}:{}: {label}: {}: {}\n", cfg.file, remark.line, remark.key, remark.text));
                }
            }
            print(&format!("{}: ok\n", self.file));
            return Ok(0);
        }
        let prepared = Prepared::new(&Source::named(&self.file)?, &Changes::default())?;
        let scenario = &prepared.scenario;
        print(&format!(
            "{}: ok, {} workloads, {} rules{}\n",
            self.file,
            scenario.workloads.len(),
            scenario.faults.len(),
            if scenario.nemesis.is_some() { " and a nemesis" } else { "" }
        ));
        Ok(0)
    }
}
