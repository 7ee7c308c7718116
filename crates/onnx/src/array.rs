//! Arrays of numbers: weights, shapes, coefficients, and the values of a network that is computed in the clear.

use std::borrow::Cow;

use crate::element::Element;

/// Most elements of an array of the file.
pub(crate) const MAX_ELEMENTS: usize = 1 << 27;

/// Most elements of an array that an operator makes.
pub(crate) const MAX_MADE: usize = 1 << 25;

/// An array, row major.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    pub(crate) dims: Vec<usize>,
    pub(crate) element: Element,
    pub(crate) data: Data,
}

/// Floating-point numbers of every width as `f32`, whole numbers and truth values as `i64`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Float(Vec<f32>),
    Int(Vec<i64>),
}

impl Data {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Int(values) => values.len(),
        }
    }
}

impl Array {
    pub(crate) fn ints(values: Vec<i64>) -> Self {
        Self {
            dims: vec![values.len()],
            element: Element::Int64,
            data: Data::Int(values),
        }
    }

    pub(crate) fn floats_of(dims: Vec<usize>, values: Vec<f32>) -> Self {
        Self {
            dims,
            element: Element::Float,
            data: Data::Float(values),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    pub(crate) fn floats(&self) -> Cow<'_, [f32]> {
        match &self.data {
            Data::Float(values) => Cow::Borrowed(values),
            Data::Int(values) => values.iter().map(|&value| value as f32).collect(),
        }
    }

    pub(crate) fn as_ints(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Int(values) => Some(values),
            Data::Float(_) => None,
        }
    }

    /// The only element, as a number.
    pub(crate) fn single(&self) -> Option<f64> {
        match &self.data {
            Data::Float(values) if values.len() == 1 => Some(f64::from(values[0])),
            Data::Int(values) if values.len() == 1 => Some(values[0] as f64),
            _ => None,
        }
    }

    /// The elements at these positions, and zero where the position is negative.
    pub(crate) fn take(&self, dims: Vec<usize>, positions: &[i64]) -> Self {
        fn pick<T: Copy + Default>(values: &[T], positions: &[i64]) -> Vec<T> {
            let at = |&position: &i64| {
                usize::try_from(position).map_or_else(|_| T::default(), |at| values[at])
            };
            positions.iter().map(at).collect()
        }
        let data = match &self.data {
            Data::Float(values) => Data::Float(pick(values, positions)),
            Data::Int(values) => Data::Int(pick(values, positions)),
        };
        Self {
            dims,
            element: self.element,
            data,
        }
    }

    pub(crate) fn reshaped(&self, dims: Vec<usize>) -> Self {
        Self {
            dims,
            ..self.clone()
        }
    }
}

/// Number of elements; `None` above the largest array.
pub(crate) fn elements(dims: &[usize]) -> Option<usize> {
    let product = dims
        .iter()
        .try_fold(1usize, |product, &dim| product.checked_mul(dim));
    product.filter(|&count| count <= MAX_ELEMENTS)
}

/// Row-major strides.
pub(crate) fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    strides
}

/// Dimensions that two values are broadcast to; `None` if they do not fit each other.
pub(crate) fn broadcast(x: &[usize], y: &[usize]) -> Option<Vec<usize>> {
    let rank = x.len().max(y.len());
    let side = |dims: &[usize], axis: usize| {
        (axis + dims.len())
            .checked_sub(rank)
            .map_or(1, |axis| dims[axis])
    };
    (0..rank)
        .map(|axis| match (side(x, axis), side(y, axis)) {
            (1, other) | (other, 1) => Some(other),
            (one, other) => (one == other).then_some(one),
        })
        .collect()
}

/// For each element of an array of dimensions `to`, the element of one of dimensions `from` that is broadcast to it.
/// The dimensions must fit.
pub(crate) fn broadcast_positions(from: &[usize], to: &[usize]) -> Vec<i64> {
    let missing = to.len() - from.len();
    let mut steps = vec![0; missing];
    let own = from.iter().zip(strides(from));
    steps.extend(own.map(|(&dim, stride)| if dim == 1 { 0 } else { stride }));
    walk(to, &steps)
}

/// Offsets of all elements of an array of dimensions `dims` when an axis has these strides.
pub(crate) fn walk(dims: &[usize], steps: &[usize]) -> Vec<i64> {
    let mut positions = vec![0i64];
    for (&dim, &step) in dims.iter().zip(steps) {
        positions = positions
            .iter()
            .flat_map(|&start| (0..dim).map(move |index| start + (index * step) as i64))
            .collect();
    }
    positions
}
