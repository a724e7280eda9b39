//! Lines of at most a hundred columns.

use std::fmt::Write as _;

/// Columns a report keeps to.
pub const WIDTH: usize = 100;

/// Nanoseconds as seconds with milliseconds: `12.418`.
pub(crate) fn seconds(nanos: u64) -> String {
    format!("{}.{:03}", nanos / 1_000_000_000, nanos % 1_000_000_000 / 1_000_000)
}

/// Cuts a line to the width, with an ellipsis where it was cut.
pub(crate) fn fit(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let mut cut: String = line.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Breaks words into lines: the first starts with `head`, the others with as many blanks.
pub(crate) fn wrap(head: &str, text: &str, out: &mut Vec<String>) {
    let indent = head.chars().count();
    let mut line = head.to_owned();
    let mut filled = false;
    // Not at no-break spaces, which hold an id and its count together.
    for word in text.split([' ', '\n', '\t']).filter(|word| !word.is_empty()) {
        let longer = line.chars().count() + usize::from(filled) + word.chars().count();
        if filled && longer > WIDTH {
            out.push(std::mem::replace(&mut line, " ".repeat(indent)));
            filled = false;
        }
        if filled {
            line.push(' ');
        }
        line.push_str(word);
        filled = true;
    }
    out.push(line);
}

/// Rows in aligned columns, two blanks between; the last column is cut to the width.
pub fn table(head: &[String], rows: &[Vec<String>], indent: usize, out: &mut Vec<String>) {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (column, cell) in row.iter().enumerate().take(widths.len()) {
            widths[column] = widths[column].max(cell.chars().count());
        }
    }
    for row in std::iter::once(head).chain(rows.iter().map(Vec::as_slice)) {
        let mut line = " ".repeat(indent);
        for (column, cell) in row.iter().enumerate().take(widths.len()) {
            if column + 1 == row.len() {
                line.push_str(cell);
            } else {
                let _ = write!(line, "{cell:<width$}  ", width = widths[column]);
            }
        }
        out.push(fit(line.trim_end(), WIDTH));
    }
}

#[cfg(test)]
mod tests {
    use super::{WIDTH, fit, seconds, wrap};

    #[test]
    fn long_lines_are_cut_and_wrapped_at_the_width() {
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("abcd", 4), "abcd");
        let mut out = Vec::new();
        wrap("  why : ", &"word ".repeat(60), &mut out);
        assert!(out.len() > 2);
        assert!(out.iter().all(|line| line.chars().count() <= WIDTH));
        assert!(out[1].starts_with("        word"));
    }

    #[test]
    fn seconds_are_cut_not_rounded() {
        assert_eq!(seconds(12_418_999_999), "12.418");
    }
}
