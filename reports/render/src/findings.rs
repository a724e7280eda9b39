//! A broken rule, told so that a reader can act on it.

use record::{Finding, Role};

use crate::columns::{WIDTH, fit, seconds, table, wrap};

/// Steps of a proof that a report shows; the ones with a part in it are never left out.
const STEPS: usize = 14;

/// The label of a note that says where a rule is written: for those who ask for more.
const SOURCE: &str = "source";

/// The finding's own paragraphs, without its headline.
pub(crate) fn finding(finding: &Finding, all: bool, out: &mut Vec<String>) {
    if !finding.witnesses.is_empty() {
        witnesses(finding, all, out);
    }
    if let Some(stuck) = &finding.stuck {
        out.push("what is stuck".to_owned());
        wrap("  pending  : ", &stuck.pending, out);
        if let Some(progress) = &stuck.progress {
            wrap("  progress : ", progress, out);
        }
        let head = ["who", "state", "waits for"].map(str::to_owned);
        let rows: Vec<Vec<String>> =
            stuck.waiting.iter().map(|w| vec![w.who.clone(), w.state.clone(), w.what.clone()]).collect();
        if !rows.is_empty() {
            table(&head, &rows, 2, out);
        }
        wrap("  should progress : ", &stuck.recoverable, out);
    }
    let why: Vec<_> = finding.why.iter().filter(|note| all || note.label != SOURCE).collect();
    if !why.is_empty() {
        out.push("why this is a bug".to_owned());
        for note in why {
            wrap(&format!("  {:<8} : ", note.label), &note.text, out);
        }
    }
    if let Some(state) = &finding.state {
        out.push(state.title.clone());
        table(&state.head, &state.rows, 2, out);
    }
    if let Some(help) = &finding.help {
        wrap("help       ", help, out);
    }
}

fn witnesses(finding: &Finding, all: bool, out: &mut Vec<String>) {
    let total = finding.witnesses.len();
    let mut shown: Vec<bool> = finding.witnesses.iter().map(|w| all || w.role != Role::Step).collect();
    // The steps nearest to the detection explain it best.
    for at in (0..total).rev() {
        if shown.iter().filter(|&&s| s).count() >= STEPS {
            break;
        }
        shown[at] = true;
    }
    let elided = shown.iter().filter(|&&s| !s).count();
    let mut head = "what happened".to_owned();
    if elided > 0 {
        head = format!("{head:<60}(left out: {elided} earlier steps)");
    }
    out.push(head);
    for (number, witness) in finding.witnesses.iter().enumerate().filter(|&(at, _)| shown[at]) {
        let mark = match witness.role {
            Role::Promise => "  <== promise",
            Role::FirstWrongStep => "  <== first wrong",
            Role::Detected => "  <== detected",
            Role::Step => "",
        };
        let line = format!(
            "  {:>2} #{:<8} {:>8}  {:<9} {}",
            number + 1,
            witness.event,
            seconds(witness.at),
            witness.place,
            witness.text
        );
        out.push(format!("{}{mark}", fit(&line, WIDTH - mark.chars().count())));
    }
}
