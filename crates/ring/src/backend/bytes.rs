//! Plain packing and unpacking: groups of eight residues with everything but the values known to the compiler.

/// Elements handled at a time: eight residues of w bytes are w whole words.
const GROUP: usize = 8;

pub(crate) fn unpack(width: usize, bytes: &[u8], out: &mut [u64]) {
    match width {
        3 => unpack_groups::<3>(bytes, out),
        4 => unpack_groups::<4>(bytes, out),
        5 => unpack_groups::<5>(bytes, out),
        6 => unpack_groups::<6>(bytes, out),
        7 => unpack_groups::<7>(bytes, out),
        _ => unpack_tail(width, bytes, out),
    }
}

pub(crate) fn pack(width: usize, residues: &[u64], out: &mut [u8]) {
    match width {
        3 => pack_groups::<3>(residues, out),
        4 => pack_groups::<4>(residues, out),
        5 => pack_groups::<5>(residues, out),
        6 => pack_groups::<6>(residues, out),
        7 => pack_groups::<7>(residues, out),
        _ => pack_tail(width, residues, out),
    }
}

/// One packed residue of at most 8 bytes.
#[inline(always)]
pub(crate) fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

fn unpack_tail(width: usize, bytes: &[u8], out: &mut [u64]) {
    for (residue, value) in bytes.chunks_exact(width).zip(out) {
        *value = word(residue);
    }
}

fn pack_tail(width: usize, residues: &[u64], out: &mut [u8]) {
    for (value, residue) in residues.iter().zip(out.chunks_exact_mut(width)) {
        residue.copy_from_slice(&value.to_le_bytes()[..width]);
    }
}

/// Overlapping 8-byte loads at constant offsets; those that would reach past the group end there and shift.
#[inline(always)]
fn unpack_groups<const W: usize>(bytes: &[u8], out: &mut [u64]) {
    let mask = u64::MAX >> (64 - 8 * W);
    let (groups, tail) = out.as_chunks_mut::<GROUP>();
    let (group_bytes, tail_bytes) = bytes.split_at(groups.len() * GROUP * W);
    for (group, bytes) in groups.iter_mut().zip(group_bytes.chunks_exact(GROUP * W)) {
        for (j, value) in group.iter_mut().enumerate() {
            let offset = (j * W).min(GROUP * W - 8);
            let word: [u8; 8] = bytes[offset..offset + 8].try_into().expect("8 bytes");
            *value = (u64::from_le_bytes(word) >> (8 * (j * W - offset))) & mask;
        }
    }
    unpack_tail(W, tail_bytes, tail);
}

#[inline(always)]
fn pack_groups<const W: usize>(residues: &[u64], out: &mut [u8]) {
    let mask = u64::MAX >> (64 - 8 * W);
    let (groups, tail) = residues.as_chunks::<GROUP>();
    let (group_bytes, tail_bytes) = out.split_at_mut(groups.len() * GROUP * W);
    for (group, bytes) in groups.iter().zip(group_bytes.chunks_exact_mut(GROUP * W)) {
        let mut words = [0_u64; W];
        for (j, &value) in group.iter().enumerate() {
            let value = value & mask;
            let (word, shift) = (j * W / 8, 8 * (j * W % 8));
            words[word] |= value << shift;
            if shift + 8 * W > 64 {
                words[word + 1] |= value >> (64 - shift);
            }
        }
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
    pack_tail(W, tail, tail_bytes);
}
