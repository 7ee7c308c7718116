//! Constants: weights, shapes and coefficients.

use crate::Error;
use crate::proto::TensorProto;

/// The element types of `TensorProto` that are read.
const FLOAT: i32 = 1;
const INT64: i32 = 7;
const DOUBLE: i32 = 11;

/// A constant array, row major.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    pub(crate) dims: Vec<usize>,
    pub(crate) data: Data,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Float(Vec<f32>),
    Int(Vec<i64>),
}

impl Array {
    pub(crate) fn ints(values: Vec<i64>) -> Self {
        Self {
            dims: vec![values.len()],
            data: Data::Int(values),
        }
    }

    pub(crate) fn floats_of(values: Vec<f32>, scalar: bool) -> Self {
        Self {
            dims: if scalar { vec![] } else { vec![values.len()] },
            data: Data::Float(values),
        }
    }

    /// Reads a constant; its data may be raw or in the field of its type.
    pub(crate) fn read(tensor: &TensorProto) -> Result<Self, Error> {
        let name = &tensor.name;
        let malformed = |what: String| Error::Malformed {
            what: format!("tensor {name:?}: {what}"),
        };
        if tensor.data_location != 0 {
            return Err(malformed(
                "its data is in another file: export with everything in one file (external_data=False)"
                    .to_string(),
            ));
        }
        let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&d| d.try_into().ok()).collect();
        let count = dims.as_ref().and_then(|dims| {
            dims.iter()
                .try_fold(1usize, |product, &dim| product.checked_mul(dim))
        });
        let (Some(dims), Some(count)) = (dims, count) else {
            return Err(malformed(format!(
                "impossible dimensions {:?}",
                tensor.dims
            )));
        };
        let raw = &tensor.raw_data;
        let data = match tensor.data_type {
            FLOAT if raw.is_empty() => Data::Float(tensor.float_data.clone()),
            FLOAT => Data::Float(raw_values(raw, f32::from_le_bytes)),
            DOUBLE if raw.is_empty() => {
                Data::Float(tensor.double_data.iter().map(|&v| v as f32).collect())
            }
            DOUBLE => Data::Float(raw_values(raw, |bytes| f64::from_le_bytes(bytes) as f32)),
            INT64 if raw.is_empty() => Data::Int(tensor.int64_data.clone()),
            INT64 => Data::Int(raw_values(raw, i64::from_le_bytes)),
            other => {
                return Err(malformed(format!(
                    "element type {other}, expected float, double or int64: export in float32"
                )));
            }
        };
        let found = match &data {
            Data::Float(values) => values.len(),
            Data::Int(values) => values.len(),
        };
        if found != count {
            return Err(malformed(format!(
                "{found} values, expected {count} for dimensions {dims:?}"
            )));
        }
        Ok(Self { dims, data })
    }

    pub(crate) fn floats(&self) -> Vec<f32> {
        match &self.data {
            Data::Float(values) => values.clone(),
            Data::Int(values) => values.iter().map(|&value| value as f32).collect(),
        }
    }

    pub(crate) fn as_ints(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Int(values) => Some(values),
            Data::Float(_) => None,
        }
    }
}

fn raw_values<const N: usize, T>(raw: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (values, rest) = raw.as_chunks::<N>();
    // A rest makes the count wrong by one, which the caller finds.
    let rest = (!rest.is_empty()).then_some([0; N]);
    values.iter().copied().chain(rest).map(read).collect()
}
