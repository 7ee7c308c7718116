//! What a user says about a file.

/// Where the channels of an image are in the file's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputLayout {
    /// Before rows and columns, as PyTorch has them.
    Nchw,
    /// Behind rows and columns, as TensorFlow has them.
    Nhwc,
}

/// What the file leaves open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportOptions {
    /// The output to import, where there are several.
    pub output: Option<String>,
    /// Channels, height and width of an image, where the file does not say.
    pub input_shape: Option<[usize; 3]>,
    /// Where the channels are; by default what the sides of the input suggest.
    pub layout: Option<InputLayout>,
}
