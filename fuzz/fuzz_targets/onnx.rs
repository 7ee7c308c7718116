#![no_main]

#[allow(dead_code, reason = "each target uses one format")]
#[path = "../parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::fuzz(&parsers::ONNX, bytes));
