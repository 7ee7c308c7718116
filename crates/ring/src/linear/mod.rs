//! The whole-layer modular matrix product.
