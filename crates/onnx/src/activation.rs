//! Activations, by their own operators or built of several.

use sordino_graph::{Function, Granularity, Op};

use crate::Error;
use crate::computed::{Call, Called, Computed, Expression, Value};
use crate::evaluate::{SELU_ALPHA, SELU_GAMMA, clip_bounds};
use crate::operators::Operator;
use crate::polynomial::Coefficient;

/// Bounds above this are none: exporters write the largest float.
const NO_BOUND: f64 = 1e30;

impl Operator<'_, '_> {
    /// An operator that is a function of one value; `None` for others.
    pub(crate) fn function(&mut self) -> Result<Option<Value>, Error> {
        let at = self.at;
        let own = |function| Some((Called::Own(function), 1.0, 1.0));
        // The function, and what its argument and its value are multiplied by.
        let called = match at.operator() {
            "Relu" => own(Function::Relu),
            "LeakyRelu" => own(Function::LeakyRelu {
                slope: at.float("alpha", 0.01)? as f32,
            }),
            "Elu" => own(Function::Elu {
                alpha: at.float("alpha", 1.0)? as f32,
            }),
            "Celu" => {
                let alpha = at.float("alpha", 1.0)?;
                Some((
                    Called::Own(Function::Elu { alpha: 1.0 }),
                    1.0 / alpha,
                    alpha,
                ))
            }
            "Selu" => own(Function::Selu {
                alpha: at.float("alpha", SELU_ALPHA)? as f32,
                gamma: at.float("gamma", SELU_GAMMA)? as f32,
            }),
            "Gelu" => match at.text("approximate", "none")? {
                "none" => own(Function::Gelu { tanh: false }),
                "tanh" => own(Function::Gelu { tanh: true }),
                other => {
                    return Err(
                        self.wrong(format!("approximate is {other:?}, expected none or tanh"))
                    );
                }
            },
            "HardSwish" => own(Function::HardSwish),
            "HardSigmoid" => own(Function::HardSigmoid {
                alpha: at.float("alpha", 0.2)? as f32,
                beta: at.float("beta", 0.5)? as f32,
            }),
            "Tanh" => own(Function::Tanh),
            "Sigmoid" => own(Function::Sigmoid),
            "Softplus" => own(Function::Softplus),
            "Mish" => own(Function::Mish),
            "Swish" => {
                let alpha = at.float("alpha", 1.0)?;
                Some((Called::Own(Function::Silu), alpha, 1.0 / alpha))
            }
            "Erf" => Some((Called::Erf, 1.0, 1.0)),
            "PRelu" => return self.prelu().map(Some),
            _ => None,
        };
        let Some((called, scale, factor)) = called else {
            return Ok(None);
        };
        if !scale.is_finite() || !factor.is_finite() || scale == 0.0 {
            return Err(self.wrong("its alpha is 0 or not finite"));
        }
        self.call(called, scale, factor)
            .map(|value| Some(Value::Computed(value)))
    }

    /// `factor * function(scale * input)`.
    fn call(&mut self, function: Called, scale: f64, factor: f64) -> Result<Computed, Error> {
        let input = self.numbers(0)?;
        if function == Called::Own(Function::Tanh) {
            if let Some(value) = self.part_of_gelu(&input) {
                return Ok(value);
            }
            if let Expression::Call(inner) = &input.expression
                && inner.function == Called::Own(Function::Softplus)
                && (inner.factor, inner.offset) == (1.0, 0.0)
            {
                let function = Called::TanhSoftplus;
                return Ok(input.with(Expression::Call(Call {
                    function,
                    ..inner.clone()
                })));
            }
        }
        let line = match &input.expression {
            Expression::Polynomial(polynomial) => polynomial.single_line(),
            Expression::Call(_) => None,
        };
        // A line of a node stays part of the call; anything else gets a node, which others find too.
        let (mut input, (slope, shift)) = match line {
            Some(line) if line.0 != 0.0 => (input, line),
            _ => (self.settled(0)?, (1.0, 0.0)),
        };
        let at_zero = match &function {
            Called::Own(function) => function.apply(0.0, 0),
            _ => 0.0,
        };
        if input.view.has_zeros() && at_zero != 0.0 {
            // A function of a zero that the node does not have is not zero.
            let settled = self.reader.settle(self.at, &input)?;
            let ordered = self.reader.ordered(self.at, &settled)?;
            input = ordered;
            return Ok(self.called(&input, function, (scale, 0.0), factor));
        }
        Ok(self.called(&input, function, (scale * slope, scale * shift), factor))
    }

    fn called(
        &self,
        input: &Computed,
        function: Called,
        (scale, shift): (f64, f64),
        factor: f64,
    ) -> Computed {
        input.with(Expression::Call(Call {
            function,
            node: input.node(),
            scale,
            shift,
            factor,
            offset: 0.0,
            argument: self.at.node.input.first().cloned().unwrap_or_default(),
            made_by: self.at.name().to_string(),
        }))
    }

    /// `tanh(sqrt(2 / pi) * (u + 0.044715 u^3))` for a multiple `u` of a node's value.
    fn part_of_gelu(&self, input: &Computed) -> Option<Computed> {
        let Expression::Polynomial(polynomial) = &input.expression else {
            return None;
        };
        let (linear, cubic) = polynomial.odd_cubic().filter(|(_, cubic)| *cubic != 0.0)?;
        let root = (2.0 / std::f64::consts::PI).sqrt();
        let scale = linear / root;
        let expected = 0.044_715 * root * scale.powi(3);
        near(cubic / expected, 1.0, 1e-4)
            .then(|| self.called(input, Called::CubicTanh, (snapped(scale), 0.0), 1.0))
    }

    /// `Clip`, and `Max` and `Min` with a constant.
    pub(crate) fn clip(&mut self) -> Result<Value, Error> {
        let operator = self.at.operator();
        if operator == "Clip" {
            let bounds = [self.optional(1)?, self.optional(2)?];
            let input = |index: usize| bounds.get(index - 1).and_then(Option::as_deref);
            let (low, high) = clip_bounds(self.at, &input)?;
            return self.clipped(0, low, high).map(Value::Computed);
        }
        if self.at.node.input.len() == 1 {
            return self.numbers(0).map(Value::Computed);
        }
        let (Ok(first), Ok(second)) = (self.value(0), self.value(1)) else {
            return Err(self.wrong("an input is missing"));
        };
        let (index, constant) = match (first, second) {
            (Value::Constant(constant), Value::Computed(_)) => (1, constant),
            (Value::Computed(_), Value::Constant(constant)) => (0, constant),
            _ => return self.maximum_of_lines(),
        };
        let bound = constant.single().filter(|_| self.at.node.input.len() == 2);
        let bound =
            bound.ok_or_else(|| self.wrong("it compares with more than one number: use ReLU"))?;
        match operator {
            "Max" => self.clipped(index, bound, f64::INFINITY),
            _ => self.clipped(index, f64::NEG_INFINITY, bound),
        }
        .map(Value::Computed)
    }

    /// `max(x, slope * x)`, a leaky ReLU.
    fn maximum_of_lines(&mut self) -> Result<Value, Error> {
        let unsupported =
            self.unsupported("the maximum of two values is no activation: use ReLU or LeakyReLU");
        let [x, y] = [self.numbers(0)?, self.numbers(1)?];
        let (Expression::Polynomial(p), Expression::Polynomial(q)) = (&x.expression, &y.expression)
        else {
            return Err(unsupported);
        };
        let lines = p.single_line().zip(q.single_line());
        let same = p.node == q.node && x.view.same_order(&y.view) && self.at.node.input.len() == 2;
        match lines {
            Some(((1.0, 0.0), (slope, 0.0)) | ((slope, 0.0), (1.0, 0.0)))
                if same && self.at.operator() == "Max" && (0.0..1.0).contains(&slope) =>
            {
                let function = Function::LeakyRelu {
                    slope: slope as f32,
                };
                let input = x.with(Expression::Polynomial(crate::polynomial::Polynomial::of(
                    p.node,
                )));
                Ok(Value::Computed(self.called(
                    &input,
                    Called::Own(function),
                    (1.0, 0.0),
                    1.0,
                )))
            }
            _ => Err(unsupported),
        }
    }

    /// The input between two bounds, which may be infinite.
    fn clipped(&mut self, index: usize, low: f64, high: f64) -> Result<Computed, Error> {
        if low.is_nan() || high.is_nan() || low >= high {
            return Err(self.wrong(format!(
                "bounds {low} and {high}, expected the second to be larger"
            )));
        }
        let input = self.numbers(index)?;
        let (low, high) = (
            if low < -NO_BOUND {
                f64::NEG_INFINITY
            } else {
                low
            },
            if high > NO_BOUND { f64::INFINITY } else { high },
        );
        if let Expression::Call(call) = &input.expression
            && call.function == Called::Own(Function::Relu)
            && (call.factor, call.offset) == (1.0, 0.0)
            && low <= 0.0
            && high.is_finite()
            && high > 0.0
        {
            let function = Called::Own(Function::Clip {
                min: 0.0,
                max: high as f32,
            });
            return Ok(input.with(Expression::Call(Call {
                function,
                ..call.clone()
            })));
        }
        if low.is_infinite() && high.is_infinite() {
            return Ok(input);
        }
        let settled = match &input.expression {
            Expression::Polynomial(polynomial)
                if polynomial.single_line().is_some_and(|line| line.0 != 0.0) =>
            {
                input.clone()
            }
            _ => self.settled(index)?,
        };
        let settled = match settled.view.has_zeros() {
            true => self.reader.ordered(self.at, &settled)?,
            false => settled,
        };
        let (slope, shift) = Self::polynomial(&settled)
            .single_line()
            .unwrap_or((1.0, 0.0));
        let call = |function, scale: f64, shift: f64, factor: f64, offset: f64| Call {
            function: Called::Own(function),
            node: settled.node(),
            scale,
            shift,
            factor,
            offset,
            argument: String::new(),
            made_by: self.at.name().to_string(),
        };
        let call = if high.is_infinite() {
            // max(x, c) = relu(x - c) + c
            call(Function::Relu, slope, shift - low, 1.0, low)
        } else if low.is_infinite() {
            // min(x, c) = c - relu(c - x)
            call(Function::Relu, -slope, high - shift, -1.0, high)
        } else {
            let function = Function::Clip {
                min: low as f32,
                max: high as f32,
            };
            call(function, slope, shift, 1.0, 0.0)
        };
        Ok(settled.with(Expression::Call(call)))
    }

    fn prelu(&mut self) -> Result<Value, Error> {
        let value = self.settled(0)?;
        let constant = self.constant(1)?;
        let dims = value.view.dims.clone();
        let (value, slope) = self.reader.beside(self.at, &value, &constant)?;
        if value.view.dims != dims {
            return Err(self.wrong(format!(
                "slopes of dimensions {:?} for a value of {dims:?}",
                constant.dims
            )));
        }
        let shape = self.reader.shape(value.node());
        if let Some(slope) = slope.single() {
            let function = Function::LeakyRelu {
                slope: slope as f32,
            };
            return Ok(Value::Computed(self.called(
                &value,
                Called::Own(function),
                (1.0, 0.0),
                1.0,
            )));
        }
        if slope.granularity() != Granularity::Channel && shape.channel_elements() != 1 {
            return Err(self.wrong("its slopes differ within a channel: use one per channel"));
        }
        let slope = slope
            .at(Granularity::Channel, &shape)
            .iter()
            .map(|&slope| slope as f32)
            .collect();
        let op = Op::Activation(Function::PRelu { slope });
        let node = self.reader.append(self.at, op, &[value.node()])?;
        Ok(Value::Computed(Computed::of(node, value.view)))
    }

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
            let offset = crate::array::Array::floats_of(vec![], vec![(-zero * scale) as f32]);
            return self
                .reader
                .plus_constant(self.at, &scaled, &offset)
                .map(Value::Computed);
        }
        self.reader.warn_once(self.at, QUANTIZED);
        let zero = self.optional(2)?;
        let (element, zeros) = match &zero {
            Some(zero) => (zero.element, zero.floats().into_owned()),
            None => (crate::element::Element::Uint8, vec![0.0]),
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

const QUANTIZED: &str = "quantizing is left out: weights are what they were rounded to, values between layers are not rounded";

impl Call {
    /// The product with a line of the same node's value, if it is a known activation.
    pub(crate) fn times(&self, (slope, offset): (f64, f64)) -> Option<Self> {
        // u is the argument of the function; the line is `ratio * (u - zero)`.
        let ratio = slope / self.scale;
        let zero = self.shift - offset / ratio;
        let through = |place: f64| near(zero, place, 1e-6);
        let plain = self.offset == 0.0;
        let plus_one = near(self.offset / self.factor, 1.0, 1e-6);
        let call = |function, by: f64, shift: f64, factor: f64| {
            Some(Self {
                function: Called::Own(function),
                scale: snapped(by * self.scale),
                shift: by * (self.shift - shift),
                factor: snapped(factor * self.factor * ratio),
                offset: 0.0,
                ..self.clone()
            })
        };
        let close = |x: f32, y: f64| near(f64::from(x), y, 1e-6);
        match &self.function {
            Called::Own(Function::Sigmoid) if plain && through(0.0) => {
                call(Function::Silu, 1.0, 0.0, 1.0)
            }
            Called::Own(Function::HardSigmoid { alpha, beta })
                if plain && through(0.0) && close(*alpha, 1.0 / 6.0) && close(*beta, 0.5) =>
            {
                call(Function::HardSwish, 1.0, 0.0, 1.0)
            }
            // x * min(max(x + 3, 0), 6), a sixth of which is HardSwish.
            Called::Own(Function::Clip { min, max })
                if plain && through(3.0) && (*min, *max) == (0.0, 6.0) =>
            {
                call(Function::HardSwish, 1.0, 3.0, 6.0)
            }
            // x * min(max(x / 6 + 1 / 2, 0), 1)
            Called::Own(Function::Clip { min, max })
                if plain && through(0.5) && (*min, *max) == (0.0, 1.0) =>
            {
                call(Function::HardSwish, 6.0, 0.5, 1.0 / 6.0)
            }
            Called::Erf if plus_one && through(0.0) => {
                let root = std::f64::consts::SQRT_2;
                call(Function::Gelu { tanh: false }, root, 0.0, 2.0 / root)
            }
            Called::CubicTanh if plus_one && through(0.0) => {
                call(Function::Gelu { tanh: true }, 1.0, 0.0, 2.0)
            }
            Called::TanhSoftplus if plain && through(0.0) => call(Function::Mish, 1.0, 0.0, 1.0),
            _ => None,
        }
    }
}

fn near(x: f64, y: f64, tolerance: f64) -> bool {
    (x - y).abs() <= tolerance
}

/// Numbers that rounding kept from being one are one.
fn snapped(x: f64) -> f64 {
    if near(x, 1.0, 1e-6) { 1.0 } else { x }
}
