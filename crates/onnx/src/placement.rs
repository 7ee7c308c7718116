//! Values of the file and the order of a node's elements: moving, broadcasting, and nodes in the file's order.

use std::rc::Rc;

use sordino_graph::{NodeId, Op, Shape};

use crate::Error;
use crate::array::Array;
use crate::attributes::Attributes;
use crate::computed::{Computed, Expression};
use crate::layout::Layout;
use crate::polynomial::{Coefficient, Polynomial};
use crate::reader::{RAW, Reader};
use crate::view::View;

impl Reader<'_> {
    /// The value with a node's elements in the file's order: `[channels, height, width]` of a map where the file has
    /// three dimensions, a vector otherwise.
    pub(crate) fn ordered(&mut self, at: Attributes, value: &Computed) -> Result<Computed, Error> {
        let shape = natural_shape(&value.view);
        let node = self.node_of_shape(at, value, shape)?;
        let view = View {
            indices: None,
            ..value.view.clone()
        };
        Ok(Computed::of(node, view))
    }

    /// The node that holds a value in the file's order, as a map or vector of this shape.
    pub(crate) fn node_of_shape(
        &mut self,
        at: Attributes,
        value: &Computed,
        shape: Shape,
    ) -> Result<NodeId, Error> {
        let settled = self.settle(at, value)?;
        let (node, view) = (settled.node(), &settled.view);
        let found = self.shape(node);
        if view.elements() != shape.elements() || shape.elements() == 0 {
            return Err(at.wrong(format!(
                "it reads {} elements, expected {shape}",
                view.elements()
            )));
        }
        match (&view.indices, shape) {
            (None, _) if found == shape => Ok(node),
            (None, Shape::Flat(_)) => self.append(at, Op::Flatten, &[node]),
            _ => {
                if shape.elements() > sordino_graph::MAX_ELEMENTS {
                    return Err(at.wrong(format!(
                        "it makes a value of {} elements: use smaller images",
                        shape.elements()
                    )));
                }
                let indices = view.written().to_vec();
                self.append(at, Op::Select { shape, indices }, &[node])
            }
        }
    }

    /// A value after its elements were moved.
    pub(crate) fn moved(
        &mut self,
        at: Attributes,
        value: &Computed,
        layout: &Layout,
    ) -> Result<Computed, Error> {
        if layout.dims.contains(&0) {
            return Err(at.wrong(format!(
                "nothing is left of a value of dimensions {:?}",
                value.view.dims
            )));
        }
        let cost = layout.positions.as_ref().map_or(1, Vec::len);
        self.evaluator.charge(at, cost as u64)?;
        let fills = layout
            .positions
            .as_ref()
            .is_some_and(|positions| positions.contains(&-1));
        let mut view = value.view.moved(layout).ok_or_else(|| {
            at.wrong("it mixes the images of a batch, or moves parts of images differently: each image must be computed by itself")
        })?;
        let elements = self.shape(value.node()).elements();
        let in_order = |indices: &Rc<Vec<i32>>| {
            indices.len() == elements
                && indices
                    .iter()
                    .enumerate()
                    .all(|(at, &index)| index == at as i32)
        };
        if view.indices.as_ref().is_some_and(in_order) {
            view.indices = None;
        }
        let moved = Computed {
            view,
            ..value.clone()
        };
        if fills && layout.filling != 0.0 {
            let filled = layout.positions.iter().flatten();
            let filled = filled.map(|&position| {
                if position < 0 {
                    layout.filling as f32
                } else {
                    0.0
                }
            });
            let filled = Array::floats_of(layout.dims.clone(), filled.collect());
            return self.plus_constant(at, &moved, &filled);
        }
        Ok(moved)
    }

    /// A value and a constant, broadcast to each other; the constant by the elements of the value's node.
    pub(crate) fn beside(
        &mut self,
        at: Attributes,
        value: &Computed,
        constant: &Array,
    ) -> Result<(Computed, Coefficient), Error> {
        if value.raw {
            return Err(at.wrong(RAW));
        }
        let dims = crate::array::broadcast(&value.view.dims, &constant.dims).ok_or_else(|| {
            at.wrong(format!(
                "a constant of dimensions {:?} next to a value of dimensions {:?}: they cannot be broadcast",
                constant.dims, value.view.dims
            ))
        })?;
        let value = self.expanded(at, value, &dims)?;
        let numbers = constant.floats();
        self.evaluator.charge(at, numbers.len() as u64)?;
        if numbers.iter().all(|number| *number == numbers[0])
            && !numbers.is_empty()
            && !value.view.has_zeros()
        {
            return Ok((value, Coefficient::scalar(f64::from(numbers[0]))));
        }
        let value = match value
            .view
            .is_permutation(self.shape(value.node()).elements())
        {
            true => value,
            false => self.ordered(at, &value)?,
        };
        let shape = self.shape(value.node());
        self.evaluator
            .charge(at, (shape.elements() * self.batch) as u64)?;
        // One image's part of the constant: all images must have the same.
        let view = &value.view;
        let places = crate::array::broadcast_positions(&constant.dims, &view.dims);
        let (images, inner) = match view.batch {
            Some(axis) => (
                view.dims[axis],
                view.dims[axis + 1..].iter().product::<usize>(),
            ),
            None => (1, 1),
        };
        let mut coefficients = vec![0.0; shape.elements()];
        for element in 0..view.elements() {
            let number = |image: usize| {
                numbers
                    [places[(element / inner * images + image) * inner + element % inner] as usize]
            };
            let first = number(0);
            if (1..images).any(|image| number(image).to_bits() != first.to_bits()) {
                return Err(at.wrong(
                    "a constant differs from image to image of a batch: export for a batch of one",
                ));
            }
            let node_element = view
                .indices
                .as_ref()
                .map_or(element, |indices| indices[element] as usize);
            coefficients[node_element] = f64::from(first);
        }
        Ok((value, Coefficient::shared(coefficients, &shape)))
    }

    /// The sum of a value and a constant.
    pub(crate) fn plus_constant(
        &mut self,
        at: Attributes,
        value: &Computed,
        constant: &Array,
    ) -> Result<Computed, Error> {
        let (value, offset) = self.beside(at, value, constant)?;
        if self.absorb(&value, &Coefficient::scalar(1.0), &offset) {
            return Ok(value);
        }
        let value = self.as_polynomial(at, &value)?;
        let Expression::Polynomial(polynomial) = &value.expression else {
            unreachable!("it was made a polynomial")
        };
        let shape = self.shape(value.node());
        let sum = polynomial.add(&Polynomial::constant(polynomial.node, offset), 1.0, &shape);
        Ok(value.with(Expression::Polynomial(sum)))
    }

    /// A value broadcast to dimensions that it fits.
    pub(crate) fn expanded(
        &mut self,
        at: Attributes,
        value: &Computed,
        dims: &[usize],
    ) -> Result<Computed, Error> {
        if value.view.dims == dims {
            return Ok(value.clone());
        }
        let count = dims
            .iter()
            .try_fold(1usize, |product, &dim| product.checked_mul(dim));
        if count.is_none_or(|count| count > crate::array::MAX_MADE) {
            return Err(at.wrong(format!(
                "it makes a value of dimensions {dims:?}, which is too large"
            )));
        }
        let same_size = count == Some(value.view.dims.iter().product());
        let layout = match same_size {
            true => Layout::reshaped(dims.to_vec()),
            false => Layout::expanded(&value.view.dims, dims.to_vec()),
        };
        self.moved(at, value, &layout)
    }
}

/// A map where a value has three dimensions besides the batch, a vector otherwise.
pub(crate) fn natural_shape(view: &View) -> Shape {
    match (view.batch_first(), &view.image_dims()[..]) {
        (true, &[channels, height, width]) => Shape::map(channels, height, width),
        _ => Shape::Flat(view.elements()),
    }
}
