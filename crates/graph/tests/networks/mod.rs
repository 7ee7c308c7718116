//! Small random networks for the tests.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "every test file compiles this module and uses a part"
)]

pub mod folding;

use sordino_graph::{Builder, Granularity, Graph, NodeId, Op, Padding, Shape, Tensor, execute_f64};

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    /// Uniform in [-1, 1).
    pub fn value(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub fn values(&mut self, count: usize, size: f32) -> Vec<f32> {
        (0..count).map(|_| self.value() * size).collect()
    }
}

pub fn conv(random: &mut Random, shape: [usize; 4], stride: [usize; 2], padding: [usize; 2]) -> Op {
    let fan_in = shape[1] * shape[2] * shape[3];
    let weights = random.values(shape.iter().product(), 2.0 / (fan_in as f32).sqrt());
    Op::Conv2d {
        weight: Tensor::new(&shape, weights).unwrap(),
        bias: random.values(shape[0], 0.5),
        stride,
        padding: Padding::same(padding),
        dilation: [1, 1],
        groups: 1,
    }
}

pub fn dense(random: &mut Random, out: usize, inputs: usize) -> Op {
    let weights = random.values(out * inputs, 2.0 / (inputs as f32).sqrt());
    Op::Dense {
        weight: Tensor::new(&[out, inputs], weights).unwrap(),
        bias: random.values(out, 0.5),
    }
}

pub fn batch_norm(random: &mut Random, shape: &Shape) -> Op {
    let channels = shape.channels();
    let mut gamma: Vec<f32> = (0..channels)
        .map(|_| random.value() + 1.5 * random.value().signum())
        .collect();
    if random.chance(6) {
        // A pruned channel.
        gamma[0] = 0.0;
    }
    Op::BatchNorm {
        gamma,
        beta: random.values(channels, 0.7),
        mean: random.values(channels, 0.5),
        variance: (0..channels).map(|_| random.value().abs() + 0.5).collect(),
        epsilon: 1e-5,
    }
}

/// What the squares' coefficients look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coefficients {
    /// Both signs, sizes 0.1 to 0.5.
    Ordinary,
    /// Some tiny, some zero, some with `b` zero too.
    WithTiny,
    /// All of `a` zero.
    Affine,
}

pub fn quadratic(
    random: &mut Random,
    shape: &Shape,
    granularity: Granularity,
    kind: Coefficients,
) -> Op {
    let count = granularity.coefficients(shape);
    let a = (0..count)
        .map(|_| {
            let value = random.value();
            match kind {
                Coefficients::Affine => 0.0,
                Coefficients::WithTiny if random.chance(3) => {
                    [0.0, 1e-4, -1e-6, 1e-9, -1e-30, 1e-41, 0.001][random.below(7)]
                }
                _ => value.signum() * (0.1 + 0.4 * value.abs()),
            }
        })
        .collect();
    let mut b = random.values(count, 0.8);
    if kind == Coefficients::WithTiny && random.chance(2) {
        let at = random.below(count);
        b[at] = [0.0, 1e-8][random.below(2)];
    }
    Op::Quadratic {
        granularity,
        a,
        b,
        c: random.values(count, 0.6),
    }
}

/// Images with values in [-1, 1).
pub fn images(random: &mut Random, shape: Shape, batch: usize) -> Vec<f32> {
    random.values(batch * shape.elements(), 1.0)
}

/// A network that keeps track of the shapes that it has built.
pub struct Sketch {
    pub builder: Builder,
    pub shapes: Vec<Shape>,
    input: Shape,
}

impl Sketch {
    pub fn new(input: Shape) -> Self {
        let mut builder = Graph::builder(input);
        builder.push("input", Op::Input, &[]);
        Self {
            builder,
            shapes: vec![input],
            input,
        }
    }

    pub fn last(&self) -> NodeId {
        NodeId(self.shapes.len() - 1)
    }

    pub fn shape(&self) -> Shape {
        self.shapes[self.shapes.len() - 1]
    }

    /// Appends a node that reads the last one.
    pub fn then(&mut self, op: Op) -> NodeId {
        let last = self.last();
        self.push(op, &[last])
    }

    pub fn push(&mut self, op: Op, inputs: &[NodeId]) -> NodeId {
        let name = format!("{}{}", op.kind(), self.shapes.len());
        let read: Vec<Shape> = inputs.iter().map(|id| self.shapes[id.0]).collect();
        let shape = op.output_shape(&name, &read).unwrap();
        self.shapes.push(shape);
        self.builder.push(name, op, inputs)
    }

    /// Flattens and adds a dense layer of logits.
    pub fn finish(mut self, random: &mut Random, classes: usize) -> Graph {
        if let Shape::Map { .. } = self.shape() {
            self.then(Op::Flatten);
        }
        let features = self.shape().elements();
        self.then(dense(random, classes, features));
        self.done()
    }

    pub fn done(self) -> Graph {
        let graph = self.builder.finish().unwrap();
        assert_eq!(graph.input_shape(), self.input);
        for (index, shape) in self.shapes.iter().enumerate() {
            assert_eq!(
                graph.shape(NodeId(index)),
                *shape,
                "{}",
                graph.nodes()[index].name
            );
        }
        graph
    }
}

/// A random network of all foldable operations, with residual sums.
pub fn random_network(seed: u64) -> Graph {
    let mut random = Random::new(seed);
    let random = &mut random;
    let input = Shape::map(
        1 + random.below(2),
        4 + random.below(4),
        4 + random.below(4),
    );
    let mut net = Sketch::new(input);
    for _ in 0..2 + random.below(6) {
        let shape = net.shape();
        let Shape::Map { height, width, .. } = shape else {
            unreachable!("maps until the end")
        };
        let kind = [
            Coefficients::Ordinary,
            Coefficients::WithTiny,
            Coefficients::Affine,
        ][[0, 0, 0, 1, 1, 2][random.below(6)]];
        let granularity = [
            Granularity::Layer,
            Granularity::Channel,
            Granularity::Element,
        ][random.below(3)];
        match random.below(8) {
            0 | 1 => {
                let kernel = [
                    1 + random.below(3.min(height)),
                    1 + random.below(3.min(width)),
                ];
                let stride = [1 + random.below(2), 1 + random.below(2)];
                let padding = [random.below(3), random.below(3)];
                let out = 1 + random.below(3);
                let shape = [out, shape.channels(), kernel[0], kernel[1]];
                net.then(conv(random, shape, stride, padding));
            }
            2 | 3 => {
                net.then(quadratic(random, &shape, granularity, kind));
            }
            4 => {
                net.then(batch_norm(random, &shape));
            }
            5 if height > 1 && width > 1 => {
                let kernel = [1 + random.below(2), 1 + random.below(2)];
                let stride = [1 + random.below(2), 1 + random.below(2)];
                net.then(Op::AveragePool { kernel, stride });
            }
            _ => {
                // A residual block: a branch that keeps the shape, and a shortcut from before it.
                let start = net.last();
                let channels = shape.channels();
                let same = [channels, channels, 3, 3];
                for _ in 0..1 + random.below(3) {
                    let op = match random.below(3) {
                        0 => quadratic(random, &shape, granularity, kind),
                        1 => batch_norm(random, &shape),
                        _ => conv(random, same, [1, 1], [1, 1]),
                    };
                    net.then(op);
                }
                let branch = net.last();
                let mut shortcut = start;
                if random.chance(3) {
                    let op = conv(random, [channels, channels, 1, 1], [1, 1], [0, 0]);
                    shortcut = net.push(op, &[start]);
                }
                net.push(Op::SUM, &[branch, shortcut]);
            }
        }
    }
    if random.chance(4) {
        // Logits that are not the value of a dense layer.
        net.then(Op::Flatten);
        let shape = net.shape();
        match random.below(3) {
            0 => net.then(batch_norm(random, &shape)),
            1 => net.then(quadratic(
                random,
                &shape,
                Granularity::Element,
                Coefficients::Ordinary,
            )),
            _ => net.last(),
        };
        return net.done();
    }
    net.finish(random, 3)
}

/// The value of one operation on values of some shapes, which are parts of one image.
pub fn apply(op: &Op, inputs: &[(Shape, &[f32])]) -> Vec<f64> {
    let image: Vec<f32> = inputs.iter().flat_map(|(_, x)| x.to_vec()).collect();
    let mut net = Sketch::new(Shape::Flat(image.len()));
    let mut start = 0;
    let mut parts = Vec::new();
    for (shape, x) in inputs {
        let indices = (start..start + x.len()).map(|i| i as i32).collect();
        let shape = *shape;
        parts.push(net.push(Op::Select { shape, indices }, &[NodeId(0)]));
        start += x.len();
    }
    net.push(op.clone(), &parts);
    net.then(Op::Flatten);
    execute_f64(&net.done(), &image, 1).unwrap()
}

/// Equal but for rounding.
pub fn close(expected: &[f64], found: &[f64]) {
    assert_eq!(expected.len(), found.len());
    for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
        let tolerance = 1e-9 * expected.abs().max(1.0);
        assert!(
            (expected - found).abs() <= tolerance,
            "element {index}: {expected}, found {found}"
        );
    }
}
