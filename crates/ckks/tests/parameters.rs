//! Which parameters are accepted, and what is said about the others.

use sordino_ckks::{Error, Gadget, Parameters, ParametersRecord, security};
use sordino_ring::primes_below;

/// The primes below 2^bits, largest first.
fn primes(n: usize, bits: u32, count: usize) -> Vec<u64> {
    primes_below(1 << bits, n).take(count).collect()
}

#[test]
fn moduli_over_the_bound_are_refused_at_every_degree() {
    for (log2_n, bound, bound_192) in [
        (12, 106, 75u32),
        (13, 214, 152),
        (14, 430, 305),
        (15, 868, 611),
    ] {
        let n = 1 << log2_n;
        assert_eq!(security::largest_log2_qp(n), Some(bound));
        // Fill the bound with primes just below 2^bits, then exceed it by less than a bit a prime.
        let count = bound.div_ceil(49) as usize;
        let bits = bound / count as u32;
        let under = Parameters::new(n, primes(n, bits, count), vec![], None).unwrap();
        assert!(under.log2_qp() <= f64::from(bound));
        assert_eq!(under.security_bits(), 128);
        let over_bits = bits + 1;
        let over = Parameters::new(n, primes(n, over_bits, count), vec![], None).unwrap_err();
        match over {
            Error::Insecure {
                ring_degree,
                log2_qp,
                bound: found,
                ref suggestion,
            } => {
                assert_eq!((ring_degree, found), (n, bound));
                assert!(log2_qp > f64::from(bound) && log2_qp < f64::from(bound) + 20.0);
                let larger = format!("ring degree {}", 2 * n);
                assert_eq!(suggestion.contains(&larger), log2_n < 15, "{suggestion}");
            }
            other => panic!("{other}"),
        }
        assert!(over.to_string().contains(&bound.to_string()));

        let count = bound_192.div_ceil(49) as usize;
        let bits = bound_192 / count as u32;
        let strong = Parameters::new(n, primes(n, bits, count), vec![], None).unwrap();
        assert_eq!(strong.security_bits(), 192);
    }
}

#[test]
fn the_special_prime_counts() {
    let n = 4096;
    let chain = primes(n, 35, 3);
    Parameters::new(n, chain.clone(), vec![], None).unwrap();
    let special = primes(n, 20, 1);
    let error = Parameters::new(n, chain, special, Some(Gadget::SpecialPrime)).unwrap_err();
    assert!(
        matches!(error, Error::Insecure { bound: 106, .. }),
        "{error}"
    );
}

#[test]
fn degrees_primes_and_gadgets_are_checked() {
    let good = primes(4096, 30, 3);
    let with = |n, primes: &[u64], special: &[u64], gadget| {
        Parameters::new(n, primes.to_vec(), special.to_vec(), gadget)
    };
    for n in [0, 1, 2048, 4095, 5000, 65_536] {
        assert!(matches!(
            with(n, &good, &[], None),
            Err(Error::RingDegree { .. })
        ));
    }
    assert!(matches!(
        with(4096, &[], &[], None),
        Err(Error::ChainLength { found: 0, .. })
    ));
    let many = vec![good[0]; 65];
    assert!(matches!(
        with(4096, &many, &[], None),
        Err(Error::ChainLength { found: 65, .. })
    ));
    let reason = |primes: &[u64]| match with(4096, primes, &[], None) {
        Err(Error::Modulus { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(&[good[0], good[0]]), "occurs twice");
    assert_eq!(reason(&[good[0], 1_000_003]), "is not 1 modulo 4N");
    let composite = (1..)
        .map(|k| k * 16_384 + 1)
        .find(|&m| !sordino_ring::is_prime(m))
        .unwrap();
    assert_eq!(reason(&[composite]), "is not prime");
    assert_eq!(reason(&[(1 << 50) + 1]), "is not below 2^50");
    assert_eq!(reason(&[u64::MAX]), "is not below 2^50");

    let gadget = |special: &[u64], gadget| with(4096, &good[..2], special, gadget);
    let shape = |result| matches!(result, Err(Error::GadgetShape { .. }));
    assert!(shape(gadget(&good[2..], None)));
    assert!(shape(gadget(&[], Some(Gadget::SpecialPrime))));
    assert!(shape(gadget(
        &good[2..],
        Some(Gadget::SmallDigits { digit_bits: 16 })
    )));
    for digit_bits in [0, 3, 51, u32::MAX] {
        assert!(shape(gadget(&[], Some(Gadget::SmallDigits { digit_bits }))));
    }
    let wide = |limbs| Some(Gadget::WideDigits { limbs });
    for limbs in [0, 65, u32::MAX] {
        assert!(shape(gadget(&good[2..], wide(limbs))));
    }
    assert!(shape(gadget(&[], wide(2))));
    let two = gadget(&good[2..], wide(2)).unwrap();
    assert_eq!(two.digits().len(), 1);
    // Special primes count for security.
    let more = primes(4096, 30, 4);
    assert!(matches!(
        with(4096, &more[..2], &more[2..], wide(2)),
        Err(Error::Insecure { .. })
    ));
    let sound = gadget(&good[2..], Some(Gadget::SpecialPrime)).unwrap();
    assert_ne!(sound.digest(), two.digest());
    assert_eq!(
        (sound.limbs(), sound.max_level(), sound.slots()),
        (2, 1, 4096)
    );
    assert!((sound.log2_q() - 60.0).abs() < 0.1 && (sound.log2_qp() - 90.0).abs() < 0.1);
    assert!(matches!(
        gadget(&good[..1], Some(Gadget::SpecialPrime)),
        Err(Error::Modulus {
            reason: "occurs twice",
            ..
        })
    ));
}

#[test]
fn what_is_read_is_checked_again() {
    let sound = Parameters::new(
        4096,
        primes(4096, 30, 2),
        primes(4096, 24, 1),
        Some(Gadget::SpecialPrime),
    )
    .unwrap();
    let json = serde_json::to_value(&sound).unwrap();
    let read = |value: &serde_json::Value| serde_json::from_value::<Parameters>(value.clone());
    assert_eq!(read(&json).unwrap(), sound);
    assert_eq!(read(&json).unwrap().digest(), sound.digest());
    let changed = |key: &str, value: serde_json::Value| {
        let mut json = json.clone();
        json[key] = value;
        read(&json).unwrap_err().to_string()
    };
    assert!(changed("ring_degree", 2048.into()).contains("ring degree 2048"));
    assert!(changed("primes", vec![17, 19].into()).contains("modulo 4N"));
    assert!(changed("primes", primes(4096, 49, 3).into()).contains("above the bound of 106"));
    assert!(
        changed(
            "gadget",
            serde_json::json!({"small-digits": {"digit_bits": 99}})
        )
        .contains("4 to 50")
    );
    assert!(changed("extra", 1.into()).contains("unknown field"));
    assert!(changed("insecure_for_tests", true.into()).contains("insecure"));
}

#[test]
fn parameters_for_tests_are_marked_and_never_read() {
    let toy = Parameters::insecure_for_tests(16, primes(16, 20, 2), vec![], None).unwrap();
    assert!(toy.is_insecure_for_tests());
    assert_eq!(toy.security_bits(), 0);
    let json = serde_json::to_string(&toy).unwrap();
    let error = serde_json::from_str::<Parameters>(&json).unwrap_err();
    assert!(error.to_string().contains("made for tests"), "{error}");
    let record: ParametersRecord = serde_json::from_str(&json).unwrap();
    assert_eq!(&record, toy.record());
    // Not even with the mark taken off.
    let unmarked = ParametersRecord {
        insecure_for_tests: false,
        ..record
    };
    assert!(matches!(
        Parameters::try_from(unmarked),
        Err(Error::RingDegree { .. })
    ));
}

#[test]
fn the_digest_covers_every_number() {
    let n = 4096;
    let (chain, special) = (primes(n, 25, 3), primes(n, 24, 2));
    let make = |primes: &[u64], special: &[u64], gadget| {
        Parameters::new(n, primes.to_vec(), special.to_vec(), gadget)
            .unwrap()
            .digest()
    };
    let gadget = Some(Gadget::SpecialPrime);
    let digests = [
        make(&chain, &special[..1], gadget),
        make(&chain[..2], &special[..1], gadget),
        make(&[chain[1], chain[0], chain[2]], &special[..1], gadget),
        make(&chain, &special[1..], gadget),
        make(&chain, &[], None),
        make(&chain, &[], Some(Gadget::SmallDigits { digit_bits: 8 })),
        make(&chain, &[], Some(Gadget::SmallDigits { digit_bits: 9 })),
        Parameters::new(2 * n, primes(2 * n, 25, 3), vec![], None)
            .unwrap()
            .digest(),
        Parameters::insecure_for_tests(n, chain.clone(), vec![], None)
            .unwrap()
            .digest(),
    ];
    for (k, digest) in digests.iter().enumerate() {
        assert!(!digests[..k].contains(digest), "{k}");
    }
}
