//! Operators that compute element by element, with broadcasting.

use super::functions::unary;
use super::{Evaluator, Node};
use crate::Error;
use crate::array::{Array, Data, MAX_MADE, broadcast, broadcast_positions, elements};
use crate::attributes::Attributes;
use crate::element::Element;

impl Node<'_> {
    /// The value of an operator that computes element by element; `None` for others.
    pub(super) fn elementwise(&self, evaluator: &Evaluator) -> Result<Option<Array>, Error> {
        let at = self.at;
        let operator = at.operator();
        if let Some(function) = unary(at)? {
            let array = self.input(0)?;
            let data = match (&array.data, operator) {
                (Data::Int(values), "Neg") => {
                    Data::Int(values.iter().map(|&v| v.wrapping_neg()).collect())
                }
                (Data::Int(values), "Abs") => {
                    Data::Int(values.iter().map(|&v| v.wrapping_abs()).collect())
                }
                (Data::Int(values), "Relu") => {
                    Data::Int(values.iter().map(|&v| v.max(0)).collect())
                }
                (Data::Int(values), "Sign") => {
                    Data::Int(values.iter().map(|&v| v.signum()).collect())
                }
                (Data::Int(_), _) => {
                    return Err(self.wrong("it reads whole numbers, expected floating-point ones"));
                }
                (Data::Float(values), _) => Data::Float(
                    values
                        .iter()
                        .map(|&v| function(f64::from(v)) as f32)
                        .collect(),
                ),
            };
            return Ok(Some(Array {
                data,
                ..array.clone_shape()
            }));
        }
        Ok(Some(match operator {
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "PRelu" | "Equal" | "Greater"
            | "Less" | "GreaterOrEqual" | "LessOrEqual" | "And" | "Or" | "Xor" => {
                self.binary(evaluator, operator, self.input(0)?, self.input(1)?)?
            }
            "Sum" | "Mean" | "Max" | "Min" => {
                let step = match operator {
                    "Max" | "Min" => operator,
                    _ => "Add",
                };
                let mut total = self.input(0)?.clone();
                for index in 1..self.inputs.len() {
                    total = self.binary(evaluator, step, &total, self.input(index)?)?;
                }
                if operator == "Mean" {
                    let count = self.inputs.len() as f32;
                    let values = total.floats().iter().map(|value| value / count).collect();
                    total = Array::floats_of(total.dims, values);
                }
                total
            }
            "Not" => {
                let array = self.input(0)?;
                let values = array.as_ints().unwrap_or_default();
                let data = Data::Int(values.iter().map(|&v| i64::from(v == 0)).collect());
                Array {
                    data,
                    ..array.clone_shape()
                }
            }
            "Clip" => self.clip()?,
            "Where" => self.choose(evaluator)?,
            "DequantizeLinear" => self.dequantize()?,
            "QuantizeLinear" => self.quantize()?,
            "BatchNormalization" => self.batch_norm()?,
            "Scaler" => self.scaler()?,
            "ZipMap" => self.input(0)?.clone(),
            _ => return Ok(None),
        }))
    }

    fn binary(
        &self,
        evaluator: &Evaluator,
        operator: &str,
        x: &Array,
        y: &Array,
    ) -> Result<Array, Error> {
        let dims = broadcast(&x.dims, &y.dims)
            .filter(|dims| elements(dims).is_some_and(|count| count <= MAX_MADE));
        let Some(dims) = dims else {
            return Err(self.wrong(format!(
                "dimensions {:?} and {:?} do not fit each other",
                x.dims, y.dims
            )));
        };
        let (px, py) = (
            broadcast_positions(&x.dims, &dims),
            broadcast_positions(&y.dims, &dims),
        );
        evaluator.charge(self.at, px.len() as u64)?;
        let places = px.iter().zip(&py).map(|(&x, &y)| (x as usize, y as usize));
        let truth = |data: Vec<i64>| Array {
            dims: dims.clone(),
            element: Element::Bool,
            data: Data::Int(data),
        };
        if let (Data::Int(a), Data::Int(b)) = (&x.data, &y.data) {
            let whole: Option<Vec<i64>> = places
                .map(|(i, j)| whole(operator, self.at, a[i], b[j]))
                .collect();
            let whole = whole
                .ok_or_else(|| self.wrong("its whole numbers divide by zero or are too large"))?;
            return Ok(match operator {
                "Equal" | "Greater" | "Less" | "GreaterOrEqual" | "LessOrEqual" | "And" | "Or"
                | "Xor" => truth(whole),
                _ => {
                    let (low, high) = x.element.bounds();
                    if let Some(found) = whole.iter().find(|&found| !(low..=high).contains(found)) {
                        return Err(self.wrong(format!(
                            "it makes {found} of constants of type {}, which has no such number: export again",
                            x.element
                        )));
                    }
                    Array {
                        dims,
                        element: x.element,
                        data: Data::Int(whole),
                    }
                }
            });
        }
        // The exponent may be of another type than the base.
        // Floating-point numbers of every width are computed alike.
        if x.element.is_float() != y.element.is_float() && operator != "Pow" {
            return Err(self.wrong(format!(
                "{} and {}, expected one type: export again",
                x.element, y.element
            )));
        }
        let (a, b) = (x.floats(), y.floats());
        let pairs = places.map(|(i, j)| (f64::from(a[i]), f64::from(b[j])));
        Ok(match operator {
            "Equal" => truth(pairs.map(|(a, b)| i64::from(a == b)).collect()),
            "Greater" => truth(pairs.map(|(a, b)| i64::from(a > b)).collect()),
            "Less" => truth(pairs.map(|(a, b)| i64::from(a < b)).collect()),
            "GreaterOrEqual" => truth(pairs.map(|(a, b)| i64::from(a >= b)).collect()),
            "LessOrEqual" => truth(pairs.map(|(a, b)| i64::from(a <= b)).collect()),
            _ => {
                let compute: fn(f64, f64) -> f64 = match operator {
                    "Add" => |a, b| a + b,
                    "Sub" => |a, b| a - b,
                    "Mul" => |a, b| a * b,
                    "Div" => |a, b| a / b,
                    "Pow" => f64::powf,
                    "Mod" => |a, b| a % b,
                    "Max" => f64::max,
                    "Min" => f64::min,
                    "PRelu" => |a, b| if a < 0.0 { a * b } else { a },
                    _ => {
                        return Err(
                            self.wrong("it reads floating-point numbers, expected truth values")
                        );
                    }
                };
                Array {
                    element: x.element,
                    ..Array::floats_of(dims, pairs.map(|(a, b)| compute(a, b) as f32).collect())
                }
            }
        })
    }

    fn clip(&self) -> Result<Array, Error> {
        let (low, high) = clip_bounds(self.at, &|index| self.optional(index))?;
        let array = self.input(0)?;
        let data = match &array.data {
            Data::Float(values) => Data::Float(
                values
                    .iter()
                    .map(|&v| f64::from(v).max(low).min(high) as f32)
                    .collect(),
            ),
            Data::Int(values) => Data::Int(
                values
                    .iter()
                    .map(|&v| v.max(low as i64).min(high as i64))
                    .collect(),
            ),
        };
        Ok(Array {
            data,
            ..array.clone_shape()
        })
    }

    fn choose(&self, evaluator: &Evaluator) -> Result<Array, Error> {
        let (condition, x, y) = (self.input(0)?, self.input(1)?, self.input(2)?);
        let dims = broadcast(&x.dims, &y.dims).and_then(|dims| broadcast(&dims, &condition.dims));
        let dims = dims.filter(|dims| elements(dims).is_some_and(|count| count <= MAX_MADE));
        let dims = dims.ok_or_else(|| self.wrong("its values do not fit each other"))?;
        if x.element.is_float() != y.element.is_float() {
            return Err(self.wrong(format!(
                "{} and {}, expected one type",
                x.element, y.element
            )));
        }
        let expand =
            |array: &Array| array.take(dims.clone(), &broadcast_positions(&array.dims, &dims));
        let (condition, x, y) = (expand(condition), expand(x), expand(y));
        evaluator.charge(self.at, x.len() as u64)?;
        let condition = condition.as_ints().unwrap_or_default();
        let data = match (&x.data, &y.data) {
            (Data::Int(x), Data::Int(y)) => {
                let pick = condition.iter().zip(x.iter().zip(y));
                Data::Int(
                    pick.map(|(&c, (&x, &y))| if c != 0 { x } else { y })
                        .collect(),
                )
            }
            _ => {
                let (a, b) = (x.floats(), y.floats());
                let pick = condition.iter().zip(a.iter().zip(b.iter()));
                Data::Float(
                    pick.map(|(&c, (&x, &y))| if c != 0 { x } else { y })
                        .collect(),
                )
            }
        };
        Ok(Array {
            data,
            ..x.clone_shape()
        })
    }

    /// scikit-learn's scaling.
    fn scaler(&self) -> Result<Array, Error> {
        let array = self.input(0)?;
        let (offset, scale) = (
            self.at.floats("offset")?.unwrap_or_default(),
            self.at.floats("scale")?.unwrap_or_default(),
        );
        let features = array.dims.last().copied().unwrap_or(0);
        let one = |values: &[f32]| values.len() == 1 || values.len() == features;
        if !one(offset) || !one(scale) {
            return Err(self.wrong(format!(
                "{} offsets and {} factors for {features} features",
                offset.len(),
                scale.len()
            )));
        }
        let numbers = array.floats();
        let values = numbers.iter().enumerate().map(|(at, value)| {
            let place = at % features;
            (value - offset[place % offset.len()]) * scale[place % scale.len()]
        });
        Ok(Array::floats_of(array.dims.clone(), values.collect()))
    }

    fn batch_norm(&self) -> Result<Array, Error> {
        let array = self.input(0)?;
        if self.at.flag("training_mode", false)? || self.at.int("spatial", 1)? != 1 {
            return Err(
                self.wrong("it is in training mode: export in evaluation mode (model.eval())")
            );
        }
        let channels = array.dims.get(1).copied().unwrap_or(0);
        let parameter = |index| {
            let values = self.input(index)?.floats();
            match values.len() == channels {
                true => Ok(values),
                false => {
                    Err(self.wrong(format!("{} numbers for {channels} channels", values.len())))
                }
            }
        };
        let (gamma, beta, mean, variance) =
            (parameter(1)?, parameter(2)?, parameter(3)?, parameter(4)?);
        let epsilon = self.at.float("epsilon", 1e-5)?;
        let inner: usize = array.dims.get(2..).unwrap_or_default().iter().product();
        let numbers = array.floats();
        let values = numbers.iter().enumerate().map(|(place, &value)| {
            let c = place / inner % channels;
            let scale = f64::from(gamma[c]) / (f64::from(variance[c]) + epsilon).sqrt();
            ((f64::from(value) - f64::from(mean[c])) * scale + f64::from(beta[c])) as f32
        });
        Ok(Array::floats_of(array.dims.clone(), values.collect()))
    }
}

impl Array {
    /// An array of the same dimensions and type, without elements.
    fn clone_shape(&self) -> Self {
        Self {
            dims: self.dims.clone(),
            element: self.element,
            data: Data::Int(Vec::new()),
        }
    }
}

/// Least and largest value of a `Clip`: attributes before version 11, inputs since.
pub(crate) fn clip_bounds<'a>(
    at: Attributes,
    input: &dyn Fn(usize) -> Option<&'a Array>,
) -> Result<(f64, f64), Error> {
    let bound = |index: usize, name: &str, default: f64| {
        if at.opset < 11 {
            return Ok(at.optional_float(name)?.unwrap_or(default));
        }
        match input(index) {
            None => Ok(default),
            Some(array) => array
                .single()
                .ok_or_else(|| at.wrong(format!("{name} is no single number"))),
        }
    };
    Ok((
        bound(1, "min", f64::NEG_INFINITY)?,
        bound(2, "max", f64::INFINITY)?,
    ))
}

fn whole(operator: &str, at: Attributes, a: i64, b: i64) -> Option<i64> {
    match operator {
        "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" => a.checked_div(b),
        "Pow" => a.checked_pow(b.try_into().ok()?),
        "Mod" if at.int("fmod", 0).ok()? != 0 => a.checked_rem(b),
        "Mod" => {
            let rest = a.checked_rem(b)?;
            Some(if rest != 0 && (rest < 0) != (b < 0) {
                rest + b
            } else {
                rest
            })
        }
        "Max" => Some(a.max(b)),
        "Min" => Some(a.min(b)),
        "Equal" => Some(i64::from(a == b)),
        "Greater" => Some(i64::from(a > b)),
        "Less" => Some(i64::from(a < b)),
        "GreaterOrEqual" => Some(i64::from(a >= b)),
        "LessOrEqual" => Some(i64::from(a <= b)),
        "And" => Some(i64::from(a != 0 && b != 0)),
        "Or" => Some(i64::from(a != 0 || b != 0)),
        "Xor" => Some(i64::from((a != 0) != (b != 0))),
        _ => None,
    }
}
