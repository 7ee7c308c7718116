//! Which element of an axis nearest resizing takes.

use crate::Error;
use crate::attributes::LARGEST_SIDE;
use crate::layout::Settings;

impl Settings<'_> {
    /// For each axis the indices that `Resize` or `Upsample` in mode `nearest` takes.
    pub(crate) fn nearest_axes(&self, from: &[usize]) -> Result<Vec<Vec<i64>>, Error> {
        let at = self.at;
        let mode = at.text("mode", "nearest")?;
        if mode != "nearest" {
            return Err(at.wrong(format!(
            "mode is {mode:?}, expected nearest: upsample with nearest or with a transposed convolution"
        )));
        }
        let upsample = at.operator() == "Upsample";
        let old = upsample || at.opset < 11;
        let axes = match at.ints("axes")? {
            Some(axes) => at.axes(axes, from.len())?,
            None => (0..from.len()).collect(),
        };
        let scales = match at.floats("scales")? {
            Some(scales) => Some(scales.to_vec()),
            None => {
                let array = self.constant(if old { 1 } else { 2 });
                array
                    .filter(|array| array.len() > 0)
                    .map(|array| array.floats().to_vec())
            }
        };
        let sizes = if old { None } else { self.numbers("sizes", 3)? };
        let sizes = sizes.filter(|sizes| !sizes.is_empty());
        let policy = at.text("keep_aspect_ratio_policy", "stretch")?;
        if policy != "stretch" || at.flag("antialias", false)? {
            return Err(
                at.wrong("keep_aspect_ratio_policy and antialias are not supported: give scales")
            );
        }
        let transform = if old {
            "asymmetric"
        } else {
            at.text("coordinate_transformation_mode", "half_pixel")?
        };
        let rounding = if old {
            "floor"
        } else {
            at.text("nearest_mode", "round_prefer_floor")?
        };
        let given = sizes.map_or_else(|| scales.as_ref().map_or(0, Vec::len), <[i64]>::len);
        if given != axes.len() || sizes.is_some() && scales.is_some() {
            return Err(at.wrong(format!("{given} scales or sizes for {} axes", axes.len())));
        }
        let mut taken: Vec<Vec<i64>> = from.iter().map(|&dim| (0..dim as i64).collect()).collect();
        for (place, &axis) in axes.iter().enumerate() {
            // In single precision, as runtimes do: a place between two elements is rounded alike.
            let dim = from[axis] as f32;
            let (size, scale) = match (&sizes, &scales) {
                (Some(sizes), _) => (sizes[place] as f32, sizes[place] as f32 / dim),
                (None, Some(scales)) => {
                    let scale = scales[place];
                    ((dim * scale).floor(), scale)
                }
                (None, None) => unreachable!("one of the two was counted"),
            };
            if !(1.0..=LARGEST_SIDE as f32).contains(&size) || !scale.is_finite() {
                return Err(at.wrong(format!("axis {axis} of {dim} elements would have {size}")));
            }
            let source = |index: f32| match transform {
                "half_pixel" => Some((index + 0.5) / scale - 0.5),
                "pytorch_half_pixel" if size > 1.0 => Some((index + 0.5) / scale - 0.5),
                "pytorch_half_pixel" => Some(0.0),
                "asymmetric" => Some(index / scale),
                "align_corners" if size > 1.0 => Some(index * (dim - 1.0) / (size - 1.0)),
                "align_corners" => Some(0.0),
                _ => None,
            };
            let rounded = |x: f32| match rounding {
                "round_prefer_floor" => Some((x - 0.5).ceil()),
                "round_prefer_ceil" => Some((x + 0.5).floor()),
                "floor" => Some(x.floor()),
                "ceil" => Some(x.ceil()),
                _ => None,
            };
            let index = |index: usize| {
                let place = rounded(source(index as f32)?)?;
                Some(place.clamp(0.0, dim - 1.0) as i64)
            };
            let indices: Option<Vec<i64>> = (0..size as usize).map(index).collect();
            taken[axis] = indices.ok_or_else(|| {
                at.wrong(format!(
                    "{transform:?} and {rounding:?}: export with asymmetric and floor"
                ))
            })?;
        }
        Ok(taken)
    }
}
