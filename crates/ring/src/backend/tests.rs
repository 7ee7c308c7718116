//! The registry, and that work on one back end runs on no other.

use std::sync::{Mutex, MutexGuard};

use super::{limb::LimbOperations, twist::Twist, *};
use crate::{
    Automorphism, Modulus, NttTable, ResidueMatrix,
    linear::{LinearMap, Tile, WeightWidth},
    primes_below,
    sample::{SEGMENT, SecretRng, UniformDomain, UniformStream, gaussian},
};

#[test]
fn portable_is_always_there_and_last() {
    assert_eq!(available().last().map(|b| b.name), Some("portable"));
    for backend in available() {
        assert_eq!(select(Some(backend.name)).unwrap().name, backend.name);
    }
}

#[test]
fn an_unknown_name_lists_the_choices() {
    let error = select(Some("abacus")).unwrap_err().to_string();
    assert!(
        error.contains("abacus") && error.contains("portable"),
        "{error}"
    );
}

/// Only one of the two tables named `avx512-vnni` is available on a processor; the other must work as well.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_table_without_ifma_gives_the_same_transform() {
    if !has_avx512_vnni() {
        println!("skipped: the processor lacks AVX-512 VNNI");
        return;
    }
    let q = Modulus::new(primes_below(1 << 50, 64).next().unwrap()).unwrap();
    let [reference, table] = [portable(), &AVX512_VNNI_WITHOUT_IFMA]
        .map(|backend| NttTable::new(64, q, backend).unwrap());
    let original: Vec<u64> = (0..64)
        .map(|k| q.reduce_u64(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(k * k)))
        .collect();
    let (mut x, mut y) = (original.clone(), original.clone());
    reference.forward(&mut x);
    table.forward(&mut y);
    assert_eq!(x, y);
    table.inverse(&mut y);
    assert_eq!(y, original);
}

/// The plain operations; each call leaves its name in [`CALLS`].
struct Recorded;

static CALLS: Mutex<Vec<&str>> = Mutex::new(Vec::new());

static RECORDED: Backend = Backend {
    name: "recorded",
    limb: &Recorded,
    ..PORTABLE
};

macro_rules! record {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)?;)*) => {
        impl LimbOperations for Recorded {
            $(fn $name(&self, $($argument: $kind),*) $(-> $result)? {
                calls().push(stringify!($name));
                limb::Portable.$name($($argument),*)
            })*
        }
    };
}

record! {
    fn add_assign(modulus: &Modulus, a: &mut [u64], b: &[u64]);
    fn fold(twist: &Twist, a: &mut [u64]);
    fn unfold(twist: &Twist, a: &mut [u64]);
    fn permute_blocks(sources: &[limb::BlockSource], first: u32, a: &[u64], out: &mut [u64]);
    fn unpack(width: usize, bytes: &[u8], out: &mut [u64]);
    fn pack(width: usize, residues: &[u64], out: &mut [u8]);
    fn screen(modulus: &Modulus, row_bytes: usize, rows: &mut [u8], rejected: &mut Vec<usize>);
    fn is_canonical(modulus: &Modulus, bytes: &[u8]) -> bool;
    fn cumulative_lookup(thresholds: &[u64], random: &[u64], out: &mut [i32]);
}

fn calls() -> MutexGuard<'static, Vec<&'static str>> {
    CALLS.lock().unwrap()
}

/// What the processor could do better is not asked: every operation runs on the back end that it was given.
#[test]
fn nothing_runs_on_a_back_end_that_was_not_given() {
    let ran = |work: &mut dyn FnMut(), expected: &[&str]| {
        work();
        assert_eq!(std::mem::take(&mut *calls()), expected);
    };
    let backend = &RECORDED;
    let q = Modulus::new(primes_below(1 << 40, 64).next().unwrap()).unwrap();
    let (mut residues, mut image) = (vec![1; 64], vec![0; 64]);
    let mut matrix = ResidueMatrix::zeros(1, 64, q.byte_width());
    ran(
        &mut || backend.pack_row(&mut matrix, 0, &residues),
        &["pack"],
    );
    ran(
        &mut || backend.unpack_row(&matrix, 0, &mut image),
        &["unpack"],
    );
    ran(
        &mut || backend.validate(&q, &matrix).unwrap(),
        &["is_canonical"],
    );

    let mut rng = SecretRng::from_seed([1; 32]);
    ran(
        &mut || gaussian(backend, &mut rng, &mut [0; 64]),
        &["cumulative_lookup"],
    );
    let domain = UniformDomain {
        limb: 0,
        purpose: 1,
    };
    let stream = UniformStream::new(backend, &[2; 32], domain, &q);
    ran(&mut || stream.expand_rows(0, &mut matrix), &["screen"]);
    ran(
        &mut || stream.expand_row(0, &mut residues[..SEGMENT]),
        &["screen", "unpack"],
    );

    let table = NttTable::new(64, q, backend).unwrap();
    ran(&mut || table.forward(&mut residues), &["fold"]);
    ran(&mut || table.inverse(&mut residues), &["unfold"]);
    let automorphism = Automorphism::new(64, 3).unwrap();
    ran(
        &mut || automorphism.apply_into(backend, &residues, &mut image),
        &["permute_blocks"],
    );

    let tile = Tile {
        outputs: vec![0],
        inputs: vec![0, 0],
        weights: vec![1, 1],
    };
    let map = LinearMap::new(1, 1, WeightWidth::Eight, vec![tile]).unwrap();
    let prepared = map.prepare(backend);
    let mut sums = matrix.clone();
    ran(
        &mut || prepared.apply(&q, &matrix, &mut sums),
        &["unpack", "unpack", "add_assign", "pack"],
    );
}
