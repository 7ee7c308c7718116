//! The choice of implementation: tables of functions over whole limbs and tiles.
//!
//! [`portable`] is safe, plain and complete, and defines every result. The others return the same bytes, faster.
//! A back end is chosen once, when a context is built, and what works on the context uses no other. `SORDINO_BACKEND`
//! forces one by name.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bytes;
mod groups;
pub(crate) mod limb;
mod linear;
mod operations;
mod peak;
#[cfg(target_arch = "x86_64")]
mod planes;
mod table;
pub(crate) mod twist;
#[cfg(target_arch = "x86_64")]
mod vnni;

pub use peak::measure_int8_peak;
pub use table::Backend;
pub(crate) use table::{LinearKernel, Transform};

use crate::Error;

/// The environment variable that forces a back end.
pub const ENVIRONMENT_VARIABLE: &str = "SORDINO_BACKEND";

static PORTABLE: Backend = Backend {
    name: table::PORTABLE,
    limb: &limb::Portable,
    linear: linear::prepare,
    transform: Transform::Portable,
    int8_burst: peak::portable_burst,
};

#[cfg(target_arch = "x86_64")]
static AVX2: Backend = Backend {
    name: "avx2",
    linear: planes::prepare::<avx2::Avx2<false>>,
    transform: Transform::Tfhe,
    int8_burst: avx2::int8_burst,
    ..PORTABLE
};

/// AVX2 with the byte products of AVX-VNNI.
#[cfg(target_arch = "x86_64")]
static AVX_VNNI: Backend = Backend {
    name: "avx-vnni",
    linear: planes::prepare::<avx2::Avx2<true>>,
    int8_burst: avx2::int8_burst_vnni,
    ..AVX2
};

/// For the few processors with VNNI but without IFMA and VBMI (Cascade Lake, Cooper Lake).
#[cfg(target_arch = "x86_64")]
static AVX512_VNNI_WITHOUT_IFMA: Backend = Backend {
    name: "avx512-vnni",
    linear: planes::prepare::<vnni::Vnni>,
    int8_burst: vnni::int8_burst,
    ..AVX2
};

#[cfg(target_arch = "x86_64")]
static AVX512_VNNI: Backend = Backend {
    limb: &avx512::Avx512Ifma,
    ..AVX512_VNNI_WITHOUT_IFMA
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
        backends.push(if avx512::supported() {
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

#[cfg(test)]
mod tests;
