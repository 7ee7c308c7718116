//! Branches that meet: concatenation.

use std::rc::Rc;

use sordino_graph::{Op, Shape};

use crate::Error;
use crate::computed::{Computed, Expression, Value};
use crate::operators::Operator;
use crate::outputs::{logit, sigmoid_of};
use crate::view::View;

/// A part of a concatenation: its dimensions, and its elements by the node of all parts.
struct Part {
    dims: Vec<usize>,
    indices: Rc<Vec<i32>>,
    /// Where the elements of its node begin in the node of all parts.
    start: usize,
}

impl Operator<'_, '_> {
    pub(crate) fn concat(&mut self) -> Result<Value, Error> {
        if let Some(value) = self.two_classes()? {
            return Ok(value);
        }
        let count = self.at.node.input.len();
        let mut computed: Vec<Option<Computed>> = Vec::with_capacity(count);
        for index in 0..count {
            computed.push(match self.value(index)? {
                Value::Constant(_) => None,
                _ => Some(self.settled(index)?),
            });
        }
        let Some(first) = computed.iter().flatten().next().cloned() else {
            return Err(self.wrong("it reads nothing that is computed from the image"));
        };
        let rank = first.view.dims.len();
        let axis = self.at.axis(self.at.int("axis", 1)?, rank)?;
        let batch = first.view.batch;
        if batch == Some(axis) {
            return Err(
                self.wrong("it joins along the batch: each image must be computed by itself")
            );
        }
        // Nodes whose maps have one size are joined by channels, others as vectors.
        let values = || computed.iter().flatten();
        let shape = self.reader.shape(first.node());
        let joined = |shape: Shape| match shape {
            Shape::Map { height, width, .. } => Some((height, width)),
            Shape::Flat(_) => None,
        };
        let alike = values().all(|value| joined(self.reader.shape(value.node())) == joined(shape));
        let mut nodes = Vec::with_capacity(count);
        let mut parts = Vec::with_capacity(count);
        let mut start = 0;
        let mut dims = first.view.dims.clone();
        dims[axis] = 0;
        let mut offsets = Vec::new();
        for (index, value) in computed.iter().enumerate() {
            let (own, indices, begin) = match value {
                Some(value) => {
                    let node = match alike || joined(self.reader.shape(value.node())).is_none() {
                        true => value.node(),
                        false => self.reader.append(self.at, Op::Flatten, &[value.node()])?,
                    };
                    nodes.push(node);
                    let begin = start;
                    start += self.reader.shape(node).elements();
                    if value.view.batch != batch {
                        return Err(self.wrong("it joins values whose batch is another axis"));
                    }
                    (value.view.dims.clone(), value.view.written(), begin)
                }
                None => {
                    // Zeros for now; what the constant is instead is added below.
                    let array = self.constant(index)?;
                    let images = batch.map_or(1, |axis| array.dims.get(axis).copied().unwrap_or(0));
                    let elements = array.len() / images.max(1);
                    offsets.push((index, Rc::clone(&array)));
                    (array.dims.clone(), Rc::new(vec![-1; elements]), 0)
                }
            };
            let fits = own.len() == rank && (0..rank).all(|at| at == axis || own[at] == dims[at]);
            if !fits {
                return Err(self.wrong(format!(
                    "values of dimensions {own:?} and {:?} along axis {axis}",
                    first.view.dims
                )));
            }
            dims[axis] += own[axis];
            self.reader
                .evaluator
                .charge(self.at, indices.len() as u64)?;
            parts.push(Part {
                dims: own,
                indices,
                start: begin,
            });
        }
        if start > sordino_graph::MAX_ELEMENTS
            || dims.iter().product::<usize>() > crate::array::MAX_MADE
        {
            return Err(self.wrong(format!(
                "it makes a value of dimensions {dims:?}, which is too large"
            )));
        }
        let node = match nodes[..] {
            [node] => node,
            _ => self.reader.append(self.at, Op::Concat, &nodes)?,
        };
        let indices = join(&parts, batch, axis);
        let elements = self.reader.shape(node).elements();
        let ordered = indices.len() == elements
            && indices
                .iter()
                .enumerate()
                .all(|(at, &index)| index == at as i32);
        let view = View {
            dims: dims.clone(),
            batch,
            indices: (!ordered).then(|| Rc::new(indices)),
        };
        let mut joined = Computed::of(node, view);
        for (index, array) in offsets {
            if array.floats().iter().all(|&value| value == 0.0) {
                continue;
            }
            // The constant where it stands, zeros elsewhere.
            let before: usize = parts[..index].iter().map(|part| part.dims[axis]).sum();
            let taken = |at: usize, dim: usize| match at == axis {
                false => (0..dim as i64).collect::<Vec<i64>>(),
                true => (0..dim)
                    .map(|place| {
                        place
                            .checked_sub(before)
                            .filter(|&p| p < array.dims[axis])
                            .map_or(-1, |p| p as i64)
                    })
                    .collect(),
            };
            let axes: Vec<Vec<i64>> = dims
                .iter()
                .enumerate()
                .map(|(at, &dim)| taken(at, dim))
                .collect();
            let spread = crate::layout::Layout::per_axis(&array.dims, &axes).apply(&array);
            joined = self.reader.plus_constant(self.at, &joined, &spread)?;
        }
        Ok(Value::Computed(joined))
    }

    /// `[1 - p, p]` or `[p, 1 - p]` for the sigmoid `p` of one value: two classes.
    fn two_classes(&mut self) -> Result<Option<Value>, Error> {
        if self.at.node.input.len() != 2 {
            return Ok(None);
        }
        let (Value::Computed(other), Value::Computed(one)) = (self.value(0)?, self.value(1)?)
        else {
            return Ok(None);
        };
        let (Expression::Call(negative), Expression::Call(positive)) =
            (&other.expression, &one.expression)
        else {
            return Ok(None);
        };
        let (Some(first), Some(second)) = (sigmoid_of(negative), sigmoid_of(positive)) else {
            return Ok(None);
        };
        let opposite = negative.node == positive.node
            && first == (-second.0, -second.1)
            && one.view.same_order(&other.view)
            && one.view.elements() == 1;
        let last = one.view.dims.len() as i64 - 1;
        let axis = self.at.int("axis", 1)?;
        if !opposite || axis != last && axis != -1 {
            return Ok(None);
        }
        let one = one.with(Expression::Polynomial(logit(positive, second)));
        let logits = self.two_logits(&one)?;
        let mut dims = one.view.dims.clone();
        dims[last as usize] = 2;
        let logits = Computed {
            view: View {
                dims,
                ..logits.view
            },
            ..logits
        };
        Ok(Some(Value::Softmax {
            logits,
            log: false,
            name: String::new(),
        }))
    }
}

/// The indices of all parts along an axis of the file's dimensions, for one image.
fn join(parts: &[Part], batch: Option<usize>, axis: usize) -> Vec<i32> {
    let image_dims = |part: &Part| {
        let dims = part
            .dims
            .iter()
            .enumerate()
            .filter(|(at, _)| Some(*at) != batch);
        dims.map(|(_, &dim)| dim).collect::<Vec<usize>>()
    };
    let axis = axis - usize::from(batch.is_some_and(|batch| batch < axis));
    let outer: usize = image_dims(&parts[0])[..axis].iter().product();
    let mut joined = Vec::with_capacity(parts.iter().map(|part| part.indices.len()).sum());
    for row in 0..outer {
        for part in parts {
            let width = part.indices.len() / outer;
            let indices = &part.indices[row * width..][..width];
            joined.extend(indices.iter().map(|&index| {
                if index < 0 {
                    -1
                } else {
                    index + part.start as i32
                }
            }));
        }
    }
    joined
}
