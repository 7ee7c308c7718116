//! Activations, by their own operators or built of several.

use sordino_graph::{Function, Granularity, Op};

use crate::Error;
use crate::computed::{Call, Called, Computed, Expression, Value};
use crate::evaluate::{SELU_ALPHA, SELU_GAMMA, clip_bounds};
use crate::gates::{near, snapped};
use crate::operators::Operator;

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
    pub(crate) fn clipped(&mut self, index: usize, low: f64, high: f64) -> Result<Computed, Error> {
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
        let mut shape = self.reader.shape(value.node());
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
        let (mut value, mut slope) = (value, slope);
        if slope.granularity() == Granularity::Element && value.view.image_dims().len() == 1 {
            // A vector has a slope for each feature.
            value = self.reader.ordered(self.at, &value)?;
            shape = self.reader.shape(value.node());
            (value, slope) = self.reader.beside(self.at, &value, &constant)?;
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
}
