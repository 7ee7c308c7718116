//! The expansion of public seeds: known answers, uniformity, separation of domains.

use sordino_ring::{
    Modulus, ResidueMatrix, backend,
    sample::{SEGMENT, UniformDomain, UniformStream},
};

/// Index of the polynomial, and the rest of the domain.
#[derive(Clone, Copy)]
struct Place {
    index: u64,
    limb: u32,
    purpose: u8,
}

/// The same on every back end.
fn expand(seed: &[u8; 32], place: Place, q: u64, count: usize) -> Vec<u64> {
    let modulus = Modulus::new(q).unwrap();
    let [reference, others @ ..] = &backend::available()
        .into_iter()
        .map(|backend| {
            let mut out = vec![u64::MAX; count];
            UniformStream::new(backend, seed, domain(place), &modulus)
                .expand_row(place.index, &mut out);
            out
        })
        .collect::<Vec<_>>()[..]
    else {
        unreachable!("the portable back end is always available");
    };
    assert!(others.iter().all(|other| other == reference), "{q}");
    reference.clone()
}

fn domain(place: Place) -> UniformDomain {
    UniformDomain {
        limb: place.limb,
        purpose: place.purpose,
    }
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
    let answers: [(u64, Place, [u64; 4], &str); 4] = [
        (
            4_294_967_291,
            Place {
                index: 0,
                limb: 0,
                purpose: 1,
            },
            [1102151722, 1734597884, 3926238556, 2259153582],
            "4a3d7d7e12f25a094cee043b7028dffb9b5fe9b36632140a4d55246ce4e3654e",
        ),
        (
            4_294_967_311,
            Place {
                index: 3,
                limb: 2,
                purpose: 1,
            },
            [4139526148, 3020576759, 4211211175, 854901616],
            "62eef75214b899a7eeb6a61ff86303886123c66cba741de2626583182c82111d",
        ),
        (
            1_125_899_906_842_597,
            Place {
                index: 1 << 40,
                limb: 5,
                purpose: 2,
            },
            [
                447284106090997,
                998919396206780,
                809004576192952,
                1050144768915964,
            ],
            "181e4a9ee1ed56dd73431cd05d8142f74dc7c6a33b6487dbef8546eb247a3f43",
        ),
        (
            65537,
            Place {
                index: 7,
                limb: 1,
                purpose: 255,
            },
            [56341, 54300, 50256, 41790],
            "3f5a8a126cee286c8e30097aebb475ac6f276fc35ff7a530bcfa3712c24ac6c8",
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
fn rows_strips_and_prefixes_agree() {
    for q in [65537, 4_294_967_291, 4_294_967_311, 1_125_899_906_842_597] {
        let modulus = Modulus::new(q).unwrap();
        let place = |index| Place {
            index,
            limb: 3,
            purpose: 1,
        };
        let columns = [1, 16, SEGMENT, SEGMENT + 1, 4 * SEGMENT];
        for (columns, backend) in columns
            .into_iter()
            .flat_map(|columns| backend::available().into_iter().map(move |b| (columns, b)))
        {
            let rows: Vec<Vec<u64>> = (12..17)
                .map(|index| expand(&SEED, place(index), q, 4 * SEGMENT))
                .collect();
            assert!(rows.iter().flatten().all(|&v| v < q));
            let stream = UniformStream::new(backend, &SEED, domain(place(0)), &modulus);
            let mut matrix = ResidueMatrix::zeros(5, columns, modulus.byte_width());
            stream.expand_rows(12, &mut matrix);
            let mut unpacked = vec![0; columns];
            for (row, expected) in rows.iter().enumerate() {
                backend::portable().unpack_row(&matrix, row, &mut unpacked);
                assert_eq!(unpacked, expected[..columns], "{q}, row {row}");
                assert_eq!(expand(&SEED, place(12 + row as u64), q, columns), unpacked);
            }
            let segment = (columns - 1) / SEGMENT;
            let of_segment = segment * SEGMENT..columns;
            let mut strip = ResidueMatrix::zeros(4, of_segment.len(), modulus.byte_width());
            stream.expand_strip(segment, 13, &mut strip);
            for row in 0..4 {
                assert_eq!(
                    strip.row(row),
                    matrix.strip(of_segment.clone()).row(row + 1)
                );
            }
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
            Place {
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
        Place {
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
    let base = Place {
        index: 1,
        limb: 1,
        purpose: 1,
    };
    let variants = [
        expand(&SEED, base, q, 64),
        expand(&SEED, Place { index: 2, ..base }, q, 64),
        expand(
            &SEED,
            Place {
                index: 1 << 32 | 1,
                ..base
            },
            q,
            64,
        ),
        expand(&SEED, Place { limb: 2, ..base }, q, 64),
        expand(&SEED, Place { purpose: 2, ..base }, q, 64),
        expand(&[0; 32], base, q, 64),
    ];
    for (i, a) in variants.iter().enumerate() {
        for b in &variants[..i] {
            assert!(a.iter().zip(b).all(|(x, y)| x != y), "variant {i}");
        }
    }
}
