//! Quadratic activations.

use super::scale::NewRow;
use super::view::Entry;
use super::{Folder, View};
use crate::{Error, FoldedOp, Node};

/// The scale of an element is not taken below this share of the layer's largest.
///
/// Rows are rounded with one scale per layer, so a row multiplied by a tiny `t` would lose its digits. With a larger
/// `t` the column of the next layer shrinks instead, by `|a| / t^2`.
const SMALLEST_SCALE: f64 = 1.0 / 16.0;

/// An `a` below this share of `b` is zero: for `|x| < 2^16` the square is less than the rounding of `b x` in f32.
const NEGLIGIBLE: f64 = 1.0 / (1u64 << 40) as f64;

/// Largest distance between the two squares of an element without a square of its own: what cancels between them grows
/// with it.
const LARGEST_DISTANCE: f64 = 64.0;

/// Smallest factor of a shared linear map, as a share of its offset.
const WORST_UNDOING: f64 = 1.0 / 65_536.0;

/// How one element of an activation is computed from squares.
struct Element {
    /// `x' = scale * x + offset` is what is squared.
    scale: f64,
    offset: f64,
    shift: f64,
    /// Factor of the square in the value, and the value's constant.
    factor: f64,
    constant: f64,
    /// The square of `x' + offset` that is needed too, and its factor.
    second: Option<(f64, f64)>,
}

impl Folder<'_> {
    /// `coefficients` holds `[a, b, c]` of every element.
    pub(super) fn fold_quadratic(
        &mut self,
        node: &Node,
        mut x: View,
        mut coefficients: Vec<[f64; 3]>,
    ) -> Result<View, Error> {
        for (element, abc) in coefficients.iter_mut().enumerate() {
            if x.is_constant(element) {
                let [a, b, c] = *abc;
                let value = x.beta[element];
                *abc = [0.0, 0.0, (a * value + b) * value + c];
            } else if abc[0].abs() < abc[1].abs() * NEGLIGIBLE {
                abc[0] = 0.0;
            }
        }
        let largest = |k: usize| {
            coefficients
                .iter()
                .map(|abc| abc[k].abs())
                .fold(0.0, f64::max)
        };
        let (largest_a, largest_b) = (largest(0), largest(1));
        if largest_a == 0.0 {
            x.map(|element| (coefficients[element][1], coefficients[element][2]));
            return Ok(x);
        }
        let x = self.in_place(node, x)?;
        let elements: Vec<Element> = coefficients
            .iter()
            .map(|&abc| split(abc, largest_a, largest_b))
            .collect();
        let source = self.prepare(node, &x, &elements);
        let seconds: Vec<usize> = (0..elements.len())
            .filter(|&element| elements[element].second.is_some())
            .collect();
        let mut shift: Vec<f64> = elements.iter().map(|element| element.shift).collect();
        shift.extend(seconds.iter().map(|_| 0.0));
        let mut place = self.draft(source).elements - seconds.len();
        let length = shift.len();
        let base = self.push(&node.name, FoldedOp::Square { source, shift }, length);
        let value = |(f, element): (usize, &Element)| {
            let mut entries = vec![Entry::new(base, f, element.factor)];
            if let Some((_, factor)) = element.second {
                entries.push(Entry::new(base, place, factor));
                place += 1;
            }
            (entries, element.constant)
        };
        Ok(View::collect(elements.iter().enumerate().map(value)))
    }

    /// The view as a plain one: the rows of the linear maps under a view whose elements have changed places, or come
    /// from several maps, become the rows of a new map.
    fn in_place(&mut self, node: &Node, x: View) -> Result<View, Error> {
        if self.plain_base(&x).is_some() {
            return Ok(x);
        }
        let name = format!("{}:input", node.name);
        let base = self.gather(&name, &x, |_| true)?.bases()[0];
        Ok(View::collect((0..x.elements()).map(
            |f| match x.is_constant(f) {
                // The row of a constant has no weights.
                true => ([Entry::new(base, f, 0.0)], x.beta[f]),
                false => ([Entry::new(base, f, 1.0)], 0.0),
            },
        )))
    }

    /// A linear map whose value is every element's `scale * x + offset`, followed by the second ones.
    fn prepare(&mut self, node: &Node, x: &View, elements: &[Element]) -> usize {
        let (mut factors, mut offsets) = affine(x, elements);
        // A linear map with more elements than the view already feeds something else.
        let base = self.plain_base(x).expect("the caller made it plain");
        let direct = self.can_transform(base)
            && x.is_single()
            && self.draft(base).elements == x.elements()
            && (self.is_unread(base) || can_undo(&factors, &offsets));
        let source = if direct {
            base
        } else {
            let name = format!("{}:input", node.name);
            let copy = self.push_map(&name, x.linear(base));
            let elements_of_copy = self.draft(copy).elements;
            (factors, offsets) = affine(&View::identity(copy, elements_of_copy), elements);
            copy
        };
        self.transform(source, &factors, &offsets);
        let rows: Vec<NewRow> = elements
            .iter()
            .enumerate()
            .filter_map(|(element, e)| {
                let (offset, _) = e.second?;
                Some(NewRow { element, offset })
            })
            .collect();
        self.append_rows(source, &rows);
        source
    }
}

/// What turns the base of a view into every element's `scale * x + offset`.
fn affine(x: &View, elements: &[Element]) -> (Vec<f64>, Vec<f64>) {
    elements
        .iter()
        .enumerate()
        .map(|(f, element)| {
            let (alpha, beta) = (x.alpha(f), x.beta[f]);
            if alpha == 0.0 {
                // The square of a constant is not used, but other readers of its row must be able to undo the factor.
                (1.0, 0.0)
            } else {
                (element.scale * alpha, element.scale * beta + element.offset)
            }
        })
        .unzip()
}

/// Whether undoing `factor * p + offset` keeps the precision of `p`.
fn can_undo(factors: &[f64], offsets: &[f64]) -> bool {
    factors
        .iter()
        .zip(offsets)
        .all(|(factor, offset)| offset.abs() * WORST_UNDOING <= factor.abs())
}

/// How to compute `a x^2 + b x + c` from squares.
fn split([a, b, c]: [f64; 3], largest_a: f64, largest_b: f64) -> Element {
    let floor = largest_a.sqrt() * SMALLEST_SCALE;
    let exact = a.abs().sqrt();
    let scale = exact.max(floor);
    if b == 0.0 || b.abs() * scale / a.abs() <= largest_b / floor {
        return Element {
            scale,
            offset: 0.0,
            shift: if b == 0.0 { 0.0 } else { b * scale / a },
            factor: if exact >= floor {
                a.signum()
            } else {
                a / (scale * scale)
            },
            constant: c,
            second: None,
        };
    }
    // a x^2 + b x = A (x + s)^2 + B (x - s)^2 - a s^2 with A + B = a and 2 s (A - B) = b. With s = |b| / (2 max|a|) both
    // factors are about half the largest coefficient, however small a is.
    let distance = (b.abs() / (2.0 * largest_a)).min(LARGEST_DISTANCE);
    let difference = b / (2.0 * distance);
    let square = largest_a.max(difference.abs());
    let scale = square.sqrt();
    Element {
        scale,
        offset: scale * distance,
        shift: 0.0,
        factor: (a + difference) / (2.0 * square),
        constant: c - a * distance * distance,
        second: Some((-2.0 * scale * distance, (a - difference) / (2.0 * square))),
    }
}
