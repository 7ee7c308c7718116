//! Deterministic damage to files.

/// SplitMix64: the same cases on every machine and in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0; half of the time one of the first few, where the headers are.
    fn below(&mut self, limit: usize) -> usize {
        let limit = if self.next().is_multiple_of(2) {
            limit.min(512)
        } else {
            limit
        };
        (self.next() % limit as u64) as usize
    }

    fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[(self.next() % choices.len() as u64) as usize]
    }
}

/// Numbers that lengths are made of when somebody means harm.
const LENGTHS: [u64; 14] = [
    0,
    1,
    2,
    255,
    1 << 15,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    1 << 47,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX,
];

/// Texts to put in the place of a number or a word of JSON.
const TEXTS: [&str; 14] = [
    "0",
    "-1",
    "1.5",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "1e300",
    "-1e999",
    "5e-324",
    "null",
    "true",
    "[]",
    "{}",
    "\"\\u0000\"",
];

/// A damaged copy of `bytes`: it may come out unchanged.
pub(crate) fn mutate(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    for _ in 0..random.choose(&[1, 1, 1, 2, 4]) {
        if copy.is_empty() {
            break;
        }
        mutate_once(random, &mut copy);
    }
    copy
}

fn mutate_once(random: &mut Random, copy: &mut Vec<u8>) {
    let at = random.below(copy.len());
    match random.choose(&[0, 1, 2, 2, 3, 4, 5, 5, 5, 6, 6, 7]) {
        0 => copy.truncate(at),
        1 => {
            let byte = random.choose(&[0, 1, 0x7F, 0x80, 0xFF]);
            copy.extend(std::iter::repeat_n(byte, 1 + random.below(40)));
        }
        2 => copy[at] ^= 1 << random.choose(&[0, 1, 2, 3, 4, 5, 6, 7]),
        3 => copy[at] = random.choose(&[0, 1, 0x7F, 0x80, 0xFE, 0xFF]),
        4 => {
            let end = (at + 1 + random.below(64)).min(copy.len());
            copy.drain(at..end);
        }
        5 => set_length(random, copy, at),
        6 => replace_token(random, copy, at),
        _ => {
            let end = (at + 1 + random.below(64)).min(copy.len());
            let piece = copy[at..end].to_vec();
            let target = random.below(copy.len());
            copy.splice(target..target, piece);
        }
    }
}

/// Overwrites a number of 2, 4 or 8 bytes, in either byte order, with a bad length.
fn set_length(random: &mut Random, copy: &mut [u8], at: usize) {
    let near = (copy.len() as u64).wrapping_add(random.choose(&[u64::MAX, 0, 1]));
    let value = match random.choose(&[0, 1, 2]) {
        0 => near,
        _ => random.choose(&LENGTHS),
    };
    let width = random.choose(&[2usize, 4, 8]);
    let mut number = value.to_le_bytes()[..width].to_vec();
    if random.choose(&[true, false]) {
        number.reverse();
    }
    let end = (at + width).min(copy.len());
    copy[at..end].copy_from_slice(&number[..end - at]);
}

/// Replaces the word or number of text at or after a position.
fn replace_token(random: &mut Random, copy: &mut Vec<u8>, at: usize) {
    let part_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
    let Some(start) = copy[at..].iter().position(part_of_token) else {
        return;
    };
    let start = at + start;
    let length = copy[start..].iter().take_while(|byte| part_of_token(byte));
    let end = start + length.count().min(80);
    copy.splice(start..end, random.choose(&TEXTS).bytes());
}
