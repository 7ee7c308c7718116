//! What can go wrong on the data owner's side; no message holds anything secret.

/// Everything this crate refuses, with what was expected, what was found and what to try.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The prepared images are not whole images of the plan's shape.
    #[error(
        "expected prepared images of {features} values each, found {found} values: prepare them with the preprocessing of the client plan"
    )]
    Images {
        /// Values of an image.
        features: usize,
        /// Values given.
        found: usize,
    },
    /// No image, or more than the plan was compiled for.
    #[error(
        "the plan was compiled for 1 to {limit} images a request, found {found}: compile with a larger --batch or split the images"
    )]
    Batch {
        /// The plan's batch.
        limit: usize,
        /// Images given.
        found: usize,
    },
    /// A value that is NaN or infinite.
    #[error("image {image} holds a value that is not finite: repair it or leave it out")]
    NotFinite {
        /// The first such image.
        image: usize,
    },
    /// A list that should have one entry an image.
    #[error(
        "expected {expected} {what}, one an image, found {found}: give the list that belongs to these images"
    )]
    ListLength {
        /// What is listed.
        what: &'static str,
        /// Images.
        expected: usize,
        /// Entries.
        found: usize,
    },
    /// A key was made for other parameters than the plan's.
    #[error(
        "the secret key was made for parameters {found}, the plan has {expected}: run `sordino keygen` with this plan, or take the plan that the key was made for"
    )]
    KeyParameters {
        /// The plan's parameters, shortened.
        expected: String,
        /// The key's parameters, shortened.
        found: String,
    },
    /// The plan holds numbers that cannot be used.
    #[error("the client plan cannot be used: {what}: ask for a plan that was compiled again")]
    Plan {
        /// What is wrong.
        what: String,
    },
    /// A list of names that cannot be read.
    #[error("{location}: {detail}: encrypt the images again, or leave the list out")]
    Names {
        /// The file.
        location: String,
        /// What is wrong.
        detail: String,
    },
    /// A table of predictions that cannot be read.
    #[error(
        "{location}: expected {expected}, found {found}: give the CSV that `sordino decrypt` wrote"
    )]
    Predictions {
        /// The file.
        location: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A table could not be formed.
    #[error("the predictions cannot be written: {detail}")]
    Table {
        /// Why.
        detail: String,
    },
    /// A request or reply does not fit.
    #[error(transparent)]
    Protocol(#[from] sordino_protocol::Error),
    /// Key generation, encryption or decryption failed.
    #[error(transparent)]
    Secret(#[from] sordino_secret::Error),
    /// The scheme refused.
    #[error(transparent)]
    Scheme(#[from] sordino_ckks::Error),
    /// The file layer refused.
    #[error(transparent)]
    File(#[from] sordino_container::Error),
    /// The plan could not be read.
    #[error(transparent)]
    PlanFile(#[from] sordino_plan::Error),
    /// The images could not be read or prepared.
    #[cfg(feature = "files")]
    #[error(transparent)]
    Data(#[from] sordino_data::Error),
}
