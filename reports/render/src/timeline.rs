//! What mattered, one line per change, in fixed columns.

use record::{Moment, Record, Weight};

use crate::columns::{WIDTH, fit, seconds};

/// The moments that fit into `rows` lines: those that weigh most, in order of time, with counts of what is left out.
pub(crate) fn timeline(record: &Record, rows: usize, out: &mut Vec<String>) {
    let focus = record.findings.first().map(|finding| finding.at);
    let shown = choose(&record.moments, rows, focus);
    let mut elided = 0;
    for (moment, keep) in record.moments.iter().zip(&shown) {
        if !keep {
            elided += 1;
            continue;
        }
        out.push(line(moment));
    }
    if elided > 0 {
        out.push(format!("           … {elided} smaller steps left out (-v shows more, -vv all)"));
    }
}

fn line(moment: &Moment) -> String {
    fit(&format!("  {:>8}  {:<9} {}", seconds(moment.at), moment.place, moment.text), WIDTH)
}

/// Marks the moments to show: all of the heaviest weight that fits; of the first weight that does not, those nearest in
/// time to what is shown already or was found, because they explain it. With neither, the earliest and the latest.
fn choose(moments: &[Moment], rows: usize, focus: Option<u64>) -> Vec<bool> {
    let mut shown = vec![false; moments.len()];
    let mut left = rows;
    for weight in [Weight::Turn, Weight::Step, Weight::Detail] {
        let of_weight: Vec<usize> = (0..moments.len()).filter(|&at| moments[at].weight == weight).collect();
        if of_weight.len() <= left {
            for &at in &of_weight {
                shown[at] = true;
            }
            left -= of_weight.len();
            continue;
        }
        for at in nearest(moments, &shown, of_weight, focus).into_iter().take(left) {
            shown[at] = true;
        }
        break;
    }
    shown
}

/// The candidates in order of their distance in time to anything that is shown, and to what was found.
fn nearest(moments: &[Moment], shown: &[bool], mut candidates: Vec<usize>, focus: Option<u64>) -> Vec<usize> {
    let mut anchors: Vec<u64> = (0..moments.len()).filter(|&at| shown[at]).map(|at| moments[at].at).collect();
    anchors.extend(focus);
    if anchors.is_empty() {
        let ends = candidates.len();
        let from_the_ends = |at: &usize| (*at).min(ends - 1 - *at);
        let mut order: Vec<usize> = (0..ends).collect();
        order.sort_by_key(from_the_ends);
        return order.into_iter().map(|at| candidates[at]).collect();
    }
    candidates.sort_by_key(|&at| anchors.iter().map(|anchor| anchor.abs_diff(moments[at].at)).min());
    candidates
}

#[cfg(test)]
mod tests {
    use super::choose;
    use record::{Moment, Weight};

    fn moments(all: &[(u64, Weight)]) -> Vec<Moment> {
        let moment = |&(at, weight)| Moment { event: None, at, place: String::new(), text: String::new(), weight };
        all.iter().map(moment).collect()
    }

    #[test]
    fn turns_win_and_the_steps_nearest_to_them_explain_them() {
        use Weight::{Detail, Step, Turn};
        let all = moments(&[(0, Step), (50, Step), (51, Turn), (60, Step), (200, Step), (300, Detail)]);
        assert_eq!(choose(&all, 3, None), [false, true, true, true, false, false]);
        assert_eq!(choose(&all, 99, None), [true; 6]);
        assert_eq!(choose(&all, 1, None), [false, false, true, false, false, false]);
    }

    #[test]
    fn with_nothing_to_explain_the_ends_of_a_run_are_shown() {
        use Weight::Step;
        let all = moments(&[(0, Step), (1, Step), (2, Step), (3, Step), (4, Step)]);
        assert_eq!(choose(&all, 3, None), [true, true, false, false, true]);
    }

    #[test]
    fn what_was_found_draws_the_turns_around_it() {
        use Weight::Turn;
        let all = moments(&[(0, Turn), (90, Turn), (100, Turn), (110, Turn), (500, Turn)]);
        assert_eq!(choose(&all, 3, Some(101)), [false, true, true, true, false]);
    }
}
