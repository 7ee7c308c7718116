//! What each ONNX operator becomes.

use sordino_graph::{Op, OutputKind, Padding, Shape, Tensor};

use crate::Error;
use crate::array::{Array, Data};
use crate::polynomial::{Coefficient, Polynomial, sides};
use crate::reader::{Operator, Value};

impl Operator<'_> {
    /// Applies one node; `is_last` when it computes the network's output.
    pub(crate) fn apply(&mut self, is_last: bool) -> Result<Value, Error> {
        if !["", "ai.onnx"].contains(&&self.at.node.domain[..]) {
            return Err(self.unsupported(&format!(
                "it is of the domain {:?}: export with standard operators only",
                self.at.node.domain
            )));
        }
        match &self.at.node.op_type[..] {
            "Constant" => Ok(Value::Constant(self.at.constant()?)),
            "Identity" | "Dropout" | "Cast" => Ok(self.value(0)?.clone()),
            "Conv" => self.convolution(),
            "Gemm" => self.gemm(),
            "MatMul" => self.matmul(),
            "BatchNormalization" => self.batch_norm(),
            "Relu" => self.push(Op::RELU),
            "AveragePool" | "MaxPool" => self.pool(),
            "GlobalAveragePool" => self.global_pool(true),
            "ReduceMean" => self.reduce_mean(),
            "Add" | "Sub" => self.sum(),
            "Mul" => self.product(),
            "Div" => self.quotient(),
            "Neg" => {
                let value = self.polynomial(0)?;
                let zero = Polynomial::constant(value.node, Coefficient::scalar(0.0));
                let shape = self.reader.shape(value.node);
                Ok(Value::Polynomial(zero.add(value, -1.0, &shape)))
            }
            "Pow" => self.power(),
            "Flatten" => match self.at.int("axis", 1) {
                1 => self.flatten(),
                axis => Err(self.wrong(format!(
                    "axis is {axis}, expected 1: flatten all but the batch"
                ))),
            },
            "Reshape" => self.reshape(),
            "Squeeze" => self.flatten(),
            "Transpose" => self.transpose(),
            "Softmax" | "LogSoftmax" | "Sigmoid" if is_last => {
                self.reader.output = match &self.at.node.op_type[..] {
                    "Sigmoid" => OutputKind::Sigmoid,
                    _ => OutputKind::Softmax,
                };
                Ok(self.value(0)?.clone())
            }
            "Shape" => self.shape_of(),
            "Gather" => self.gather(),
            "Unsqueeze" => match self.value(0)? {
                Value::Constant(array) => Ok(Value::Constant(array.clone())),
                Value::Polynomial(_) => Err(self
                    .unsupported("it changes the layout: keep [batch, channels, height, width]")),
            },
            "Concat" => self.concat(),
            other => Err(self.unsupported(nearest(other))),
        }
    }

    /// A node that reads the first input only.
    fn push(&mut self, op: Op) -> Result<Value, Error> {
        let input = self.node(0)?;
        self.append(op, &[input])
    }

    /// Channels, rows and columns of a feature map.
    fn map(&self, shape: Shape) -> Result<[usize; 3], Error> {
        sides(&shape).try_into().map_err(|vector: Vec<usize>| {
            let features = vector[0];
            self.wrong(format!(
                "it reads a vector of {features}, expected a feature map"
            ))
        })
    }

    fn convolution(&mut self) -> Result<Value, Error> {
        self.at.expect(
            "group",
            1,
            "grouped convolutions are not supported, use a full one",
        )?;
        self.at.no_dilation()?;
        let input = self.node(0)?;
        let [_, height, width] = self.map(self.reader.shape(input))?;
        let weight = self.constant(1)?;
        let &[outputs, _, rows, columns] = &weight.dims[..] else {
            return Err(self.wrong(format!(
            "weights of dimensions {:?}, expected four: only images of two dimensions are supported",
            weight.dims
        )));
        };
        let kernel = [rows, columns];
        let stride = self.at.pair("strides")?.unwrap_or([1, 1]);
        let padding = self.at.padding(kernel, stride, [height, width])?;
        if padding[0] >= rows || padding[1] >= columns {
            return Err(self.wrong(format!(
                "padding {padding:?}, expected less than the window {kernel:?}"
            )));
        }
        let op = Op::Conv2d {
            weight: Tensor::new(&weight.dims, weight.floats())?,
            bias: self.bias(2, outputs)?,
            stride,
            padding: Padding::same(padding),
            dilation: [1, 1],
            groups: 1,
        };
        self.append(op, &[input])
    }

    /// The constant of an optional input, zeros without it; one number stands for all.
    fn bias(&self, index: usize, outputs: usize) -> Result<Vec<f32>, Error> {
        let Some(array) = self.optional(index)? else {
            return Ok(vec![0.0; outputs]);
        };
        let values = array.floats();
        match values.len() {
            1 => Ok(vec![values[0]; outputs]),
            found if found == outputs => Ok(values),
            found => Err(self.wrong(format!("a bias of {found} numbers, expected {outputs}"))),
        }
    }

    fn gemm(&mut self) -> Result<Value, Error> {
        self.at.expect("transA", 0, "the images come first")?;
        let weight = self.constant(1)?;
        let alpha = self.at.float("alpha", 1.0);
        let (outputs, inputs, values) = self.matrix(weight, self.at.int("transB", 0) == 0)?;
        let values = values.into_iter().map(|value| alpha * value).collect();
        let beta = self.at.float("beta", 1.0);
        let bias = self.bias(2, outputs)?;
        let bias = bias.into_iter().map(|value| beta * value).collect();
        self.dense((outputs, inputs, values), bias)
    }

    fn matmul(&mut self) -> Result<Value, Error> {
        let rows = self.matrix(self.constant(1)?, true)?;
        let bias = vec![0.0; rows.0];
        self.dense(rows, bias)
    }

    /// Outputs, inputs and row-major weights of a matrix; `transposed` when it is stored by inputs.
    fn matrix(&self, weight: &Array, transposed: bool) -> Result<(usize, usize, Vec<f32>), Error> {
        let &[rows, columns] = &weight.dims[..] else {
            return Err(self.wrong(format!(
                "weights of dimensions {:?}, expected a matrix",
                weight.dims
            )));
        };
        let values = weight.floats();
        if !transposed {
            return Ok((rows, columns, values));
        }
        let turned = (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns));
        Ok((columns, rows, turned.copied().collect()))
    }

    fn dense(
        &mut self,
        (outputs, inputs, values): (usize, usize, Vec<f32>),
        bias: Vec<f32>,
    ) -> Result<Value, Error> {
        let input = self.node(0)?;
        if let Shape::Map { .. } = self.reader.shape(input) {
            return Err(self.wrong("it reads a feature map, expected a vector: flatten it first"));
        }
        let op = Op::Dense {
            weight: Tensor::new(&[outputs, inputs], values)?,
            bias,
        };
        self.append(op, &[input])
    }

    fn batch_norm(&mut self) -> Result<Value, Error> {
        self.at.expect(
            "training_mode",
            0,
            "export in evaluation mode (model.eval())",
        )?;
        let constant = |index| self.constant(index).map(Array::floats);
        let op = Op::BatchNorm {
            gamma: constant(1)?,
            beta: constant(2)?,
            mean: constant(3)?,
            variance: constant(4)?,
            epsilon: f64::from(self.at.float("epsilon", 1e-5)),
        };
        self.push(op)
    }

    fn pool(&mut self) -> Result<Value, Error> {
        self.at
            .expect("ceil_mode", 0, "incomplete windows are left out")?;
        self.at.no_dilation()?;
        let input = self.node(0)?;
        let [_, height, width] = self.map(self.reader.shape(input))?;
        let kernel = self.at.pair("kernel_shape")?;
        let kernel = kernel.ok_or_else(|| self.wrong("it has no kernel_shape"))?;
        let stride = self.at.pair("strides")?.unwrap_or([1, 1]);
        let padding = self.at.padding(kernel, stride, [height, width])?;
        if padding != [0, 0] {
            return Err(self.wrong(format!(
                "padding {padding:?}, expected none: pad the convolution before it"
            )));
        }
        if self.at.node.op_type == "MaxPool" {
            self.reader.warnings.push(format!(
            "{}: a maximum cannot be computed under encryption, it became an average; distil the network to regain accuracy",
            self.at.name()
        ));
        }
        self.append(Op::AveragePool { kernel, stride }, &[input])
    }

    fn global_pool(&mut self, keep: bool) -> Result<Value, Error> {
        let input = self.node(0)?;
        let [_, height, width] = self.map(self.reader.shape(input))?;
        let op = Op::AveragePool {
            kernel: [height, width],
            stride: [height, width],
        };
        if keep {
            return self.append(op, &[input]);
        }
        let pooled = self.reader.append(self.at.name(), op, &[input])?;
        let name = format!("{}_flatten", self.at.name());
        let flattened = self.reader.append(&name, Op::Flatten, &[pooled])?;
        Ok(Value::of(flattened))
    }

    fn reduce_mean(&mut self) -> Result<Value, Error> {
        let axes = match (self.at.ints("axes"), self.optional(1)?) {
            (Some(axes), _) => axes.to_vec(),
            (None, Some(array)) => array.as_ints().unwrap_or_default().to_vec(),
            (None, None) => Vec::new(),
        };
        let mut from_front: Vec<i64> = axes
            .iter()
            .map(|&a| if a < 0 { a + 4 } else { a })
            .collect();
        from_front.sort_unstable();
        if from_front != [2, 3] {
            return Err(self.wrong(format!("axes {axes:?}, expected height and width [2, 3]")));
        }
        self.global_pool(self.at.int("keepdims", 1) != 0)
    }

    /// The polynomial of a constant next to another value, broadcast to its shape.
    fn broadcast(&self, array: &Array, other: &Polynomial) -> Result<Coefficient, Error> {
        let shape = self.reader.shape(other.node);
        Coefficient::broadcast(array, &shape).ok_or_else(|| {
        self.wrong(format!(
            "a constant of dimensions {:?} next to a value of shape {shape}: expected one number, one per channel or one per element",
            array.dims
        ))
    })
    }

    /// Both inputs as polynomials of one node, if they are that.
    fn operands(&self) -> Result<Option<(Polynomial, Polynomial)>, Error> {
        Ok(match (self.value(0)?, self.value(1)?) {
            (Value::Polynomial(x), Value::Polynomial(y)) if x.node == y.node => {
                Some((x.clone(), y.clone()))
            }
            (Value::Polynomial(_), Value::Polynomial(_)) => None,
            (Value::Polynomial(x), Value::Constant(y)) => {
                let y = Polynomial::constant(x.node, self.broadcast(y, x)?);
                Some((x.clone(), y))
            }
            (Value::Constant(x), Value::Polynomial(y)) => {
                let x = Polynomial::constant(y.node, self.broadcast(x, y)?);
                Some((x, y.clone()))
            }
            (Value::Constant(_), Value::Constant(_)) => {
                return Err(self.wrong(
                "both inputs are constants: export with constant folding (do_constant_folding=True)",
            ));
            }
        })
    }

    fn sum(&mut self) -> Result<Value, Error> {
        let minus = self.at.node.op_type == "Sub";
        if let Some((x, y)) = self.operands()? {
            let shape = self.reader.shape(x.node);
            let sign = if minus { -1.0 } else { 1.0 };
            return Ok(Value::Polynomial(x.add(&y, sign, &shape)));
        }
        if minus {
            return Err(self.unsupported("differences of two values are not supported: use a sum"));
        }
        let inputs = [self.node(0)?, self.node(1)?];
        self.append(Op::SUM, &inputs)
    }

    fn product(&mut self) -> Result<Value, Error> {
        let Some((x, y)) = self.operands()? else {
            return Err(self.unsupported(
            "products of two different values (gates, attention) are not supported: only quadratics of one value are",
        ));
        };
        self.multiply(&x, &y)
    }

    fn multiply(&self, x: &Polynomial, y: &Polynomial) -> Result<Value, Error> {
        let shape = self.reader.shape(x.node);
        let product = x.multiply(y, &shape).ok_or_else(|| {
            self.wrong(
                "it makes a polynomial of degree above 2: use a quadratic activation in each place",
            )
        })?;
        Ok(Value::Polynomial(product))
    }

    fn quotient(&mut self) -> Result<Value, Error> {
        let x = self.polynomial(0)?;
        let divisor = self.broadcast(self.constant(1)?, x)?;
        let factor = Polynomial::constant(x.node, divisor.inverse());
        self.multiply(x, &factor)
    }

    fn power(&mut self) -> Result<Value, Error> {
        let exponent = self.constant(1)?.floats();
        if exponent != [2.0] {
            return Err(self.wrong(format!(
                "exponent {exponent:?}, expected 2: higher powers cost depth, use a quadratic"
            )));
        }
        let x = self.polynomial(0)?;
        self.multiply(x, x)
    }

    fn flatten(&mut self) -> Result<Value, Error> {
        let polynomial = self.polynomial(0)?;
        let shape = self.reader.shape(polynomial.node);
        if let Shape::Flat(_) = shape {
            return Ok(Value::Polynomial(polynomial.clone()));
        }
        let [_, height, width] = self.map(shape)?;
        if self.at.node.op_type == "Squeeze" && height * width != 1 {
            return Err(self.wrong(format!("a map of {height}x{width}, expected 1x1")));
        }
        self.push(Op::Flatten)
    }

    fn reshape(&mut self) -> Result<Value, Error> {
        if let Value::Constant(array) = self.value(0)? {
            // Only constants of a few numbers come here: shapes, and coefficients that get axes.
            let target = self.constant(1)?.as_ints().unwrap_or_default();
            let dims: Option<Vec<usize>> = target.iter().map(|&dim| dim.try_into().ok()).collect();
            let count = array.floats().len();
            return match dims {
                Some(dims)
                    if dims.iter().try_fold(1usize, |p, &d| p.checked_mul(d)) == Some(count) =>
                {
                    Ok(Value::Constant(Array {
                        dims,
                        data: array.data.clone(),
                    }))
                }
                _ => Err(self.wrong(format!("a constant cannot be reshaped to {target:?}"))),
            };
        }
        let target = self.constant(1)?.as_ints().unwrap_or_default().to_vec();
        let shape = self.reader.shape(self.polynomial(0)?.node);
        let sides: Vec<i64> = sides(&shape).into_iter().map(|side| side as i64).collect();
        let elements: i64 = sides.iter().product();
        // The first number is the batch: kept (0), open (-1), or as exported.
        let fits = |wanted: &[i64]| {
            wanted.len() == sides.len()
                && wanted
                    .iter()
                    .zip(&sides)
                    .all(|(w, s)| w == s || *w == -1 || *w == 0)
        };
        match &target[..] {
        [_, rest @ ..] if fits(rest) && rest.iter().filter(|&&w| w == -1).count() < 2 => {
            Ok(self.value(0)?.clone())
        }
        [_, features] if *features == -1 || *features == elements => self.flatten(),
        _ => Err(self.wrong(format!(
            "a value of shape {shape} cannot become {target:?}: only flattening to [batch, {elements}] is supported"
        ))),
    }
    }

    fn transpose(&self) -> Result<Value, Error> {
        match (self.value(0)?, self.at.ints("perm")) {
            (value, Some(perm)) if perm.iter().copied().eq(0..perm.len() as i64) => {
                Ok(value.clone())
            }
            (Value::Constant(array), perm)
                if array.dims.len() == 2 && perm.is_none_or(|p| p == [1, 0]) =>
            {
                let (rows, columns, data) = self.matrix(array, true)?;
                Ok(Value::Constant(Array {
                    dims: vec![rows, columns],
                    data: Data::Float(data),
                }))
            }
            _ => {
                Err(self
                    .unsupported("it changes the layout: keep [batch, channels, height, width]"))
            }
        }
    }

    /// The dimensions of a value, the batch as 0, which a reshape understands.
    fn shape_of(&self) -> Result<Value, Error> {
        let shape = self.reader.shape(self.polynomial(0)?.node);
        let sides = sides(&shape).into_iter().map(|side| side as i64);
        let dims = std::iter::once(0).chain(sides).collect();
        Ok(Value::Constant(Array::ints(dims)))
    }

    fn gather(&self) -> Result<Value, Error> {
        let Value::Constant(array) = self.value(0)? else {
            return Err(
                self.unsupported("parts of a feature map cannot be picked: use a convolution")
            );
        };
        let (Some(values), Some(indices)) = (array.as_ints(), self.constant(1)?.as_ints()) else {
            return Err(self.wrong("expected integers"));
        };
        let pick = |&index: &i64| {
            let index = if index < 0 {
                index + values.len() as i64
            } else {
                index
            };
            values.get(usize::try_from(index).ok()?).copied()
        };
        let picked: Option<Vec<i64>> = indices.iter().map(pick).collect();
        let picked =
            picked.ok_or_else(|| self.wrong(format!("indices {indices:?} of {}", values.len())))?;
        Ok(Value::Constant(Array::ints(picked)))
    }

    fn concat(&self) -> Result<Value, Error> {
        let mut all = Vec::new();
        for index in 0..self.at.node.input.len() {
            match self.value(index)? {
                Value::Constant(array) if array.as_ints().is_some() => {
                    all.extend_from_slice(array.as_ints().unwrap_or_default());
                }
                _ => return Err(self.unsupported(nearest("Concat"))),
            }
        }
        Ok(Value::Constant(Array::ints(all)))
    }
}

/// What to use instead of an operator that cannot be computed under encryption.
fn nearest(operator: &str) -> &'static str {
    match operator {
        "Softmax" | "LogSoftmax" | "Sigmoid" => {
            "it is taken only as the last operation, where the client applies it"
        }
        "LeakyRelu" | "PRelu" | "Elu" | "Selu" | "Gelu" | "HardSwish" | "HardSigmoid" | "Tanh"
        | "Clip" | "Softplus" | "Mish" | "Erf" | "Exp" | "Celu" | "Silu" | "Swish" => {
            "train the network with ReLU, which `sordino distill` replaces by quadratics"
        }
        "LayerNormalization" | "GroupNormalization" | "InstanceNormalization" | "LRN" => {
            "its statistics depend on the image: train with batch normalization"
        }
        "ConvTranspose" | "Resize" | "Upsample" => "classifiers need no upsampling: remove it",
        "Concat" | "Split" | "Slice" => {
            "branches can be added, not concatenated: use a residual sum"
        }
        "GlobalMaxPool" | "ReduceMax" | "Max" | "Min" => "use an average pool",
        "Sqrt" | "Reciprocal" | "Div" | "Abs" => {
            "only polynomials of degree 2 with constant coefficients are activations"
        }
        "Einsum" | "Attention" => "use Conv and Gemm",
        "LSTM" | "GRU" | "RNN" | "Loop" | "If" | "Scan" => "export a plain feed-forward network",
        _ => {
            "supported are Conv, Gemm, MatMul, BatchNormalization, Relu, average pools, Add, Mul, Flatten and quadratics"
        }
    }
}
