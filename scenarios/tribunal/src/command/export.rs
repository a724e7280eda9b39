//! `--export FORMAT=FILE`: a run in the forms that other tools read.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use record::Record;
use render::Shown;
use world::BadInput;

use super::{Failure, TESTBED_AT_FAULT, files, narrate};

/// In which other forms a run is written.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// Writes the run in another form too, once per form: json (the full record), junit, shiviz (what mattered, with vector
    /// clocks), shiviz-full (every event), perfetto (a trace for ui.perfetto.dev).
    #[arg(long = "export", value_name = "FORMAT=FILE")]
    exports: Vec<Export>,
}

/// One form, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Export {
    format: Format,
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Junit,
    Shiviz,
    ShivizFull,
    Perfetto,
}

impl Format {
    const ALL: [(&'static str, Self); 5] = [
        ("json", Self::Json),
        ("junit", Self::Junit),
        ("shiviz", Self::Shiviz),
        ("shiviz-full", Self::ShivizFull),
        ("perfetto", Self::Perfetto),
    ];
}

impl FromStr for Export {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Format::ALL.map(|(name, _)| name);
        let (name, file) = text
            .split_once('=')
            .ok_or_else(|| format!("there is no `=` in it: FORMAT=FILE, FORMAT one of {}", names.join(", ")))?;
        let format = Format::ALL.into_iter().find(|&(known, _)| known == name).map(|(_, format)| format);
        let format =
            format.ok_or_else(|| format!("there is no format `{name}`; {}", world::did_you_mean(name, &names)))?;
        if file.is_empty() {
            return Err(format!("where to? {name}=FILE"));
        }
        Ok(Self { format, file: file.into() })
    }
}

impl ExportArguments {
    /// Whether the files can be written, as far as that can be known before a run.
    ///
    /// # Errors
    /// The first that cannot, or that is named twice.
    pub(crate) fn check(&self) -> Result<(), BadInput> {
        for (at, Export { file, .. }) in self.exports.iter().enumerate() {
            let bad = |what: &str| BadInput::new(&format!("--export {}", file.display()), None, what);
            if file.is_dir() {
                return Err(bad("is a directory").hint("name a file in it"));
            }
            if self.exports[..at].iter().any(|other| other.file == *file) {
                return Err(bad("is named twice").hint("each form needs a file of its own"));
            }
        }
        Ok(())
    }

    /// Writes every form that was asked for. The record must be a full one: not abridged.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn write(&self, record: &Record) -> Result<(), Failure> {
        for Export { format, file } in &self.exports {
            let name = format!("{} seed {}", record.identity.scenario, record.identity.seed);
            let text = match format {
                Format::Json => record.to_json(),
                Format::Junit => render::junit(record),
                Format::Shiviz => render::shiviz(&[(&name, record)], Shown::Story),
                Format::ShivizFull => render::shiviz(&[(&name, record)], Shown::Everything),
                Format::Perfetto => render::perfetto(record),
            };
            files::write(file, &text, "the export").map_err(|error| Failure::Other(TESTBED_AT_FAULT, error))?;
            narrate(&format!("exported   {}", file.display()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Export, Format};

    #[test]
    fn an_export_is_a_known_format_and_a_file() {
        let parsed: Export = "shiviz=run.log".parse().expect("it is one");
        assert_eq!((parsed.format, parsed.file.to_str()), (Format::Shiviz, Some("run.log")));
        let wrong = |text: &str| text.parse::<Export>().expect_err("it is none");
        assert!(wrong("perfeto=x").contains("did you mean `perfetto`?"), "{}", wrong("perfeto=x"));
        assert!(wrong("json").contains("there is no `=`"));
        assert!(wrong("json=").contains("where to?"));
    }
}
