//! Compiling a network into a plan: parameters, scales, steps and estimates
