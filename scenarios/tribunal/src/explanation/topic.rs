//! What an id means: a rule, a defect, a mark, a fault, a fact, a role, a scenario.

use std::fmt::Write as _;

use judges::Court;
use machine::Describe as _;
use world::{BadInput, Defect, DefectKind, Fact, did_you_mean};

use crate::{SCENARIOS, report};

/// What is written about an id, in whatever case. `faults` are the faults there are, each with an example.
///
/// # Errors
/// If there is no such id: with the nearest one.
pub fn explain_id(id: &str, faults: &[(&str, &str)]) -> Result<String, BadInput> {
    let is = |known: &str| known.eq_ignore_ascii_case(id);
    if let Some(rule) = judges::explain(id) {
        let sees = judges::Rule::ALL.iter().find(|it| it.id() == rule.id).is_some_and(|it| it.is_black_box());
        let sees = if sees { "what clients saw, and nothing else" } else { "what the servers did" };
        return Ok(topic(
            &format!("{} {}: a rule", rule.id, rule.name),
            &[("demands", rule.statement), ("matters", rule.why), ("looks at", sees), ("source", rule.source)],
        ));
    }
    if let Some(defect) = Defect::all().into_iter().find(|defect| is(defect.id)) {
        let (what, source) = match defect.kind {
            DefectKind::Historical if defect.id.starts_with("KAFKA") => ("a defect", "kafka-broker.md §12"),
            DefectKind::Historical => ("a defect", "zookeeper.md §13"),
            DefectKind::Mutant => ("a mutant, which tests the judges", "invariants-and-faults.md §5.4"),
            DefectKind::Misuse => {
                ("a recipe done wrong, which tests the judges of recipes", "invariants-and-faults.md §3.15")
            }
        };
        let hunt = format!("tribunal fuzz --defect {}", defect.id);
        let mut rows = vec![("behaviour", defect.about)];
        rows.extend(defect.is.map(|other| ("is", other)));
        rows.extend([("source", source), ("hunt it", &hunt)]);
        return Ok(topic(&format!("{}: {what}, off unless a run asks for it", defect.id), &rows));
    }
    if let Some((name, example)) = faults.iter().find(|(name, _)| is(name)) {
        let source = "invariants-and-faults.md §1";
        return Ok(topic(&format!("{name}: a fault"), &[("written as", example), ("source", source)]));
    }
    if let Some((kind, about)) = Court::all_situations().find(|(kind, _)| is(kind)) {
        let rows = [("arises when", about), ("used as", "a trigger of rules, and a mark of a campaign")];
        return Ok(topic(&format!("{kind}: a situation over several machines"), &rows));
    }
    if let Some((role, about)) = Court::all_roles().find(|(role, _)| is(role)) {
        return Ok(topic(&format!("{role}: a role"), &[("held by", about)]));
    }
    if let Some(mark) = report::mark_catalogue().into_iter().find(|mark| is(mark.name)) {
        let counted = "by every campaign, which names those that were never reached";
        let rows = [("reached when", mark.about), ("counted", counted), ("source", "invariants-and-faults.md §5")];
        return Ok(topic(&format!("{}: a mark", mark.name), &rows));
    }
    if let Some(fact) = Fact::kinds().iter().find(|fact| is(fact)) {
        let rows =
            [("meaning", "what a machine states to observers"), ("used as", "a trigger: when = { fact = \"…\" }")];
        return Ok(topic(&format!("{fact}: a fact"), &rows));
    }
    if let Some(entry) = SCENARIOS.iter().find(|entry| is(entry.name)) {
        let run = format!("tribunal run {}", entry.name);
        return Ok(topic(&format!("{}: a scenario of the catalogue", entry.name), &[("run it", &run)]));
    }
    let mut known: Vec<&str> = judges::Rule::ALL.iter().map(|rule| rule.id()).collect();
    known.extend(judges::Rule::ALL.iter().map(|rule| rule.name()));
    known.extend(Defect::ids());
    known.extend(faults.iter().map(|(name, _)| *name));
    known.extend(report::mark_names());
    known.extend(Court::all_roles().map(|(role, _)| role));
    known.extend(Fact::kinds());
    known.extend(SCENARIOS.iter().map(|entry| entry.name));
    let hint = match world::nearest(id, known.iter().copied()) {
        Some(_) => did_you_mean(id, &known),
        None => "tribunal list invariants (or defects, marks, faults, facts, roles) says what there is".to_owned(),
    };
    Err(BadInput::new(id, None, "is neither a repro nor a known id").hint(hint))
}

fn topic(title: &str, rows: &[(&str, &str)]) -> String {
    let mut text = format!("{title}\n");
    for (label, words) in rows {
        let _ = writeln!(text, "{}", super::text::paragraph(label, words));
    }
    text
}
