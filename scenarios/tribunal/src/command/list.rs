//! `tribunal list`.

use clap::{Args, ValueEnum};
use judges::Court;
use machine::Describe as _;
use tribunal::{Changes, Prepared, SCENARIOS, Source, report};
use world::{Defect, DefectKind, Fact, ServerProperties, ZooCfg};

use super::{Failure, print};

/// Lists what there is: scenarios, defects, invariants, marks, faults, facts, roles, configuration keys.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  tribunal list\n  tribunal list invariants\n  tribunal list config")]
pub(crate) struct List {
    /// What to list.
    #[arg(value_enum, default_value_t = What::Scenarios)]
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Scenarios of the catalogue.
    Scenarios,
    /// Historical bugs that can be switched on.
    Defects,
    /// Rules that are held against every run.
    Invariants,
    /// Situations a good campaign reaches.
    Marks,
    /// What a rule of a schedule can do.
    Faults,
    /// What a rule of a schedule can wait for.
    Facts,
    /// Whom a rule of a schedule can name by what they are.
    Roles,
    /// Keys of zoo.cfg and server.properties, with their defaults, modelled or not.
    Config,
}

fn defects() -> String {
    let of = |kind: DefectKind| {
        let all = Defect::all();
        let about = |it: &Defect| it.is.map_or_else(|| it.about.to_owned(), |is| format!("is {is}"));
        let lines: Vec<_> = all.iter().filter(|it| it.kind == kind).map(|it| (it.id, about(it))).collect();
        rows(lines.iter().map(|(id, about)| (*id, about.as_str())))
    };
    let (historical, mutants) = (of(DefectKind::Historical), of(DefectKind::Mutant));
    let misuses = of(DefectKind::Misuse);
    format!(
        "Historical\n{historical}\nMutants (they test the judges)\n{mutants}\nMisuses (recipes done wrong by their clients)\n{misuses}"
    )
}

fn invariants() -> String {
    let lines = judges::Rule::ALL.iter().map(|rule| (rule.id(), format!("{}: {}", rule.name(), rule.doc().statement)));
    let lines: Vec<(&str, String)> = lines.collect();
    rows(lines.iter().map(|(id, text)| (*id, text.as_str())))
}

/// The properties with their marks, then the marks that stand for themselves.
fn marks() -> String {
    let all = report::mark_catalogue();
    let about = |mark: &str| all.iter().find(|it| it.name == mark).map_or("", |it| it.about);
    let mut lines = Vec::new();
    for property in judges::PROPERTIES {
        for (at, mark) in property.marks.iter().enumerate() {
            let id = match (at, property.starred) {
                (0, true) => format!("{}★", property.id),
                (0, false) => property.id.to_owned(),
                (_, _) if property.every => "  and".to_owned(),
                (_, _) => "  or".to_owned(),
            };
            // Where a mark says itself what it stands for, it need not be said twice.
            let about = about(mark).replace(&format!(" ({})", property.id), "");
            lines.push((id, format!("{mark}: {about}")));
        }
    }
    let properties = rows(lines.iter().map(|(id, text)| (id.as_str(), text.as_str())));
    let others = rows(all.iter().filter(|mark| mark.property.is_none()).map(|mark| (mark.name, mark.about)));
    format!(
        "Properties: a good campaign has seen each of them, even a small one those with ★\n{properties}\nMarks beside them\n{others}"
    )
}

impl List {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let text = match self.what {
            What::Scenarios => scenarios()?,
            What::Defects => defects(),
            What::Invariants => invariants(),
            What::Marks => marks(),
            What::Faults => rows(FAULTS.iter().copied()),
            What::Facts => {
                let mut text = Fact::kinds().join("\n") + "\n";
                text.push_str(&rows(Court::all_situations()));
                text
            }
            What::Roles => rows(Court::all_roles()),
            What::Config => config(),
        };
        print(&text);
        Ok(0)
    }
}

/// Every fault, by an example of how a file says it; a test reads each of them.
pub(super) const FAULTS: &[(&str, &str)] = &[
    ("kill", r#"do = { kill = { target = { role = "leader" }, restart-after = "1s..3s" } }"#),
    ("power-loss", r#"do = { power-loss = { target = { any-of = "coordinators" }, down-for = "2s" } }"#),
    ("terminate", r#"do = { terminate = { target = { host = "zk1" }, restart-after = "1s" } }"#),
    ("pause", r#"do = { pause = { target = { role = "leader" }, for = "8s" } }"#),
    ("freeze", r#"do = { freeze = { target = { host = "zk2" }, for = "8s" } }"#),
    ("cut", r#"do = { cut = { from = { group = "clients" }, to = { role = "leader" }, one-way = true, for = "5s" } }"#),
    (
        "partition",
        r#"do = { partition = { groups = [[{ minority-of = "coordinators" }], [{ rest-of = "coordinators" }]], for = "5s" } }"#,
    ),
    ("isolate", r#"do = { isolate = { target = { this = true }, for = "5s" } }"#),
    ("reset", r#"do = { reset = { between = [{ any-of = "clients" }, { group = "coordinators" }] } }"#),
    (
        "delay",
        r#"do = { delay = { from = { host = "zk1" }, to = { everybody = true }, extra = "200ms..1s", for = "5s" } }"#,
    ),
    (
        "loss",
        r#"do = { loss = { from = { group = "coordinators" }, to = { group = "coordinators" }, one-in = 10, for = "5s" } }"#,
    ),
    ("disk-error", r#"do = { disk-error = { target = { host = "zk1" }, operation = "sync", times = 1 } }"#),
    ("disk-full", r#"do = { disk-full = { target = { host = "zk1" }, for = "5s" } }"#),
    ("slow-disk", r#"do = { slow-disk = { target = { role = "leader" }, factor = 20, stall = "500ms", for = "5s" } }"#),
    ("clock-drift", r#"do = { clock-drift = { target = { host = "zk1" }, ppm = 50000, for = "10s" } }"#),
    ("clock-jump", r#"do = { clock-jump = { target = { role = "leader" }, by-ms = -60000 } }"#),
    ("heal", r#"do = { heal = {} }"#),
];

fn scenarios() -> Result<String, Failure> {
    let mut abouts = Vec::new();
    for entry in SCENARIOS {
        let prepared = Prepared::new(&Source::catalogue(entry.name)?, &Changes::default())?;
        abouts.push((entry.name, prepared.scenario.about));
    }
    Ok(rows(abouts.iter().map(|(name, about)| (*name, about.as_str()))))
}

/// Names in a column, what they are behind it, wrapped.
fn rows<'a>(rows: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let rows: Vec<_> = rows.collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for (name, about) in rows {
        let mut line = format!("{name:<width$}");
        let mut filled = line.chars().count();
        for word in about.split_whitespace() {
            if filled + word.chars().count() > 98 {
                text.push_str(line.trim_end());
                text.push('\n');
                line = " ".repeat(width);
                filled = width;
            }
            line.push_str(word);
            line.push(' ');
            filled += word.chars().count() + 1;
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn config() -> String {
    let line = |(key, default, is_modelled): (&str, &str, bool)| {
        format!("  {key:<60} {default:<24} {}\n", if is_modelled { "modelled" } else { "not modelled" })
    };
    let zoo_cfg: String = ZooCfg::known_keys().map(line).collect();
    let server_properties: String = ServerProperties::known_keys().map(line).collect();
    format!("zoo.cfg\n{zoo_cfg}server.properties\n{server_properties}")
}

#[cfg(test)]
mod tests {
    use super::FAULTS;
    use engine::Fault;

    #[test]
    fn every_example_of_a_fault_is_read_and_is_that_fault() {
        for (name, example) in FAULTS {
            let mut table: toml::Table = toml::from_str(example).expect("toml");
            let fault: Fault = table.remove("do").expect("do").try_into().expect("a fault");
            assert_eq!(fault.name(), *name);
        }
    }
}
