//! Polynomials of degree two in a node's value. A quadratic activation that is written as products and sums becomes one.

use sordino_graph::{Granularity, NodeId, Op, Shape};

use crate::array::Array;

/// `a x^2 + b x + c` of the value `x` of a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Polynomial {
    pub(crate) node: NodeId,
    /// `c`, `b` and `a`.
    coefficients: [Coefficient; 3],
}

/// A coefficient of a node's value: one number for the layer, one per channel, or one per element.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Coefficient {
    granularity: Granularity,
    values: Vec<f64>,
}

impl Coefficient {
    pub(crate) fn scalar(value: f64) -> Self {
        Self {
            granularity: Granularity::Layer,
            values: vec![value],
        }
    }

    /// A constant broadcast, as ONNX does, to the shape `[batch, ...]` of a value; `None` if it does not fit.
    pub(crate) fn broadcast(array: &Array, shape: &Shape) -> Option<Self> {
        let values: Vec<f64> = array.floats().into_iter().map(f64::from).collect();
        if values.len() == 1 {
            return Some(Self::scalar(values[0]));
        }
        let sides = sides(shape);
        // Leading ones, the batch among them, say nothing.
        let first = array.dims.iter().position(|&dim| dim != 1)?;
        let dims = &array.dims[first..];
        let missing = sides.len().checked_sub(dims.len())?;
        let fits = dims.iter().zip(&sides[missing..]);
        if fits.clone().any(|(&dim, &side)| dim != 1 && dim != side) {
            return None;
        }
        let mut strides = vec![0; sides.len()];
        let mut stride = 1;
        for (axis, &dim) in dims.iter().enumerate().rev() {
            strides[missing + axis] = if dim == 1 { 0 } else { stride };
            stride *= dim;
        }
        let expanded = (0..shape.elements()).map(|element| {
            let (mut rest, mut index) = (element, 0);
            for (side, stride) in sides.iter().zip(&strides).rev() {
                index += rest % side * stride;
                rest /= side;
            }
            values[index]
        });
        Some(Self::shared(expanded.collect(), shape))
    }

    /// One value per element, stored as widely shared as they are equal.
    fn shared(values: Vec<f64>, shape: &Shape) -> Self {
        if values.iter().all(|value| *value == values[0]) {
            return Self::scalar(values[0]);
        }
        let per_channel = shape.channel_elements();
        let mut channels = values.chunks(per_channel);
        if channels.all(|channel| channel.iter().all(|value| *value == channel[0])) {
            return Self {
                granularity: Granularity::Channel,
                values: values.iter().step_by(per_channel).copied().collect(),
            };
        }
        Self {
            granularity: Granularity::Element,
            values,
        }
    }

    /// The values at a granularity that is at least as fine.
    fn at(&self, granularity: Granularity, shape: &Shape) -> Vec<f64> {
        let per_channel = shape.channel_elements();
        (0..granularity.coefficients(shape))
            .map(|index| {
                let element = match granularity {
                    Granularity::Channel => index * per_channel,
                    _ => index,
                };
                self.values[self.granularity.index(shape, element)]
            })
            .collect()
    }

    fn combine(&self, other: &Self, shape: &Shape, op: impl Fn(f64, f64) -> f64) -> Self {
        let granularity = finer(self.granularity, other.granularity);
        let pairs = self
            .at(granularity, shape)
            .into_iter()
            .zip(other.at(granularity, shape));
        Self {
            granularity,
            values: pairs.map(|(x, y)| op(x, y)).collect(),
        }
    }

    fn is(&self, value: f64) -> bool {
        self.values.iter().all(|found| *found == value)
    }

    /// One over each value.
    pub(crate) fn inverse(&self) -> Self {
        Self {
            granularity: self.granularity,
            values: self.values.iter().map(|value| 1.0 / value).collect(),
        }
    }
}

/// Sides of a value without the batch: channels, rows and columns of a map, or the features of a vector.
pub(crate) fn sides(shape: &Shape) -> Vec<usize> {
    match *shape {
        Shape::Map {
            channels,
            height,
            width,
        } => vec![channels, height, width],
        Shape::Flat(features) => vec![features],
    }
}

fn finer(x: Granularity, y: Granularity) -> Granularity {
    let rank = |granularity| match granularity {
        Granularity::Layer => 0,
        Granularity::Channel => 1,
        Granularity::Element => 2,
    };
    if rank(x) >= rank(y) { x } else { y }
}

impl Polynomial {
    /// The node's value itself.
    pub(crate) fn of(node: NodeId) -> Self {
        Self {
            node,
            coefficients: [0.0, 1.0, 0.0].map(Coefficient::scalar),
        }
    }

    /// A constant, as a polynomial of a node.
    pub(crate) fn constant(node: NodeId, value: Coefficient) -> Self {
        Self {
            node,
            coefficients: [value, Coefficient::scalar(0.0), Coefficient::scalar(0.0)],
        }
    }

    pub(crate) fn is_value(&self) -> bool {
        let [c, b, a] = &self.coefficients;
        a.is(0.0) && b.is(1.0) && c.is(0.0)
    }

    /// Sum of two polynomials of the same node, the second one times `sign`.
    pub(crate) fn add(&self, other: &Self, sign: f64, shape: &Shape) -> Self {
        let sum = |power: usize| {
            self.coefficients[power].combine(&other.coefficients[power], shape, |x, y| x + sign * y)
        };
        Self {
            node: self.node,
            coefficients: [sum(0), sum(1), sum(2)],
        }
    }

    /// Product of two polynomials of the same node; `None` for a degree above two.
    pub(crate) fn multiply(&self, other: &Self, shape: &Shape) -> Option<Self> {
        let mut product = [0.0; 5].map(Coefficient::scalar);
        for (i, x) in self.coefficients.iter().enumerate() {
            for (j, y) in other.coefficients.iter().enumerate() {
                let term = x.combine(y, shape, |x, y| x * y);
                product[i + j] = product[i + j].combine(&term, shape, |x, y| x + y);
            }
        }
        let [c, b, a, cubic, quartic] = product;
        (cubic.is(0.0) && quartic.is(0.0)).then_some(Self {
            node: self.node,
            coefficients: [c, b, a],
        })
    }

    /// The operation that computes it from the node; `None` when no operation does (a constant, or factors that differ
    /// within a channel without a square).
    pub(crate) fn operation(&self, shape: &Shape) -> Option<Op> {
        let [c, b, a] = &self.coefficients;
        let linear = a.is(0.0);
        let granularity = finer(finer(a.granularity, b.granularity), c.granularity);
        let floats = |coefficient: &Coefficient, granularity| -> Vec<f32> {
            let values = coefficient.at(granularity, shape);
            values.into_iter().map(|value| value as f32).collect()
        };
        if !linear {
            return Some(Op::Quadratic {
                granularity,
                a: floats(a, granularity),
                b: floats(b, granularity),
                c: floats(c, granularity),
            });
        }
        if b.is(0.0) || granularity == Granularity::Element && shape.channel_elements() > 1 {
            return None;
        }
        let channels = shape.channels();
        Some(Op::BatchNorm {
            gamma: floats(b, Granularity::Channel),
            beta: floats(c, Granularity::Channel),
            mean: vec![0.0; channels],
            variance: vec![1.0; channels],
            epsilon: 0.0,
        })
    }
}
