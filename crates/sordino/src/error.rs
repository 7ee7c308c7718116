//! The errors of the crates behind this one, in one type.

/// Whatever went wrong on the way from a model to predictions.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Training.
    #[error(transparent)]
    Train(#[from] sordino_train::Error),
    /// Images.
    #[error(transparent)]
    Data(#[from] sordino_data::Error),
    /// Model or graph.
    #[error(transparent)]
    Graph(#[from] sordino_graph::Error),
    /// Compilation or a plan file.
    #[error(transparent)]
    Plan(#[from] sordino_plan::Error),
    /// Keys, encryption or decryption.
    #[error(transparent)]
    Client(#[from] sordino_client::Error),
    /// A request or reply.
    #[error(transparent)]
    Protocol(#[from] sordino_protocol::Error),
    /// Evaluation.
    #[error(transparent)]
    Runtime(#[from] sordino_runtime::Error),
    /// The scheme.
    #[error(transparent)]
    Scheme(#[from] sordino_ckks::Error),
    /// The back end.
    #[error(transparent)]
    Ring(#[from] sordino_ring::Error),
    /// A file.
    #[error(transparent)]
    File(#[from] sordino_container::Error),
    /// The plan was compiled from another model.
    #[error(
        "the plan was compiled from model {expected}, this is model {found}: give the model file that the plan was compiled from, or compile it again"
    )]
    WrongModel {
        /// The model that the plan names, shortened.
        expected: String,
        /// The model at hand, shortened.
        found: String,
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
    /// More shifted images were asked for than can be made.
    #[error(
        "{found} shifted images of the digits were asked for, at most {limit} can be made: ask for fewer"
    )]
    ShiftedImages {
        /// Images asked for.
        found: usize,
        /// Images that there are.
        limit: usize,
    },
    /// Fewer images than full blocks hold.
    #[error(
        "{blocks} full ciphertext blocks of N = {ring_degree} hold {expected} images, found {found}: ask for fewer blocks or give more images"
    )]
    TooFewImages {
        /// Blocks asked for.
        blocks: usize,
        /// Images of a block.
        ring_degree: usize,
        /// Images that the blocks hold.
        expected: usize,
        /// Images that there are.
        found: usize,
    },
    /// Values of a channel-wise plan cannot be compared element by element.
    #[error(
        "values of layers are compared for element-wise plans only: compile with --packing element-wise"
    )]
    ElementWiseOnly,
    /// The system gives no more threads.
    #[error("cannot start {threads} threads: {detail}: ask for fewer")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// The system's reason.
        detail: String,
    },
}
