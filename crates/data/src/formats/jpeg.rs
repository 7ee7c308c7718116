//! Where a JPEG ends and how many channels it has, told from its segments.
//!
//! The decoder fills up with gray what is missing, and pictures from cameras and web pages often have bytes behind their end.
//!
//! # Reference
//! ITU-T T.81, annex B.

/// What the segments of a sound JPEG say.
pub(crate) struct Jpeg {
    /// Channels of a frame: 1 for gray, 3 for colour, 4 for print.
    pub(crate) channels: u8,
    /// Bits of a sample.
    pub(crate) bits: u8,
    /// Whether markers say that the three channels are luminance and chrominance, if any says something about it.
    pub(crate) transformed: Option<bool>,
}

/// Walks through the segments; `None` where the end marker is missing.
pub(crate) fn walk(bytes: &[u8]) -> Option<Jpeg> {
    let mut jpeg = Jpeg {
        channels: 0,
        bits: 0,
        transformed: None,
    };
    let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
    loop {
        // Any number of fill bytes may come before a marker.
        let marker = match *rest {
            [0xff, 0xff, ..] => {
                rest = &rest[1..];
                continue;
            }
            [0xff, marker, ..] => marker,
            _ => return None,
        };
        rest = &rest[2..];
        match marker {
            0xd9 => return Some(jpeg),
            // Markers without a segment.
            0x01 | 0xd0..=0xd7 => continue,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
        let segment = rest.get(2..length)?;
        rest = &rest[length..];
        match marker {
            // Start of frame: precision, height, width, channels.
            0xc0..=0xcf if ![0xc4, 0xc8, 0xcc].contains(&marker) => {
                (jpeg.bits, jpeg.channels) = (*segment.first()?, *segment.get(5)?);
            }
            // JFIF, over which Adobe's segment goes.
            0xe0 if segment.starts_with(b"JFIF\0") => {
                jpeg.transformed = jpeg.transformed.or(Some(true));
            }
            0xee if segment.starts_with(b"Adobe") => {
                jpeg.transformed = segment.get(11).map(|&transform| transform != 0);
            }
            // Start of scan: coded data follow, in which a marker is none if a zero or a restart number is behind it.
            0xda => {
                let coded = rest
                    .windows(2)
                    .position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff));
                rest = &rest[coded?..];
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &[u8] = &[
        0xff, 0xd8, 0xff, 0xe1, 0, 4, 0xff, 0xd9, 0xff, 0xc0, 0, 11, 8, 0, 1, 0, 1, 3, 0, 0, 0,
        0xff, 0xda, 0, 2, 1, 0xff, 0, 0xff, 0xd0, 2,
    ];

    #[test]
    fn the_end_is_the_last_marker_whatever_follows() {
        for behind in [&b""[..], b"\n", b"more bytes", b"\xff\xd8\xff\xd9"] {
            let file = [START, &[0xff, 0xd9], behind].concat();
            assert_eq!(walk(&file).map(|jpeg| jpeg.channels), Some(3));
        }
    }

    #[test]
    fn a_file_without_its_end_is_told() {
        for length in 0..START.len() {
            assert!(walk(&START[..length]).is_none(), "{length}");
            let padded = [&START[..length], &[0; 9]].concat();
            assert!(walk(&padded).is_none(), "{length}");
        }
        assert!(walk(START).is_none());
    }
}
