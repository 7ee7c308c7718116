//! Records as a table for the terminal.

use crate::Record;

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
    let value = seconds * factor;
    let digits = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

/// A column's title and what it shows of a record, if that was measured.
type Column = (&'static str, fn(&Record) -> Option<String>);

fn percent(value: Option<f64>) -> Option<String> {
    value.map(|value| format!("{:.2} %", 100.0 * value))
}

const COLUMNS: [Column; 21] = [
    ("network", |r| Some(r.network.clone())),
    ("data set", |r| Some(r.dataset.clone())),
    ("images", |r| Some(r.images.to_string())),
    ("packing", |r| Some(r.packing.clone())),
    ("N", |r| r.ring_degree.map(|n| n.to_string())),
    ("log2 QP", |r| {
        r.log2_qp.or(r.log2_q).map(|bits| format!("{bits:.1}"))
    }),
    ("security", |r| r.security_bits.map(|bits| bits.to_string())),
    ("teacher", |r| percent(r.accuracy_teacher)),
    ("plain", |r| percent(r.accuracy_plain)),
    ("encrypted", |r| percent(r.accuracy_encrypted)),
    ("agreement", |r| percent(r.agreement)),
    ("worst logit error", |r| {
        r.worst_logit_error.map(|error| format!("{error:.2e}"))
    }),
    ("encrypt", |r| r.encrypt_seconds.map(seconds_text)),
    ("evaluate", |r| r.evaluate_seconds.map(seconds_text)),
    ("per image", |r| r.amortized_seconds.map(seconds_text)),
    ("decrypt", |r| r.decrypt_seconds.map(seconds_text)),
    ("upload", |r| r.upload_bytes.map(bytes_text)),
    ("keys", |r| r.key_bytes.map(bytes_text)),
    ("reply", |r| r.reply_bytes.map(bytes_text)),
    ("peak memory", |r| r.peak_rss_bytes.map(bytes_text)),
    ("share of peak", |r| percent(r.evaluation_share_of_peak)),
];

/// The records as lines of text, one a record below a line of titles; columns that no record fills are left out.
///
/// `per image` is the evaluation's time shared out over the batch, no latency.
pub fn table(records: &[Record]) -> String {
    let mut lines = vec![String::new(); records.len() + 1];
    for (title, cell) in COLUMNS {
        let cells: Vec<Option<String>> = records
            .iter()
            .map(|r| cell(r).filter(|text| !text.is_empty()))
            .collect();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        let cells: Vec<String> = std::iter::once(title.to_owned())
            .chain(cells.into_iter().map(|c| c.unwrap_or_else(|| "-".into())))
            .collect();
        let width = cells
            .iter()
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0);
        let words = matches!(title, "network" | "data set" | "packing");
        for (line, cell) in lines.iter_mut().zip(cells) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            line.push_str(&if words {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
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
            (0.0, "0.00 ns"),
        ] {
            assert_eq!(seconds_text(seconds), text);
        }
    }

    #[test]
    fn columns_line_up_and_empty_ones_are_left_out() {
        let mut first = Record {
            network: "mlp".into(),
            dataset: "mnist".into(),
            images: 10_000,
            ..Record::default()
        };
        first.evaluate_seconds = Some(0.5);
        let second = Record {
            network: "cryptonets".into(),
            images: 7,
            ..first.clone()
        };
        let third = Record {
            evaluate_seconds: None,
            ..second.clone()
        };
        let text = table(&[first, second, third]);
        let expected = "\
network     data set  images  evaluate
mlp         mnist      10000    500 ms
cryptonets  mnist          7    500 ms
cryptonets  mnist          7         -
";
        assert_eq!(text, expected);
    }
}
