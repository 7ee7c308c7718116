//! Numbers with fitting units, and tables for the terminal.

use comfy_table::{Table, presets};

/// The side of a column on which its cells are aligned.
pub use comfy_table::CellAlignment as Align;

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

/// A column's title, how its cells are aligned (words left, numbers right), and the text for a row, if the row has any.
pub type Column<'a, R> = (&'a str, Align, fn(&R) -> Option<String>);

/// The rows as lines below a line of titles. Columns that no row fills are left out; an empty cell becomes `-`.
pub fn columns<R>(columns: &[Column<'_, R>], rows: &[R]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let cell = |text: fn(&R) -> Option<String>, row| text(row).filter(|text| !text.is_empty());
    let filled = columns
        .iter()
        .filter(|(.., text)| rows.iter().any(|row| cell(*text, row).is_some()));
    table.set_header(filled.clone().map(|(title, ..)| title));
    for row in rows {
        let cells = filled.clone().map(|(.., text)| cell(*text, row));
        table.add_row(cells.map(|cell| cell.unwrap_or("-".into())));
    }
    for (column, (_, align, _)) in table.column_iter_mut().zip(filled) {
        column.set_padding((0, 2));
        column.set_cell_alignment(*align);
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
        let both: [Column<'_, (&str, u32)>; 2] = [
            ("name", Align::Left, |row| Some(row.0.into())),
            ("x", Align::Right, |row| Some(row.1.to_string())),
        ];
        let text = columns(&both, &[("a", 1), ("longer", 22)]);
        assert_eq!(text, "name     x\na        1\nlonger  22\n");
    }
}
