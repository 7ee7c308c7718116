//! The whole-layer modular matrix product.
//!
//! Scalars commute with the transform and with every limb, so a linear layer on ciphertexts is, for each limb and
//! component, the product of an integer matrix with a [`ResidueMatrix`]. A [`LinearMap`] describes the integer
//! matrix as dense [`Tile`]s: a dense layer is one tile, a convolution one tile an output position, with the
//! list of the inputs under its window. [`LinearMap::prepare`] packs the weights for a backend once;
//! [`PreparedLinearMap::apply`] is then called for every limb and component.
//!
//! Scales, biases and the choice of weights are not known here. The portable kernel adds exact products and reduces
//! once; the others do the same on bytes, see the heads of their modules for why nothing rounds or overflows.

mod sums;

pub use crate::linear_map::{LinearMap, Tile, WeightWidth};

use std::cell::RefCell;

use rayon::prelude::*;

use crate::{
    Modulus, ResidueMatrix, Strip, StripMut,
    backend::{Backend, LinearKernel},
};

/// A linear map with its weights packed for one backend.
pub struct PreparedLinearMap {
    input_rows: usize,
    output_rows: usize,
    multiply_accumulates: u64,
    byte_products: u64,
    /// Output rows that no tile writes.
    zero_rows: Vec<u32>,
    kernel: Box<dyn LinearKernel>,
    backend: &'static str,
}

impl LinearMap {
    /// Packs the weights for a backend.
    ///
    /// # Cost
    /// One pass over the weights; worth keeping, as every limb and component uses the same.
    pub fn prepare(&self, backend: &'static Backend) -> PreparedLinearMap {
        let mut written = vec![false; self.output_rows()];
        for &output in self.tiles().iter().flat_map(|tile| &tile.outputs) {
            written[output as usize] = true;
        }
        PreparedLinearMap {
            input_rows: self.input_rows(),
            output_rows: self.output_rows(),
            multiply_accumulates: self.multiply_accumulates(),
            byte_products: self.multiply_accumulates() * self.weight_width().bytes() as u64,
            zero_rows: (0..)
                .zip(written)
                .filter_map(|(row, written)| (!written).then_some(row))
                .collect(),
            kernel: sums::prepare(self, backend).unwrap_or_else(|| (backend.linear)(self)),
            backend: backend.name,
        }
    }
}

impl PreparedLinearMap {
    /// Multiplies: output row o becomes the sum over k of w\[o, k\] · input row k mod q.
    ///
    /// Rows that no tile writes become zero. The bytes are the same on every backend and for every number of threads.
    ///
    /// # Shapes
    /// input \[input_rows, N\], output \[output_rows, N\], both with `modulus.byte_width()` bytes a residue.
    ///
    /// # Range
    /// Input residues are canonical ([`ResidueMatrix::validate`]), output residues are. Others give unspecified residues.
    ///
    /// # Panics
    /// If a shape or width differs.
    ///
    /// # Cost
    /// [`byte_products`](Self::byte_products) · N · width; parallel over strips of columns.
    pub fn apply(&self, modulus: &Modulus, input: &ResidueMatrix, output: &mut ResidueMatrix) {
        thread_local! {
            static GATHERED: RefCell<ResidueMatrix> = RefCell::new(ResidueMatrix::zeros(0, 1, 1));
        }
        assert_eq!(
            input.columns(),
            output.columns(),
            "columns of input and output"
        );
        let columns = self.strip_columns(input);
        output
            .strips_mut(columns)
            .into_par_iter()
            .enumerate()
            .for_each(|(index, mut output)| {
                let start = index * columns;
                let strip = input.strip(start..start + output.columns());
                GATHERED.with_borrow_mut(|gathered| {
                    gathered.copy_from_strip(strip);
                    let strip = gathered.strip(0..gathered.columns());
                    self.apply_strip(modulus, strip, &mut output);
                });
            });
    }

    /// The same for a strip of columns, on the calling thread.
    ///
    /// # Shapes
    /// input \[input_rows, columns\], output \[output_rows, columns\], both with `modulus.byte_width()` bytes a residue.
    ///
    /// # Panics
    /// If a shape or width differs.
    pub fn apply_strip(&self, modulus: &Modulus, input: Strip<'_>, output: &mut StripMut<'_>) {
        assert_eq!(input.rows(), self.input_rows, "rows of the input");
        assert_eq!(output.rows(), self.output_rows, "rows of the output");
        assert_eq!(
            input.columns(),
            output.columns(),
            "columns of input and output"
        );
        assert_eq!(input.width(), modulus.byte_width(), "width of the input");
        assert_eq!(output.width(), modulus.byte_width(), "width of the output");
        for &row in &self.zero_rows {
            output.row_mut(row as usize).fill(0);
        }
        self.kernel.apply(modulus, input, output);
    }

    /// Columns of a strip of which the inputs take a good part of a second-level cache, with work for all threads.
    fn strip_columns(&self, input: &ResidueMatrix) -> usize {
        const INPUT_BYTES: usize = 256 << 10;
        const UNIT: usize = 64;
        let fitting = INPUT_BYTES / (UNIT * input.rows() * input.width()).max(1);
        let shared = input.columns() / (UNIT * 4 * rayon::current_num_threads());
        UNIT * fitting.min(shared).clamp(1, 8)
    }

    /// The number of input rows.
    pub fn input_rows(&self) -> usize {
        self.input_rows
    }

    /// The number of output rows.
    pub fn output_rows(&self) -> usize {
        self.output_rows
    }

    /// Weights over all tiles, zeros included: modular multiply-accumulates a column.
    pub fn multiply_accumulates(&self) -> u64 {
        self.multiply_accumulates
    }

    /// Weight bytes over all tiles: the byte products a column and byte of a residue, in the unit of the int8 peak.
    pub fn byte_products(&self) -> u64 {
        self.byte_products
    }

    /// The name of the backend it is prepared for.
    pub fn backend(&self) -> &'static str {
        self.backend
    }
}

impl std::fmt::Debug for PreparedLinearMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreparedLinearMap")
            .field("input_rows", &self.input_rows)
            .field("output_rows", &self.output_rows)
            .field("multiply_accumulates", &self.multiply_accumulates)
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}
