//! Convolutions, dense layers and batch normalizations.

use sordino_graph::{Op, Padding, Shape, Tensor};

use crate::Error;
use crate::array::Array;
use crate::computed::{Computed, Value};
use crate::layout::Layout;
use crate::operators::Operator;
use crate::view::View;
use crate::window::Window;

/// A matrix, row major, one row per output.
struct Matrix {
    outputs: usize,
    inputs: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// A matrix that is stored with one row per output, or transposed.
    fn read(rows: usize, columns: usize, values: &[f32], transposed: bool) -> Self {
        if !transposed {
            return Self {
                outputs: rows,
                inputs: columns,
                values: values.to_vec(),
            };
        }
        let turned = (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns));
        Self {
            outputs: columns,
            inputs: rows,
            values: turned.copied().collect(),
        }
    }
}

impl Operator<'_, '_> {
    /// Channels, rows and columns of a map that comes batch first.
    pub(crate) fn map_dims(&self, view: &View) -> Result<[usize; 3], Error> {
        match (&view.dims[..], view.batch_first()) {
            (&[_, channels, height, width], true) => Ok([channels, height, width]),
            (&[images, height, width], true) => Err(self.wrong(format!(
                "it reads a value of dimensions {:?}, expected [batch, channels, height, width]: export a network whose input has an \
                 axis of channels, [{images}, 1, {height}, {width}]",
                view.dims
            ))),
            _ => Err(self.wrong(format!(
                "it reads a value of dimensions {:?}, expected [batch, channels, height, width]: only images of two dimensions are supported",
                view.dims
            ))),
        }
    }

    pub(crate) fn convolution(&mut self) -> Result<Value, Error> {
        let value = self.settled(0)?;
        let weight = self.constant(1)?;
        let &[outputs, _, rows, columns] = &weight.dims[..] else {
            return Err(self.wrong(format!(
                "weights of dimensions {:?}, expected four: only images of two dimensions are supported",
                weight.dims
            )));
        };
        self.same_kernel([rows, columns])?;
        let [channels, height, width] = self.map_dims(&value.view)?;
        let window = Window::read(self.at, [height, width], [rows, columns])?;
        let (mut before, mut after) = (window.before, window.after);
        // Zeros around a map are padding of the convolution.
        let inner = self.reader.shape(value.node());
        let input = match border(&value.view, inner, [channels, height, width]) {
            Some(zeros) => {
                for axis in 0..2 {
                    before[axis] += zeros[axis];
                    let side = [height, width][axis];
                    let own = match inner {
                        Shape::Map { height, width, .. } => [height, width][axis],
                        Shape::Flat(_) => side,
                    };
                    after[axis] += side - own - zeros[axis];
                }
                value.node()
            }
            None => {
                self.reader
                    .node_of_shape(self.at, &value, Shape::map(channels, height, width))?
            }
        };
        let op = Op::Conv2d {
            weight: Tensor::new(&weight.dims, weight.floats().into_owned())?,
            bias: self.bias(2, outputs)?,
            stride: window.stride,
            padding: Padding { before, after },
            dilation: window.dilation,
            groups: self.groups()?,
        };
        let [rows, columns] = window.output;
        self.push(op, &[input], &[outputs, rows, columns])
            .map(Value::Computed)
    }

    pub(crate) fn groups(&self) -> Result<usize, Error> {
        let groups = self.at.int("group", 1)?;
        usize::try_from(groups)
            .ok()
            .filter(|&groups| groups > 0)
            .ok_or_else(|| self.wrong(format!("group is {groups}, expected at least 1")))
    }

    pub(crate) fn same_kernel(&self, found: [usize; 2]) -> Result<(), Error> {
        match self.at.pair("kernel_shape")? {
            Some(said) if said != found => Err(self.wrong(format!(
                "kernel_shape is {said:?}, but the weights have {found:?}"
            ))),
            _ => Ok(()),
        }
    }

    /// The constant of an optional input, zeros without it.
    pub(crate) fn bias(&self, index: usize, outputs: usize) -> Result<Vec<f32>, Error> {
        let Some(array) = self.optional(index)? else {
            return Ok(vec![0.0; outputs]);
        };
        match array.dims[..] {
            [found] if found == outputs => Ok(array.floats().into_owned()),
            _ => Err(self.wrong(format!(
                "a bias of dimensions {:?}, expected {outputs} numbers",
                array.dims
            ))),
        }
    }

    /// Refuses a value that is too large before memory is taken for it.
    pub(crate) fn room(&self, axes: &[Vec<i64>]) -> Result<(), Error> {
        let dims: Vec<usize> = axes.iter().map(Vec::len).collect();
        match crate::array::elements(&dims) {
            Some(count) if count <= crate::array::MAX_MADE => Ok(()),
            _ => Err(self.wrong(format!(
                "it makes a value of dimensions {dims:?}, which is too large"
            ))),
        }
    }

    pub(crate) fn gemm(&mut self) -> Result<Value, Error> {
        let weight = self.constant(1)?;
        let &[rows, columns] = &weight.dims[..] else {
            return Err(self.wrong(format!(
                "weights of dimensions {:?}, expected a matrix",
                weight.dims
            )));
        };
        let mut matrix = Matrix::read(
            rows,
            columns,
            &weight.floats(),
            !self.at.flag("transB", false)?,
        );
        let alpha = self.at.float("alpha", 1.0)? as f32;
        matrix.values.iter_mut().for_each(|value| *value *= alpha);
        let mut value = self.settled(0)?;
        if self.at.flag("transA", false)? {
            let turned = self.turned(&value)?;
            value = turned;
        }
        let product = self.dense(&value, matrix)?;
        let beta = self.at.float("beta", 1.0)?;
        if self.at.node.input.get(2).is_none_or(String::is_empty) {
            return Ok(Value::Computed(product));
        }
        if !matches!(self.value(2)?, Value::Constant(_)) {
            let other = self.numbers(2)?;
            let other = self.scaled(&other, crate::polynomial::Coefficient::scalar(beta))?;
            return self.sum(&product, &other, 1.0).map(Value::Computed);
        }
        let bias = self.constant(2)?;
        let scaled: Vec<f32> = bias
            .floats()
            .iter()
            .map(|value| value * beta as f32)
            .collect();
        let dims = product.view.dims.clone();
        let sum = self.reader.plus_constant(
            self.at,
            &product,
            &Array::floats_of(bias.dims.clone(), scaled),
        )?;
        match sum.view.dims == dims {
            true => Ok(Value::Computed(sum)),
            false => Err(self.wrong(format!("a bias of dimensions {:?} for {dims:?}", bias.dims))),
        }
    }

    /// The value with its last two axes exchanged.
    fn turned(&mut self, value: &Computed) -> Result<Computed, Error> {
        let rank = value.view.dims.len();
        let mut order: Vec<usize> = (0..rank).collect();
        if rank < 2 {
            return Err(self.wrong("it transposes a value of one dimension"));
        }
        order.swap(rank - 1, rank - 2);
        self.moved(value, &Layout::transposed(&value.view.dims, &order))
    }

    pub(crate) fn matmul(&mut self) -> Result<Value, Error> {
        if let Value::Constant(left) = self.value(0)? {
            // A x = (x' A')'
            let left = std::rc::Rc::clone(left);
            let &[rows, columns] = &left.dims[..] else {
                return Err(self.wrong(format!(
                    "weights of dimensions {:?}, expected a matrix",
                    left.dims
                )));
            };
            let value = self.settled(1)?;
            let turned = self.turned(&value)?;
            let product =
                self.product_by_rows(&turned, Matrix::read(rows, columns, &left.floats(), false))?;
            return self.turned(&product).map(Value::Computed);
        }
        let weight = self.constant(1)?;
        let value = self.settled(0)?;
        match weight.dims[..] {
            [rows, columns] => {
                let matrix = Matrix::read(rows, columns, &weight.floats(), true);
                self.product_by_rows(&value, matrix).map(Value::Computed)
            }
            [rows] => {
                let matrix = Matrix::read(rows, 1, &weight.floats(), true);
                let product = self.product_by_rows(&value, matrix)?;
                let mut dims = product.view.dims.clone();
                dims.pop();
                self.moved(&product, &Layout::reshaped(dims))
                    .map(Value::Computed)
            }
            _ => Err(self.wrong(format!(
                "weights of dimensions {:?}, expected a matrix",
                weight.dims
            ))),
        }
    }

    /// The matrix times each vector along the last axis: a dense layer, or a convolution of one pixel.
    fn product_by_rows(&mut self, value: &Computed, matrix: Matrix) -> Result<Computed, Error> {
        let dims = value.view.dims.clone();
        let rank = dims.len();
        if rank <= 2 {
            return self.dense(value, matrix);
        }
        if dims[rank - 1] != matrix.inputs || !value.view.batch_first() {
            return Err(self.wrong(format!(
                "a value of dimensions {dims:?} for a matrix of {} inputs, expected the batch first",
                matrix.inputs
            )));
        }
        let mut order: Vec<usize> = (0..rank - 1).collect();
        order.insert(1, rank - 1);
        let channels_first = self.moved(value, &Layout::transposed(&dims, &order))?;
        let (height, width) = match dims[1..rank - 1] {
            [height, width] => (height, width),
            _ => (dims[1..rank - 1].iter().product(), 1),
        };
        let map = vec![dims[0], matrix.inputs, height, width];
        let map = self.moved(&channels_first, &Layout::reshaped(map))?;
        let shape = Shape::map(matrix.inputs, height, width);
        let input = self.reader.node_of_shape(self.at, &map, shape)?;
        let outputs = matrix.outputs;
        let op = Op::conv2d(
            Tensor::new(&[outputs, matrix.inputs, 1, 1], matrix.values)?,
            vec![0.0; outputs],
            [1, 1],
            Padding::NONE,
        );
        let product = self.push(op, &[input], &[outputs, height, width])?;
        let mut split = vec![dims[0], outputs];
        split.extend(&dims[1..rank - 1]);
        let product = self.moved(&product, &Layout::reshaped(split.clone()))?;
        let back: Vec<usize> = std::iter::once(0).chain(2..rank).chain([1]).collect();
        self.moved(&product, &Layout::transposed(&split, &back))
    }

    /// A dense layer on vectors. A permutation of the elements in front of it permutes its columns.
    fn dense(&mut self, value: &Computed, mut matrix: Matrix) -> Result<Computed, Error> {
        if value.view.image_dims() != [matrix.inputs] || !value.view.batch_first() {
            return Err(self.wrong(format!(
                "a value of dimensions {:?} for a matrix of {} inputs, expected [batch, {}]: flatten it first",
                value.view.dims, matrix.inputs, matrix.inputs
            )));
        }
        let settled = self.reader.settle(self.at, value)?;
        let elements = self.reader.shape(settled.node()).elements();
        let (mut input, indices) = match &settled.view.indices {
            Some(indices) if settled.view.is_permutation(elements) => {
                (settled.node(), Some(indices))
            }
            _ => (
                self.reader
                    .node_of_shape(self.at, &settled, Shape::Flat(matrix.inputs))?,
                None,
            ),
        };
        if let Shape::Map { .. } = self.reader.shape(input) {
            input = self.reader.append(self.at, Op::Flatten, &[input])?;
        }
        if let Some(indices) = indices {
            let mut moved = vec![0.0; matrix.values.len()];
            for (from, to) in matrix
                .values
                .chunks_exact(elements)
                .zip(moved.chunks_exact_mut(elements))
            {
                indices
                    .iter()
                    .zip(from)
                    .for_each(|(&index, &weight)| to[index as usize] = weight);
            }
            matrix.values = moved;
        }
        let op = Op::Dense {
            weight: Tensor::new(&[matrix.outputs, matrix.inputs], matrix.values)?,
            bias: vec![0.0; matrix.outputs],
        };
        self.push(op, &[input], &[matrix.outputs])
    }

    pub(crate) fn batch_norm(&mut self) -> Result<Value, Error> {
        if self.at.flag("training_mode", false)? || self.at.int("spatial", 1)? != 1 {
            return Err(
                self.wrong("it is in training mode: export in evaluation mode (model.eval())")
            );
        }
        let value = self.numbers(0)?;
        let channels = value.view.dims.get(1).copied().unwrap_or(0);
        let parameter = |index| {
            let array = self.constant(index)?;
            match array.len() == channels && channels > 0 {
                true => Ok(array.floats().into_owned()),
                false => Err(self.wrong(format!(
                    "{} numbers for {channels} channels of a value of dimensions {:?}",
                    array.len(),
                    value.view.dims
                ))),
            }
        };
        let (gamma, beta, mean, variance) =
            (parameter(1)?, parameter(2)?, parameter(3)?, parameter(4)?);
        let epsilon = self.at.float("epsilon", 1e-5)?;
        let ordered = value.view.indices.is_none() && value.view.batch_first();
        if ordered && self.reader.shape(value.node()).channels() == channels {
            let settled = self.settled(0)?;
            let op = Op::BatchNorm {
                gamma,
                beta,
                mean,
                variance,
                epsilon,
            };
            let node = self.reader.append(self.at, op, &[settled.node()])?;
            return Ok(Value::Computed(Computed::of(node, settled.view)));
        }
        let scale = |c: usize| f64::from(gamma[c]) / (f64::from(variance[c]) + epsilon).sqrt();
        let factors = (0..channels).map(|c| scale(c) as f32).collect();
        let offsets =
            (0..channels).map(|c| (f64::from(beta[c]) - f64::from(mean[c]) * scale(c)) as f32);
        let mut dims = vec![1; value.view.dims.len()];
        dims[1] = channels;
        let offsets = Array::floats_of(dims.clone(), offsets.collect());
        let scaled = self.times_constant(&value, &Array::floats_of(dims, factors))?;
        self.reader
            .plus_constant(self.at, &scaled, &offsets)
            .map(Value::Computed)
    }
}

/// Rows and columns of zeros in front of a map that is otherwise a node's value; `None` if the view is anything else.
fn border(view: &View, inner: Shape, [channels, height, width]: [usize; 3]) -> Option<[usize; 2]> {
    let indices = view.indices.as_ref()?;
    let Shape::Map {
        channels: inner_channels,
        height: rows,
        width: columns,
    } = inner
    else {
        return None;
    };
    let first = indices.iter().position(|&index| index == 0)?;
    let (top, left) = (first / width, first % width);
    if inner_channels != channels || top + rows > height || left + columns > width {
        return None;
    }
    let expected = |place: usize| {
        let (channel, y, x) = (
            place / (height * width),
            place / width % height,
            place % width,
        );
        let inside = (top..top + rows).contains(&y) && (left..left + columns).contains(&x);
        match inside {
            true => ((channel * rows + y - top) * columns + x - left) as i32,
            false => -1,
        }
    };
    let found = indices
        .iter()
        .enumerate()
        .all(|(place, &index)| index == expected(place));
    found.then_some([top, left])
}
