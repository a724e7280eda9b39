//! Faults along a line of time.

use record::Record;

use crate::columns::{fit, seconds};

/// Cells of the strip.
const CELLS: u64 = 60;

/// One row per fault: where it lies in the run, as a bar; at most `rows` of them, the rest counted.
pub(crate) fn faults(record: &Record, rows: usize, out: &mut Vec<String>) {
    let whole = record.counts.simulated.max(1);
    for band in record.bands.iter().take(rows) {
        let from = cell(band.from, whole);
        let to = band.to.map_or(from, |to| cell(to, whole));
        let bar: String = (0..CELLS)
            .map(|at| match (at == from, band.to.is_some(), at > from && at <= to) {
                (true, false, _) => '*',
                (true, true, _) => '[',
                (false, true, true) => '=',
                _ => '.',
            })
            .collect();
        out.push(fit(&format!("  {:>8} |{bar}| {}", seconds(band.from), band.text), crate::columns::WIDTH));
    }
    if record.bands.len() > rows {
        out.push(format!("           … {} more", record.bands.len() - rows));
    }
}

fn cell(at: u64, whole: u64) -> u64 {
    let scaled = u128::from(at.min(whole)) * u128::from(CELLS - 1) / u128::from(whole);
    u64::try_from(scaled).expect("below the number of cells")
}
