//! `tribunal check`.

use std::path::Path;

use clap::Args;
use tribunal::report::remark_line;
use tribunal::{Changes, Prepared, Source, read};
use world::{Properties, ServerProperties, ZooCfg};

use super::{Failure, print};

/// Checks a scenario file, a zoo.cfg or a server.properties, without running anything.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tribunal check mine.toml\n  tribunal check /etc/zookeeper/conf/zoo.cfg\n  tribunal check config/server.properties"
)]
pub(crate) struct Check {
    /// The file.
    file: String,
}

impl Check {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let path = Path::new(&self.file);
        let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
        let checked = match extension.as_deref() {
            Some("cfg") => Some((ZooCfg::parse(&self.file, &read(path)?)?.properties, Vec::new())),
            Some("properties") => {
                let read = ServerProperties::parse(&self.file, &read(path)?)?;
                Some((read.properties, read.notes))
            }
            Some(_) | None => None,
        };
        if let Some((properties, notes)) = checked {
            let Properties { unknown, unmodelled, .. } = &properties;
            for (label, remarks) in [("unknown", unknown), ("not modelled", unmodelled), ("note", &notes)] {
                for remark in remarks {
                    print(&format!("{}\n", remark_line(&self.file, label, remark)));
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
