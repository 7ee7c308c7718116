//! Convolutions, matrix products and pools.

use super::{Evaluator, Node};
use crate::Error;
use crate::array::{Array, MAX_MADE, broadcast, broadcast_positions, elements, strides};
use crate::window::Window;

/// Batch, channels, height and width.
type Map = [usize; 4];

impl Node<'_> {
    /// The value of a convolution, a matrix product or a pool; `None` for others.
    pub(super) fn linear(&self, evaluator: &Evaluator) -> Result<Option<Array>, Error> {
        Ok(Some(match self.at.operator() {
            "Conv" => self.convolution(evaluator)?,
            "ConvTranspose" => self.transposed_convolution(evaluator)?,
            "Gemm" => self.gemm(evaluator)?,
            "MatMul" => self.matmul(evaluator)?,
            "AveragePool" => self.pool(evaluator, true)?,
            "MaxPool" => self.pool(evaluator, false)?,
            _ => return Ok(None),
        }))
    }

    fn map(&self, array: &Array) -> Result<Map, Error> {
        let dims = <[usize; 4]>::try_from(&array.dims[..]);
        dims.map_err(|_| {
            self.wrong(format!(
                "a value of dimensions {:?}, expected four",
                array.dims
            ))
        })
    }

    /// Room for a map, if it may be as large.
    fn made(&self, dims: &[usize]) -> Result<Vec<f32>, Error> {
        match elements(dims) {
            Some(count) if count <= MAX_MADE => Ok(vec![0.0; count]),
            _ => Err(self.wrong(format!(
                "it makes a value of dimensions {dims:?}, which is too large"
            ))),
        }
    }

    fn convolution(&self, evaluator: &Evaluator) -> Result<Array, Error> {
        let (array, weight) = (self.input(0)?, self.input(1)?);
        let ([batch, channels, height, width], [outputs, taken, rows, columns]) =
            (self.map(array)?, self.map(weight)?);
        let groups = usize::try_from(self.at.int("group", 1)?).unwrap_or(0);
        if groups == 0
            || groups > channels
            || taken * groups != channels
            || !outputs.is_multiple_of(groups)
            || rows * columns == 0
        {
            return Err(self.wrong(format!(
                "weights of dimensions {:?} in {groups} groups for {channels} channels",
                weight.dims
            )));
        }
        let window = Window::read(self.at, [height, width], [rows, columns])?;
        let [out_rows, out_columns] = window.output;
        let dims = vec![batch, outputs, out_rows, out_columns];
        let mut made = self.made(&dims)?;
        evaluator.charge(
            self.at,
            (made.len() as u64).saturating_mul((taken * rows * columns) as u64),
        )?;
        let bias = self.optional(2).map(Array::floats);
        let (x, w) = (array.floats(), weight.floats());
        let plane = out_rows * out_columns;
        for image in 0..batch {
            for output in 0..outputs {
                let start = bias
                    .as_ref()
                    .map_or(0.0, |bias| bias.get(output).copied().unwrap_or(0.0));
                let mut sums = vec![f64::from(start); plane];
                let first = output / (outputs / groups) * taken;
                for channel in 0..taken {
                    let x = &x[(image * channels + first + channel) * height * width..]
                        [..height * width];
                    let w = &w[(output * taken + channel) * rows * columns..][..rows * columns];
                    accumulate(&mut sums, x, w, &window);
                }
                let at = (image * outputs + output) * plane;
                for (made, sum) in made[at..].iter_mut().zip(sums) {
                    *made = sum as f32;
                }
            }
        }
        Ok(Array::floats_of(dims, made))
    }

    /// Each input element adds its multiple of the kernel to the output.
    fn transposed_convolution(&self, evaluator: &Evaluator) -> Result<Array, Error> {
        let (array, weight) = (self.input(0)?, self.input(1)?);
        let ([batch, channels, height, width], [inputs, taken, rows, columns]) =
            (self.map(array)?, self.map(weight)?);
        let groups = usize::try_from(self.at.int("group", 1)?).unwrap_or(0);
        if groups == 0
            || groups > channels
            || inputs != channels
            || !channels.is_multiple_of(groups)
            || rows * columns == 0
        {
            return Err(self.wrong(format!(
                "weights of dimensions {:?} in {groups} groups for {channels} channels",
                weight.dims
            )));
        }
        let transposed = Transposed::read(self.at, [height, width], [rows, columns])?;
        let [out_rows, out_columns] = transposed.output;
        let outputs = taken * groups;
        let dims = vec![batch, outputs, out_rows, out_columns];
        let mut made = self.made(&dims)?;
        evaluator.charge(
            self.at,
            (array.len() as u64).saturating_mul((taken * rows * columns) as u64),
        )?;
        let (x, w) = (array.floats(), weight.floats());
        if let Some(bias) = self.optional(2) {
            let bias = bias.floats();
            for (place, value) in made.iter_mut().enumerate() {
                *value = bias
                    .get(place / (out_rows * out_columns) % outputs)
                    .copied()
                    .unwrap_or(0.0);
            }
        }
        let place = |axis: usize, index: usize, tap: usize| {
            let place = index * transposed.stride[axis] + tap * transposed.dilation[axis];
            let place = place.checked_add_signed(-transposed.before[axis])?;
            (place < transposed.output[axis]).then_some(place)
        };
        let per_group = channels / groups;
        for (at, &value) in x.iter().enumerate() {
            let (column, row) = (at % width, at / width % height);
            let (channel, image) = (
                at / (width * height) % channels,
                at / (width * height * channels),
            );
            for output in 0..taken {
                let plane = (image * outputs + channel / per_group * taken + output)
                    * out_rows
                    * out_columns;
                for ky in 0..rows {
                    let Some(y) = place(0, row, ky) else { continue };
                    for kx in 0..columns {
                        let Some(x) = place(1, column, kx) else {
                            continue;
                        };
                        made[plane + y * out_columns + x] +=
                            value * w[((channel * taken + output) * rows + ky) * columns + kx];
                    }
                }
            }
        }
        Ok(Array::floats_of(dims, made))
    }

    fn gemm(&self, evaluator: &Evaluator) -> Result<Array, Error> {
        let (a, b) = (self.input(0)?, self.input(1)?);
        let (turn_a, turn_b) = (
            self.at.flag("transA", false)?,
            self.at.flag("transB", false)?,
        );
        let (&[r, c], &[r2, c2]) = (&a.dims[..], &b.dims[..]) else {
            return Err(self.wrong(format!(
                "dimensions {:?} and {:?}, expected matrices",
                a.dims, b.dims
            )));
        };
        let (rows, inner) = if turn_a { (c, r) } else { (r, c) };
        let (inner2, columns) = if turn_b { (c2, r2) } else { (r2, c2) };
        if inner != inner2 {
            return Err(self.wrong(format!(
                "dimensions {:?} and {:?} do not fit each other",
                a.dims, b.dims
            )));
        }
        let dims = vec![rows, columns];
        let mut made = self.made(&dims)?;
        evaluator.charge(self.at, (made.len() as u64).saturating_mul(inner as u64))?;
        let (alpha, beta) = (self.at.float("alpha", 1.0)?, self.at.float("beta", 1.0)?);
        let (a, b) = (a.floats(), b.floats());
        let start = match self.optional(2) {
            Some(array) if broadcast(&array.dims, &dims).as_ref() == Some(&dims) => {
                let values = array.floats();
                broadcast_positions(&array.dims, &dims)
                    .iter()
                    .map(|&at| values[at as usize])
                    .collect()
            }
            Some(array) => {
                return Err(self.wrong(format!(
                    "a bias of dimensions {:?} for {dims:?}",
                    array.dims
                )));
            }
            None => vec![0.0; made.len()],
        };
        for (at, value) in made.iter_mut().enumerate() {
            let (row, column) = (at / columns, at % columns);
            let product: f64 = (0..inner)
                .map(|k| {
                    let a = a[if turn_a {
                        k * rows + row
                    } else {
                        row * inner + k
                    }];
                    let b = b[if turn_b {
                        column * inner + k
                    } else {
                        k * columns + column
                    }];
                    f64::from(a) * f64::from(b)
                })
                .sum();
            *value = (alpha * product + beta * f64::from(start[at])) as f32;
        }
        Ok(Array::floats_of(dims, made))
    }

    fn matmul(&self, evaluator: &Evaluator) -> Result<Array, Error> {
        let (a, b) = (self.input(0)?, self.input(1)?);
        let bad = || {
            self.wrong(format!(
                "dimensions {:?} and {:?} do not fit each other",
                a.dims, b.dims
            ))
        };
        let (mut left, mut right) = (a.dims.clone(), b.dims.clone());
        if left.is_empty() || right.is_empty() {
            return Err(bad());
        }
        if a.dims.len() == 1 {
            left.insert(0, 1);
        }
        if b.dims.len() == 1 {
            right.push(1);
        }
        let [rows, inner] = [left[left.len() - 2], left[left.len() - 1]];
        let [inner2, columns] = [right[right.len() - 2], right[right.len() - 1]];
        let (outer_a, outer_b) = (&left[..left.len() - 2], &right[..right.len() - 2]);
        let outer = broadcast(outer_a, outer_b)
            .filter(|_| inner == inner2)
            .ok_or_else(bad)?;
        let mut dims = outer.clone();
        dims.extend([rows, columns]);
        let mut made = self.made(&dims)?;
        evaluator.charge(self.at, (made.len() as u64).saturating_mul(inner as u64))?;
        let (x, y) = (a.floats(), b.floats());
        let (from_a, from_b) = (
            broadcast_positions(outer_a, &outer),
            broadcast_positions(outer_b, &outer),
        );
        for (block, (&from_a, &from_b)) in from_a.iter().zip(&from_b).enumerate() {
            let x = &x[from_a as usize * rows * inner..][..rows * inner];
            let y = &y[from_b as usize * inner * columns..][..inner * columns];
            for row in 0..rows {
                for column in 0..columns {
                    let products = (0..inner).map(|k| {
                        f64::from(x[row * inner + k]) * f64::from(y[k * columns + column])
                    });
                    made[(block * rows + row) * columns + column] = products.sum::<f64>() as f32;
                }
            }
        }
        if a.dims.len() == 1 {
            dims.remove(dims.len() - 2);
        }
        if b.dims.len() == 1 {
            dims.pop();
        }
        Ok(Array::floats_of(dims, made))
    }

    fn pool(&self, evaluator: &Evaluator, average: bool) -> Result<Array, Error> {
        let array = self.input(0)?;
        let [batch, channels, height, width] = self.map(array)?;
        let kernel = self
            .at
            .pair("kernel_shape")?
            .ok_or_else(|| self.wrong("it has no kernel_shape"))?;
        let window = Window::read(self.at, [height, width], kernel)?;
        let counted = average && self.at.flag("count_include_pad", false)?;
        let [rows, columns] = window.output;
        let dims = vec![batch, channels, rows, columns];
        let mut made = self.made(&dims)?;
        let taps =
            (made.len() as u64).saturating_mul((kernel[0] as u64).saturating_mul(kernel[1] as u64));
        evaluator.charge(self.at, taps)?;
        let x = array.floats();
        let step = strides(&array.dims);
        for (at, value) in made.iter_mut().enumerate() {
            let (column, row, plane) = (at % columns, at / columns % rows, at / (columns * rows));
            let (mut sum, mut largest) = (0.0f64, f64::NEG_INFINITY);
            for ky in 0..kernel[0] {
                let Some(y) = window.index(0, row, ky) else {
                    continue;
                };
                for kx in 0..kernel[1] {
                    let Some(place) = window.index(1, column, kx) else {
                        continue;
                    };
                    let found = f64::from(x[plane * step[1] + y * width + place]);
                    sum += found;
                    largest = largest.max(found);
                }
            }
            *value = match average {
                true => {
                    let taps = window.taps_inside(0, row, counted)
                        * window.taps_inside(1, column, counted);
                    (sum / taps as f64) as f32
                }
                false => largest as f32,
            };
        }
        Ok(Array::floats_of(dims, made))
    }
}

/// Adds the products of one channel and its kernel.
fn accumulate(sums: &mut [f64], x: &[f32], w: &[f32], window: &Window) {
    let (columns, width) = (window.output[1], window.input[1]);
    for (ky, kernel) in w.chunks_exact(window.kernel[1]).enumerate() {
        for row in 0..window.output[0] {
            let Some(y) = window.index(0, row, ky) else {
                continue;
            };
            let (sums, x) = (
                &mut sums[row * columns..][..columns],
                &x[y * width..][..width],
            );
            for (kx, &weight) in kernel.iter().enumerate() {
                let weight = f64::from(weight);
                for (column, sum) in sums.iter_mut().enumerate() {
                    if let Some(place) = window.index(1, column, kx) {
                        *sum += weight * f64::from(x[place]);
                    }
                }
            }
        }
    }
}

/// Where a transposed convolution puts its kernels.
pub(crate) struct Transposed {
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    /// Rows and columns that are cut off before the first one; more are added where negative.
    pub(crate) before: [isize; 2],
    pub(crate) output: [usize; 2],
}

impl Transposed {
    pub(crate) fn read(
        at: crate::attributes::Attributes,
        input: [usize; 2],
        kernel: [usize; 2],
    ) -> Result<Self, Error> {
        let stride = at.pair("strides")?.unwrap_or([1, 1]);
        let dilation = at.pair("dilations")?.unwrap_or([1, 1]);
        let list = |name: &str, count: usize| -> Result<Option<Vec<isize>>, Error> {
            let Some(values) = at.ints(name)? else {
                return Ok(None);
            };
            let good =
                values.len() == count && values.iter().all(|value| (0..=1 << 16).contains(value));
            match good {
                true => Ok(Some(values.iter().map(|&value| value as isize).collect())),
                false => Err(at.wrong(format!(
                    "{name} is {values:?}, expected {count} numbers from 0"
                ))),
            }
        };
        let extra = list("output_padding", 2)?.unwrap_or_else(|| vec![0, 0]);
        if input.contains(&0) || kernel.contains(&0) {
            return Err(at.wrong(format!("a kernel of {kernel:?} on a map of {input:?}")));
        }
        let full = [0, 1].map(|axis| {
            (stride[axis] * (input[axis] - 1) + dilation[axis] * (kernel[axis] - 1) + 1) as isize
                + extra[axis]
        });
        let auto = at.text("auto_pad", "NOTSET")?;
        let same = matches!(auto, "SAME_UPPER" | "SAME_LOWER");
        if !same && !matches!(auto, "" | "NOTSET" | "VALID") {
            return Err(at.wrong(format!(
                "auto_pad is {auto:?}, expected NOTSET, VALID, SAME_UPPER or SAME_LOWER"
            )));
        }
        let wanted = match list("output_shape", 2)? {
            Some(shape) => Some([shape[0], shape[1]]),
            None if same => Some([0, 1].map(|axis| (input[axis] * stride[axis]) as isize)),
            None => None,
        };
        let (mut before, mut output) = ([0; 2], [0; 2]);
        let pads = list("pads", 4)?.unwrap_or_else(|| vec![0; 4]);
        for axis in 0..2 {
            let size = match wanted {
                Some(wanted) => {
                    let total = (full[axis] - wanted[axis]).max(0);
                    // ONNX's definition: the odd one is cut off behind with SAME_UPPER, in front otherwise.
                    before[axis] = if auto == "SAME_UPPER" {
                        total / 2
                    } else {
                        total - total / 2
                    };
                    wanted[axis]
                }
                None => {
                    before[axis] = pads[axis];
                    full[axis] - pads[axis] - pads[axis + 2]
                }
            };
            output[axis] = usize::try_from(size)
                .ok()
                .filter(|&size| size > 0)
                .ok_or_else(|| at.wrong(format!("pads {pads:?} leave nothing of {full:?}")))?;
        }
        Ok(Self {
            stride,
            dilation,
            before,
            output,
        })
    }
}
