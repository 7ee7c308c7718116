//! The page that a command writes about its run, and numbers as people read them.
//!
//! A [`Report`] holds tables, figures, a confusion matrix and sample images; [`page`] makes one HTML file of it that needs
//! nothing else. [`columns`] makes tables for a terminal. The crate measures nothing and knows nothing of
//! networks or encryption.

mod data_address;
mod document;
mod error;
mod file;
mod findings;
pub mod html;
mod machine;
mod page;
mod quantity;
mod sample;
mod table;
mod text;

pub use document::{Figure, Provenance, Report, StepTime, Verdict};
pub use error::Error;
pub use file::ReportFile;
pub use findings::{Finding, NearImage, histogram, nearest, thinned};
pub use machine::Environment;
pub use page::{page, page_with};
pub use quantity::{Unit, count_text};
pub use sample::{ConfusionMatrix, Sample, choose_samples, picture};
pub use table::{Cell, MEASUREMENTS, PARAMETERS, Quantity, Row, Table};
pub use text::{Align, Column, bytes_text, columns, number_text, percent_text, seconds_text};
