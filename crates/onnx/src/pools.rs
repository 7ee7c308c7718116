//! Pools and reductions over axes.

use sordino_graph::{Op, Padding, Shape};

use crate::Error;
use crate::array::Array;
use crate::computed::{Computed, Value};
use crate::evaluate::Reduction;
use crate::layout::Layout;
use crate::operators::Operator;
use crate::polynomial::Coefficient;
use crate::view::View;
use crate::window::Window;

/// What a user of a network with a maximum should know.
const MAXIMUM: &str = "a maximum cannot be computed under encryption: it is kept for `sordino distill`, whose student has the average of the same window";

impl Operator<'_, '_> {
    pub(crate) fn pool(&mut self) -> Result<Value, Error> {
        let value = self.settled(0)?;
        let [channels, height, width] = self.map_dims(&value.view)?;
        let kernel = self.at.pair("kernel_shape")?;
        let kernel = kernel.ok_or_else(|| self.wrong("it has no kernel_shape"))?;
        let window = Window::read(self.at, [height, width], kernel)?;
        let (stride, dilation) = (window.stride, window.dilation);
        let reached = window.reached();
        let [rows, columns] = window.output;
        if self.at.operator() == "MaxPool" {
            self.reader.warn(self.at, MAXIMUM);
            let input =
                self.reader
                    .node_of_shape(self.at, &value, Shape::map(channels, height, width))?;
            let op = Op::MaxPool {
                kernel,
                stride,
                padding: Padding {
                    before: window.before,
                    after: reached,
                },
                dilation,
            };
            return self
                .push(op, &[input], &[channels, rows, columns])
                .map(Value::Computed);
        }
        if dilation != [1, 1] {
            return Err(self.wrong(format!(
                "dilations {dilation:?} of an average: use a convolution"
            )));
        }
        let counted = self.at.flag("count_include_pad", false)?;
        let images = value.view.dims[0] as i64;
        let mut axes = vec![
            (0..images).collect::<Vec<i64>>(),
            (0..channels as i64).collect(),
        ];
        for (axis, &reached) in reached.iter().enumerate() {
            let size = window.input[axis] as i64;
            let places = -(window.before[axis] as i64)..size + reached as i64;
            axes.push(
                places
                    .map(|place| {
                        if (0..size).contains(&place) {
                            place
                        } else {
                            -1
                        }
                    })
                    .collect(),
            );
        }
        self.room(&axes)?;
        let padded = self.moved(&value, &Layout::per_axis(&value.view.dims, &axes))?;
        let [_, height, width] = self.map_dims(&padded.view)?;
        let input =
            self.reader
                .node_of_shape(self.at, &padded, Shape::map(channels, height, width))?;
        let pooled = self.push(
            Op::AveragePool { kernel, stride },
            &[input],
            &[channels, rows, columns],
        )?;
        // The operation divides by all taps; windows at the edge may count fewer.
        let taps = |axis: usize| move |position: usize| window.taps_inside(axis, position, counted);
        let all = kernel[0] * kernel[1];
        let factors = (0..rows)
            .flat_map(|row| (0..columns).map(move |column| taps(0)(row) * taps(1)(column)));
        let factors: Vec<usize> = factors.collect();
        if factors.contains(&0) {
            return Err(self.wrong("a window holds padding only: use less padding"));
        }
        if factors.iter().all(|&taps| taps == all) {
            return Ok(Value::Computed(pooled));
        }
        let factors = factors
            .iter()
            .map(|&taps| (all as f64 / taps as f64) as f32)
            .collect();
        let factors = Array::floats_of(vec![1, 1, rows, columns], factors);
        self.times_constant(&pooled, &factors).map(Value::Computed)
    }

    /// Mean, sum or maximum over any axes but the batch.
    pub(crate) fn reduce(&mut self) -> Result<Value, Error> {
        let operator = self.at.operator();
        let value = self.settled(0)?;
        let dims = value.view.dims.clone();
        let axes = self.optional(1)?;
        let reduction = Reduction::read(self.at, &[None, axes.as_deref()], &dims)?;
        let batch = value.view.batch;
        if batch.is_some_and(|batch| reduction.reduced.contains(&batch)) {
            return Err(self.wrong(format!(
                "it reduces the axes {:?}, the batch among them: each image must be computed by itself",
                reduction.reduced
            )));
        }
        let output = Layout::reshaped(reduction.output.clone());
        if reduction.size == 1 {
            return self.moved(&value, &output).map(Value::Computed);
        }
        // The batch first, then what stays, then what is reduced.
        let others = || {
            reduction
                .kept
                .iter()
                .copied()
                .filter(|&axis| Some(axis) != batch)
        };
        let order: Vec<usize> = batch
            .into_iter()
            .chain(others())
            .chain(reduction.reduced.iter().copied())
            .collect();
        let images = self.reader.batch;
        let kept: Vec<usize> = others().map(|axis| dims[axis]).collect();
        let channels: usize = kept.iter().product();
        let window = match reduction.reduced[..] {
            [rows, columns] => [dims[rows], dims[columns]],
            _ => [reduction.size, 1],
        };
        let moved = self.moved(&value, &Layout::transposed(&dims, &order))?;
        let map = Layout::reshaped(vec![images, channels, window[0], window[1]]);
        let moved = self.moved(&moved, &map)?;
        let shape = Shape::map(channels, window[0], window[1]);
        let input = self.reader.node_of_shape(self.at, &moved, shape)?;
        let op = match operator {
            "ReduceMax" | "GlobalMaxPool" => {
                self.reader.warn(self.at, MAXIMUM);
                Op::MaxPool {
                    kernel: window,
                    stride: window,
                    padding: Padding::NONE,
                    dilation: [1, 1],
                }
            }
            _ => Op::AveragePool {
                kernel: window,
                stride: window,
            },
        };
        let node = self.reader.append(self.at, op, &[input])?;
        let mut pooled = Computed::of(node, View::ordered(images, &[channels]));
        if operator == "ReduceSum" {
            pooled = self.scaled(&pooled, Coefficient::scalar(reduction.size as f64))?;
        }
        // Back to the order of the axes, where the batch was not the first.
        let mut split: Vec<usize> = batch.map(|_| images).into_iter().collect();
        split.extend(&kept);
        let pooled = self.moved(&pooled, &Layout::reshaped(split.clone()))?;
        let places: Vec<usize> = batch.into_iter().chain(others()).collect();
        let mut back: Vec<usize> = (0..places.len()).collect();
        back.sort_by_key(|&place| places[place]);
        let pooled = self.moved(&pooled, &Layout::transposed(&split, &back))?;
        self.moved(&pooled, &output).map(Value::Computed)
    }
}
