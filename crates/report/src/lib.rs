//! Benchmark records and tables
