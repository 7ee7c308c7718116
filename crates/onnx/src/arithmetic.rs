//! Sums, products and powers.

use sordino_graph::Op;

use crate::Error;
use crate::array::{Array, broadcast};
use crate::computed::{Call, Computed, Expression, Value};
use crate::operators::Operator;
use crate::placement::natural_shape;
use crate::polynomial::{Coefficient, Polynomial};

impl Operator<'_, '_> {
    /// `Add`, `Sub`, `Sum` and `Mean` of any values.
    pub(crate) fn sums(&mut self) -> Result<Value, Error> {
        let operator = self.at.operator();
        let count = self.at.node.input.len();
        let mut total: Option<Value> = None;
        for index in 0..count {
            let sign = if operator == "Sub" && index > 0 {
                -1.0
            } else {
                1.0
            };
            let next = self.operand(index)?;
            total = Some(match total {
                None => next,
                Some(total) => self.plus(&total, &next, sign)?,
            });
        }
        let total = total.ok_or_else(|| self.wrong("it reads nothing"))?;
        match (operator, total) {
            ("Mean", Value::Computed(total)) => self
                .scaled(&total, Coefficient::scalar(1.0 / count as f64))
                .map(Value::Computed),
            (_, total) => Ok(total),
        }
    }

    /// A constant, or a value that numbers are computed of.
    fn operand(&self, index: usize) -> Result<Value, Error> {
        Ok(match self.value(index)? {
            Value::Constant(array) => Value::Constant(std::rc::Rc::clone(array)),
            _ => Value::Computed(self.numbers(index)?),
        })
    }

    fn plus(&mut self, x: &Value, y: &Value, sign: f64) -> Result<Value, Error> {
        match (x, y) {
            (Value::Computed(x), Value::Computed(y)) => self.sum(x, y, sign).map(Value::Computed),
            (Value::Computed(x), Value::Constant(y)) => {
                self.plus_constant(x, y, 1.0, sign).map(Value::Computed)
            }
            (Value::Constant(x), Value::Computed(y)) => {
                self.plus_constant(y, x, sign, 1.0).map(Value::Computed)
            }
            (Value::Constant(x), Value::Constant(y)) => {
                let dims = broadcast(&x.dims, &y.dims);
                let same = dims.filter(|_| x.dims == y.dims);
                let dims = same.ok_or_else(|| {
                    self.wrong(
                        "its constants have different dimensions: add them in the network first",
                    )
                })?;
                let pairs = x
                    .floats()
                    .into_owned()
                    .into_iter()
                    .zip(y.floats().into_owned());
                let sums = pairs.map(|(x, y)| x + sign as f32 * y).collect();
                Ok(Value::Constant(std::rc::Rc::new(Array::floats_of(
                    dims, sums,
                ))))
            }
            _ => Err(self.wrong("it adds what is no number")),
        }
    }

    /// `factor * value + sign * constant`.
    fn plus_constant(
        &mut self,
        value: &Computed,
        constant: &Array,
        factor: f64,
        sign: f64,
    ) -> Result<Computed, Error> {
        let (value, mut offset) = self.reader.beside(self.at, value, constant)?;
        let shape = self.reader.shape(value.node());
        offset = offset.combine(&Coefficient::scalar(sign), &shape, |x, y| x * y);
        if self
            .reader
            .absorb(&value, &Coefficient::scalar(factor), &offset)
        {
            return Ok(value);
        }
        if let (Expression::Call(call), Some(offset)) = (&value.expression, offset.single()) {
            let call = Call {
                factor: factor * call.factor,
                offset: factor * call.offset + offset,
                ..call.clone()
            };
            return Ok(value.with(Expression::Call(call)));
        }
        let value = self.reader.as_polynomial(self.at, &value)?;
        let polynomial = Self::polynomial(&value);
        let factor = Polynomial::constant(polynomial.node, Coefficient::scalar(factor));
        let scaled = polynomial
            .multiply(&factor, &shape)
            .unwrap_or_else(|| polynomial.clone());
        let sum = scaled.add(&Polynomial::constant(scaled.node, offset), 1.0, &shape);
        Ok(value.with(Expression::Polynomial(sum)))
    }

    /// `x + sign * y` of two values that are computed.
    pub(crate) fn sum(&mut self, x: &Computed, y: &Computed, sign: f64) -> Result<Computed, Error> {
        let [x, y] = self.fitted(x, y)?;
        if let (Expression::Polynomial(p), Expression::Polynomial(q)) =
            (&x.expression, &y.expression)
            && p.node == q.node
            && x.view.same_order(&y.view)
        {
            let shape = self.reader.shape(p.node);
            return Ok(x.with(Expression::Polynomial(p.add(q, sign, &shape))));
        }
        let (x, first) = self.term(&x)?;
        let (y, second) = self.term(&y)?;
        let same = x.view.same_order(&y.view)
            && self.reader.shape(x.node()) == self.reader.shape(y.node());
        let (x, y) = match same {
            true => (x, y),
            false => {
                let shape = natural_shape(&x.view);
                let node = self.reader.node_of_shape(self.at, &y, shape)?;
                let ordered = self.reader.node_of_shape(self.at, &x, shape)?;
                let view = crate::view::View {
                    indices: None,
                    ..x.view.clone()
                };
                (
                    Computed::of(ordered, view.clone()),
                    Computed::of(node, view),
                )
            }
        };
        let factors = [first, sign * second].map(|factor| factor as f32);
        let op = match factors == [1.0, 1.0] {
            true => Op::SUM,
            false => Op::Add {
                factors: factors.to_vec(),
            },
        };
        let node = self.reader.append(self.at, op, &[x.node(), y.node()])?;
        Ok(Computed::of(node, x.view))
    }

    /// A summand: a node's value and its factor.
    fn term(&mut self, value: &Computed) -> Result<(Computed, f64), Error> {
        if let Expression::Polynomial(polynomial) = &value.expression
            && let Some((factor, 0.0)) = polynomial.single_line()
            && factor != 0.0
        {
            return Ok((Computed::of(polynomial.node, value.view.clone()), factor));
        }
        Ok((self.reader.settle(self.at, value)?, 1.0))
    }

    /// Both values with the dimensions that they are broadcast to.
    fn fitted(&mut self, x: &Computed, y: &Computed) -> Result<[Computed; 2], Error> {
        let dims = broadcast(&x.view.dims, &y.view.dims).ok_or_else(|| {
            self.wrong(format!(
                "values of dimensions {:?} and {:?} cannot be broadcast",
                x.view.dims, y.view.dims
            ))
        })?;
        let fitted = [
            self.reader.expanded(self.at, x, &dims)?,
            self.reader.expanded(self.at, y, &dims)?,
        ];
        match fitted[0].view.batch == fitted[1].view.batch {
            true => Ok(fitted),
            false => Err(self
                .wrong("it combines the images of a batch: each image must be computed by itself")),
        }
    }

    /// The value times a number of the layer, each channel or each element of its node.
    pub(crate) fn scaled(
        &mut self,
        value: &Computed,
        factor: Coefficient,
    ) -> Result<Computed, Error> {
        if let (Expression::Call(call), Some(factor)) = (&value.expression, factor.single()) {
            let call = Call {
                factor: factor * call.factor,
                offset: factor * call.offset,
                ..call.clone()
            };
            return Ok(value.with(Expression::Call(call)));
        }
        if self
            .reader
            .absorb(value, &factor, &Coefficient::scalar(0.0))
        {
            return Ok(value.clone());
        }
        let value = self.reader.as_polynomial(self.at, value)?;
        let shape = self.reader.shape(value.node());
        let polynomial = Self::polynomial(&value);
        let factor = Polynomial::constant(polynomial.node, factor);
        let product = polynomial.multiply(&factor, &shape);
        let product = product.ok_or_else(|| self.wrong(DEGREE))?;
        Ok(value.with(Expression::Polynomial(product)))
    }

    pub(crate) fn times_constant(
        &mut self,
        value: &Computed,
        constant: &Array,
    ) -> Result<Computed, Error> {
        let (value, factor) = self.reader.beside(self.at, value, constant)?;
        self.scaled(&value, factor)
    }

    /// `Mul`, `Div`, `Pow` and `Neg`.
    pub(crate) fn products(&mut self) -> Result<Value, Error> {
        match self.at.operator() {
            "Neg" => {
                let value = self.numbers(0)?;
                self.scaled(&value, Coefficient::scalar(-1.0))
            }
            "Pow" => self.power(),
            "Div" => {
                if let Value::Constant(_) = self.value(0)? {
                    return Err(self.unsupported("a value in the divisor is no polynomial: only quadratics of one value are computed"));
                }
                let value = self.numbers(0)?;
                let divisor = self.divisor()?;
                let (value, divisor) = self.reader.beside(self.at, &value, &divisor)?;
                self.scaled(&value, divisor.inverse())
            }
            _ => match (self.operand(0)?, self.operand(1)?) {
                (Value::Computed(value), Value::Constant(constant)) | (Value::Constant(constant), Value::Computed(value)) => {
                    self.times_constant(&value, &constant)
                }
                (Value::Computed(x), Value::Computed(y)) => self.product(&x, &y),
                _ => Err(self.wrong("it multiplies what is no number")),
            },
        }
        .map(Value::Computed)
    }

    fn divisor(&self) -> Result<std::rc::Rc<Array>, Error> {
        match self.value(1)? {
            Value::Constant(array) if array.floats().contains(&0.0) => Err(self.wrong("it divides by zero")),
            Value::Constant(array) => Ok(std::rc::Rc::clone(array)),
            _ => Err(self.unsupported("quotients of two values are not supported: only quadratics of one value are computed")),
        }
    }

    fn power(&mut self) -> Result<Computed, Error> {
        let exponent = self.constant(1)?;
        let x = self.numbers(0)?;
        let x = self.reader.as_polynomial(self.at, &x)?;
        match exponent.single() {
            Some(1.0) => Ok(x),
            Some(2.0) => self.product(&x, &x),
            Some(3.0) => {
                let square = self.product(&x, &x)?;
                self.product(&square, &x)
            }
            other => Err(self.wrong(format!(
                "exponent {other:?}, expected one number, 2: higher powers cost depth, use a quadratic"
            ))),
        }
    }

    fn product(&mut self, x: &Computed, y: &Computed) -> Result<Computed, Error> {
        let [x, y] = self.fitted(x, y)?;
        if x.node() == y.node() && x.view.same_order(&y.view) {
            let shape = self.reader.shape(x.node());
            match (&x.expression, &y.expression) {
                (Expression::Polynomial(p), Expression::Polynomial(q)) => {
                    let product = p.multiply(q, &shape).ok_or_else(|| self.wrong(DEGREE))?;
                    return Ok(x.with(Expression::Polynomial(product)));
                }
                (Expression::Polynomial(p), Expression::Call(call))
                | (Expression::Call(call), Expression::Polynomial(p)) => {
                    if let Some(gate) = p.single_line().and_then(|line| call.times(line)) {
                        return Ok(x.with(Expression::Call(gate)));
                    }
                }
                (Expression::Call(_), Expression::Call(_)) => {}
            }
        }
        Err(self.unsupported(
            "products of two different values (gates, attention) are not supported: only quadratics of one value are, and \
             the usual activations",
        ))
    }
}

const DEGREE: &str =
    "it makes a polynomial of degree above 2: use a quadratic activation in each place";
