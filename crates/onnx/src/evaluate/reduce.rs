//! Sums, means, extremes and softmax over axes.

use super::Node;
use crate::Error;
use crate::array::{Array, Data};
use crate::attributes::Attributes;
use crate::layout::{Layout, Settings};

impl Node<'_> {
    /// The value of an operator over axes; `None` for others.
    pub(super) fn reduce(&self) -> Result<Option<Array>, Error> {
        let at = self.at;
        let operator = at.operator();
        match operator {
            "Softmax" | "LogSoftmax" => return self.softmax(operator == "LogSoftmax").map(Some),
            "Normalizer" => return self.normalizer().map(Some),
            _ if !operator.starts_with("Reduce") && !operator.starts_with("Global") => {
                return Ok(None);
            }
            _ => {}
        }
        let array = self.input(0)?;
        let reduction = Reduction::read(at, self.inputs, &array.dims)?;
        let fold: fn(&[f32]) -> f64 = match operator {
            "ReduceMean" | "GlobalAveragePool" => |row| sum(row) / row.len() as f64,
            "ReduceSum" => sum,
            "ReduceMax" | "GlobalMaxPool" => |row| {
                row.iter()
                    .fold(f64::NEG_INFINITY, |m, &v| m.max(f64::from(v)))
            },
            "ReduceMin" => |row| row.iter().fold(f64::INFINITY, |m, &v| m.min(f64::from(v))),
            "ReduceProd" => |row| row.iter().map(|&v| f64::from(v)).product(),
            "ReduceSumSquare" => |row| row.iter().map(|&v| f64::from(v) * f64::from(v)).sum(),
            "ReduceL2" => |row| {
                row.iter()
                    .map(|&v| f64::from(v) * f64::from(v))
                    .sum::<f64>()
                    .sqrt()
            },
            _ => return Ok(None),
        };
        let moved = Layout::transposed(&array.dims, &reduction.order()).apply(array);
        let values: Vec<f64> = match reduction.size {
            0 => return Err(self.wrong("it reduces nothing")),
            size => moved.floats().chunks_exact(size).map(fold).collect(),
        };
        Ok(Some(Array {
            dims: reduction.output,
            element: array.element,
            data: match &array.data {
                Data::Float(_) => Data::Float(values.iter().map(|&v| v as f32).collect()),
                Data::Int(_) => Data::Int(values.iter().map(|&v| v as i64).collect()),
            },
        }))
    }

    fn softmax(&self, log: bool) -> Result<Array, Error> {
        let array = self.input(0)?;
        let (axis, end) = softmax_axes(self.at, array.dims.len())?;
        let rank = array.dims.len();
        let order: Vec<usize> = (0..axis).chain(end..rank).chain(axis..end).collect();
        let moved = Layout::transposed(&array.dims, &order).apply(array);
        let size: usize = array.dims[axis..end].iter().product();
        let mut made = Vec::with_capacity(array.len());
        for row in moved.floats().chunks_exact(size.max(1)) {
            let largest = row
                .iter()
                .fold(f64::NEG_INFINITY, |m, &v| m.max(f64::from(v)));
            let total: f64 = row.iter().map(|&v| (f64::from(v) - largest).exp()).sum();
            made.extend(row.iter().map(|&v| {
                let shifted = f64::from(v) - largest;
                (if log {
                    shifted - total.ln()
                } else {
                    shifted.exp() / total
                }) as f32
            }));
        }
        let mut back = vec![0; rank];
        order
            .iter()
            .enumerate()
            .for_each(|(place, &axis)| back[axis] = place);
        let made = Array::floats_of(moved.dims.clone(), made);
        Ok(Layout::transposed(&made.dims, &back).apply(&made))
    }
}

impl Node<'_> {
    fn normalizer(&self) -> Result<Array, Error> {
        let array = self.input(0)?;
        let norm = self.at.text("norm", "MAX")?;
        if norm != "L1" {
            return Err(self.wrong(format!("norm is {norm:?}, expected L1")));
        }
        let features = array.dims.last().copied().unwrap_or(1).max(1);
        let mut values = array.floats().into_owned();
        for row in values.chunks_exact_mut(features) {
            let total: f32 = row.iter().map(|value| value.abs()).sum();
            row.iter_mut().for_each(|value| *value /= total);
        }
        Ok(Array::floats_of(array.dims.clone(), values))
    }

    /// The label and the scores.
    pub(super) fn linear_classifier(&self) -> Result<Vec<Array>, Error> {
        let array = self.input(0)?;
        let coefficients = self.at.floats("coefficients")?.unwrap_or_default();
        let intercepts = self.at.floats("intercepts")?.unwrap_or_default();
        let features = array.dims.last().copied().unwrap_or(0);
        if features == 0 || coefficients.len() % features != 0 {
            return Err(self.wrong(format!(
                "{} coefficients for {features} features",
                coefficients.len()
            )));
        }
        let classes = coefficients.len() / features;
        let images = array.len() / features;
        let post = self.at.text("post_transform", "NONE")?;
        let (mut scores, mut labels) = (Vec::new(), Vec::new());
        for x in array.floats().chunks_exact(features) {
            let row = coefficients
                .chunks_exact(features)
                .enumerate()
                .map(|(class, w)| {
                    let product: f64 = w
                        .iter()
                        .zip(x)
                        .map(|(w, x)| f64::from(*w) * f64::from(*x))
                        .sum();
                    product + f64::from(intercepts.get(class).copied().unwrap_or(0.0))
                });
            let row: Vec<f64> = row.collect();
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            labels.push(row.iter().position(|&score| score == largest).unwrap_or(0) as i64);
            let total: f64 = row.iter().map(|score| (score - largest).exp()).sum();
            for score in row {
                scores.push(match post {
                    "NONE" => score,
                    "SOFTMAX" => (score - largest).exp() / total,
                    "LOGISTIC" => 1.0 / (1.0 + (-score).exp()),
                    other => return Err(self.wrong(format!("post_transform {other}"))),
                } as f32);
            }
        }
        Ok(vec![
            Array::ints(labels),
            Array::floats_of(vec![images, classes], scores),
        ])
    }
}

fn sum(row: &[f32]) -> f64 {
    row.iter().map(|&value| f64::from(value)).sum()
}

/// The axes that a softmax is taken over, from the first to before the second: one since version 13, all from it on
/// before.
pub(crate) fn softmax_axes(at: Attributes, rank: usize) -> Result<(usize, usize), Error> {
    if at.opset >= 13 {
        let axis = at.axis(at.int("axis", -1)?, rank)?;
        return Ok((axis, axis + 1));
    }
    Ok((at.axis(at.int("axis", 1)?, rank)?, rank))
}

/// Which axes an operator reduces, and what stays.
pub(crate) struct Reduction {
    pub(crate) kept: Vec<usize>,
    pub(crate) reduced: Vec<usize>,
    /// Elements that become one.
    pub(crate) size: usize,
    /// Dimensions of the result.
    pub(crate) output: Vec<usize>,
}

impl Reduction {
    pub(crate) fn read(
        at: Attributes,
        inputs: &[Option<&Array>],
        from: &[usize],
    ) -> Result<Self, Error> {
        let rank = from.len();
        let global = at.operator().starts_with("Global");
        let settings = Settings {
            at,
            constants: inputs,
        };
        let reduced = match settings.numbers("axes", 1)? {
            _ if global => (2..rank).collect(),
            Some([]) | None if at.flag("noop_with_empty_axes", false)? => Vec::new(),
            Some([]) | None => (0..rank).collect(),
            Some(axes) => {
                let mut axes = at.axes(axes, rank)?;
                axes.sort_unstable();
                axes
            }
        };
        let keep = global || at.flag("keepdims", true)?;
        let kept = (0..rank).filter(|axis| !reduced.contains(axis)).collect();
        let side = |axis: usize| match (reduced.contains(&axis), keep) {
            (false, _) => Some(from[axis]),
            (true, true) => Some(1),
            (true, false) => None,
        };
        Ok(Self {
            kept,
            size: reduced.iter().map(|&axis| from[axis]).product(),
            output: (0..rank).filter_map(side).collect(),
            reduced,
        })
    }

    /// All axes, those that stay first.
    pub(crate) fn order(&self) -> Vec<usize> {
        self.kept.iter().chain(&self.reduced).copied().collect()
    }
}
