//! Shape of every operation's value, and whether its weights fit what it reads.

use crate::window::{Window, plane};
use crate::{Error, Function, Op, Shape};

impl Op {
    /// The weights with the names that they have in messages and files.
    pub(crate) fn tensors(&self) -> Vec<(&'static str, &[f32])> {
        match self {
            Self::Conv2d { weight, bias, .. } | Self::Dense { weight, bias } => {
                vec![("weight", weight.data()), ("bias", bias)]
            }
            Self::BatchNorm {
                gamma,
                beta,
                mean,
                variance,
                ..
            } => vec![
                ("gamma", gamma),
                ("beta", beta),
                ("mean", mean),
                ("variance", variance),
            ],
            Self::Affine { factor, offset, .. } => vec![("factor", factor), ("offset", offset)],
            Self::Quadratic { a, b, c, .. } => vec![("a", a), ("b", b), ("c", c)],
            Self::Activation(Function::PRelu { slope }) => vec![("slope", slope)],
            Self::Input
            | Self::AveragePool { .. }
            | Self::MaxPool { .. }
            | Self::Flatten
            | Self::Select { .. }
            | Self::Concat
            | Self::Add { .. }
            | Self::Activation(_) => Vec::new(),
        }
    }

    /// The shape of the value of this operation, as node `name`, on inputs of these shapes.
    ///
    /// # Errors
    /// [`Error::Node`] for inputs or weights that do not fit, and for the input, which has no shape of its own.
    pub fn output_shape(&self, name: &str, inputs: &[Shape]) -> Result<Shape, Error> {
        let wrong = |what: String| Error::Node {
            node: name.to_string(),
            what,
        };
        let Some(&input) = inputs.first() else {
            return Err(wrong("the input has no shape of its own".into()));
        };
        let node = Checked {
            name,
            op: self,
            input,
        };
        match self {
            Op::Input => Err(wrong("the input has no shape of its own".into())),
            Op::Conv2d {
                weight,
                bias,
                groups,
                ..
            } => {
                let channels = node.map()?;
                let &[out, expected, _, _] = weight.shape() else {
                    return Err(wrong(format!(
                        "weight needs the axes [out, in, height, width], found the shape {:?}",
                        weight.shape()
                    )));
                };
                if *groups == 0 || out % groups != 0 || channels % groups != 0 {
                    return Err(wrong(format!(
                        "{groups} groups must divide its {channels} input and {out} output channels"
                    )));
                }
                if expected != channels / groups {
                    let of = match groups {
                        1 => String::new(),
                        _ => format!(" in each of {groups} groups"),
                    };
                    return Err(wrong(format!(
                        "weight of shape {:?} expects {expected} channels{of}, found {} in its input of shape {input}",
                        weight.shape(),
                        channels / groups,
                    )));
                }
                node.length("bias", out, bias.len())?;
                let (height, width) = node.windows()?;
                Ok(Shape::map(out, height, width))
            }
            Op::Dense { weight, bias } => {
                let Shape::Flat(features) = input else {
                    return Err(wrong(format!(
                        "dense expects a vector, found a map of {input}: put a flatten before it"
                    )));
                };
                let &[out, expected] = weight.shape() else {
                    return Err(wrong(format!(
                        "weight needs the axes [out, in], found the shape {:?}",
                        weight.shape()
                    )));
                };
                if expected != features {
                    return Err(wrong(format!(
                        "weight of shape {:?} expects {expected} features, found {features}",
                        weight.shape()
                    )));
                }
                node.length("bias", out, bias.len())?;
                Ok(Shape::Flat(out))
            }
            Op::AveragePool { .. } => {
                let channels = node.map()?;
                let (height, width) = node.windows()?;
                Ok(Shape::map(channels, height, width))
            }
            Op::MaxPool { .. } => {
                let channels = node.map()?;
                let (height, width) = node.windows()?;
                let window = Window::of(self).expect("a pool has windows");
                if !window.all_see_the_map(plane(&input), (height, width)) {
                    return Err(wrong(format!(
                        "a window of its maximum holds padding only on a map of {input}: use less padding"
                    )));
                }
                Ok(Shape::map(channels, height, width))
            }
            Op::BatchNorm {
                variance, epsilon, ..
            } => {
                node.lengths(input.channels())?;
                if !(epsilon.is_finite() && *epsilon >= 0.0) {
                    return Err(wrong(format!(
                        "epsilon is {epsilon}, expected a small positive number"
                    )));
                }
                // NaN is not less than zero: it is named later, as a weight that is not finite.
                let bad = |&value: &f32| value < 0.0 || f64::from(value) + epsilon <= 0.0;
                if let Some(index) = variance.iter().position(bad) {
                    return Err(wrong(format!(
                        "variance[{index}] is {} with epsilon {epsilon}, their sum must be positive: train or export the model again",
                        variance[index]
                    )));
                }
                Ok(input)
            }
            Op::Flatten => Ok(Shape::Flat(input.elements())),
            Op::Select { shape, indices } => node.select(shape, indices),
            Op::Concat => node.concat(inputs),
            Op::Add { factors } => {
                if let Some(other) = inputs.iter().find(|&&other| other != input) {
                    return Err(wrong(format!(
                        "add needs values of one shape, found {input} and {other}"
                    )));
                }
                if !factors.is_empty() && factors.len() != inputs.len() {
                    return Err(wrong(format!(
                        "add has {} factors for {} values: give one each, or none",
                        factors.len(),
                        inputs.len()
                    )));
                }
                if let Some(factor) = factors.iter().find(|factor| !factor.is_finite()) {
                    return Err(wrong(format!(
                        "the factor {factor} of a value is not finite"
                    )));
                }
                Ok(input)
            }
            Op::Activation(function) => node.function(function),
            Op::Affine { granularity, .. } | Op::Quadratic { granularity, .. } => {
                node.lengths(granularity.coefficients(&input))?;
                Ok(input)
            }
        }
    }
}

/// An operation that is being checked against the first value that it reads.
struct Checked<'a> {
    name: &'a str,
    op: &'a Op,
    input: Shape,
}

impl Checked<'_> {
    fn wrong(&self, what: String) -> Error {
        Error::Node {
            node: self.name.to_string(),
            what,
        }
    }

    /// The channels of the map that is read.
    fn map(&self) -> Result<usize, Error> {
        match self.input {
            Shape::Map { channels, .. } => Ok(channels),
            Shape::Flat(features) => Err(self.wrong(format!(
                "{} expects a feature map, found a vector of {features}: move it before the flatten",
                self.op.kind()
            ))),
        }
    }

    /// Rows and columns of the windows' results.
    fn windows(&self) -> Result<(usize, usize), Error> {
        let (height, width) = plane(&self.input);
        let window = Window::of(self.op).expect("called for operations with windows only");
        window
            .output(height, width)
            .map_err(|what| self.wrong(what))
    }

    fn length(&self, tensor: &str, expected: usize, found: usize) -> Result<(), Error> {
        if expected == found {
            return Ok(());
        }
        Err(self.wrong(format!(
            "{tensor} needs {expected} values for an input of shape {}, found {found}",
            self.input
        )))
    }

    /// Checks that every tensor has so many values.
    fn lengths(&self, expected: usize) -> Result<(), Error> {
        let tensors = self.op.tensors();
        tensors
            .iter()
            .try_for_each(|(name, values)| self.length(name, expected, values.len()))
    }

    fn select(&self, shape: &Shape, indices: &[i32]) -> Result<Shape, Error> {
        if shape.elements() != indices.len() {
            return Err(self.wrong(format!(
                "select needs an index for each of the {} elements of {shape}, found {}",
                shape.elements(),
                indices.len()
            )));
        }
        let elements = self.input.elements();
        let inside =
            |&index: &i32| index == -1 || usize::try_from(index).is_ok_and(|i| i < elements);
        if let Some(place) = indices.iter().position(|index| !inside(index)) {
            return Err(self.wrong(format!(
                "index {place} of select is {}, expected -1 to {} for a value of shape {}",
                indices[place],
                elements - 1,
                self.input
            )));
        }
        Ok(*shape)
    }

    fn concat(&self, inputs: &[Shape]) -> Result<Shape, Error> {
        let channels = inputs
            .iter()
            .fold(0, |sum: usize, shape| sum.saturating_add(shape.channels()));
        let shape_of = |channels| match self.input {
            Shape::Map { height, width, .. } => Shape::map(channels, height, width),
            Shape::Flat(_) => Shape::Flat(channels),
        };
        let other = inputs
            .iter()
            .find(|&&other| other != shape_of(other.channels()));
        match other {
            Some(other) => Err(self.wrong(format!(
                "concat needs maps of one height and width, or vectors, found {} and {other}",
                self.input
            ))),
            None => Ok(shape_of(channels)),
        }
    }

    fn function(&self, function: &Function) -> Result<Shape, Error> {
        self.lengths(self.input.channels())?;
        let mut parameters = function.parameters().into_iter();
        if let Some((name, value)) = parameters.find(|(_, value)| !value.is_finite()) {
            return Err(self.wrong(format!("{name} is {value}, expected a finite number")));
        }
        match function {
            Function::Clip { min, max } if min >= max => Err(self.wrong(format!(
                "clip to {min} as the least and {max} as the largest value, expected the largest to be larger"
            ))),
            _ => Ok(self.input),
        }
    }
}
