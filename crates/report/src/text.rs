//! Numbers with fitting units, and tables for the terminal.

use comfy_table::{CellAlignment, Table, presets};

/// A number of bytes with a binary unit, such as `1.5 MiB`.
pub fn bytes_text(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

/// A duration with a fitting unit, such as `12.3 ms`.
pub fn seconds_text(seconds: f64) -> String {
    let (factor, unit) = match seconds.abs() {
        s if s < 1e-6 => (1e9, "ns"),
        s if s < 1e-3 => (1e6, "us"),
        s if s < 1.0 => (1e3, "ms"),
        _ => (1.0, "s"),
    };
    format!("{} {unit}", number_text(seconds * factor))
}

/// A number with three digits, or all those before the point.
pub fn number_text(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// A share of 1 in per cent, such as `99.26 %`.
pub fn percent_text(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// The side of a column on which its cells are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// A column's title, how its cells are aligned, and the text for a row, if the row has any.
pub type Column<R> = (&'static str, Align, fn(&R) -> Option<String>);

/// The rows as lines below a line of titles. Columns that no row fills are left out; an empty cell becomes `-`.
pub fn columns<R>(columns: &[Column<R>], rows: &[R]) -> String {
    let filled: Vec<(&str, Align, Vec<Option<String>>)> = columns
        .iter()
        .map(|(title, align, text)| {
            let cells = rows.iter().map(text);
            let cells = cells.map(|cell| cell.filter(|text| !text.is_empty()));
            (*title, *align, cells.collect())
        })
        .filter(|(_, _, cells): &(_, _, Vec<_>)| cells.iter().any(Option::is_some))
        .collect();
    let cell = |cells: &[Option<String>], row: usize| cells[row].clone().unwrap_or("-".into());
    aligned(
        filled.iter().map(|(title, align, _)| (*title, *align)),
        (0..rows.len()).map(|row| filled.iter().map(|(.., cells)| cell(cells, row)).collect()),
    )
}

/// Cells as lines below a line of titles: the first `words` columns are aligned left, the others right.
///
/// # Panics
/// If a row does not have one cell per title.
pub fn lines(words: usize, titles: &[&str], rows: &[Vec<String>]) -> String {
    assert!(
        rows.iter().all(|row| row.len() == titles.len()),
        "one cell per title"
    );
    let sides = [Align::Left].repeat(words).into_iter();
    let sides = sides.chain(std::iter::repeat(Align::Right));
    aligned(titles.iter().copied().zip(sides), rows.iter().cloned())
}

fn aligned<'a>(
    columns: impl Iterator<Item = (&'a str, Align)> + Clone,
    rows: impl Iterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.clone().map(|(title, _)| title));
    table.add_rows(rows);
    for (column, (_, side)) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        column.set_cell_alignment(match side {
            Align::Left => CellAlignment::Left,
            Align::Right => CellAlignment::Right,
        });
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_fit_the_size() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (1 << 50, "1.0 PiB"),
        ] {
            assert_eq!(bytes_text(bytes), text);
        }
        for (seconds, text) in [
            (0.0123, "12.3 ms"),
            (2.5, "2.50 s"),
            (150.0, "150 s"),
            (3.14e-5, "31.4 us"),
            (0.0, "0.000 ns"),
        ] {
            assert_eq!(seconds_text(seconds), text);
        }
    }

    #[test]
    fn words_stand_left_and_numbers_right() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let text = lines(1, &["name", "x"], &[row("a", "1"), row("longer", "22")]);
        assert_eq!(text, "name     x\na        1\nlonger  22\n");
    }
}
