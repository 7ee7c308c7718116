//! A permutation that depends on nothing but its seed.

/// A pseudo-random order of `0..count`, the same on every machine and in every version.
///
/// Fisher-Yates from the last place to the first; draws come from SplitMix64 started at `seed`, rejected where they
/// would favour small indices. Not for secrets.
///
/// # Reference
/// G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, section 5 (SplitMix64).
pub fn permutation(count: usize, seed: u64) -> Vec<usize> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        let choices = last as u64 + 1;
        // Draws from the incomplete last round of `choices` are thrown away.
        let end = u64::MAX - (u64::MAX % choices + 1) % choices;
        let draw = loop {
            let draw = next();
            if draw <= end {
                break draw % choices;
            }
        };
        order.swap(last, draw as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_occurs_once_and_the_order_never_changes() {
        let order = permutation(1000, 7);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..1000));
        assert_ne!(order, permutation(1000, 8));
        assert!(permutation(0, 1).is_empty());
        // Fixed by the definition above, computed once by an independent program: a change would silently move every split.
        assert_eq!(permutation(10, 0), TEN);
    }

    const TEN: [usize; 10] = [6, 3, 2, 9, 8, 1, 4, 7, 0, 5];

    #[test]
    fn every_place_is_reached_about_equally_often() {
        let mut counts = [[0u32; 5]; 5];
        for seed in 0..5000 {
            for (place, &index) in permutation(5, seed).iter().enumerate() {
                counts[place][index] += 1;
            }
        }
        // Expected 1000, standard deviation 28.
        assert!(
            counts
                .iter()
                .flatten()
                .all(|count| (860..1140).contains(count)),
            "{counts:?}"
        );
    }
}
