//! What each ONNX operator becomes: the dispatch, and what is looked through.

use std::rc::Rc;

use sordino_graph::NodeId;

use crate::Error;
use crate::array::Array;
use crate::attributes::Attributes;
use crate::computed::{Computed, Expression, Value};
use crate::element::Element;
use crate::evaluate::shape_part;
use crate::layout::{Layout, Settings, moves};
use crate::reader::Reader;
use crate::table::{refusal, step};

/// A node of the file that reads the image, and the network that it is read into.
pub(crate) struct Operator<'r, 'f> {
    pub(crate) reader: &'r mut Reader<'f>,
    pub(crate) at: Attributes<'f>,
}

pub(crate) const HALF: &str =
    "half precision is computed in single precision: results differ by its rounding";

impl Operator<'_, '_> {
    /// The outputs of a node, as many as are known.
    pub(crate) fn apply(&mut self) -> Result<Vec<Value>, Error> {
        let operator = self.at.operator();
        if self.reads_softmax() {
            return self.after_softmax().map(|value| vec![value]);
        }
        if moves(operator) {
            return self.rearrange();
        }
        let value = match operator {
            "Identity" => self.value(0)?.clone(),
            "Dropout" => {
                let training = self.optional(2)?.and_then(|array| array.single());
                if training.is_some_and(|training| training != 0.0) {
                    return Err(self.wrong(
                        "it is in training mode: export in evaluation mode (model.eval())",
                    ));
                }
                self.value(0)?.clone()
            }
            "Cast" | "CastLike" => self.cast()?,
            "Shape" | "Size" => self.shape()?,
            "Conv" => self.convolution()?,
            "ConvTranspose" => self.transposed_convolution()?,
            "Gemm" => self.gemm()?,
            "MatMul" => self.matmul()?,
            "BatchNormalization" => self.batch_norm()?,
            "AveragePool" | "MaxPool" => self.pool()?,
            "GlobalAveragePool" | "GlobalMaxPool" | "ReduceMean" | "ReduceSum" | "ReduceMax" => {
                self.reduce()?
            }
            "Concat" => self.concat()?,
            "Add" | "Sub" | "Sum" | "Mean" => self.sums()?,
            "Mul" | "Div" | "Pow" | "Neg" => self.products()?,
            "Max" | "Min" | "Clip" => self.clip()?,
            "QuantizeLinear" | "DequantizeLinear" => self.quantization()?,
            "Softmax" | "LogSoftmax" => self.softmax()?,
            "Scaler" => self.scaler()?,
            "LinearClassifier" => return self.linear_classifier(),
            _ => match self.function()? {
                Some(value) => value,
                None => return Err(refusal(self.at)),
            },
        };
        Ok(vec![value])
    }

    pub(crate) fn wrong(&self, what: impl Into<String>) -> Error {
        self.at.wrong(what)
    }

    pub(crate) fn unsupported(&self, advice: &str) -> Error {
        self.at.unsupported(advice)
    }

    fn name_of(&self, index: usize) -> &str {
        self.at.node.input.get(index).map_or("", |name| name)
    }

    /// The value of an input.
    pub(crate) fn value(&self, index: usize) -> Result<&Value, Error> {
        let name = self.name_of(index);
        self.reader.values.get(name).ok_or_else(|| {
            let input = format!("input {index} ({name:?})");
            self.wrong(format!(
                "{input} is missing, or no output that is supported"
            ))
        })
    }

    /// An optional constant.
    pub(crate) fn optional(&self, index: usize) -> Result<Option<Rc<Array>>, Error> {
        match self.name_of(index) {
            "" => Ok(None),
            _ => self.constant(index).map(Some),
        }
    }

    pub(crate) fn constant(&self, index: usize) -> Result<Rc<Array>, Error> {
        match self.value(index)? {
            Value::Constant(array) => Ok(Rc::clone(array)),
            _ => Err(self.wrong(format!(
                "input {index} is computed from the image, expected a constant: weights, shapes and indices must not depend on the image"
            ))),
        }
    }

    pub(crate) fn computed(&self, index: usize) -> Result<Computed, Error> {
        match self.value(index)? {
            Value::Computed(computed) => Ok(computed.clone()),
            Value::Softmax { .. } => Err(self.reads_probabilities()),
            Value::Constant(_) | Value::Unread(_) | Value::Refused => Err(self.wrong(format!(
                "input {index} is a constant, expected what is computed from the image"
            ))),
        }
    }

    /// An input that numbers are computed of: not raw bytes.
    pub(crate) fn numbers(&self, index: usize) -> Result<Computed, Error> {
        let computed = self.computed(index)?;
        match computed.raw {
            true => Err(self.wrong(crate::reader::RAW)),
            false => Ok(computed),
        }
    }

    /// An input whose value is a node's, but for the order of elements. Others who read it find the same node.
    pub(crate) fn settled(&mut self, index: usize) -> Result<Computed, Error> {
        let computed = self.numbers(index)?;
        let settled = self.reader.settle(self.at, &computed)?;
        let name = self.name_of(index).to_string();
        self.reader
            .values
            .insert(name, Value::Computed(settled.clone()));
        Ok(settled)
    }

    /// A node that reads others, and its value in its own order with these dimensions of one image.
    pub(crate) fn push(
        &mut self,
        op: sordino_graph::Op,
        inputs: &[NodeId],
        dims: &[usize],
    ) -> Result<Computed, Error> {
        let node = self.reader.append(self.at, op, inputs)?;
        Ok(Computed::of(
            node,
            crate::view::View::ordered(self.reader.batch, dims),
        ))
    }

    pub(crate) fn moved(&mut self, value: &Computed, layout: &Layout) -> Result<Computed, Error> {
        self.reader.moved(self.at, value, layout)
    }

    /// The constant inputs by position, the value's own left out.
    fn constants(&self) -> Result<Vec<Option<Rc<Array>>>, Error> {
        let mut constants = vec![None];
        for index in 1..self.at.node.input.len() {
            constants.push(self.optional(index)?);
        }
        Ok(constants)
    }

    fn rearrange(&mut self) -> Result<Vec<Value>, Error> {
        let value = self.computed(0)?;
        let constants = self.constants()?;
        let constants: Vec<Option<&Array>> = constants.iter().map(Option::as_deref).collect();
        let settings = Settings {
            at: self.at,
            constants: &constants,
        };
        let layouts = settings.layouts(&value.view.dims)?;
        let moved = layouts.iter().map(|layout| {
            self.reader
                .moved(self.at, &value, layout)
                .map(Value::Computed)
        });
        moved.collect()
    }

    fn cast(&mut self) -> Result<Value, Error> {
        let code = match self.at.operator() {
            "CastLike" => match self.value(1)? {
                Value::Constant(array) => Ok(array.element),
                _ => Ok(Element::Float),
            },
            _ => {
                let code = i32::try_from(self.at.int("to", 0)?).unwrap_or_default();
                Element::of(code)
                    .ok_or_else(|| self.wrong(format!("it casts to {}", Element::name(code))))
            }
        }?;
        let value = self.computed(0)?;
        match (code.is_float(), value.raw) {
            (true, _) => {
                if matches!(code, Element::Float16 | Element::BFloat16) {
                    self.reader.warn_once(self.at, HALF);
                }
                Ok(Value::Computed(Computed {
                    raw: false,
                    ..value
                }))
            }
            // Wider types of whole numbers hold the same bytes.
            (false, true) if code.bounds().1 >= 255 => Ok(Value::Computed(value)),
            _ => Err(self.wrong(format!(
                "it makes whole numbers ({code}) of what is computed from the image, {}",
                step(self.at)
            ))),
        }
    }

    /// The dimensions of a value, which only constants depend on.
    fn shape(&mut self) -> Result<Value, Error> {
        let dims = match self.value(0)? {
            Value::Softmax { logits, .. } => logits.view.dims.clone(),
            _ => self.computed(0)?.view.dims,
        };
        let array = match self.at.operator() {
            "Size" => Array::ints(vec![dims.iter().product::<usize>() as i64]).reshaped(vec![]),
            _ => Array::ints(shape_part(self.at, &dims)?),
        };
        Ok(Value::Constant(Rc::new(array)))
    }

    fn reads_softmax(&self) -> bool {
        self.softmax_name().is_some()
    }

    /// The name of the softmax that the node reads.
    fn softmax_name(&self) -> Option<&str> {
        let mut names = self.at.node.input.iter();
        let softmax =
            |name: &&String| matches!(self.reader.values.get(*name), Some(Value::Softmax { .. }));
        names.find(softmax).map(|name| &name[..])
    }

    fn reads_probabilities(&self) -> Error {
        self.unsupported(&format!(
            "it reads a softmax, which the client applies after decryption: import the softmax itself with --output {}, or export \
             the network without this node",
            self.softmax_name().unwrap_or("NAME")
        ))
    }

    /// What changes nothing about probabilities is looked through.
    fn after_softmax(&mut self) -> Result<Value, Error> {
        let operator = self.at.operator();
        let Value::Softmax { logits, log, name } = self.value(0)?.clone() else {
            return Err(self.reads_probabilities());
        };
        let logits = match operator {
            "Shape" | "Size" => return self.shape(),
            "Identity" | "Dropout" | "ZipMap" => logits,
            "Normalizer" if self.at.text("norm", "MAX")? == "L1" => logits,
            "Cast" | "CastLike" => {
                let code = i32::try_from(self.at.int("to", 1)?).unwrap_or_default();
                if !Element::of(code).is_some_and(Element::is_float) {
                    return Err(self.reads_probabilities());
                }
                logits
            }
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Expand" => {
                let constants = self.constants()?;
                let constants: Vec<Option<&Array>> =
                    constants.iter().map(Option::as_deref).collect();
                let settings = Settings {
                    at: self.at,
                    constants: &constants,
                };
                let layout = settings.layouts(&logits.view.dims)?.remove(0);
                let moved = self.moved(&logits, &layout)?;
                let same = match (&moved.view.indices, &logits.view.indices) {
                    (Some(one), Some(two)) => one == two,
                    (None, None) => true,
                    _ => false,
                };
                if !same {
                    return Err(self.reads_probabilities());
                }
                moved
            }
            _ => return Err(self.reads_probabilities()),
        };
        Ok(Value::Softmax { logits, log, name })
    }

    /// A value with another expression.
    pub(crate) fn polynomial(value: &Computed) -> &crate::polynomial::Polynomial {
        match &value.expression {
            Expression::Polynomial(polynomial) => polynomial,
            Expression::Call(_) => unreachable!("calls were given a node"),
        }
    }
}
