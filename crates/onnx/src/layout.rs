//! Operators that move elements and compute nothing, as lists of positions.
//!
//! The same lists rearrange constants, values of a network computed in the clear, and views of a graph's nodes.

use crate::Error;
use crate::array::{Array, Data, MAX_MADE, broadcast_positions, elements, strides, walk};
use crate::attributes::Attributes;

/// Elements of a value in a new order.
pub(crate) struct Layout {
    pub(crate) dims: Vec<usize>,
    /// For each element its position in the value, or -1 for the filling; `None` when the order stays.
    pub(crate) positions: Option<Vec<i64>>,
    /// What stands where the position is -1.
    pub(crate) filling: f64,
}

impl Layout {
    /// The elements in the order that they have.
    pub(crate) const fn reshaped(dims: Vec<usize>) -> Self {
        Self {
            dims,
            positions: None,
            filling: 0.0,
        }
    }

    const fn moved(dims: Vec<usize>, positions: Vec<i64>) -> Self {
        Self {
            dims,
            positions: Some(positions),
            filling: 0.0,
        }
    }

    pub(crate) fn expanded(from: &[usize], to: Vec<usize>) -> Self {
        let positions = broadcast_positions(from, &to);
        Self::moved(to, positions)
    }

    pub(crate) fn transposed(from: &[usize], axes: &[usize]) -> Self {
        let steps = strides(from);
        let dims: Vec<usize> = axes.iter().map(|&axis| from[axis]).collect();
        let steps: Vec<usize> = axes.iter().map(|&axis| steps[axis]).collect();
        // Axes of one element may change places without moving anything.
        let real = axes.iter().filter(|&&axis| from[axis] != 1);
        if real.clone().zip(real.skip(1)).all(|(one, next)| one < next) {
            return Self::reshaped(dims);
        }
        let positions = walk(&dims, &steps);
        Self::moved(dims, positions)
    }

    /// Each axis takes these indices of its own, -1 for the filling.
    pub(crate) fn per_axis(from: &[usize], axes: &[Vec<i64>]) -> Self {
        let same = |(axis, &dim): (&Vec<i64>, &usize)| axis.iter().copied().eq(0..dim as i64);
        let dims: Vec<usize> = axes.iter().map(Vec::len).collect();
        if axes.iter().zip(from).all(same) {
            return Self::reshaped(dims);
        }
        let mut positions = vec![0i64];
        for (axis, step) in axes.iter().zip(strides(from)) {
            let next = |start: i64| {
                axis.iter().map(move |&index| match (start, index) {
                    (0.., 0..) => start + index * step as i64,
                    _ => -1,
                })
            };
            positions = positions.iter().flat_map(|&start| next(start)).collect();
        }
        Self::moved(dims, positions)
    }

    pub(crate) fn apply(&self, array: &Array) -> Array {
        let Some(positions) = &self.positions else {
            return array.reshaped(self.dims.clone());
        };
        let mut taken = array.take(self.dims.clone(), positions);
        if self.filling != 0.0 {
            let filled = positions.iter().enumerate().filter(|(_, at)| **at < 0);
            match &mut taken.data {
                Data::Float(values) => {
                    filled.for_each(|(place, _)| values[place] = self.filling as f32);
                }
                Data::Int(values) => {
                    filled.for_each(|(place, _)| values[place] = self.filling as i64);
                }
            }
        }
        taken
    }
}

/// What a node that moves elements reads besides the value: constants, by position.
pub(crate) struct Settings<'a> {
    pub(crate) at: Attributes<'a>,
    pub(crate) constants: &'a [Option<&'a Array>],
}

impl<'a> Settings<'a> {
    pub(crate) fn wrong(&self, what: impl Into<String>) -> Error {
        self.at.wrong(what)
    }

    pub(crate) fn constant(&self, index: usize) -> Option<&'a Array> {
        self.constants.get(index).copied().flatten()
    }

    /// Whole numbers: an attribute of old versions, an input of new ones.
    pub(crate) fn numbers(&self, name: &str, index: usize) -> Result<Option<&'a [i64]>, Error> {
        if let Some(array) = self.constant(index) {
            let numbers = array.as_ints().filter(|_| array.dims.len() <= 1);
            return numbers.map(Some).ok_or_else(|| {
                self.wrong(format!(
                    "{name} is {} {:?}, expected whole numbers",
                    array.element, array.dims
                ))
            });
        }
        self.at.ints(name)
    }

    /// How the node moves the elements of a value of these dimensions; one layout per output.
    pub(crate) fn layouts(&self, from: &[usize]) -> Result<Vec<Layout>, Error> {
        let one = match self.at.operator() {
            "Reshape" => Layout::reshaped(self.reshape(from)?),
            "Flatten" => Layout::reshaped(self.flatten(from)?),
            "Squeeze" => Layout::reshaped(self.squeeze(from)?),
            "Unsqueeze" => Layout::reshaped(self.unsqueeze(from)?),
            "Transpose" => self.transpose(from)?,
            "Expand" => self.expand(from)?,
            "Slice" => self.slice(from)?,
            "Gather" => self.gather(from)?,
            "Tile" => self.tile(from)?,
            "Pad" => self.pad(from)?,
            "Resize" | "Upsample" => {
                let axes = self.nearest_axes(from)?;
                self.checked(&axes.iter().map(Vec::len).collect::<Vec<_>>())?;
                Layout::per_axis(from, &axes)
            }
            "DepthToSpace" | "SpaceToDepth" => self.blocks(from)?,
            "Split" => return self.split(from),
            other => unreachable!("{other} moves no elements"),
        };
        Ok(vec![one])
    }

    /// The dimensions, if an array may have them.
    pub(crate) fn checked(&self, dims: &[usize]) -> Result<Vec<usize>, Error> {
        match elements(dims) {
            Some(count) if count <= MAX_MADE => Ok(dims.to_vec()),
            _ => Err(self.wrong(format!(
                "it makes a value of dimensions {dims:?}, which is too large"
            ))),
        }
    }

    fn reshape(&self, from: &[usize]) -> Result<Vec<usize>, Error> {
        let target = self.numbers("shape", 1)?;
        let target = target.ok_or_else(|| self.wrong("it has no shape"))?;
        let all_zero = self.at.flag("allowzero", false)?;
        let mut dims = Vec::with_capacity(target.len());
        let mut open = None;
        for (axis, &dim) in target.iter().enumerate() {
            dims.push(match dim {
                -1 if open.is_none() => {
                    open = Some(axis);
                    1
                }
                0 if !all_zero && axis < from.len() => from[axis],
                _ => usize::try_from(dim).map_err(|_| {
                    self.wrong(format!("the shape {target:?} has an impossible dimension"))
                })?,
            });
        }
        let count: usize = from.iter().product();
        let known = elements(&dims).unwrap_or(0);
        if let Some(axis) = open
            && known > 0
            && count.is_multiple_of(known)
        {
            dims[axis] = count / known;
        }
        match elements(&dims) {
            Some(found) if found == count => Ok(dims),
            _ => Err(self.wrong(format!(
                "a value of dimensions {from:?} {MISFIT} {target:?}: export with a batch of any size, or of one"
            ))),
        }
    }

    fn flatten(&self, from: &[usize]) -> Result<Vec<usize>, Error> {
        let axis = self.at.int("axis", 1)?;
        let axis = match axis == from.len() as i64 {
            true => from.len(),
            false => self.at.axis(axis, from.len())?,
        };
        Ok(vec![
            from[..axis].iter().product(),
            from[axis..].iter().product(),
        ])
    }

    fn squeeze(&self, from: &[usize]) -> Result<Vec<usize>, Error> {
        let axes = match self.numbers("axes", 1)? {
            Some(axes) => self.at.axes(axes, from.len())?,
            None => (0..from.len()).filter(|&axis| from[axis] == 1).collect(),
        };
        if let Some(&axis) = axes.iter().find(|&&axis| from[axis] != 1) {
            return Err(self.wrong(format!(
                "axis {axis} has {} elements, expected 1",
                from[axis]
            )));
        }
        let kept = from
            .iter()
            .enumerate()
            .filter(|(axis, _)| !axes.contains(axis));
        Ok(kept.map(|(_, &dim)| dim).collect())
    }

    fn unsqueeze(&self, from: &[usize]) -> Result<Vec<usize>, Error> {
        let axes = self.numbers("axes", 1)?;
        let axes = axes.ok_or_else(|| self.wrong("it has no axes"))?;
        if axes.len() > 8 {
            return Err(self.wrong(format!("{} new axes, expected at most 8", axes.len())));
        }
        let rank = from.len() + axes.len();
        let axes = self.at.axes(axes, rank)?;
        let mut old = from.iter();
        Ok((0..rank)
            .map(|axis| match axes.contains(&axis) {
                true => 1,
                false => *old.next().unwrap_or(&1),
            })
            .collect())
    }

    fn transpose(&self, from: &[usize]) -> Result<Layout, Error> {
        let axes = match self.at.ints("perm")? {
            Some(axes) if axes.len() == from.len() => self.at.axes(axes, from.len())?,
            Some(axes) => {
                return Err(self.wrong(format!("perm {axes:?} of a value of dimensions {from:?}")));
            }
            None => (0..from.len()).rev().collect(),
        };
        Ok(Layout::transposed(from, &axes))
    }

    fn expand(&self, from: &[usize]) -> Result<Layout, Error> {
        let target = self.numbers("shape", 1)?.unwrap_or_default();
        let target: Option<Vec<usize>> = target.iter().map(|&dim| dim.try_into().ok()).collect();
        let dims = target.and_then(|target| crate::array::broadcast(from, &target));
        let dims =
            dims.ok_or_else(|| self.wrong(format!("dimensions {from:?} do not fit the shape")))?;
        let dims = self.checked(&dims)?;
        if dims == from {
            return Ok(Layout::reshaped(dims));
        }
        Ok(Layout::expanded(from, dims))
    }

    fn slice(&self, from: &[usize]) -> Result<Layout, Error> {
        let needed = |name: &str, index| {
            let numbers = self.numbers(name, index)?;
            numbers.ok_or_else(|| self.wrong(format!("it has no {name}")))
        };
        let (starts, ends) = (needed("starts", 1)?, needed("ends", 2)?);
        let axes = match self.numbers("axes", 3)? {
            Some(axes) => self.at.axes(axes, from.len())?,
            None => (0..starts.len().min(from.len())).collect(),
        };
        let steps = match self.constant(4) {
            Some(_) => self.numbers("steps", 4)?.unwrap_or_default().to_vec(),
            None => vec![1; axes.len()],
        };
        if [starts.len(), ends.len(), steps.len()] != [axes.len(); 3] || steps.contains(&0) {
            return Err(self.wrong(format!(
                "starts {starts:?}, ends {ends:?}, steps {steps:?} do not fit each other"
            )));
        }
        let mut taken: Vec<Vec<i64>> = from.iter().map(|&dim| (0..dim as i64).collect()).collect();
        for (place, &axis) in axes.iter().enumerate() {
            let dim = from[axis] as i64;
            let (step, last) = (steps[place], dim - 1);
            let counted = |index: i64| {
                if index < 0 {
                    index.saturating_add(dim)
                } else {
                    index
                }
            };
            let (start, end) = (counted(starts[place]), counted(ends[place]));
            taken[axis] = if step > 0 {
                let range = start.clamp(0, dim)..end.clamp(0, dim);
                range.step_by(step as usize).collect()
            } else {
                let (start, end) = (start.clamp(-1, last), end.clamp(-1, last));
                let count = (start - end).max(0) as u64;
                let step = step.unsigned_abs();
                (0..count.div_ceil(step))
                    .map(|i| start - (i * step) as i64)
                    .collect()
            };
        }
        Ok(Layout::per_axis(from, &taken))
    }

    fn gather(&self, from: &[usize]) -> Result<Layout, Error> {
        let axis = self.at.axis(self.at.int("axis", 0)?, from.len())?;
        let array = self.constant(1);
        let indices = array.and_then(|array| array.as_ints().map(|indices| (array, indices)));
        let (array, indices) =
            indices.ok_or_else(|| self.wrong("its indices are no constant whole numbers"))?;
        let dim = from[axis] as i64;
        let counted: Vec<i64> = indices
            .iter()
            .map(|&i| if i < 0 { i.saturating_add(dim) } else { i })
            .collect();
        if let Some(place) = counted.iter().position(|index| !(0..dim).contains(index)) {
            return Err(self.wrong(format!("index {} of {dim}", indices[place])));
        }
        let mut taken: Vec<Vec<i64>> = from.iter().map(|&dim| (0..dim as i64).collect()).collect();
        taken[axis] = counted;
        let mut dims: Vec<usize> = from[..axis].to_vec();
        dims.extend(&array.dims);
        dims.extend(&from[axis + 1..]);
        let dims = self.checked(&dims)?;
        Ok(Layout {
            dims,
            ..Layout::per_axis(from, &taken)
        })
    }
}

/// What is said where a shape does not fit.
pub(crate) const MISFIT: &str = "cannot become";

/// Whether an operator moves elements and computes nothing.
pub(crate) fn moves(operator: &str) -> bool {
    matches!(
        operator,
        "Reshape"
            | "Flatten"
            | "Squeeze"
            | "Unsqueeze"
            | "Transpose"
            | "Expand"
            | "Slice"
            | "Gather"
            | "Tile"
            | "Pad"
            | "Resize"
            | "Upsample"
            | "DepthToSpace"
            | "SpaceToDepth"
            | "Split"
    )
}
