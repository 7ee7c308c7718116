//! A node's settings.

use crate::Error;
use crate::array::Array;
use crate::proto::{AttributeProto, NodeProto};

/// A node with its name for messages.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a> {
    pub(crate) node: &'a NodeProto,
}

impl<'a> Attributes<'a> {
    /// The node's name, or its first output's if it has none.
    pub(crate) fn name(self) -> &'a str {
        match (&self.node.name[..], self.node.output.first()) {
            ("", Some(output)) => output,
            (name, _) => name,
        }
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

    fn find(self, name: &str) -> Option<&'a AttributeProto> {
        let mut attributes = self.node.attribute.iter();
        attributes.find(|attribute| attribute.name == name)
    }

    pub(crate) fn int(self, name: &str, default: i64) -> i64 {
        self.find(name).map_or(default, |attribute| attribute.i)
    }

    pub(crate) fn float(self, name: &str, default: f32) -> f32 {
        self.find(name).map_or(default, |attribute| attribute.f)
    }

    pub(crate) fn ints(self, name: &str) -> Option<&'a [i64]> {
        self.find(name).map(|attribute| &attribute.ints[..])
    }

    pub(crate) fn text(self, name: &str) -> &'a str {
        let bytes = self.find(name).map_or(&[][..], |attribute| &attribute.s);
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The constant of a `Constant` node, in whichever attribute it is.
    pub(crate) fn constant(self) -> Result<Array, Error> {
        for attribute in &self.node.attribute {
            match (&attribute.name[..], &attribute.t) {
                ("value", Some(tensor)) => return Array::read(tensor),
                ("value_float", _) => return Ok(Array::floats_of(vec![attribute.f], true)),
                ("value_floats", _) => {
                    return Ok(Array::floats_of(attribute.floats.clone(), false));
                }
                ("value_int", _) => {
                    return Ok(Array {
                        dims: vec![],
                        ..Array::ints(vec![attribute.i])
                    });
                }
                ("value_ints", _) => return Ok(Array::ints(attribute.ints.clone())),
                _ => {}
            }
        }
        Err(self.wrong("expected a tensor or numbers, found neither"))
    }

    /// Two positive numbers, one for each direction; `None` without the attribute.
    pub(crate) fn pair(self, name: &str) -> Result<Option<[usize; 2]>, Error> {
        let Some(values) = self.ints(name) else {
            return Ok(None);
        };
        let pair = <[i64; 2]>::try_from(values).ok();
        let pair = pair.and_then(|[y, x]| Some([y.try_into().ok()?, x.try_into().ok()?]));
        match pair {
            Some(pair) if !pair.contains(&0) => Ok(Some(pair)),
            _ => Err(self.wrong(format!(
                "{name} is {values:?}, expected two positive numbers: only images of two dimensions are supported"
            ))),
        }
    }

    /// Padding of both directions, the same on both sides, for windows of this size and stride over this map.
    pub(crate) fn padding(
        self,
        kernel: [usize; 2],
        stride: [usize; 2],
        size: [usize; 2],
    ) -> Result<[usize; 2], Error> {
        match self.text("auto_pad") {
            "" | "NOTSET" => {}
            "VALID" => return Ok([0, 0]),
            "SAME_UPPER" | "SAME_LOWER" => {
                let mut padding = [0; 2];
                for axis in 0..2 {
                    let covered = (size[axis].div_ceil(stride[axis]).max(1) - 1)
                        .saturating_mul(stride[axis])
                        .saturating_add(kernel[axis]);
                    let both = covered.saturating_sub(size[axis]);
                    if both % 2 == 1 {
                        return Err(self.wrong(format!(
                            "auto_pad {} puts {both} pixels on one side more than on the other: pad both sides alike",
                            self.text("auto_pad")
                        )));
                    }
                    padding[axis] = both / 2;
                }
                return Ok(padding);
            }
            other => return Err(self.wrong(format!("auto_pad is {other:?}, expected NOTSET"))),
        }
        let Some(pads) = self.ints("pads") else {
            return Ok([0, 0]);
        };
        match *pads {
            [top, left, bottom, right] if top == bottom && left == right => {
                let sides = [top, left].map(usize::try_from);
                if let [Ok(top), Ok(left)] = sides {
                    return Ok([top, left]);
                }
                Err(self.wrong(format!(
                    "negative padding {pads:?}: slice the input instead"
                )))
            }
            _ => Err(self.wrong(format!(
                "padding {pads:?}, expected the same on both sides: pad both sides alike"
            ))),
        }
    }

    /// Refuses an integer attribute that is not what is computed.
    pub(crate) fn expect(self, name: &str, expected: i64, advice: &str) -> Result<(), Error> {
        match self.int(name, expected) {
            found if found == expected => Ok(()),
            found => Err(self.wrong(format!("{name} is {found}, expected {expected}: {advice}"))),
        }
    }

    /// Refuses dilated windows.
    pub(crate) fn no_dilation(self) -> Result<(), Error> {
        match self.ints("dilations") {
            Some(values) if values.iter().any(|&value| value != 1) => Err(self.wrong(format!(
                "dilations {values:?}, expected 1: use a larger kernel or a pool in front"
            ))),
            _ => Ok(()),
        }
    }
}
