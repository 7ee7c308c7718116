//! Quantizing and dequantizing of values between layers.

use crate::Error;
use crate::array::Array;
use crate::computed::{Computed, Value};
use crate::element::Element;
use crate::operators::Operator;
use crate::polynomial::Coefficient;

const QUANTIZED: &str = "quantizing is left out: weights are what they were rounded to, values between layers are not rounded";

impl Operator<'_, '_> {
    /// Quantizing to whole numbers and back is left out; what it cuts off below zero is not.
    pub(crate) fn quantization(&mut self) -> Result<Value, Error> {
        if self.at.operator() == "DequantizeLinear" {
            let value = self.computed(0)?;
            if !value.raw {
                return Ok(Value::Computed(value));
            }
            // Raw bytes become numbers here.
            let scale = self.constant(1)?;
            let zero = self
                .optional(2)?
                .and_then(|zero| zero.single())
                .unwrap_or(0.0);
            let scale = scale.single().ok_or_else(|| {
                self.wrong("images with a scale per channel: quantize with one scale")
            })?;
            let value = Computed {
                raw: false,
                ..value
            };
            let scaled = self.scaled(&value, Coefficient::scalar(scale))?;
            let offset = Array::floats_of(vec![], vec![(-zero * scale) as f32]);
            return self
                .reader
                .plus_constant(self.at, &scaled, &offset)
                .map(Value::Computed);
        }
        self.reader.warn_once(self.at, QUANTIZED);
        let zero = self.optional(2)?;
        let (element, zeros) = match &zero {
            Some(zero) => (zero.element, zero.floats().into_owned()),
            None => (Element::Uint8, vec![0.0]),
        };
        let lowest = element.bounds().0 as f32;
        let value = self.numbers(0)?;
        match zeros.iter().filter(|&&zero| zero == lowest).count() {
            0 => Ok(Value::Computed(value)),
            count if count == zeros.len() => match self.reader.interval(&value).0 >= 0.0 {
                true => Ok(Value::Computed(value)),
                false => self.clipped(0, 0.0, f64::INFINITY).map(Value::Computed),
            },
            _ => Err(self.wrong(
                "some channels are cut off at zero and some are not: quantize with one zero point",
            )),
        }
    }
}
