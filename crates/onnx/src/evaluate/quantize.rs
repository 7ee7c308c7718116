//! Quantizing and dequantizing.

use super::Node;
use crate::Error;
use crate::array::{Array, Data, broadcast_positions};
use crate::element::Element;

impl Node<'_> {
    /// Positions of scale and zero point for each element of a value: one number, one per index of an axis, or blocks.
    fn quantized_by(&self, array: &Array) -> Result<Vec<i64>, Error> {
        let scale = self.input(1)?;
        if scale.len() == 1 {
            return Ok(vec![0; array.len()]);
        }
        if self.at.int("block_size", 0)? != 0 {
            return Err(self.wrong("it is quantized in blocks: use one scale per channel"));
        }
        let axis = self.at.axis(self.at.int("axis", 1)?, array.dims.len())?;
        if scale.dims != [array.dims[axis]] {
            return Err(self.wrong(format!(
                "{:?} scales for axis {axis} of {:?}",
                scale.dims, array.dims
            )));
        }
        let mut along = vec![1; array.dims.len()];
        along[axis] = array.dims[axis];
        Ok(broadcast_positions(&along, &array.dims))
    }

    fn zero_points(&self, count: usize) -> Result<Vec<f64>, Error> {
        let Some(array) = self.optional(2) else {
            return Ok(vec![0.0; count]);
        };
        if array.len() != count {
            return Err(self.wrong(format!("{} zero points for {count} scales", array.len())));
        }
        Ok(array
            .floats()
            .iter()
            .map(|&value| f64::from(value))
            .collect())
    }

    pub(super) fn dequantize(&self) -> Result<Array, Error> {
        let (array, scale) = (self.input(0)?, self.input(1)?.floats());
        let (places, zeros) = (self.quantized_by(array)?, self.zero_points(scale.len())?);
        let numbers = array.floats();
        let pairs = places
            .iter()
            .map(|&place| place as usize)
            .zip(numbers.iter().copied());
        let values = pairs.map(|(place, value)| {
            ((f64::from(value) - zeros[place]) * f64::from(scale[place])) as f32
        });
        Ok(Array::floats_of(array.dims.clone(), values.collect()))
    }

    pub(super) fn quantize(&self) -> Result<Array, Error> {
        let (array, scale) = (self.input(0)?, self.input(1)?.floats());
        let (places, zeros) = (self.quantized_by(array)?, self.zero_points(scale.len())?);
        let element = self.optional(2).map_or(Element::Uint8, |zero| zero.element);
        let (low, high) = element.bounds();
        let numbers = array.floats();
        let pairs = places
            .iter()
            .map(|&place| place as usize)
            .zip(numbers.iter().copied());
        let values = pairs.map(|(place, value)| {
            // In single precision, as runtimes do: ties are ties.
            let steps = f64::from((value / scale[place]).round_ties_even()) + zeros[place];
            (steps as i64).clamp(low, high)
        });
        Ok(Array {
            dims: array.dims.clone(),
            element,
            data: Data::Int(values.collect()),
        })
    }

    /// Without rounding; what is cut off at zero is cut off.
    pub(super) fn quantize_unrounded(&self) -> Result<Array, Error> {
        let (array, scale) = (self.input(0)?, self.input(1)?.floats());
        let (places, zeros) = (self.quantized_by(array)?, self.zero_points(scale.len())?);
        let element = self.optional(2).map_or(Element::Uint8, |zero| zero.element);
        let low = element.bounds().0 as f64;
        let numbers = array.floats();
        let pairs = places
            .iter()
            .map(|&place| place as usize)
            .zip(numbers.iter().copied());
        let values = pairs.map(|(place, value)| {
            let steps = f64::from(value) / f64::from(scale[place]) + zeros[place];
            (if zeros[place] == low {
                steps.max(low)
            } else {
                steps
            }) as f32
        });
        Ok(Array::floats_of(array.dims.clone(), values.collect()))
    }
}
