//! Fixed numbers of bytes as hexadecimal digits.

/// Reads 2·N hexadecimal digits, of either case; `None` for any other length or character.
pub fn bytes_from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    // A sign would pass for a digit with `from_str_radix`.
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let digit = |c: u8| char::from(c).to_digit(16);
    let mut bytes = [0; N];
    for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (digit(high)? << 4 | digit(low)?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_the_right_number_become_bytes() {
        assert_eq!(bytes_from_hex("00aBff"), Some([0, 0xab, 0xff]));
        assert_eq!(bytes_from_hex(""), Some([]));
        for bad in [
            "", "00aBf", "00aBff0", "00aBff00", "00aBfg", "+0aBff", "00aBé",
        ] {
            assert_eq!(bytes_from_hex::<3>(bad), None, "{bad}");
        }
    }
}
