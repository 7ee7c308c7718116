//! Encrypted batch inference: the workflow in one crate
