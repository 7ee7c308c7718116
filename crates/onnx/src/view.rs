//! How a value of the file lies in the value of a graph's node.

use std::rc::Rc;

use crate::layout::Layout;

/// Dimensions of a value as the file sees it, and which element of the node each of its elements is.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The file's dimensions, the batch among them.
    pub(crate) dims: Vec<usize>,
    /// The axis of the batch; `None` when the file is for one image only, and axes of one element do not matter.
    pub(crate) batch: Option<usize>,
    /// For one image, in the file's order: the node's element, or -1 for zero. `None` when it is the node's order.
    pub(crate) indices: Option<Rc<Vec<i32>>>,
}

impl View {
    /// A batch of values in the node's order; `dims` are those of one image.
    pub(crate) fn ordered(batch: usize, dims: &[usize]) -> Self {
        Self {
            dims: std::iter::once(batch).chain(dims.iter().copied()).collect(),
            batch: (batch > 1).then_some(0),
            indices: None,
        }
    }

    /// The dimensions of one image's value.
    pub(crate) fn image_dims(&self) -> Vec<usize> {
        let mut dims = self.dims.clone();
        match self.batch {
            Some(axis) => {
                dims.remove(axis);
            }
            // The first axis stands for the batch by convention.
            None if dims.first() == Some(&1) => {
                dims.remove(0);
            }
            None => {}
        }
        dims
    }

    /// Whether the batch is the first axis.
    pub(crate) fn batch_first(&self) -> bool {
        match self.batch {
            Some(axis) => axis == 0,
            None => self.dims.first() == Some(&1),
        }
    }

    /// Elements of one image.
    pub(crate) fn elements(&self) -> usize {
        let all: usize = self.dims.iter().product();
        all / self.batch.map_or(1, |axis| self.dims[axis])
    }

    /// Whether some elements are zeros that the node does not have.
    pub(crate) fn has_zeros(&self) -> bool {
        self.indices
            .as_ref()
            .is_some_and(|indices| indices.contains(&-1))
    }

    /// Whether both show elements in the same order.
    pub(crate) fn same_order(&self, other: &Self) -> bool {
        let same = match (&self.indices, &other.indices) {
            (Some(one), Some(two)) => Rc::ptr_eq(one, two) || one == two,
            (None, None) => true,
            _ => false,
        };
        same && self.dims == other.dims && self.batch == other.batch
    }

    /// Whether every element of a node of so many elements is shown once.
    pub(crate) fn is_permutation(&self, elements: usize) -> bool {
        let Some(indices) = &self.indices else {
            return self.elements() == elements;
        };
        if indices.len() != elements {
            return false;
        }
        let mut seen = vec![false; elements];
        indices.iter().all(|&index| {
            let place = usize::try_from(index)
                .ok()
                .and_then(|index| seen.get_mut(index));
            place.is_some_and(|seen| !std::mem::replace(seen, true))
        })
    }

    /// The indices, written out.
    pub(crate) fn written(&self) -> Rc<Vec<i32>> {
        match &self.indices {
            Some(indices) => Rc::clone(indices),
            None => Rc::new((0..self.elements() as i32).collect()),
        }
    }

    /// The value after its elements were moved; `None` when images of a batch are mixed.
    pub(crate) fn moved(&self, layout: &Layout) -> Option<Self> {
        let dims = &layout.dims;
        let images = self.batch.map_or(1, |axis| self.dims[axis]);
        let Some(positions) = &layout.positions else {
            let batch = match self.batch {
                None => None,
                Some(axis) => {
                    let before: usize = self.dims[..axis].iter().product();
                    let mut product = 1;
                    let found = dims.iter().position(|&dim| {
                        let here = product == before && dim == images;
                        product *= dim;
                        here
                    });
                    Some(found?)
                }
            };
            return Some(Self {
                dims: dims.clone(),
                batch,
                indices: self.indices.clone(),
            });
        };
        // Where an element of the value lies: which image, and where in the image.
        let inner: usize = self
            .batch
            .map_or(1, |axis| self.dims[axis + 1..].iter().product());
        let place = |position: usize| {
            let (outer, rest) = (position / (inner * images), position % (inner * images));
            (rest / inner, outer * inner + rest % inner)
        };
        let batch = match self.batch {
            None => None,
            Some(_) => {
                let fits = |axis: usize| {
                    let inner: usize = dims[axis + 1..].iter().product();
                    dims[axis] == images
                        && positions.iter().enumerate().all(|(at, &position)| {
                            position < 0 || place(position as usize).0 == at / inner % images
                        })
                };
                Some((0..dims.len()).find(|&axis| fits(axis))?)
            }
        };
        let (images, inner) = match batch {
            Some(axis) => (images, dims[axis + 1..].iter().product()),
            None => (1, 1),
        };
        let count = positions.len() / images;
        let mut indices = Vec::with_capacity(count);
        for at in 0..count {
            let image = |image: usize| match positions
                [(at / inner * images + image) * inner + at % inner]
            {
                position @ 0.. => {
                    let element = place(position as usize).1;
                    self.indices
                        .as_ref()
                        .map_or(element as i32, |own| own[element])
                }
                _ => -1,
            };
            let first = image(0);
            if (1..images).any(|other| image(other) != first) {
                return None;
            }
            indices.push(first);
        }
        let ordered = self.indices.is_none()
            && count == self.elements()
            && indices
                .iter()
                .enumerate()
                .all(|(at, &index)| index == at as i32);
        Some(Self {
            dims: dims.clone(),
            batch,
            indices: (!ordered).then(|| Rc::new(indices)),
        })
    }
}
