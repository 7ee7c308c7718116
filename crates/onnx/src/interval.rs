//! Between which numbers a value lies, whatever the image: as far as activations tell.

use sordino_graph::{Function, NodeId, Op};

use crate::computed::{Call, Called, Computed, Expression};
use crate::reader::Reader;

const ANY: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

impl Reader<'_> {
    /// Smallest and largest number that the value can be; infinite where nothing is known.
    pub(crate) fn interval(&self, value: &Computed) -> (f64, f64) {
        match &value.expression {
            Expression::Call(Call {
                function: Called::Own(function),
                factor,
                offset,
                ..
            }) => line(bounds(function), (*factor, *offset)),
            Expression::Call(_) => ANY,
            Expression::Polynomial(polynomial) => match polynomial.single_line() {
                Some(of) => line(self.node_interval(polynomial.node), of),
                None => ANY,
            },
        }
    }

    fn node_interval(&self, mut node: NodeId) -> (f64, f64) {
        // Zeros that padding and selections put between the elements.
        let mut zeros = false;
        loop {
            match self.op(node) {
                Op::Activation(function) => {
                    let (low, high) = bounds(function);
                    return match zeros {
                        true => (low.min(0.0), high.max(0.0)),
                        false => (low, high),
                    };
                }
                Op::MaxPool { .. } | Op::AveragePool { .. } | Op::Flatten | Op::Select { .. } => {
                    zeros = true;
                    node = self.reads(node);
                }
                _ => return ANY,
            }
        }
    }
}

/// What `factor * x + offset` can be.
fn line((low, high): (f64, f64), (factor, offset): (f64, f64)) -> (f64, f64) {
    match factor {
        0.0 => (offset, offset),
        _ if factor > 0.0 => (factor * low + offset, factor * high + offset),
        _ => (factor * high + offset, factor * low + offset),
    }
}

fn bounds(function: &Function) -> (f64, f64) {
    match function {
        Function::Relu | Function::Softplus => (0.0, f64::INFINITY),
        Function::Sigmoid | Function::HardSigmoid { .. } => (0.0, 1.0),
        Function::Tanh => (-1.0, 1.0),
        Function::Clip { min, max } => (f64::from(*min), f64::from(*max)),
        _ => ANY,
    }
}
