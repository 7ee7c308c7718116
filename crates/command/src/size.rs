//! Sizes of memory as people write them.

/// Reads a number of bytes with an optional unit: `64MiB`, `2G`, `1.5GB`, `800000`.
///
/// `K`, `M`, `G`, `T` (also `KiB`, …) are powers of 1024; `KB`, `MB`, `GB`, `TB` are powers of 1000.
///
/// # Errors
/// A message that names the text and the forms that are accepted.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "{text:?} is no size: write bytes, or a number with K, M, G or T, such as 2G or 512MiB"
        )
    };
    let text_trimmed = text.trim();
    let split = text_trimmed.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text_trimmed.split_at(split.unwrap_or(text_trimmed.len()));
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim().to_ascii_lowercase();
    let power = match unit.chars().next() {
        None | Some('b') => 0,
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some(_) => return Err(wrong()),
    };
    let base: f64 = match (power, unit.get(1..).unwrap_or("")) {
        (0, "") | (1.., "" | "ib") => 1024.0,
        (1.., "b") => 1000.0,
        _ => return Err(wrong()),
    };
    let bytes = number * base.powi(power);
    if bytes >= 1.0 && bytes < (1u64 << 60) as f64 {
        Ok(bytes as u64)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (text, bytes) in [
            ("1", 1),
            ("800000", 800_000),
            ("12b", 12),
            ("2G", 2 << 30),
            ("2GiB", 2 << 30),
            ("1.5 gb", 1_500_000_000),
            ("64m", 64 << 20),
            ("3KB", 3000),
            ("1T", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "", "0", "G", "-1", "1x", "1GiBB", "1e3", "nan", "9999999T", "1..2",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
