//! A node's settings.

use crate::Error;
use crate::proto::{AttributeProto, NodeProto};

/// A node with its name for messages, and the version of the operators that the file uses.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a> {
    pub(crate) node: &'a NodeProto,
    pub(crate) opset: i64,
}

/// `AttributeProto.kind` by what is read.
const FLOAT: i32 = 1;
const INT: i32 = 2;
const TEXT: i32 = 3;
pub(crate) const TENSOR: i32 = 4;
const FLOATS: i32 = 6;
const INTS: i32 = 7;
const TEXTS: i32 = 8;

impl<'a> Attributes<'a> {
    /// The node's name, or its first output's if it has none.
    pub(crate) fn name(self) -> &'a str {
        match (&self.node.name[..], self.node.output.first()) {
            ("", Some(output)) => output,
            (name, _) => name,
        }
    }

    pub(crate) fn operator(self) -> &'a str {
        &self.node.op_type
    }

    pub(crate) fn wrong(self, what: impl Into<String>) -> Error {
        Error::Node {
            node: self.name().to_string(),
            operator: self.node.op_type.clone(),
            what: what.into(),
        }
    }

    pub(crate) fn unsupported(self, advice: &str) -> Error {
        Error::Unsupported {
            node: self.name().to_string(),
            operator: self.node.op_type.clone(),
            advice: advice.to_string(),
        }
    }

    /// An attribute of this kind; one of another kind is an error.
    fn find(self, name: &str, kind: i32) -> Result<Option<&'a AttributeProto>, Error> {
        let mut attributes = self.node.attribute.iter();
        match attributes.find(|attribute| attribute.name == name) {
            Some(found) if found.kind != kind && found.kind != 0 => Err(self.wrong(format!(
                "attribute {name} is of kind {}, expected {kind}: the file is damaged",
                found.kind
            ))),
            found => Ok(found),
        }
    }

    pub(crate) fn int(self, name: &str, default: i64) -> Result<i64, Error> {
        Ok(self.find(name, INT)?.map_or(default, |found| found.i))
    }

    pub(crate) fn flag(self, name: &str, default: bool) -> Result<bool, Error> {
        match self.int(name, i64::from(default))? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.wrong(format!("{name} is {other}, expected 0 or 1"))),
        }
    }

    pub(crate) fn float(self, name: &str, default: f32) -> Result<f64, Error> {
        Ok(f64::from(
            self.find(name, FLOAT)?.map_or(default, |found| found.f),
        ))
    }

    /// A number that some versions have no default for.
    pub(crate) fn optional_float(self, name: &str) -> Result<Option<f64>, Error> {
        Ok(self.find(name, FLOAT)?.map(|found| f64::from(found.f)))
    }

    pub(crate) fn ints(self, name: &str) -> Result<Option<&'a [i64]>, Error> {
        Ok(self.find(name, INTS)?.map(|found| &found.ints[..]))
    }

    pub(crate) fn floats(self, name: &str) -> Result<Option<&'a [f32]>, Error> {
        Ok(self.find(name, FLOATS)?.map(|found| &found.floats[..]))
    }

    pub(crate) fn text(self, name: &str, default: &'static str) -> Result<&'a str, Error> {
        match self.find(name, TEXT)? {
            None => Ok(default),
            Some(found) => std::str::from_utf8(&found.s)
                .map_err(|_| self.wrong(format!("attribute {name} is no text"))),
        }
    }

    pub(crate) fn tensor(self, name: &str) -> Result<Option<&'a crate::proto::TensorProto>, Error> {
        Ok(self.find(name, TENSOR)?.and_then(|found| found.t.as_ref()))
    }

    /// How many values a list of texts has; class names of some exporters.
    pub(crate) fn texts(self, name: &str) -> Result<Option<&'a [Vec<u8>]>, Error> {
        Ok(self.find(name, TEXTS)?.map(|found| &found.strings[..]))
    }

    /// Two positive numbers, one for each direction; `None` without the attribute.
    pub(crate) fn pair(self, name: &str) -> Result<Option<[usize; 2]>, Error> {
        let Some(values) = self.ints(name)? else {
            return Ok(None);
        };
        let pair = <[i64; 2]>::try_from(values).ok();
        let pair = pair.and_then(|[y, x]| Some([y.try_into().ok()?, x.try_into().ok()?]));
        match pair {
            Some(pair) if !pair.iter().any(|&side: &usize| side == 0 || side > LARGEST_SIDE) => Ok(Some(pair)),
            _ => Err(self.wrong(format!(
                "{name} is {values:?}, expected two positive numbers: only images of two dimensions are supported"
            ))),
        }
    }

    /// An axis counted from the front or, if negative, from behind.
    pub(crate) fn axis(self, axis: i64, rank: usize) -> Result<usize, Error> {
        let counted = if axis < 0 {
            axis.saturating_add(rank as i64)
        } else {
            axis
        };
        match usize::try_from(counted) {
            Ok(found) if found < rank => Ok(found),
            _ => Err(self.wrong(format!(
                "axis {axis} of a value of {rank} dimensions does not exist"
            ))),
        }
    }

    /// Several axes, each once.
    pub(crate) fn axes(self, axes: &[i64], rank: usize) -> Result<Vec<usize>, Error> {
        let mut found = Vec::with_capacity(axes.len().min(rank));
        for &axis in axes {
            let axis = self.axis(axis, rank)?;
            if found.contains(&axis) {
                return Err(self.wrong(format!("axis {axis} is given twice")));
            }
            found.push(axis);
        }
        Ok(found)
    }
}

/// Longest side of a window or step.
pub(crate) const LARGEST_SIDE: usize = 1 << 16;
