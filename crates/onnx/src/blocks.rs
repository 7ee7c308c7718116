//! Padding, tiling, splitting, and blocks of pixels as channels.

use crate::Error;
use crate::array::MAX_MADE;
use crate::layout::{Layout, Settings};

impl Settings<'_> {
    pub(crate) fn pad(&self, from: &[usize]) -> Result<Layout, Error> {
        let pads = self
            .numbers("pads", 1)?
            .ok_or_else(|| self.wrong("it has no pads"))?;
        let axes = match self.constant(3) {
            Some(_) => self
                .at
                .axes(self.numbers("axes", 3)?.unwrap_or_default(), from.len())?,
            None => (0..from.len()).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(self.wrong(format!("{} pads for {} axes", pads.len(), axes.len())));
        }
        let filling = match self.constant(2) {
            Some(array) => array
                .single()
                .ok_or_else(|| self.wrong("its filling is no single number"))?,
            None => self.at.float("value", 0.0)?,
        };
        let mode = self.at.text("mode", "constant")?;
        let mut dims = from.to_vec();
        for (place, &axis) in axes.iter().enumerate() {
            let (before, after) = (pads[place], pads[place + axes.len()]);
            let limit = MAX_MADE as i64;
            let size = before.clamp(-limit, limit) + from[axis] as i64 + after.clamp(-limit, limit);
            dims[axis] = usize::try_from(size)
                .map_err(|_| self.wrong(format!("pads {pads:?} leave nothing")))?;
        }
        self.checked(&dims)?;
        let mut taken: Vec<Vec<i64>> = from.iter().map(|&dim| (0..dim as i64).collect()).collect();
        for (place, &axis) in axes.iter().enumerate() {
            let dim = from[axis] as i64;
            let index = |at: i64| match mode {
                "constant" if (0..dim).contains(&at) => Some(at),
                "constant" => Some(-1),
                "edge" => Some(at.clamp(0, dim - 1)),
                "reflect" if at < 0 => (-at < dim).then_some(-at),
                "reflect" if at >= dim => (at - dim + 1 < dim).then_some(2 * (dim - 1) - at),
                "reflect" => Some(at),
                "wrap" => Some(at.rem_euclid(dim.max(1))),
                _ => None,
            };
            let range = 0..dims[axis] as i64;
            let indices: Option<Vec<i64>> = range.map(|at| index(at - pads[place])).collect();
            taken[axis] = indices.ok_or_else(|| {
                self.wrong(format!("mode {mode:?} with pads {pads:?}, expected constant, edge, reflect or wrap within the value"))
            })?;
        }
        Ok(Layout {
            filling,
            ..Layout::per_axis(from, &taken)
        })
    }

    pub(crate) fn blocks(&self, from: &[usize]) -> Result<Layout, Error> {
        let size = usize::try_from(self.at.int("blocksize", 0)?).unwrap_or(0);
        let &[batch, channels, height, width] = from else {
            return Err(self.wrong(format!("dimensions {from:?}, expected four")));
        };
        let whole = |dim: usize, by: usize| by > 0 && dim.is_multiple_of(by);
        let area = size.saturating_mul(size);
        let bad = || {
            self.wrong(format!(
                "blocksize {size} does not divide a value of dimensions {from:?}"
            ))
        };
        if self.at.operator() == "SpaceToDepth" {
            if !whole(height, size) || !whole(width, size) {
                return Err(bad());
            }
            let (rows, columns) = (height / size, width / size);
            let split = [batch, channels, rows, size, columns, size];
            let moved = Layout::transposed(&split, &[0, 3, 5, 1, 2, 4]);
            return Ok(Layout {
                dims: vec![batch, channels * area, rows, columns],
                ..moved
            });
        }
        if !whole(channels, area) {
            return Err(bad());
        }
        let depth = channels / area;
        let dims = vec![batch, depth, height * size, width * size];
        let moved = match self.at.text("mode", "DCR")? {
            "DCR" => Layout::transposed(
                &[batch, size, size, depth, height, width],
                &[0, 3, 4, 1, 5, 2],
            ),
            "CRD" => Layout::transposed(
                &[batch, depth, size, size, height, width],
                &[0, 1, 4, 2, 5, 3],
            ),
            other => return Err(self.wrong(format!("mode is {other:?}, expected DCR or CRD"))),
        };
        Ok(Layout { dims, ..moved })
    }

    pub(crate) fn split(&self, from: &[usize]) -> Result<Vec<Layout>, Error> {
        let axis = self.at.axis(self.at.int("axis", 0)?, from.len())?;
        let parts = self.at.node.output.len();
        let sizes: Vec<usize> = match self.numbers("split", 1)? {
            Some(sizes) => {
                let sizes: Option<Vec<usize>> = sizes.iter().map(|&s| s.try_into().ok()).collect();
                sizes.unwrap_or_default()
            }
            None => {
                let asked = self.at.int("num_outputs", parts as i64)?;
                if asked != parts as i64 || parts == 0 {
                    return Err(self.wrong(format!(
                        "num_outputs is {asked}, but it has {parts} outputs"
                    )));
                }
                let size = from[axis].div_ceil(parts);
                let part = |index: usize| size.min(from[axis].saturating_sub(index * size));
                (0..parts).map(part).collect()
            }
        };
        let sum = sizes
            .iter()
            .try_fold(0usize, |sum, &size| sum.checked_add(size));
        if sizes.len() != parts || sum != Some(from[axis]) {
            return Err(self.wrong(format!(
                "parts {sizes:?} of axis {axis} of dimensions {from:?} for {parts} outputs"
            )));
        }
        let mut start = 0;
        let mut layouts = Vec::with_capacity(parts);
        for size in sizes {
            let mut taken: Vec<Vec<i64>> =
                from.iter().map(|&dim| (0..dim as i64).collect()).collect();
            taken[axis] = (start as i64..(start + size) as i64).collect();
            layouts.push(Layout::per_axis(from, &taken));
            start += size;
        }
        Ok(layouts)
    }

    pub(crate) fn tile(&self, from: &[usize]) -> Result<Layout, Error> {
        let repeats = self.numbers("repeats", 1)?.unwrap_or_default();
        let repeats: Option<Vec<usize>> = repeats.iter().map(|&r| r.try_into().ok()).collect();
        let repeats = repeats.filter(|repeats| repeats.len() == from.len());
        let repeats = repeats
            .ok_or_else(|| self.wrong(format!("its repeats do not fit the dimensions {from:?}")))?;
        let dims: Vec<usize> = from
            .iter()
            .zip(&repeats)
            .map(|(&dim, &r)| dim.saturating_mul(r))
            .collect();
        self.checked(&dims)?;
        let axis = |(&dim, &r): (&usize, &usize)| (0..r).flat_map(|_| 0..dim as i64).collect();
        let taken: Vec<Vec<i64>> = from.iter().zip(&repeats).map(axis).collect();
        Ok(Layout::per_axis(from, &taken))
    }
}
