//! Polynomials in a node's value. A quadratic activation that is written as products and sums becomes one.

use sordino_graph::{Granularity, NodeId, Op, Shape};

/// Coefficients up to the cube, which only the usual approximation of GELU has.
const POWERS: usize = 4;

/// A polynomial of the value of a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Polynomial {
    pub(crate) node: NodeId,
    /// By power, the constant first.
    coefficients: [Coefficient; POWERS],
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

    /// One value per element of the node, stored as widely shared as they are equal.
    pub(crate) fn shared(values: Vec<f64>, shape: &Shape) -> Self {
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
    pub(crate) fn at(&self, granularity: Granularity, shape: &Shape) -> Vec<f64> {
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

    pub(crate) fn combine(
        &self,
        other: &Self,
        shape: &Shape,
        op: impl Fn(f64, f64) -> f64,
    ) -> Self {
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

    /// Whether all values are this one, as far as weights are stored.
    fn is(&self, value: f64) -> bool {
        self.values
            .iter()
            .all(|found| *found as f32 == value as f32)
    }

    /// The number, if there is one for the layer.
    pub(crate) fn single(&self) -> Option<f64> {
        (self.granularity == Granularity::Layer).then(|| self.values[0])
    }

    /// One over each value.
    pub(crate) fn inverse(&self) -> Self {
        Self {
            granularity: self.granularity,
            values: self.values.iter().map(|value| 1.0 / value).collect(),
        }
    }

    pub(crate) const fn granularity(&self) -> Granularity {
        self.granularity
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
        Self::line(node, Coefficient::scalar(1.0), Coefficient::scalar(0.0))
    }

    /// `factor * x + offset`.
    pub(crate) fn line(node: NodeId, factor: Coefficient, offset: Coefficient) -> Self {
        let zero = || Coefficient::scalar(0.0);
        Self {
            node,
            coefficients: [offset, factor, zero(), zero()],
        }
    }

    /// A constant, as a polynomial of a node.
    pub(crate) fn constant(node: NodeId, value: Coefficient) -> Self {
        Self::line(node, Coefficient::scalar(0.0), value)
    }

    pub(crate) fn is_value(&self) -> bool {
        let [c, b, a, cubic] = &self.coefficients;
        cubic.is(0.0) && a.is(0.0) && b.is(1.0) && c.is(0.0)
    }

    /// Factor and offset, if the layer has one of each and no other powers.
    pub(crate) fn single_line(&self) -> Option<(f64, f64)> {
        let [c, b, a, cubic] = &self.coefficients;
        let line = cubic.is(0.0) && a.is(0.0);
        Some((b.single()?, c.single()?)).filter(|_| line)
    }

    /// `x` and `x^3` of an odd cubic with single coefficients.
    pub(crate) fn odd_cubic(&self) -> Option<(f64, f64)> {
        let [c, b, a, cubic] = &self.coefficients;
        Some((b.single()?, cubic.single()?)).filter(|_| c.is(0.0) && a.is(0.0))
    }

    /// Sum of two polynomials of the same node, the second one times `sign`.
    pub(crate) fn add(&self, other: &Self, sign: f64, shape: &Shape) -> Self {
        let sum = |power: usize| {
            self.coefficients[power].combine(&other.coefficients[power], shape, |x, y| x + sign * y)
        };
        Self {
            node: self.node,
            coefficients: std::array::from_fn(sum),
        }
    }

    /// Product of two polynomials of the same node; `None` for a degree above three.
    pub(crate) fn multiply(&self, other: &Self, shape: &Shape) -> Option<Self> {
        let mut product: [Coefficient; 2 * POWERS - 1] =
            std::array::from_fn(|_| Coefficient::scalar(0.0));
        for (i, x) in self
            .coefficients
            .iter()
            .enumerate()
            .filter(|(_, x)| !x.is(0.0))
        {
            for (j, y) in other
                .coefficients
                .iter()
                .enumerate()
                .filter(|(_, y)| !y.is(0.0))
            {
                let term = x.combine(y, shape, |x, y| x * y);
                product[i + j] = product[i + j].combine(&term, shape, |x, y| x + y);
            }
        }
        let [c, b, a, cubic, rest @ ..] = product;
        rest.iter().all(|power| power.is(0.0)).then_some(Self {
            node: self.node,
            coefficients: [c, b, a, cubic],
        })
    }

    /// The operation that computes it from the node; `None` for a cubic and for a constant.
    pub(crate) fn operation(&self, shape: &Shape) -> Option<Op> {
        let [c, b, a, cubic] = &self.coefficients;
        let granularity = finer(finer(a.granularity, b.granularity), c.granularity);
        let floats = |coefficient: &Coefficient| -> Vec<f32> {
            let values = coefficient.at(granularity, shape);
            values.into_iter().map(|value| value as f32).collect()
        };
        if !cubic.is(0.0) || a.is(0.0) && b.is(0.0) {
            return None;
        }
        Some(match a.is(0.0) {
            true => Op::Affine {
                granularity,
                factor: floats(b),
                offset: floats(c),
            },
            false => Op::Quadratic {
                granularity,
                a: floats(a),
                b: floats(b),
                c: floats(c),
            },
        })
    }
}
