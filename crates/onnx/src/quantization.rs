//! Quantizing and dequantizing of values between layers.

use sordino_graph::{Function, Op};

use crate::Error;
use crate::array::Array;
use crate::computed::{Call, Called, Computed, Expression, Value};
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
            count if count == zeros.len() => match self.is_positive(&value) {
                true => Ok(Value::Computed(value)),
                false => self.clipped(0, 0.0, f64::INFINITY).map(Value::Computed),
            },
            _ => Err(self.wrong(
                "some channels are cut off at zero and some are not: quantize with one zero point",
            )),
        }
    }

    /// Whether a value is known not to be below zero.
    fn is_positive(&self, value: &Computed) -> bool {
        let positive = |function: &Function| match function {
            Function::Relu
            | Function::Sigmoid
            | Function::HardSigmoid { .. }
            | Function::Softplus => true,
            Function::Clip { min, .. } => *min >= 0.0,
            _ => false,
        };
        match &value.expression {
            Expression::Call(Call {
                function: Called::Own(function),
                factor,
                offset,
                ..
            }) => positive(function) && *factor >= 0.0 && *offset >= 0.0,
            Expression::Call(_) => false,
            Expression::Polynomial(polynomial) => {
                let mut node = polynomial.node;
                if !polynomial.is_value() {
                    return false;
                }
                loop {
                    match self.reader.op(node) {
                        Op::Activation(function) => return positive(function),
                        Op::MaxPool { .. }
                        | Op::AveragePool { .. }
                        | Op::Flatten
                        | Op::Select { .. } => {
                            node = self.reader.reads(node);
                        }
                        _ => return false,
                    }
                }
            }
        }
    }
}
