//! Cells aligned into lines, and quantities with fitting units.

/// A number of bytes with a binary unit, such as `1.5 MiB`.
pub fn bytes_text(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" {
                format!("{bytes} B")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
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
pub(crate) fn number_text(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

pub(crate) fn percent(value: Option<f64>) -> Option<String> {
    value.map(|value| format!("{:.2} %", 100.0 * value))
}

/// How the cells of a column stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A column's title, how its cells stand, and what it shows of a row, if there is something.
pub(crate) type Column<R> = (&'static str, Align, fn(&R) -> Option<String>);

/// The rows as lines below a line of titles; columns that no row fills are left out.
pub(crate) fn columns<R>(columns: &[Column<R>], rows: &[R]) -> String {
    let mut filled: Vec<(Align, Vec<String>)> = Vec::new();
    for (title, align, cell) in columns {
        let cells: Vec<Option<String>> = rows
            .iter()
            .map(|row| cell(row).filter(|text| !text.is_empty()))
            .collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or("-".into()));
            filled.push((
                *align,
                std::iter::once((*title).into()).chain(cells).collect(),
            ));
        }
    }
    align(&filled, rows.len() + 1)
}

/// Cells as lines below a line of titles, the first `words` columns to the left and the others to the right.
///
/// # Panics
/// If a row has not one cell a title.
pub fn lines(words: usize, titles: &[&str], rows: &[Vec<String>]) -> String {
    assert!(
        rows.iter().all(|row| row.len() == titles.len()),
        "one cell a title"
    );
    let columns: Vec<(Align, Vec<String>)> = titles
        .iter()
        .enumerate()
        .map(|(index, title)| {
            let cells = rows.iter().map(|row| row[index].clone());
            let side = if index < words {
                Align::Left
            } else {
                Align::Right
            };
            (
                side,
                std::iter::once((*title).into()).chain(cells).collect(),
            )
        })
        .collect();
    align(&columns, rows.len() + 1)
}

fn align(columns: &[(Align, Vec<String>)], count: usize) -> String {
    let mut lines = vec![String::new(); count];
    for (side, cells) in columns {
        let width = cells.iter().map(|cell| cell.chars().count()).max();
        let width = width.unwrap_or(0);
        for (line, cell) in lines.iter_mut().zip(cells) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            line.push_str(&match side {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
        }
    }
    let mut text = String::new();
    for line in lines {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
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
            (1 << 50, "1024.0 TiB"),
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
