//! RNS-CKKS on the conjugate-invariant ring: parameters, encoding, ciphertexts, evaluation and noise formulas
