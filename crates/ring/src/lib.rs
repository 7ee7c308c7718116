//! Primes, the transform of the conjugate-invariant ring, sampling and the modular matrix kernels
