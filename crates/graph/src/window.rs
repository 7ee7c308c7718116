//! Windows of convolutions and pools.

use crate::{Op, Padding, Shape};

/// Most taps that the windows of one channel may have together; a list of them is kept in memory.
const MAX_TAPS: usize = 1 << 24;

/// The windows of a convolution or pool over a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: Padding,
    pub(crate) dilation: [usize; 2],
}

impl Window {
    /// The windows of an operation that has them and whose weight has four axes.
    pub(crate) fn of(op: &Op) -> Option<Self> {
        match op {
            Op::Conv2d {
                weight,
                stride,
                padding,
                dilation,
                ..
            } => match *weight.shape() {
                [_, _, height, width] => Some(Self {
                    kernel: [height, width],
                    stride: *stride,
                    padding: *padding,
                    dilation: *dilation,
                }),
                _ => None,
            },
            Op::AveragePool { kernel, stride } => Some(Self {
                kernel: *kernel,
                stride: *stride,
                padding: Padding::NONE,
                dilation: [1, 1],
            }),
            Op::MaxPool {
                kernel,
                stride,
                padding,
                dilation,
            } => Some(Self {
                kernel: *kernel,
                stride: *stride,
                padding: *padding,
                dilation: *dilation,
            }),
            _ => None,
        }
    }

    /// Window positions along one axis of a map of this size, `None` when not even one fits.
    fn positions(&self, axis: usize, size: usize) -> Option<usize> {
        let Padding { before, after } = self.padding;
        let padded = size.checked_add(before[axis])?.checked_add(after[axis])?;
        let steps = self.kernel[axis].checked_sub(1)?;
        let extent = steps.checked_mul(self.dilation[axis])?.checked_add(1)?;
        Some(padded.checked_sub(extent)? / self.stride[axis] + 1)
    }

    /// Rows and columns of the result on a map of this size.
    ///
    /// # Errors
    /// What is wrong with the windows.
    pub(crate) fn output(&self, height: usize, width: usize) -> Result<(usize, usize), String> {
        let Self {
            kernel,
            stride,
            padding,
            dilation,
        } = *self;
        if kernel.contains(&0) || stride.contains(&0) || dilation.contains(&0) {
            return Err(format!(
                "kernel {kernel:?}, stride {stride:?} and dilation {dilation:?} must be at least 1"
            ));
        }
        let positions = self.positions(0, height).zip(self.positions(1, width));
        let (rows, columns) = positions.ok_or_else(|| {
            let around = match padding.is_same() {
                true => format!("{:?}", padding.before),
                false => format!("{:?} before and {:?} after", padding.before, padding.after),
            };
            let dilated = match dilation {
                [1, 1] => String::new(),
                _ => format!(" of dilation {dilation:?}"),
            };
            format!(
                "a kernel of {}x{}{dilated} does not fit a map of {height}x{width} with padding {around}: use a smaller kernel or less pooling before",
                kernel[0], kernel[1]
            )
        })?;
        let taps = [rows, columns, kernel[0], kernel[1]]
            .into_iter()
            .fold(1, usize::saturating_mul);
        if taps > MAX_TAPS {
            return Err(format!(
                "{rows}x{columns} windows of {}x{} are {taps} taps, at most {MAX_TAPS} are supported: use smaller images or kernels",
                kernel[0], kernel[1]
            ));
        }
        Ok((rows, columns))
    }

    /// The taps of one position along an axis that lie inside the map: their place in the map and in the kernel.
    fn inside(
        &self,
        axis: usize,
        position: usize,
        size: usize,
    ) -> impl Iterator<Item = (usize, usize)> + Clone + use<> {
        let (start, dilation) = (position * self.stride[axis], self.dilation[axis]);
        let padding = self.padding.before[axis];
        (0..self.kernel[axis]).filter_map(move |k| {
            let index = (start + k * dilation).checked_sub(padding)?;
            (index < size).then_some((index, k))
        })
    }

    /// Whether every window of a map has a tap inside it.
    pub(crate) fn all_see_the_map(&self, from: (usize, usize), to: (usize, usize)) -> bool {
        let axis = |axis, from, to| {
            (0..to).all(|position| self.inside(axis, position, from).next().is_some())
        };
        axis(0, from.0, to.0) && axis(1, from.1, to.1)
    }

    /// For every output position, the taps that lie inside the map.
    ///
    /// Shapes: a tap is `(y * width + x, ky * kernel width + kx)`; positions and taps are in row-major order.
    pub(crate) fn taps(&self, from: &Shape, to: &Shape) -> Vec<Vec<(usize, usize)>> {
        let (input, output) = (plane(from), plane(to));
        let mut all = Vec::with_capacity(output.0 * output.1);
        for oy in 0..output.0 {
            for ox in 0..output.1 {
                let mut taps = Vec::new();
                for (y, ky) in self.inside(0, oy, input.0) {
                    for (x, kx) in self.inside(1, ox, input.1) {
                        taps.push((y * input.1 + x, ky * self.kernel[1] + kx));
                    }
                }
                all.push(taps);
            }
        }
        all
    }
}

/// Rows and columns of a map; a vector is a map of channels of one element.
pub(crate) fn plane(shape: &Shape) -> (usize, usize) {
    match *shape {
        Shape::Map { height, width, .. } => (height, width),
        Shape::Flat(_) => (1, 1),
    }
}
