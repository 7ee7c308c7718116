//! The binary end to end: every command on files, what it refuses, and what it leaves behind.

mod bad_input;
mod bench;
mod chain;
mod check_images;
mod convert;
mod cost;
mod determinism;
mod dicom;
mod findings;
mod fixture;
mod images;
mod import;
mod interruption;
mod packings;
mod paper;
mod refusals;
mod report;
mod resume;

mod several_findings;
mod show;
mod teachers;
mod training;
mod views;
