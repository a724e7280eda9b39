//! What mattered, one line per change, in fixed columns.

use record::{Moment, Record, Weight};

use crate::columns::{WIDTH, fit, seconds};

/// The moments that fit into `rows` lines: those that weigh most, in order of time, with counts of what is left out.
pub(crate) fn timeline(record: &Record, rows: usize, out: &mut Vec<String>) {
    let shown = choose(&record.moments, rows);
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

/// Marks the moments to show: all of the heaviest weight that fits; of the first weight that does not, the earliest
/// and the latest, because a run's begin and end explain it better than its middle.
fn choose(moments: &[Moment], rows: usize) -> Vec<bool> {
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
        let first = left.div_ceil(2);
        for &at in of_weight.iter().take(first).chain(of_weight.iter().rev().take(left - first)) {
            shown[at] = true;
        }
        break;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::choose;
    use record::{Moment, Weight};

    fn moments(weights: &[Weight]) -> Vec<Moment> {
        let moment = |&weight| Moment { event: None, at: 0, place: String::new(), text: String::new(), weight };
        weights.iter().map(moment).collect()
    }

    #[test]
    fn turns_win_over_steps_and_ends_over_middles() {
        use Weight::{Detail, Step, Turn};
        let all = moments(&[Step, Turn, Step, Step, Turn, Step, Detail]);
        assert_eq!(choose(&all, 4), [true, true, false, false, true, true, false]);
        assert_eq!(choose(&all, 99), [true; 7]);
        assert_eq!(choose(&all, 1), [false, true, false, false, false, false, false]);
    }
}
