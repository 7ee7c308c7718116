//! What a number counts, and how it is written for people.

use serde::{Deserialize, Serialize};

use crate::text::{bytes_text, number_text, percent_text, seconds_text};

/// What a number of a report counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A share of 1, read as per cent.
    Share,
    /// How many there are: a whole number.
    Count,
    /// Bits.
    Bits,
    /// A quotient of two quantities of one kind.
    Ratio,
    /// Any other number.
    Number,
}

impl Unit {
    /// The number with its unit, to about three digits.
    pub fn text(self, value: f64) -> String {
        match self {
            Self::Seconds if value == 0.0 => "0 s".into(),
            Self::Seconds => seconds_text(value).replace("us", "µs"),
            // Sizes are far below 2^53.
            Self::Bytes => bytes_text(value.max(0.0).round() as u64),
            Self::Share => percent_text(value),
            Self::Count => count_text(value),
            Self::Bits if value.fract() == 0.0 => format!("{value:.0} bits"),
            Self::Bits => format!("{value:.1} bits"),
            Self::Ratio => format!("{}×", number_text(value)),
            Self::Number if value != 0.0 && value.abs() < 0.01 => format!("{value:.2e}"),
            Self::Number => number_text(value),
        }
    }
}

/// A whole number with commas between thousands.
pub fn count_text(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 {
        text.insert(0, '−');
    }
    text
}

/// A quotient of two values as the change from one to the other: `−99.58 %`, or `× 13.2` where it is more than a doubling.
pub(crate) fn change_text(ratio: f64) -> String {
    let percent = 100.0 * (ratio - 1.0);
    if ratio > 2.0 {
        format!("× {}", number_text(ratio))
    } else if percent.abs() < 0.05 {
        "± 0 %".into()
    } else if percent < -99.0 {
        format!("−{:.2} %", -percent)
    } else if percent < 0.0 {
        format!("−{:.1} %", -percent)
    } else {
        format!("+{percent:.1} %")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_with_their_units() {
        for (unit, value, text) in [
            (Unit::Seconds, 2.4e-5, "24.0 µs"),
            (Unit::Seconds, 0.0, "0 s"),
            (Unit::Bytes, 1536.0, "1.5 KiB"),
            (Unit::Share, 0.9926, "99.26 %"),
            (Unit::Count, 1_234_567.0, "1,234,567"),
            (Unit::Count, 999.0, "999"),
            (Unit::Count, -1000.0, "−1,000"),
            (Unit::Bits, 128.0, "128 bits"),
            (Unit::Bits, 94.9994, "95.0 bits"),
            (Unit::Ratio, 13.25, "13.2×"),
            (Unit::Number, 0.002_899, "2.90e-3"),
            (Unit::Number, 0.0, "0.000"),
        ] {
            assert_eq!(unit.text(value), text);
        }
    }

    #[test]
    fn changes_are_shares_or_multiples() {
        for (ratio, text) in [
            (0.0042, "−99.58 %"),
            (0.5, "−50.0 %"),
            (1.0, "± 0 %"),
            (1.5, "+50.0 %"),
            (13.25, "× 13.2"),
        ] {
            assert_eq!(change_text(ratio), text);
        }
    }
}
