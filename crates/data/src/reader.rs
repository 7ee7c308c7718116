//! Reading with what is known beforehand.

use std::path::Path;

use sordino_graph::Preprocess;

use crate::array_layout::Layout;
use crate::{DataSet, Error, Images, Prepared, formats, prepare_path, set};

/// Reads images and sets with what is known of them beforehand: the network that they are for, and where arrays have their channels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader<'a> {
    pub(crate) network: Option<&'a Preprocess>,
    pub(crate) layout: Option<Layout>,
}

impl<'a> Reader<'a> {
    /// A reader that knows nothing beforehand.
    pub const fn new() -> Self {
        Self {
            network: None,
            layout: None,
        }
    }

    /// With the network that the images are for, whose shape settles what an array is where it leaves no doubt.
    pub const fn network(self, preprocess: &'a Preprocess) -> Self {
        Self {
            network: Some(preprocess),
            ..self
        }
    }

    /// With the layout of arrays, or by the rule where it is `None`.
    pub const fn layout(self, layout: Option<Layout>) -> Self {
        Self { layout, ..self }
    }

    /// Reads images as [`open_images`](crate::open_images) and [`open_images_for`](crate::open_images_for) do.
    ///
    /// # Errors
    /// Those of [`open_images`](crate::open_images).
    pub fn images(self, path: impl AsRef<Path>) -> Result<Images, Error> {
        formats::open(path.as_ref(), self)
    }

    /// Reads a set as [`open_set`](crate::open_set) does. The network is not used.
    ///
    /// # Errors
    /// Those of [`open_set`](crate::open_set).
    pub fn set(self, path_or_name: impl AsRef<Path>) -> Result<DataSet, Error> {
        set::open(path_or_name.as_ref(), self.layout)
    }

    /// Reads and prepares images as [`prepare_path`](crate::prepare_path) does, for `preprocess` in place of the reader's network.
    ///
    /// # Errors
    /// Those of [`prepare_path`](crate::prepare_path).
    pub fn prepare(
        self,
        path: impl AsRef<Path>,
        preprocess: &Preprocess,
        range: Option<(f64, f64)>,
        most: usize,
    ) -> Result<Prepared, Error> {
        prepare_path::prepare(path.as_ref(), preprocess, self.layout, range, most)
    }
}
