//! ONNX operators on arrays, by their written definitions.
//!
//! Constants are folded with it, and a whole file is computed with it in the clear, independently of the graph that it
//! is read into: an import ends by comparing the two.

mod elementwise;
mod functions;
mod linear;
mod quantize;
mod reduce;

use std::cell::Cell;

pub(crate) use elementwise::clip_bounds;
pub(crate) use functions::{SELU_ALPHA, SELU_GAMMA};
pub(crate) use linear::Transposed;
pub(crate) use reduce::{Reduction, softmax_axes};

use crate::Error;
use crate::array::{Array, Data, MAX_MADE, elements};
use crate::attributes::Attributes;
use crate::element::Element;
use crate::layout::{Settings, moves};
use crate::tensor::Beside;

/// Most elements and multiplications, together, that computing may take.
const MAX_WORK: u64 = 1 << 38;

/// Most of them that constants may take: more than any network's, and seconds.
pub(crate) const MAX_FOLDING: u64 = 1 << 29;

/// What is common to all nodes of one pass over a file.
pub(crate) struct Evaluator<'a> {
    pub(crate) beside: &'a Beside,
    work: Cell<u64>,
}

impl<'a> Evaluator<'a> {
    /// For a pass over a network.
    pub(crate) const fn new(beside: &'a Beside) -> Self {
        Self {
            beside,
            work: Cell::new(MAX_WORK),
        }
    }

    /// For the constants of a network.
    pub(crate) const fn folding(beside: &'a Beside) -> Self {
        Self {
            beside,
            work: Cell::new(MAX_FOLDING),
        }
    }

    /// Takes work from what is left.
    pub(crate) fn charge(&self, at: Attributes, work: u64) -> Result<(), Error> {
        match self.work.get().checked_sub(work.saturating_add(16)) {
            Some(left) => {
                self.work.set(left);
                Ok(())
            }
            None => Err(at
                .wrong("the network takes too much work to read: use smaller images or constants")),
        }
    }

    /// As [`evaluate`](Self::evaluate), of values that follow from the image: nothing is rounded to whole numbers or to
    /// half precision, as the imported network does not round either.
    pub(crate) fn evaluate_unrounded(
        &self,
        at: Attributes,
        inputs: &[Option<&Array>],
    ) -> Result<Vec<Array>, Error> {
        let node = Node { at, inputs };
        let one = match at.operator() {
            "QuantizeLinear" => node.quantize_unrounded()?,
            "Cast"
                if matches!(node.input(0)?.data, Data::Float(_))
                    && matches!(at.int("to", 0)?, 1 | 10 | 11 | 16) =>
            {
                node.input(0)?.clone()
            }
            _ => return self.evaluate(at, inputs),
        };
        self.charge(at, one.len() as u64)?;
        Ok(vec![one])
    }

    /// The outputs of a node.
    pub(crate) fn evaluate(
        &self,
        at: Attributes,
        inputs: &[Option<&Array>],
    ) -> Result<Vec<Array>, Error> {
        let present = inputs.iter().flatten();
        self.charge(at, present.map(|array| array.len() as u64).sum())?;
        let node = Node { at, inputs };
        let operator = at.operator();
        let one = match operator {
            "Constant" => node.constant(self.beside)?,
            "Identity" => node.input(0)?.clone(),
            "Dropout" => {
                node.no_training()?;
                node.input(0)?.clone()
            }
            "Cast" => {
                let target = i32::try_from(at.int("to", 0)?).unwrap_or_default();
                cast(at, node.input(0)?, target)?
            }
            "CastLike" => cast_to(at, node.input(0)?, node.input(1)?.element)?,
            "Shape" => node.shape()?,
            "Size" => Array {
                dims: vec![],
                ..Array::ints(vec![node.input(0)?.len() as i64])
            },
            "ConstantOfShape" => node.constant_of_shape(self)?,
            "Range" => node.range(self)?,
            "Concat" => node.concat()?,
            moving if moves(moving) => {
                let value = node.input(0)?;
                let settings = Settings {
                    at,
                    constants: inputs,
                };
                let layouts = settings.layouts(&value.dims)?;
                let made = layouts.iter().filter_map(|layout| elements(&layout.dims));
                self.charge(at, made.map(|count| count as u64).sum())?;
                return Ok(layouts.iter().map(|layout| layout.apply(value)).collect());
            }
            _ => match node.elementwise(self)? {
                Some(found) => found,
                None => match node.linear(self)? {
                    Some(found) => found,
                    None if operator == "LinearClassifier" => return node.linear_classifier(),
                    None => node
                        .reduce()?
                        .ok_or_else(|| at.unsupported("it is no operator that is computed here"))?,
                },
            },
        };
        Ok(vec![one])
    }
}

/// A node and the arrays that it reads.
struct Node<'a> {
    at: Attributes<'a>,
    inputs: &'a [Option<&'a Array>],
}

impl<'a> Node<'a> {
    fn wrong(&self, what: impl Into<String>) -> Error {
        self.at.wrong(what)
    }

    fn optional(&self, index: usize) -> Option<&'a Array> {
        self.inputs.get(index).copied().flatten()
    }

    fn input(&self, index: usize) -> Result<&'a Array, Error> {
        self.optional(index)
            .ok_or_else(|| self.wrong(format!("input {index} is missing")))
    }

    /// Dropout in training mode is random.
    fn no_training(&self) -> Result<(), Error> {
        let training = self.optional(2).and_then(Array::single).unwrap_or(0.0);
        match training == 0.0 {
            true => Ok(()),
            false => {
                Err(self.wrong("it is in training mode: export in evaluation mode (model.eval())"))
            }
        }
    }

    /// The constant of a `Constant` node, in whichever attribute it is.
    fn constant(&self, beside: &Beside) -> Result<Array, Error> {
        let at = self.at;
        if let Some(tensor) = at.tensor("value")? {
            return Array::read(tensor, beside);
        }
        if let Some(value) = at.optional_float("value_float")? {
            return Ok(Array::floats_of(vec![], vec![value as f32]));
        }
        if let Some(values) = at.floats("value_floats")? {
            return Ok(Array::floats_of(vec![values.len()], values.to_vec()));
        }
        if let Some(values) = at.ints("value_ints")? {
            return Ok(Array::ints(values.to_vec()));
        }
        if at
            .node
            .attribute
            .iter()
            .any(|found| found.name == "value_int")
        {
            let value = Array::ints(vec![at.int("value_int", 0)?]);
            return Ok(value.reshaped(vec![]));
        }
        Err(self.wrong("expected a tensor or numbers, found neither"))
    }

    fn shape(&self) -> Result<Array, Error> {
        let dims = &self.input(0)?.dims;
        Ok(Array::ints(shape_part(self.at, dims)?))
    }

    fn constant_of_shape(&self, evaluator: &Evaluator) -> Result<Array, Error> {
        let target = self.input(0)?.as_ints().unwrap_or_default();
        let dims: Option<Vec<usize>> = target.iter().map(|&dim| dim.try_into().ok()).collect();
        let sized = dims.and_then(|dims| elements(&dims).map(|count| (dims, count)));
        let Some((dims, count)) = sized.filter(|(_, count)| *count <= MAX_MADE) else {
            return Err(self.wrong(format!("impossible dimensions {target:?}")));
        };
        evaluator.charge(self.at, count as u64)?;
        let value = match self.at.tensor("value")? {
            Some(tensor) => Array::read(tensor, evaluator.beside)?,
            None => Array::floats_of(vec![1], vec![0.0]),
        };
        if value.len() != 1 {
            return Err(self.wrong(format!("{} values, expected one", value.len())));
        }
        Ok(value.take(dims, &vec![0; count]))
    }

    fn range(&self, evaluator: &Evaluator) -> Result<Array, Error> {
        let number = |index| {
            let single = self.input(index)?.single();
            single.ok_or_else(|| self.wrong(format!("input {index} is no single number")))
        };
        let (start, limit, step) = (number(0)?, number(1)?, number(2)?);
        let count = ((limit - start) / step).ceil().max(0.0);
        if count.is_nan() || count > MAX_MADE as f64 {
            return Err(self.wrong(format!("{count} numbers, which is too many")));
        }
        evaluator.charge(self.at, count as u64)?;
        let values = (0..count as usize).map(|index| start + index as f64 * step);
        let first = self.input(0)?;
        Ok(match &first.data {
            Data::Int(_) => Array {
                element: first.element,
                ..Array::ints(values.map(|value| value as i64).collect())
            },
            Data::Float(_) => Array::floats_of(
                vec![count as usize],
                values.map(|value| value as f32).collect(),
            ),
        })
    }

    fn concat(&self) -> Result<Array, Error> {
        let first = self.input(0)?;
        let axis = self.at.axis(
            self.at.int("axis", if self.at.opset < 4 { 1 } else { 0 })?,
            first.dims.len(),
        )?;
        let arrays: Result<Vec<&Array>, Error> = (0..self.inputs.len())
            .map(|index| self.input(index))
            .collect();
        let arrays = arrays?;
        let mut dims = first.dims.clone();
        dims[axis] = 0;
        for array in &arrays {
            let fits = array.dims.len() == dims.len()
                && array.element.is_float() == first.element.is_float()
                && (0..dims.len())
                    .all(|other| other == axis || array.dims[other] == first.dims[other]);
            if !fits {
                return Err(self.wrong(format!(
                    "values of dimensions {:?} and {:?} along axis {axis}",
                    first.dims, array.dims
                )));
            }
            dims[axis] += array.dims[axis];
        }
        if elements(&dims).is_none_or(|count| count > MAX_MADE) {
            return Err(self.wrong(format!(
                "it makes a value of dimensions {dims:?}, which is too large"
            )));
        }
        let outer: usize = dims[..axis].iter().product();
        fn join<T: Copy>(outer: usize, parts: &[&[T]]) -> Vec<T> {
            let rows = (0..outer).flat_map(|row| {
                parts.iter().flat_map(move |part| {
                    let width = part.len() / outer;
                    part[row * width..][..width].iter().copied()
                })
            });
            rows.collect()
        }
        let data = match &first.data {
            Data::Float(_) => {
                let parts: Vec<_> = arrays.iter().map(|array| array.floats()).collect();
                let parts: Vec<&[f32]> = parts.iter().map(|part| &part[..]).collect();
                Data::Float(join(outer, &parts))
            }
            Data::Int(_) => {
                let parts: Vec<&[i64]> =
                    arrays.iter().filter_map(|array| array.as_ints()).collect();
                Data::Int(join(outer, &parts))
            }
        };
        Ok(Array {
            dims,
            element: first.element,
            data,
        })
    }
}

/// What `Shape` gives of these dimensions, from `start` to `end`.
pub(crate) fn shape_part(at: Attributes, dims: &[usize]) -> Result<Vec<i64>, Error> {
    let rank = dims.len() as i64;
    let counted = |place: i64| {
        let place = if place < 0 {
            place.saturating_add(rank)
        } else {
            place
        };
        place.clamp(0, rank) as usize
    };
    let (start, end) = (counted(at.int("start", 0)?), counted(at.int("end", rank)?));
    let part = dims.get(start..end).unwrap_or_default();
    Ok(part.iter().map(|&dim| dim as i64).collect())
}

fn cast(at: Attributes, array: &Array, target: i32) -> Result<Array, Error> {
    let Some(element) = Element::of(target) else {
        return Err(at.wrong(format!("it casts to {}", Element::name(target))));
    };
    cast_to(at, array, element)
}

fn cast_to(at: Attributes, array: &Array, element: Element) -> Result<Array, Error> {
    let (low, high) = element.bounds();
    // What other programs make of numbers that the type does not have differs between them.
    if let (Data::Float(values), false) =
        (&array.data, element.is_float() || element == Element::Bool)
        && let Some(found) = values
            .iter()
            .find(|value| !(low as f64..=high as f64).contains(&f64::from(value.trunc())))
    {
        return Err(at.wrong(format!(
            "it casts {found} to {element}, which has no such number: export again"
        )));
    }
    Ok(Array {
        dims: array.dims.clone(),
        element,
        data: cast_data(array, element),
    })
}

fn cast_data(array: &Array, element: Element) -> Data {
    let (low, high) = element.bounds();
    match (&array.data, element) {
        (Data::Float(values), Element::Float16) => Data::Float(
            values
                .iter()
                .map(|&v| half::f16::from_f32(v).to_f32())
                .collect(),
        ),
        (Data::Float(values), Element::BFloat16) => Data::Float(
            values
                .iter()
                .map(|&v| half::bf16::from_f32(v).to_f32())
                .collect(),
        ),
        (Data::Float(values), Element::Bool) => {
            Data::Int(values.iter().map(|&v| i64::from(v != 0.0)).collect())
        }
        (Data::Int(values), Element::Bool) => {
            Data::Int(values.iter().map(|&v| i64::from(v != 0)).collect())
        }
        (Data::Float(_), float) if float.is_float() => array.data.clone(),
        (Data::Int(_), float) if float.is_float() => Data::Float(array.floats().into_owned()),
        (Data::Float(values), _) => Data::Int(values.iter().map(|&v| v.trunc() as i64).collect()),
        // Whole numbers wrap around.
        (Data::Int(values), _) if low == i64::MIN || element == Element::Uint64 => {
            Data::Int(values.clone())
        }
        (Data::Int(values), _) => {
            let wrapped = values
                .iter()
                .map(|&v| (v - low).rem_euclid(high - low + 1) + low);
            Data::Int(wrapped.collect())
        }
    }
}
