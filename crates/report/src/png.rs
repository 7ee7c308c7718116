//! Small pictures as PNG in data addresses: stored, not compressed, which costs little at this size.
//!
//! # Reference
//! PNG (Third Edition), W3C; RFC 1950 (zlib), RFC 1951 section 3.2.4 (stored blocks), RFC 4648 (base 64).

/// Most bytes of a stored block.
const STORED_BYTES: usize = 0xffff;

fn crc32(chunks: [&[u8]; 2]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in chunks.into_iter().flatten() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (1u32, 0u32);
    for &byte in bytes {
        low = (low + u32::from(byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    high << 16 | low
}

fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    out.extend((data.len() as u32).to_be_bytes());
    out.extend(kind);
    out.extend(data);
    out.extend(crc32([kind, data]).to_be_bytes());
}

/// Gray (1 value a pixel) or RGB (3 values) of 8 bits as the bytes of a PNG file.
///
/// # Shapes
/// `pixels` is `[height, width, channels]`.
pub(crate) fn png(width: usize, height: usize, channels: usize, pixels: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend((width as u32).to_be_bytes());
    header.extend((height as u32).to_be_bytes());
    let color = if channels == 3 { 2 } else { 0 };
    header.extend([8, color, 0, 0, 0]);

    let mut rows = Vec::with_capacity(pixels.len() + height);
    for row in pixels.chunks_exact(width * channels) {
        rows.push(0);
        rows.extend(row);
    }
    let mut stream = vec![0x78, 0x01];
    let blocks = rows.chunks(STORED_BYTES);
    let last = blocks.len() - 1;
    for (index, block) in blocks.enumerate() {
        let length = block.len() as u16;
        stream.push(u8::from(index == last));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    stream.extend(adler32(&rows).to_be_bytes());

    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut out, b"IHDR", &header);
    chunk(&mut out, b"IDAT", &stream);
    chunk(&mut out, b"IEND", &[]);
    out
}

/// Base 64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0u32, |bits, (at, &byte)| {
            bits | u32::from(byte) << (16 - 8 * at)
        });
        for digit in 0..4 {
            text.push(if digit <= group.len() {
                char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // RFC 4648 section 10; the check values of CRC-32 and Adler-32.
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(crc32([b"1234", b"56789"]), 0xcbf4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    /// What a reader of stored blocks finds; other readers see pictures of reports in the tests of the commands.
    fn stored(file: &[u8]) -> Vec<u8> {
        let (mut at, mut stream) = (8, Vec::new());
        while at < file.len() {
            let length = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
            let (kind, data) = (&file[at + 4..at + 8], &file[at + 8..at + 8 + length]);
            if kind == b"IDAT" {
                stream.extend_from_slice(data);
            }
            at += 12 + length;
        }
        let (mut at, mut rows) = (2, Vec::new());
        loop {
            let last = stream[at] == 1;
            let length = usize::from(stream[at + 1]) | usize::from(stream[at + 2]) << 8;
            rows.extend_from_slice(&stream[at + 5..at + 5 + length]);
            at += 5 + length;
            if last {
                assert_eq!(at + 4, stream.len());
                return rows;
            }
        }
    }

    #[test]
    fn rows_are_stored_whole() {
        for (width, height, channels) in [(5, 3, 1), (3, 2, 3), (300, 220, 1), (1, 1, 3)] {
            let pixels: Vec<u8> = (0..width * height * channels)
                .map(|at| (at * 7 % 251) as u8)
                .collect();
            let rows = stored(&png(width, height, channels, &pixels));
            let expected: Vec<u8> = pixels
                .chunks(width * channels)
                .flat_map(|row| [&[0], row].concat())
                .collect();
            assert_eq!(rows, expected);
        }
    }
}
