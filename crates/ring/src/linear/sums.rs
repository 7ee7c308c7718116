//! Maps whose weights are all 1: pooling and residual sums, where a matrix product would mostly move bytes about.

use crate::{
    Modulus, Strip, StripMut,
    backend::{Backend, LinearKernel},
    linear_map::{LinearMap, Tile},
};

struct Sums {
    /// Every output row and the input rows that are added up for it.
    sums: Vec<(u32, Vec<u32>)>,
    backend: &'static Backend,
}

/// The kernel of a map that has no weights but 1, or none if it has others.
pub(super) fn prepare(map: &LinearMap, backend: &'static Backend) -> Option<Box<dyn LinearKernel>> {
    let mut weights = map.tiles().iter().flat_map(|tile| &tile.weights);
    if weights.any(|&weight| weight != 1) {
        return None;
    }
    let of_tile = |tile: &Tile| {
        let inputs = tile.inputs.clone();
        let sum = move |&output| (output, inputs.clone());
        tile.outputs.iter().map(sum).collect::<Vec<_>>()
    };
    let sums = map.tiles().iter().flat_map(of_tile).collect();
    Some(Box::new(Sums { sums, backend }))
}

impl LinearKernel for Sums {
    fn apply(&self, modulus: &Modulus, input: Strip<'_>, output: &mut StripMut<'_>) {
        let (width, columns) = (input.width(), input.columns());
        let mut residues = vec![0; 2 * columns];
        let (sum, term) = residues.split_at_mut(columns);
        for (row, inputs) in &self.sums {
            let mut inputs = inputs.iter().map(|&input| input as usize);
            match inputs.next() {
                Some(first) => self.backend.unpack(width, input.row(first), sum),
                None => sum.fill(0),
            }
            for next in inputs {
                self.backend.unpack(width, input.row(next), term);
                self.backend.add_assign(modulus, sum, term);
            }
            self.backend.pack(width, sum, output.row_mut(*row as usize));
        }
    }
}
