//! The expansion of public seeds: known answers, uniformity, separation of domains.

use sordino_ring::{
    Modulus,
    sample::{UniformDomain, expand_uniform, expand_uniform_packed_into},
    unpack,
};

fn expand(seed: &[u8; 32], domain: UniformDomain, q: u64, count: usize) -> Vec<u64> {
    let mut out = vec![u64::MAX; count];
    expand_uniform(seed, domain, &Modulus::new(q).unwrap(), &mut out);
    out
}

const SEED: [u8; 32] = {
    let mut seed = [0; 32];
    let mut i = 0;
    while i < 32 {
        seed[i] = i as u8;
        i += 1;
    }
    seed
};

#[test]
fn uniform_known_answers() {
    // Computed by tests/known_answers.py. These are the file format: they must never change.
    let answers: [(u64, UniformDomain, [u64; 4], &str); 4] = [
        (
            4_294_967_291,
            UniformDomain {
                index: 0,
                limb: 0,
                purpose: 1,
            },
            [1726403389, 3474239251, 1103057400, 2337292942],
            "f7add41ae461b09d1649d55bfd613195e42786244521137a635d764a508e984a",
        ),
        (
            4_294_967_311,
            UniformDomain {
                index: 3,
                limb: 2,
                purpose: 1,
            },
            [994154722, 1961304785, 2277247229, 1320270917],
            "83ffd1c1cfca73733427114056c921f2addcccc42fdc2d261c19f40faa4d141d",
        ),
        (
            1_125_899_906_842_597,
            UniformDomain {
                index: 1 << 40,
                limb: 5,
                purpose: 2,
            },
            [
                546438035288756,
                836060743633835,
                911742064971427,
                173366787442635,
            ],
            "8804b4f464691424b7e5b8838cee3a9991fa42a07acb6f7978da2af2a0832f3e",
        ),
        (
            65537,
            UniformDomain {
                index: 7,
                limb: 1,
                purpose: 255,
            },
            [25454, 39839, 41141, 42319],
            "145aa249354219a024294d5161536c6bc393407b6d15edd05acb266ac1b34d28",
        ),
    ];
    for (q, domain, first, digest) in answers {
        let values = expand(&SEED, domain, q, 5000);
        assert_eq!(values[..4], first, "{q}");
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), digest, "{q}");
    }
}

#[test]
fn shorter_expansions_are_prefixes_and_packed_ones_agree() {
    let domain = UniformDomain {
        index: 12,
        limb: 3,
        purpose: 1,
    };
    for q in [65537, 4_294_967_291, 4_294_967_311, 1_125_899_906_842_597] {
        let modulus = Modulus::new(q).unwrap();
        let long = expand(&SEED, domain, q, 4096);
        assert!(long.iter().all(|&v| v < q));
        for count in [0, 1, 7, 1023, 1024, 1025, 4096] {
            assert_eq!(expand(&SEED, domain, q, count), long[..count]);
            let mut packed = vec![0; count * modulus.byte_width()];
            expand_uniform_packed_into(&SEED, domain, &modulus, &mut packed);
            let mut unpacked = vec![0; count];
            unpack(modulus.byte_width(), &packed, &mut unpacked);
            assert_eq!(unpacked, long[..count]);
        }
    }
}

#[test]
fn expansion_is_uniform() {
    const CLASSES: usize = 100;
    const SAMPLES: usize = 200_000;
    // Close below a power of two, just above one (half of the candidates rejected), in the middle.
    for q in [
        4_294_967_291,
        4_294_967_311,
        65537,
        3_221_225_473,
        1_125_899_906_842_597,
    ] {
        let mut counts = [0_usize; CLASSES];
        for v in expand(
            &[42; 32],
            UniformDomain {
                index: 1,
                limb: 0,
                purpose: 1,
            },
            q,
            SAMPLES,
        ) {
            counts[(u128::from(v) * CLASSES as u128 / u128::from(q)) as usize] += 1;
        }
        let expected = SAMPLES as f64 / CLASSES as f64;
        let chi_square: f64 = counts
            .iter()
            .map(|&c| (c as f64 - expected).powi(2) / expected)
            .sum();
        // 99 degrees of freedom: above 148.2 or below 60.0 with probability 0.001 each.
        assert!((60.0..148.2).contains(&chi_square), "q = {q}: {chi_square}");
    }
    // Every residue of a small prime: no end of the range is missing.
    let mut counts = [0_usize; 257];
    for v in expand(
        &[43; 32],
        UniformDomain {
            index: 1,
            limb: 0,
            purpose: 1,
        },
        257,
        SAMPLES,
    ) {
        counts[v as usize] += 1;
    }
    let expected = SAMPLES as f64 / 257.0;
    let chi_square: f64 = counts
        .iter()
        .map(|&c| (c as f64 - expected).powi(2) / expected)
        .sum();
    // 256 degrees of freedom.
    assert!((190.0..331.0).contains(&chi_square), "{chi_square}");
}

#[test]
fn every_part_of_the_domain_separates() {
    let q = 1_125_899_906_842_597;
    let base = UniformDomain {
        index: 1,
        limb: 1,
        purpose: 1,
    };
    let variants = [
        expand(&SEED, base, q, 64),
        expand(&SEED, UniformDomain { index: 2, ..base }, q, 64),
        expand(
            &SEED,
            UniformDomain {
                index: 1 << 32 | 1,
                ..base
            },
            q,
            64,
        ),
        expand(&SEED, UniformDomain { limb: 2, ..base }, q, 64),
        expand(&SEED, UniformDomain { purpose: 2, ..base }, q, 64),
        expand(&[0; 32], base, q, 64),
    ];
    for (i, a) in variants.iter().enumerate() {
        for b in &variants[..i] {
            assert!(a.iter().zip(b).all(|(x, y)| x != y), "variant {i}");
        }
    }
}
