//! Sizes of memory as people write them.

use bytesize::ByteSize;

/// Reads a number of bytes with an optional unit: `64MiB`, `2G`, `1.5GB`, `800000`.
///
/// `K`, `M`, `G`, `T` (also `KiB`, …) are powers of 1024; `KB`, `MB`, `GB`, `TB` are powers of 1000.
///
/// # Errors
/// A message that names the text and the forms that are accepted.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let mut size = text.trim().to_owned();
    // A single letter is a power of 1000 for `bytesize`.
    if size.ends_with(['K', 'M', 'G', 'T', 'k', 'm', 'g', 't']) {
        size += "iB";
    }
    match size.parse() {
        Ok(ByteSize(bytes)) if (1..1 << 60).contains(&bytes) => Ok(bytes),
        _ => Err(format!(
            "{text:?} is no size: write bytes, or a number with K, M, G or T, such as 2G or 512MiB"
        )),
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
