//! Transposed convolutions.

use sordino_graph::{Op, Padding, Shape, Tensor};

use crate::Error;
use crate::computed::Value;
use crate::evaluate::Transposed;
use crate::layout::Layout;
use crate::operators::Operator;

impl Operator<'_, '_> {
    /// A convolution with the kernel turned around, over the map with zeros between its elements.
    pub(crate) fn transposed_convolution(&mut self) -> Result<Value, Error> {
        let value = self.settled(0)?;
        let weight = self.constant(1)?;
        let &[inputs, taken, rows, columns] = &weight.dims[..] else {
            return Err(self.wrong(format!(
                "weights of dimensions {:?}, expected four",
                weight.dims
            )));
        };
        let kernel = [rows, columns];
        self.same_kernel(kernel)?;
        let [channels, height, width] = self.map_dims(&value.view)?;
        let groups = self.groups()?;
        if inputs != channels || groups > channels || !channels.is_multiple_of(groups) {
            return Err(self.wrong(format!(
                "weights of dimensions {:?} in {groups} groups for {channels} channels",
                weight.dims
            )));
        }
        let transposed = Transposed::read(self.at, [height, width], kernel)?;
        let (mut before, mut after) = ([0; 2], [0; 2]);
        let mut axes = vec![
            (0..self.reader.batch as i64).collect::<Vec<i64>>(),
            (0..channels as i64).collect(),
        ];
        for axis in 0..2 {
            let (stride, size) = (transposed.stride[axis], [height, width][axis]);
            let span = (transposed.dilation[axis] * (kernel[axis] - 1)) as isize;
            let stuffed = ((size - 1) * stride + 1) as isize;
            let front = span - transposed.before[axis];
            let back = transposed.output[axis] as isize - stuffed + span - front;
            (before[axis], after[axis]) = (front.max(0) as usize, back.max(0) as usize);
            // Negative padding cuts.
            let kept = -front.min(0)..stuffed + back.min(0);
            let index = |place: isize| match place % stride as isize {
                0 => (place / stride as isize) as i64,
                _ => -1,
            };
            let indices: Vec<i64> = kept.map(index).collect();
            if indices.len() > crate::attributes::LARGEST_SIDE {
                return Err(self.wrong(format!(
                    "it makes a map of {} rows or columns: use smaller strides",
                    indices.len()
                )));
            }
            axes.push(indices);
        }
        self.room(&axes)?;
        let stuffed = Layout::per_axis(&value.view.dims, &axes);
        let value = self.moved(&value, &stuffed)?;
        let [_, height, width] = self.map_dims(&value.view)?;
        let input =
            self.reader
                .node_of_shape(self.at, &value, Shape::map(channels, height, width))?;
        let (outputs, per_group) = (taken * groups, channels / groups);
        let numbers = weight.floats();
        let area = rows * columns;
        let mut turned = Vec::with_capacity(numbers.len());
        for output in 0..outputs {
            let (group, output) = (output / taken, output % taken);
            for channel in 0..per_group {
                let from = ((group * per_group + channel) * taken + output) * area;
                turned.extend(numbers[from..][..area].iter().rev());
            }
        }
        let op = Op::Conv2d {
            weight: Tensor::new(&[outputs, per_group, rows, columns], turned)?,
            bias: self.bias(2, outputs)?,
            stride: [1, 1],
            padding: Padding { before, after },
            dilation: transposed.dilation,
            groups,
        };
        let [rows, columns] = transposed.output;
        self.push(op, &[input], &[outputs, rows, columns])
            .map(Value::Computed)
    }
}
