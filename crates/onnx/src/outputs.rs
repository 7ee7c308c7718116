//! What a network's outputs stand for: softmax, sigmoids, one logit, scores of scikit-learn.

use sordino_graph::{Function, NodeId, Op, OutputKind, Shape, Tensor};

use crate::Error;
use crate::array::Array;
use crate::attributes::Attributes;
use crate::computed::{Call, Called, Computed, Expression, Value};
use crate::evaluate::softmax_axes;
use crate::operators::Operator;
use crate::polynomial::{Coefficient, Polynomial};
use crate::reader::Reader;
use crate::view::View;

/// The logits of a network, and what the file makes of them.
pub(crate) struct Ending {
    pub(crate) node: NodeId,
    pub(crate) output: OutputKind,
    pub(crate) form: Form,
    /// The value of the file that the logits are, if it has one.
    pub(crate) logits: Option<String>,
}

/// What the file's output is of the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The logits.
    Logits,
    /// Softmax.
    Softmax,
    /// The logarithm of softmax.
    LogSoftmax,
    /// A sigmoid of each.
    Sigmoid,
    /// The difference of two logits.
    Difference,
    /// The sigmoid of the difference of two logits.
    DifferenceSigmoid,
}

impl Operator<'_, '_> {
    /// A softmax over all classes.
    pub(crate) fn softmax(&mut self) -> Result<Value, Error> {
        let logits = self.settled(0)?;
        let dims = &logits.view.dims;
        let (axis, end) = softmax_axes(self.at, dims.len())?;
        let over: usize = dims[axis..end].iter().product();
        let batch_outside = logits
            .view
            .batch
            .is_none_or(|batch| !(axis..end).contains(&batch));
        if !batch_outside || over != logits.view.elements() || over < 2 {
            return Err(self.wrong(format!(
                "a softmax over {over} of the {} elements of an image (dimensions {dims:?}), expected over all classes: \
                 only as the last operation, where the client applies it",
                logits.view.elements()
            )));
        }
        let name = self.at.node.input[0].clone();
        Ok(Value::Softmax {
            logits,
            log: self.at.operator() == "LogSoftmax",
            name,
        })
    }

    /// The logits `-z / 2` and `z / 2` of two classes, for the sigmoid of a value's `z`.
    pub(crate) fn two_logits(&mut self, logit: &Computed) -> Result<Computed, Error> {
        let node = two_logits(self.reader, self.at, logit)?;
        Ok(Computed::of(node, View::ordered(self.reader.batch, &[2])))
    }

    /// scikit-learn's scaling: `(x - offset) * scale`.
    pub(crate) fn scaler(&mut self) -> Result<Value, Error> {
        let value = self.numbers(0)?;
        let numbers = |name: &str| -> Result<Array, Error> {
            let values = self.at.floats(name)?.unwrap_or_default();
            Ok(Array::floats_of(vec![values.len()], values.to_vec()))
        };
        let (mut offset, scale) = (numbers("offset")?, numbers("scale")?);
        if let crate::array::Data::Float(values) = &mut offset.data {
            values.iter_mut().for_each(|value| *value = -*value);
        }
        let moved = self.reader.plus_constant(self.at, &value, &offset)?;
        self.times_constant(&moved, &scale).map(Value::Computed)
    }

    /// scikit-learn's linear classifier. Its first output, the label, is left to the client.
    pub(crate) fn linear_classifier(&mut self) -> Result<Vec<Value>, Error> {
        let at = self.at;
        let coefficients = at.floats("coefficients")?.unwrap_or_default();
        let intercepts = at.floats("intercepts")?.unwrap_or_default();
        let classes = at.ints("classlabels_ints")?.map(<[i64]>::len);
        let classes = classes
            .or(at.texts("classlabels_strings")?.map(<[_]>::len))
            .unwrap_or(0);
        let value = self.settled(0)?;
        let features = value.view.elements();
        let rows = coefficients.len() / features.max(1);
        if rows * features != coefficients.len()
            || rows != classes
            || !(intercepts.is_empty() || intercepts.len() == rows)
        {
            return Err(self.wrong(format!(
                "{} coefficients and {} intercepts for {classes} classes and {features} features",
                coefficients.len(),
                intercepts.len()
            )));
        }
        let opposite = |values: &[f32]| {
            let (one, other) = values.split_at(values.len() / 2);
            one.iter().zip(other).all(|(x, y)| *x == -*y)
        };
        let two = rows == 2 && opposite(coefficients) && opposite(intercepts);
        let (softmax, factor) = match at.text("post_transform", "NONE")? {
            "NONE" => (false, 1.0),
            "SOFTMAX" => (true, 1.0),
            // The sigmoids of z and -z are the softmax of z / 2 and -z / 2.
            "LOGISTIC" if two => (true, 0.5),
            other => {
                return Err(self.wrong(format!(
                    "post_transform {other} of {rows} classes, expected SOFTMAX: train with multi_class=\"multinomial\""
                )));
            }
        };
        let input = self
            .reader
            .node_of_shape(at, &value, Shape::Flat(features))?;
        let bias = match intercepts {
            [] => vec![0.0; rows],
            _ => intercepts.iter().map(|value| factor * value).collect(),
        };
        let weight = coefficients.iter().map(|value| factor * value).collect();
        let op = Op::Dense {
            weight: Tensor::new(&[rows, features], weight)?,
            bias,
        };
        let logits = self.push(op, &[input], &[rows])?;
        let scores = match softmax {
            true => Value::Softmax {
                logits,
                log: false,
                name: String::new(),
            },
            false => Value::Computed(logits),
        };
        Ok(vec![Value::Unread(at.operator().to_string()), scores])
    }
}

/// The node of two logits `-z / 2` and `z / 2` for the only element `z` of a value.
fn two_logits(reader: &mut Reader, at: Attributes, value: &Computed) -> Result<NodeId, Error> {
    let input = reader.node_of_shape(at, value, Shape::Flat(1))?;
    let op = Op::Dense {
        weight: Tensor::new(&[2, 1], vec![-0.5, 0.5])?,
        bias: vec![0.0, 0.0],
    };
    reader.append(at, op, &[input])
}

/// The logits of a network whose output is this value.
pub(crate) fn ending(
    reader: &mut Reader,
    at: Attributes,
    value: &Value,
    name: &str,
) -> Result<Ending, Error> {
    let (computed, output, mut form, logits) = match value {
        Value::Softmax { logits, log, name } => {
            let form = if *log {
                Form::LogSoftmax
            } else {
                Form::Softmax
            };
            (logits.clone(), OutputKind::Softmax, form, name.clone())
        }
        Value::Computed(value) => {
            let call = match &value.expression {
                Expression::Call(call) => sigmoid_of(call).map(|line| (call, line)),
                Expression::Polynomial(_) => None,
            };
            match call {
                Some((call, line)) => {
                    let own = line == (call.scale, call.shift);
                    let name = if own { &call.argument[..] } else { "" };
                    let logits = value.with(Expression::Polynomial(logit(call, line)));
                    (logits, OutputKind::Sigmoid, Form::Sigmoid, name.to_string())
                }
                None => (
                    value.clone(),
                    OutputKind::Raw,
                    Form::Logits,
                    name.to_string(),
                ),
            }
        }
        Value::Unread(operator) => {
            return Err(at.wrong(format!(
                "the output is one of {operator} that is not read (class numbers, places, masks): choose the scores with --output"
            )));
        }
        Value::Constant(_) | Value::Refused => {
            return Err(at.wrong("the output does not depend on the image"));
        }
    };
    if computed.view.batch.is_none() && reader.batch > 1 {
        return Err(at.wrong("the output has lost the batch"));
    }
    let classes = computed.view.elements();
    let sides = computed.view.image_dims();
    if output != OutputKind::Softmax && sides.iter().filter(|&&side| side > 1).count() > 1 {
        return Err(at.wrong(format!(
            "the output has the dimensions {:?}, expected one score for each class of an image: choose another with --output",
            computed.view.dims
        )));
    }
    if classes == 1 && output != OutputKind::Softmax {
        form = match form {
            Form::Sigmoid => Form::DifferenceSigmoid,
            _ => Form::Difference,
        };
        if form == Form::Difference {
            let (low, high) = reader.interval(&computed);
            if low >= 0.0 || high <= 0.0 {
                return Err(at.wrong(format!(
                    "the only output is always between {low} and {high}, so that it is no logit, which is below 0 for the first \
                     of two classes and above for the second: import the logit with --output NAME, or export the network with a \
                     Sigmoid as its end"
                )));
            }
            reader.warn(
                at,
                "one output without a sigmoid: it is taken for the logit of the second of two classes",
            );
        }
        let node = two_logits(reader, at, &computed)?;
        return Ok(Ending {
            node,
            output: OutputKind::Softmax,
            form,
            logits: Some(logits).filter(|name| !name.is_empty()),
        });
    }
    // What lies between several sigmoids and the output may have moved them.
    let logits = if form == Form::Sigmoid {
        String::new()
    } else {
        logits
    };
    let node = reader.node_of_shape(at, &computed, Shape::Flat(classes))?;
    Ok(Ending {
        node,
        output,
        form,
        logits: Some(logits).filter(|name| !name.is_empty()),
    })
}

/// Slope and offset of `z` in a node's value, where the call is `sigmoid(z)`; other activations may be written so too.
pub(crate) fn sigmoid_of(call: &Call) -> Option<(f64, f64)> {
    let by = match (&call.function, call.factor, call.offset) {
        (Called::Own(Function::Sigmoid), 1.0, 0.0) => 1.0,
        (Called::Own(Function::Sigmoid), -1.0, 1.0) => -1.0,
        (Called::Own(Function::Tanh), 0.5, 0.5) => 2.0,
        (Called::Own(Function::Tanh), -0.5, 0.5) => -2.0,
        _ => return None,
    };
    Some((by * call.scale, by * call.shift))
}

/// The line of a call's node.
pub(crate) fn logit(call: &Call, (slope, offset): (f64, f64)) -> Polynomial {
    let [slope, offset] = [slope, offset].map(Coefficient::scalar);
    Polynomial::line(call.node, slope, offset)
}
