//! Shape of every operation's value, and whether its weights fit what it reads.

use crate::{Error, Op, Shape};

/// Most taps that the windows of one channel may have together; a list of them is kept in memory.
const MAX_TAPS: usize = 1 << 24;

/// Number of window positions along one axis, `None` when not even one fits.
fn positions(size: usize, kernel: usize, stride: usize, padding: usize) -> Option<usize> {
    let padded = size.checked_add(padding.checked_mul(2)?)?;
    Some(padded.checked_sub(kernel)? / stride + 1)
}

impl Op {
    /// The weights with the names that they have in messages and files.
    pub(crate) fn tensors(&self) -> Vec<(&'static str, &[f32])> {
        match self {
            Self::Conv2d { weight, bias, .. } | Self::Dense { weight, bias } => {
                vec![("weight", weight.data()), ("bias", bias)]
            }
            Self::BatchNorm {
                gamma,
                beta,
                mean,
                variance,
                ..
            } => vec![
                ("gamma", gamma),
                ("beta", beta),
                ("mean", mean),
                ("variance", variance),
            ],
            Self::Quadratic { a, b, c, .. } => vec![("a", a), ("b", b), ("c", c)],
            Self::Input | Self::AveragePool { .. } | Self::Flatten | Self::Add | Self::Relu => {
                Vec::new()
            }
        }
    }

    /// The shape of the value of this operation, as node `name`, on inputs of these shapes.
    ///
    /// # Errors
    /// [`Error::Node`] for inputs or weights that do not fit, and for the input, which has no shape of its own.
    pub fn output_shape(&self, name: &str, inputs: &[Shape]) -> Result<Shape, Error> {
        let wrong = |what: String| Error::Node {
            node: name.to_string(),
            what,
        };
        let map = |shape: Shape| match shape {
            Shape::Map {
                channels,
                height,
                width,
            } => Ok((channels, height, width)),
            Shape::Flat(features) => Err(wrong(format!(
                "{} expects a feature map, found a vector of {features}: move it before the flatten",
                self.kind()
            ))),
        };
        let length = |tensor: &str, expected: usize, found: usize| {
            if expected == found {
                return Ok(());
            }
            Err(wrong(format!(
                "{tensor} needs {expected} values for an input of shape {}, found {found}",
                inputs[0]
            )))
        };
        let window = |kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]| {
            let (_, height, width) = map(inputs[0])?;
            if kernel.contains(&0) || stride.contains(&0) {
                return Err(wrong(format!(
                    "kernel {kernel:?} and stride {stride:?} must be at least 1"
                )));
            }
            let (rows, columns) = positions(height, kernel[0], stride[0], padding[0])
            .zip(positions(width, kernel[1], stride[1], padding[1]))
            .ok_or_else(|| {
                wrong(format!(
                    "a kernel of {}x{} does not fit a map of {height}x{width} with padding {padding:?}: use a smaller kernel or less pooling before",
                    kernel[0], kernel[1]
                ))
            })?;
            let taps = [rows, columns, kernel[0], kernel[1]]
                .into_iter()
                .fold(1, usize::saturating_mul);
            if taps > MAX_TAPS {
                return Err(wrong(format!(
                    "{rows}x{columns} windows of {}x{} are {taps} taps, at most {MAX_TAPS} are supported: use smaller images or kernels",
                    kernel[0], kernel[1]
                )));
            }
            Ok((rows, columns))
        };
        match self {
            Op::Input => Err(wrong("the input has no shape of its own".into())),
            Op::Conv2d {
                weight,
                bias,
                stride,
                padding,
            } => {
                let (channels, _, _) = map(inputs[0])?;
                let &[out, expected, kernel_height, kernel_width] = weight.shape() else {
                    return Err(wrong(format!(
                        "weight needs the axes [out, in, height, width], found the shape {:?}",
                        weight.shape()
                    )));
                };
                if expected != channels {
                    return Err(wrong(format!(
                        "weight of shape {:?} expects {expected} channels, found {channels} in its input of shape {}",
                        weight.shape(),
                        inputs[0]
                    )));
                }
                length("bias", out, bias.len())?;
                let (height, width) = window([kernel_height, kernel_width], *stride, *padding)?;
                Ok(Shape::map(out, height, width))
            }
            Op::Dense { weight, bias } => {
                let Shape::Flat(features) = inputs[0] else {
                    return Err(wrong(format!(
                        "dense expects a vector, found a map of {}: put a flatten before it",
                        inputs[0]
                    )));
                };
                let &[out, expected] = weight.shape() else {
                    return Err(wrong(format!(
                        "weight needs the axes [out, in], found the shape {:?}",
                        weight.shape()
                    )));
                };
                if expected != features {
                    return Err(wrong(format!(
                        "weight of shape {:?} expects {expected} features, found {features}",
                        weight.shape()
                    )));
                }
                length("bias", out, bias.len())?;
                Ok(Shape::Flat(out))
            }
            Op::AveragePool { kernel, stride } => {
                let (channels, _, _) = map(inputs[0])?;
                let (height, width) = window(*kernel, *stride, [0, 0])?;
                Ok(Shape::map(channels, height, width))
            }
            Op::BatchNorm {
                variance, epsilon, ..
            } => {
                for (name, values) in self.tensors() {
                    length(name, inputs[0].channels(), values.len())?;
                }
                if !(epsilon.is_finite() && *epsilon >= 0.0) {
                    return Err(wrong(format!(
                        "epsilon is {epsilon}, expected a small positive number"
                    )));
                }
                // NaN is not less than zero: it is named later, as a weight that is not finite.
                let bad = |&value: &f32| value < 0.0 || f64::from(value) + epsilon <= 0.0;
                if let Some(index) = variance.iter().position(bad) {
                    return Err(wrong(format!(
                        "variance[{index}] is {} with epsilon {epsilon}, their sum must be positive: train or export the model again",
                        variance[index]
                    )));
                }
                Ok(inputs[0])
            }
            Op::Flatten => Ok(Shape::Flat(inputs[0].elements())),
            Op::Add => {
                if inputs[0] != inputs[1] {
                    return Err(wrong(format!(
                        "add needs two values of one shape, found {} and {}",
                        inputs[0], inputs[1]
                    )));
                }
                Ok(inputs[0])
            }
            Op::Relu => Ok(inputs[0]),
            Op::Quadratic { granularity, .. } => {
                for (name, values) in self.tensors() {
                    length(name, granularity.coefficients(&inputs[0]), values.len())?;
                }
                Ok(inputs[0])
            }
        }
    }
}

/// Window positions of a convolution or pooling between two maps: for every output position, the taps that lie inside
/// the map.
///
/// Shapes: a tap is `(y * width + x, ky * kernel width + kx)`; positions and taps are in row-major order.
pub(crate) fn window_taps(
    from: &Shape,
    to: &Shape,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Vec<Vec<(usize, usize)>> {
    let plane = |shape: &Shape| match *shape {
        Shape::Map { height, width, .. } => (height, width),
        Shape::Flat(_) => (1, 1),
    };
    let (input, output) = (plane(from), plane(to));
    // Where the window begins, and the kernel rows (columns) that lie inside the map.
    let inside = |position: usize, axis: usize, size: usize| {
        let start = position * stride[axis];
        (0..kernel[axis]).filter_map(move |k| {
            let index = (start + k).checked_sub(padding[axis])?;
            (index < size).then_some((index, k))
        })
    };
    let mut all = Vec::with_capacity(output.0 * output.1);
    for oy in 0..output.0 {
        for ox in 0..output.1 {
            let mut taps = Vec::new();
            for (y, ky) in inside(oy, 0, input.0) {
                for (x, kx) in inside(ox, 1, input.1) {
                    taps.push((y * input.1 + x, ky * kernel[1] + kx));
                }
            }
            all.push(taps);
        }
    }
    all
}
