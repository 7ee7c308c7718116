//! Simulation of the integer weights that an encrypted layer will use.

use crate::network::{Network, Role};

impl Network {
    /// The parameters with every layer's weights rounded to `bits` on one scale a layer.
    ///
    /// Gradients taken at these values and applied to the exact ones are the straight-through estimate.
    pub(crate) fn rounded(&self, bits: u8) -> Vec<Vec<f32>> {
        let greatest = f32::from((1u16 << (bits - 1)) - 1);
        self.parameters
            .iter()
            .map(|parameter| {
                let Role::Weight { .. } = parameter.role else {
                    return parameter.values.clone();
                };
                let bound = parameter
                    .values
                    .iter()
                    .fold(f32::MIN_POSITIVE, |bound, value| bound.max(value.abs()));
                let scale = greatest / bound;
                parameter
                    .values
                    .iter()
                    .map(|value| (value * scale).round() / scale)
                    .collect()
            })
            .collect()
    }
}
