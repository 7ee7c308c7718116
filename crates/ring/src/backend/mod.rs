//! The choice of implementation: tables of functions over whole limbs and tiles.
//!
//! [`portable`] is safe, plain and complete, and defines every result. The others return the same bytes, faster.
//! A backend is chosen once, when a context is built; `SORDINO_BACKEND` forces one by name.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod peak;
#[cfg(target_arch = "x86_64")]
mod planes;
#[cfg(target_arch = "x86_64")]
mod vnni;

use std::sync::OnceLock;

use crate::{
    Error, limb,
    linear::{self, PrepareLinear},
    ntt::Transform,
};

pub use peak::measure_int8_peak;

/// The environment variable that forces a backend.
pub const ENVIRONMENT_VARIABLE: &str = "SORDINO_BACKEND";

/// One implementation of the kernels.
pub struct Backend {
    /// The name by which it is forced and reported.
    pub name: &'static str,
    /// Packs a linear map for this backend's matrix kernel.
    pub(crate) linear: PrepareLinear,
    /// The inner loop of [`measure_int8_peak`].
    pub(crate) int8_burst: peak::Burst,
    /// The operations on whole limbs.
    pub(crate) limb: &'static limb::Kernel,
    /// The negacyclic transform.
    pub(crate) transform: Transform,
}

static PORTABLE: Backend = Backend {
    name: "portable",
    linear: linear::portable::prepare,
    int8_burst: peak::portable_burst,
    limb: &limb::portable::KERNEL,
    transform: Transform::Portable,
};

#[cfg(target_arch = "x86_64")]
static AVX512_VNNI: Backend = Backend {
    name: "avx512-vnni",
    linear: vnni::prepare,
    int8_burst: vnni::int8_burst,
    limb: &limb::avx512_ifma::KERNEL,
    transform: Transform::Tfhe,
};

/// The same for the few processors with VNNI but without IFMA and VBMI (Cascade Lake, Cooper Lake).
#[cfg(target_arch = "x86_64")]
static AVX512_VNNI_WITHOUT_IFMA: Backend = Backend {
    name: "avx512-vnni",
    linear: vnni::prepare,
    int8_burst: vnni::int8_burst,
    limb: &limb::portable::KERNEL,
    transform: Transform::Tfhe,
};

/// AVX2 with the byte products of AVX-VNNI.
#[cfg(target_arch = "x86_64")]
static AVX_VNNI: Backend = Backend {
    name: "avx-vnni",
    linear: avx2::prepare_vnni,
    int8_burst: avx2::int8_burst_vnni,
    limb: &limb::portable::KERNEL,
    transform: Transform::Tfhe,
};

#[cfg(target_arch = "x86_64")]
static AVX2: Backend = Backend {
    name: "avx2",
    linear: avx2::prepare,
    int8_burst: avx2::int8_burst,
    limb: &limb::portable::KERNEL,
    transform: Transform::Tfhe,
};

/// The plain implementation that defines every result.
pub fn portable() -> &'static Backend {
    &PORTABLE
}

/// The backends that this processor can run, the best first; [`portable`] is always the last.
pub fn available() -> Vec<&'static Backend> {
    let mut backends = Vec::new();
    #[cfg(target_arch = "x86_64")]
    if has_avx512_vnni() {
        backends.push(if limb::avx512_ifma::supported() {
            &AVX512_VNNI
        } else {
            &AVX512_VNNI_WITHOUT_IFMA
        });
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        if is_x86_feature_detected!("avxvnni") {
            backends.push(&AVX_VNNI);
        }
        backends.push(&AVX2);
    }
    backends.push(portable());
    backends
}

/// Whether the processor has every instruction that the `avx512-vnni` tables use.
#[cfg(target_arch = "x86_64")]
fn has_avx512_vnni() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vnni")
}

/// The backend of that name; without one the one named by `SORDINO_BACKEND`, else the best available.
///
/// # Errors
/// [`Error::Backend`] if the name is unknown or the processor lacks its instructions.
pub fn select(name: Option<&str>) -> Result<&'static Backend, Error> {
    let from_environment = match name {
        Some(_) => None,
        None => std::env::var(ENVIRONMENT_VARIABLE)
            .ok()
            .filter(|value| !value.is_empty()),
    };
    let backends = available();
    match name.or(from_environment.as_deref()) {
        None => Ok(backends[0]),
        Some(name) => backends
            .iter()
            .copied()
            .find(|backend| backend.name == name)
            .ok_or_else(|| Error::Backend {
                found: name.to_owned(),
                available: backends
                    .iter()
                    .map(|backend| backend.name)
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
    }
}

/// The backend of operations that take none: [`select`] without a name, or [`portable`] where that fails.
pub fn process_default() -> &'static Backend {
    static DEFAULT: OnceLock<&'static Backend> = OnceLock::new();
    DEFAULT.get_or_init(|| select(None).unwrap_or(portable()))
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let q = crate::Modulus::new(crate::primes_below(1 << 50, 64).next().unwrap()).unwrap();
        let [reference, table] = [portable(), &AVX512_VNNI_WITHOUT_IFMA]
            .map(|backend| crate::NttTable::new(64, q, backend).unwrap());
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
}
