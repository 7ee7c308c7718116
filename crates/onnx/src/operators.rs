//! What each ONNX operator becomes.

use sordino_graph::{Op, OutputKind, Shape, Tensor};

use crate::Error;
use crate::array::{Array, Data};
use crate::attributes::Attributes;
use crate::polynomial::{Coefficient, Polynomial};
use crate::reader::{Reader, Value};

/// Applies one node; `is_last` when it computes the network's output.
pub(crate) fn apply(
    reader: &mut Reader,
    at: Attributes<'_>,
    is_last: bool,
) -> Result<Value, Error> {
    if !["", "ai.onnx"].contains(&&at.node.domain[..]) {
        return Err(at.unsupported(&format!(
            "it is of the domain {:?}: export with standard operators only",
            at.node.domain
        )));
    }
    match &at.node.op_type[..] {
        "Constant" => Ok(Value::Constant(at.constant()?)),
        "Identity" | "Dropout" | "Cast" => Ok(reader.value(at, 0)?.clone()),
        "Conv" => convolution(reader, at),
        "Gemm" => gemm(reader, at),
        "MatMul" => matmul(reader, at),
        "BatchNormalization" => batch_norm(reader, at),
        "Relu" => push(reader, at, Op::Relu),
        "AveragePool" | "MaxPool" => pool(reader, at),
        "GlobalAveragePool" => global_pool(reader, at, true),
        "ReduceMean" => reduce_mean(reader, at),
        "Add" | "Sub" => sum(reader, at),
        "Mul" => product(reader, at),
        "Div" => quotient(reader, at),
        "Neg" => {
            let value = reader.polynomial(at, 0)?;
            let zero = Polynomial::constant(value.node, Coefficient::scalar(0.0));
            let shape = reader.shape(value.node);
            Ok(Value::Polynomial(zero.add(value, -1.0, &shape)))
        }
        "Pow" => power(reader, at),
        "Flatten" => match at.int("axis", 1) {
            1 => flatten(reader, at),
            axis => Err(at.wrong(format!(
                "axis is {axis}, expected 1: flatten all but the batch"
            ))),
        },
        "Reshape" => reshape(reader, at),
        "Squeeze" => flatten(reader, at),
        "Transpose" => transpose(reader, at),
        "Softmax" | "LogSoftmax" | "Sigmoid" if is_last => {
            reader.output = match &at.node.op_type[..] {
                "Sigmoid" => OutputKind::Sigmoid,
                _ => OutputKind::Softmax,
            };
            Ok(reader.value(at, 0)?.clone())
        }
        "Shape" => shape_of(reader, at),
        "Gather" => gather(reader, at),
        "Unsqueeze" => match reader.value(at, 0)? {
            Value::Constant(array) => Ok(Value::Constant(array.clone())),
            Value::Polynomial(_) => {
                Err(at.unsupported("it changes the layout: keep [batch, channels, height, width]"))
            }
        },
        "Concat" => concat(reader, at),
        other => Err(at.unsupported(nearest(other))),
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

/// A node that reads the first input only.
fn push(reader: &mut Reader, at: Attributes<'_>, op: Op) -> Result<Value, Error> {
    let input = reader.node(at, 0)?;
    reader.push(at.name(), op, &[input])
}

fn map(at: Attributes<'_>, shape: Shape) -> Result<[usize; 3], Error> {
    match shape {
        Shape::Map {
            channels,
            height,
            width,
        } => Ok([channels, height, width]),
        Shape::Flat(features) => Err(at.wrong(format!(
            "it reads a vector of {features}, expected a feature map"
        ))),
    }
}

fn convolution(reader: &mut Reader, at: Attributes<'_>) -> Result<Value, Error> {
    at.expect(
        "group",
        1,
        "grouped convolutions are not supported, use a full one",
    )?;
    at.no_dilation()?;
    let input = reader.node(at, 0)?;
    let [_, height, width] = map(at, reader.shape(input))?;
    let weight = reader.constant(at, 1)?;
    let &[outputs, _, rows, columns] = &weight.dims[..] else {
        return Err(at.wrong(format!(
            "weights of dimensions {:?}, expected four: only images of two dimensions are supported",
            weight.dims
        )));
    };
    let kernel = [rows, columns];
    let stride = at.pair("strides")?.unwrap_or([1, 1]);
    let padding = at.padding(kernel, stride, [height, width])?;
    if padding[0] >= rows || padding[1] >= columns {
        return Err(at.wrong(format!(
            "padding {padding:?}, expected less than the window {kernel:?}"
        )));
    }
    let op = Op::Conv2d {
        weight: Tensor::new(&weight.dims, weight.floats())?,
        bias: bias(reader, at, 2, outputs)?,
        stride,
        padding,
    };
    reader.push(at.name(), op, &[input])
}

/// The constant of an optional input, zeros without it; one number stands for all.
fn bias(
    reader: &Reader,
    at: Attributes<'_>,
    index: usize,
    outputs: usize,
) -> Result<Vec<f32>, Error> {
    let Some(array) = reader.optional(at, index)? else {
        return Ok(vec![0.0; outputs]);
    };
    let values = array.floats();
    match values.len() {
        1 => Ok(vec![values[0]; outputs]),
        found if found == outputs => Ok(values),
        found => Err(at.wrong(format!("a bias of {found} numbers, expected {outputs}"))),
    }
}

fn gemm(reader: &mut Reader, at: Attributes<'_>) -> Result<Value, Error> {
    at.expect("transA", 0, "the images come first")?;
    let weight = reader.constant(at, 1)?;
    let alpha = at.float("alpha", 1.0);
    let (outputs, inputs, values) = matrix(at, weight, at.int("transB", 0) == 0)?;
    let values = values.into_iter().map(|value| alpha * value).collect();
    let beta = at.float("beta", 1.0);
    let bias = bias(reader, at, 2, outputs)?;
    let bias = bias.into_iter().map(|value| beta * value).collect();
    dense(reader, at, (outputs, inputs, values), bias)
}

fn matmul(reader: &mut Reader, at: Attributes<'_>) -> Result<Value, Error> {
    let rows = matrix(at, reader.constant(at, 1)?, true)?;
    let bias = vec![0.0; rows.0];
    dense(reader, at, rows, bias)
}

/// Outputs, inputs and row-major weights of a matrix; `transposed` when it is stored by inputs.
fn matrix(
    at: Attributes<'_>,
    weight: &Array,
    transposed: bool,
) -> Result<(usize, usize, Vec<f32>), Error> {
    let &[rows, columns] = &weight.dims[..] else {
        return Err(at.wrong(format!(
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
    reader: &mut Reader,
    at: Attributes<'_>,
    (outputs, inputs, values): (usize, usize, Vec<f32>),
    bias: Vec<f32>,
) -> Result<Value, Error> {
    let input = reader.node(at, 0)?;
    if let Shape::Map { .. } = reader.shape(input) {
        return Err(at.wrong("it reads a feature map, expected a vector: flatten it first"));
    }
    let op = Op::Dense {
        weight: Tensor::new(&[outputs, inputs], values)?,
        bias,
    };
    reader.push(at.name(), op, &[input])
}

fn batch_norm(reader: &mut Reader, at: Attributes<'_>) -> Result<Value, Error> {
    at.expect(
        "training_mode",
        0,
        "export in evaluation mode (model.eval())",
    )?;
    let constant = |index| reader.constant(at, index).map(Array::floats);
    let op = Op::BatchNorm {
        gamma: constant(1)?,
        beta: constant(2)?,
        mean: constant(3)?,
        variance: constant(4)?,
        epsilon: f64::from(at.float("epsilon", 1e-5)),
    };
    push(reader, at, op)
}

fn pool(reader: &mut Reader, at: Attributes<'_>) -> Result<Value, Error> {
    at.expect("ceil_mode", 0, "incomplete windows are left out")?;
    at.no_dilation()?;
    let input = reader.node(at, 0)?;
    let [_, height, width] = map(at, reader.shape(input))?;
    let kernel = at.pair("kernel_shape")?;
    let kernel = kernel.ok_or_else(|| at.wrong("it has no kernel_shape"))?;
    let stride = at.pair("strides")?.unwrap_or([1, 1]);
    let padding = at.padding(kernel, stride, [height, width])?;
    if padding != [0, 0] {
        return Err(at.wrong(format!(
            "padding {padding:?}, expected none: pad the convolution before it"
        )));
    }
    if at.node.op_type == "MaxPool" {
        reader.warnings.push(format!(
            "{}: a maximum cannot be computed under encryption, it became an average; distil the network to regain accuracy",
            at.name()
        ));
    }
    reader.push(at.name(), Op::AveragePool { kernel, stride }, &[input])
}

fn global_pool(reader: &mut Reader, at: Attributes<'_>, keep: bool) -> Result<Value, Error> {
    let input = reader.node(at, 0)?;
    let [_, height, width] = map(at, reader.shape(input))?;
    let op = Op::AveragePool {
        kernel: [height, width],
        stride: [height, width],
    };
    if keep {
        return reader.push(at.name(), op, &[input]);
    }
    let pooled = reader.append(at.name(), op, &[input])?;
    let name = format!("{}_flatten", at.name());
    reader.push(&name, Op::Flatten, &[pooled])
}

fn reduce_mean(reader: &mut Reader, at: Attributes<'_>) -> Result<Value, Error> {
    let axes = match (at.ints("axes"), reader.optional(at, 1)?) {
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
        return Err(at.wrong(format!("axes {axes:?}, expected height and width [2, 3]")));
    }
    global_pool(reader, at, at.int("keepdims", 1) != 0)
}

/// The polynomial of a constant next to another value, broadcast to its shape.
fn broadcast(
    reader: &Reader,
    at: Attributes<'_>,
    array: &Array,
    other: &Polynomial,
) -> Result<Coefficient, Error> {
    let shape = reader.shape(other.node);
    Coefficient::broadcast(array, &shape).ok_or_else(|| {
        at.wrong(format!(
            "a constant of dimensions {:?} next to a value of shape {shape}: expected one number, one a channel or one an element",
            array.dims
        ))
    })
}

/// Both inputs as polynomials of one node, if they are that.
fn operands(
    reader: &Reader,
    at: Attributes<'_>,
) -> Result<Option<(Polynomial, Polynomial)>, Error> {
    Ok(match (reader.value(at, 0)?, reader.value(at, 1)?) {
        (Value::Polynomial(x), Value::Polynomial(y)) if x.node == y.node => {
            Some((x.clone(), y.clone()))
        }
        (Value::Polynomial(_), Value::Polynomial(_)) => None,
        (Value::Polynomial(x), Value::Constant(y)) => {
            let y = Polynomial::constant(x.node, broadcast(reader, at, y, x)?);
            Some((x.clone(), y))
        }
        (Value::Constant(x), Value::Polynomial(y)) => {
            let x = Polynomial::constant(y.node, broadcast(reader, at, x, y)?);
            Some((x, y.clone()))
        }
        (Value::Constant(_), Value::Constant(_)) => {
            return Err(at.wrong(
                "both inputs are constants: export with constant folding (do_constant_folding=True)",
            ));
        }
    })
}

fn sum(reader: &mut Reader, at: Attributes<'_>) -> Result<Value, Error> {
    let minus = at.node.op_type == "Sub";
    if let Some((x, y)) = operands(reader, at)? {
        let shape = reader.shape(x.node);
        let sign = if minus { -1.0 } else { 1.0 };
        return Ok(Value::Polynomial(x.add(&y, sign, &shape)));
    }
    if minus {
        return Err(at.unsupported("differences of two values are not supported: use a sum"));
    }
    let inputs = [reader.node(at, 0)?, reader.node(at, 1)?];
    reader.push(at.name(), Op::Add, &inputs)
}

fn product(reader: &mut Reader, at: Attributes<'_>) -> Result<Value, Error> {
    let Some((x, y)) = operands(reader, at)? else {
        return Err(at.unsupported(
            "products of two different values (gates, attention) are not supported: only quadratics of one value are",
        ));
    };
    multiply(reader, at, &x, &y)
}

fn multiply(
    reader: &Reader,
    at: Attributes<'_>,
    x: &Polynomial,
    y: &Polynomial,
) -> Result<Value, Error> {
    let shape = reader.shape(x.node);
    let product = x.multiply(y, &shape).ok_or_else(|| {
        at.wrong(
            "it makes a polynomial of degree above 2: use a quadratic activation in each place",
        )
    })?;
    Ok(Value::Polynomial(product))
}

fn quotient(reader: &mut Reader, at: Attributes<'_>) -> Result<Value, Error> {
    let x = reader.polynomial(at, 0)?;
    let divisor = broadcast(reader, at, reader.constant(at, 1)?, x)?;
    let factor = Polynomial::constant(x.node, divisor.inverse());
    multiply(reader, at, x, &factor)
}

fn power(reader: &mut Reader, at: Attributes<'_>) -> Result<Value, Error> {
    let exponent = reader.constant(at, 1)?.floats();
    if exponent != [2.0] {
        return Err(at.wrong(format!(
            "exponent {exponent:?}, expected 2: higher powers cost depth, use a quadratic"
        )));
    }
    let x = reader.polynomial(at, 0)?;
    multiply(reader, at, x, x)
}

fn flatten(reader: &mut Reader, at: Attributes<'_>) -> Result<Value, Error> {
    let polynomial = reader.polynomial(at, 0)?;
    let shape = reader.shape(polynomial.node);
    if let Shape::Flat(_) = shape {
        return Ok(Value::Polynomial(polynomial.clone()));
    }
    let [_, height, width] = map(at, shape)?;
    if at.node.op_type == "Squeeze" && height * width != 1 {
        return Err(at.wrong(format!("a map of {height}x{width}, expected 1x1")));
    }
    push(reader, at, Op::Flatten)
}

/// Sides of a value behind the batch.
fn sides(shape: &Shape) -> Vec<i64> {
    match *shape {
        Shape::Map {
            channels,
            height,
            width,
        } => vec![channels as i64, height as i64, width as i64],
        Shape::Flat(features) => vec![features as i64],
    }
}

fn reshape(reader: &mut Reader, at: Attributes<'_>) -> Result<Value, Error> {
    if let Value::Constant(array) = reader.value(at, 0)? {
        // Only constants of a few numbers come here: shapes, and coefficients that get axes.
        let target = reader.constant(at, 1)?.as_ints().unwrap_or_default();
        let dims: Option<Vec<usize>> = target.iter().map(|&dim| dim.try_into().ok()).collect();
        let count = array.floats().len();
        return match dims {
            Some(dims) if dims.iter().try_fold(1usize, |p, &d| p.checked_mul(d)) == Some(count) => {
                Ok(Value::Constant(Array {
                    dims,
                    data: array.data.clone(),
                }))
            }
            _ => Err(at.wrong(format!("a constant cannot be reshaped to {target:?}"))),
        };
    }
    let target = reader
        .constant(at, 1)?
        .as_ints()
        .unwrap_or_default()
        .to_vec();
    let shape = reader.shape(reader.polynomial(at, 0)?.node);
    let sides = sides(&shape);
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
            Ok(reader.value(at, 0)?.clone())
        }
        [_, features] if *features == -1 || *features == elements => flatten(reader, at),
        _ => Err(at.wrong(format!(
            "a value of shape {shape} cannot become {target:?}: only flattening to [batch, {elements}] is supported"
        ))),
    }
}

fn transpose(reader: &Reader, at: Attributes<'_>) -> Result<Value, Error> {
    match (reader.value(at, 0)?, at.ints("perm")) {
        (value, Some(perm)) if perm.iter().copied().eq(0..perm.len() as i64) => Ok(value.clone()),
        (Value::Constant(array), perm)
            if array.dims.len() == 2 && perm.is_none_or(|p| p == [1, 0]) =>
        {
            let (rows, columns, data) = matrix(at, array, true)?;
            Ok(Value::Constant(Array {
                dims: vec![rows, columns],
                data: Data::Float(data),
            }))
        }
        _ => Err(at.unsupported("it changes the layout: keep [batch, channels, height, width]")),
    }
}

/// The dimensions of a value, the batch as 0, which a reshape understands.
fn shape_of(reader: &Reader, at: Attributes<'_>) -> Result<Value, Error> {
    let shape = reader.shape(reader.polynomial(at, 0)?.node);
    let dims = std::iter::once(0).chain(sides(&shape)).collect();
    Ok(Value::Constant(Array::ints(dims)))
}

fn gather(reader: &Reader, at: Attributes<'_>) -> Result<Value, Error> {
    let Value::Constant(array) = reader.value(at, 0)? else {
        return Err(at.unsupported("parts of a feature map cannot be picked: use a convolution"));
    };
    let (Some(values), Some(indices)) = (array.as_ints(), reader.constant(at, 1)?.as_ints()) else {
        return Err(at.wrong("expected integers"));
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
        picked.ok_or_else(|| at.wrong(format!("indices {indices:?} of {}", values.len())))?;
    Ok(Value::Constant(Array::ints(picked)))
}

fn concat(reader: &Reader, at: Attributes<'_>) -> Result<Value, Error> {
    let mut all = Vec::new();
    for index in 0..at.node.input.len() {
        match reader.value(at, index)? {
            Value::Constant(array) if array.as_ints().is_some() => {
                all.extend_from_slice(array.as_ints().unwrap_or_default());
            }
            _ => return Err(at.unsupported(nearest("Concat"))),
        }
    }
    Ok(Value::Constant(Array::ints(all)))
}
