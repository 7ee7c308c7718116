//! Networks of the operations that exporters of other frameworks write.

use super::{Random, conv, dense, halve, quadratic};
use sordino_graph::{Granularity, Graph, Op, Padding, Shape};

/// A convolution in groups.
fn grouped(random: &mut Random, groups: usize, [to, from]: [usize; 2], padding: Padding) -> Op {
    Op::Conv2d {
        weight: random.weights(&[groups * to, from, 3, 3], from * 9),
        bias: random.values(groups * to, -0.2, 0.2),
        stride: [1, 1],
        padding,
        dilation: [1, 1],
        groups,
    }
}

/// A convolution of windows of one element.
fn pointwise(random: &mut Random, from: usize, to: usize) -> Op {
    Op::conv2d(
        random.weights(&[to, from, 1, 1], from),
        random.values(to, -0.2, 0.2),
        [1, 1],
        Padding::NONE,
    )
}

/// Element `(channel, y, x)` of the result is the one that `of` names.
fn select(
    [channels, height, width]: [usize; 3],
    from: [usize; 2],
    of: impl Fn(usize, usize, usize) -> Option<[usize; 3]>,
) -> Op {
    let mut indices = Vec::new();
    for c in 0..channels {
        for y in 0..height {
            for x in 0..width {
                let place = of(c, y, x).map(|[c, y, x]| (c * from[0] + y) * from[1] + x);
                indices.push(place.map_or(-1, |place| place as i32));
            }
        }
    }
    Op::Select {
        shape: Shape::map(channels, height, width),
        indices,
    }
}

/// Depthwise and pointwise convolutions around activations, one of them with more padding on two sides.
pub(crate) fn separable() -> Graph {
    let mut r = Random::new(21);
    let mut g = Graph::builder(Shape::map(2, 6, 6));
    let x = g.push("input", Op::Input, &[]);
    let uneven = Padding {
        before: [0, 0],
        after: [2, 1],
    };
    let x = g.push("depthwise1", grouped(&mut r, 2, [2, 1], uneven), &[x]);
    let x = g.push("act1", quadratic(&mut r, Granularity::Channel, 4), &[x]);
    let x = g.push("pointwise1", pointwise(&mut r, 4, 6), &[x]);
    let x = g.push("act2", quadratic(&mut r, Granularity::Channel, 6), &[x]);
    let even = Padding::same([1, 1]);
    let x = g.push("depthwise2", grouped(&mut r, 6, [1, 1], even), &[x]);
    let x = g.push("act3", quadratic(&mut r, Granularity::Layer, 1), &[x]);
    let x = g.push("groups", grouped(&mut r, 2, [2, 3], even), &[x]);
    let x = g.push("flatten", Op::Flatten, &[x]);
    g.push("logits", dense(&mut r, 4 * 30, 3), &[x]);
    g.finish().unwrap()
}

/// Branches joined by their channels before and after an activation, and a weighted sum with a shuffled shortcut.
pub(crate) fn branches() -> Graph {
    let mut r = Random::new(22);
    let mut g = Graph::builder(Shape::map(1, 6, 6));
    let x = g.push("input", Op::Input, &[]);
    let x = g.push("stem", conv(&mut r, 1, 4, 1), &[x]);
    let x = g.push("act1", quadratic(&mut r, Granularity::Channel, 4), &[x]);
    let left = g.push("left", pointwise(&mut r, 4, 2), &[x]);
    let mut dilated = conv(&mut r, 4, 2, 1);
    if let Op::Conv2d {
        dilation, padding, ..
    } = &mut dilated
    {
        (*dilation, *padding) = ([2, 2], Padding::same([2, 2]));
    }
    let right = g.push("right", dilated, &[x]);
    let joined = g.push("joined", Op::Concat, &[left, right]);
    let affine = Op::Affine {
        granularity: Granularity::Element,
        factor: r.values(144, 0.5, 1.5),
        offset: r.values(144, -0.2, 0.2),
    };
    let joined = g.push("affine", affine, &[joined]);
    let y = g.push(
        "act2",
        quadratic(&mut r, Granularity::Channel, 4),
        &[joined],
    );
    let shuffled = select([4, 6, 6], [6, 6], |c, y, x| Some([(c + 1) % 4, y, x]));
    let shuffled = g.push("shuffle", shuffled, &[x]);
    let factors = Op::Add {
        factors: vec![0.5, -1.0],
    };
    let sum = g.push("sum", factors, &[y, shuffled]);
    let both = g.push("both", Op::Concat, &[sum, x]);
    let pooled = g.push("pool", halve(), &[both]);
    let z = g.push("flatten", Op::Flatten, &[pooled]);
    g.push("logits", dense(&mut r, 72, 3), &[z]);
    g.finish().unwrap()
}

/// A map padded, cropped and upsampled on its way.
pub(crate) fn moved() -> Graph {
    let mut r = Random::new(23);
    let mut g = Graph::builder(Shape::map(1, 6, 6));
    let x = g.push("input", Op::Input, &[]);
    let padded = select([1, 7, 8], [6, 6], |c, y, x| {
        (y < 6 && (1..7).contains(&x)).then(|| [c, y, x - 1])
    });
    let x = g.push("pad", padded, &[x]);
    let x = g.push("conv1", conv(&mut r, 1, 4, 2), &[x]);
    let cropped = select([4, 3, 3], [4, 4], |c, y, x| Some([c, y, x + 1]));
    let x = g.push("crop", cropped, &[x]);
    let x = g.push("act1", quadratic(&mut r, Granularity::Element, 36), &[x]);
    let larger = select([4, 6, 6], [3, 3], |c, y, x| Some([c, y / 2, x / 2]));
    let x = g.push("upsample", larger, &[x]);
    let x = g.push("conv2", conv(&mut r, 4, 3, 1), &[x]);
    let x = g.push("act2", quadratic(&mut r, Granularity::Channel, 3), &[x]);
    let reversed = (0..108).rev().collect();
    let reversed = Op::Select {
        shape: Shape::Flat(108),
        indices: reversed,
    };
    let x = g.push("reverse", reversed, &[x]);
    g.push("logits", dense(&mut r, 108, 3), &[x]);
    g.finish().unwrap()
}

/// Layers that read layers without an activation between them: inverted residuals, one of them with a sum, and a pool over
/// elements whose squares have very unlike factors.
pub(crate) fn bottlenecks() -> Graph {
    let mut r = Random::new(24);
    let mut g = Graph::builder(Shape::map(1, 6, 6));
    let x = g.push("input", Op::Input, &[]);
    let x = g.push("stem", conv(&mut r, 1, 4, 1), &[x]);
    let mut unlike = quadratic(&mut r, Granularity::Element, 144);
    if let Op::Quadratic { a, b, .. } = &mut unlike {
        a.iter_mut().step_by(5).for_each(|a| *a *= 1e-3);
        b.iter_mut().step_by(5).for_each(|b| *b *= 1e-2);
    }
    let x = g.push("act1", unlike, &[x]);
    let x = g.push("pool", halve(), &[x]);
    let narrow = g.push("project1", pointwise(&mut r, 4, 2), &[x]);
    let x = g.push("expand2", pointwise(&mut r, 2, 6), &[narrow]);
    let x = g.push("act2", quadratic(&mut r, Granularity::Channel, 6), &[x]);
    let x = g.push("project2", pointwise(&mut r, 6, 2), &[x]);
    let x = g.push("sum", Op::SUM, &[x, narrow]);
    let x = g.push("expand3", pointwise(&mut r, 2, 6), &[x]);
    let x = g.push("act3", quadratic(&mut r, Granularity::Channel, 6), &[x]);
    let x = g.push("flatten", Op::Flatten, &[x]);
    g.push("logits", dense(&mut r, 54, 3), &[x]);
    g.finish().unwrap()
}
