//! Resizing with the numbers of Pillow, which torchvision and timm use too.
//!
//! Networks are trained on what Pillow computes, so its order of work is followed and not only its filters. Integers are rounded and cut off
//! after each of the two passes, bytes with weights of 22 bits after the binary point; floating-point values are summed in double and kept in
//! single precision. Which pass comes first is that of Pillow 13. No library does this: `docs/decisions/resizing.md` has the measurements.
//!
//! # Reference
//! Pillow, `src/libImaging/Resample.c`, `Geometry.c` and `Convert.c`.

use sordino_graph::Filter;

/// Bits after the binary point of weights for bytes.
const WEIGHT_BITS: u32 = 22;

/// Values that are resized.
pub(crate) trait Sample: Copy + Into<f64> {
    /// A weight, as it is multiplied.
    type Weight: Copy;

    /// Whether the nearest pixel is found by adding up steps, and not by a product; rounding decides at borders of pixels.
    const ADDS_STEPS: bool = true;

    /// A weight from the exact one.
    fn weight(exact: f64) -> Self::Weight;

    /// The sum of samples with weights.
    fn sum(terms: impl Iterator<Item = (Self, Self::Weight)>) -> Self;

    /// Gray from red, green and blue: 0.299, 0.587 and 0.114 of them.
    fn gray(colour: [Self; 3]) -> Self;
}

impl Sample for u8 {
    type Weight = i64;

    fn weight(exact: f64) -> i64 {
        // Rounded half away from zero.
        (exact * f64::from(1 << WEIGHT_BITS)).round() as i64
    }

    fn sum(terms: impl Iterator<Item = (Self, i64)>) -> Self {
        let half = 1 << (WEIGHT_BITS - 1);
        let sum = terms.fold(half, |sum, (value, weight)| sum + i64::from(value) * weight);
        (sum >> WEIGHT_BITS).clamp(0, 255) as Self
    }

    fn gray([red, green, blue]: [Self; 3]) -> Self {
        let sum = 19595 * u32::from(red) + 38470 * u32::from(green) + 7471 * u32::from(blue);
        // The weights add up to 2^16.
        ((sum + (1 << 15)) >> 16) as Self
    }
}

impl Sample for u16 {
    type Weight = f64;

    const ADDS_STEPS: bool = false;

    fn weight(exact: f64) -> f64 {
        exact
    }

    fn sum(terms: impl Iterator<Item = (Self, f64)>) -> Self {
        let sum = terms.fold(0.0, |sum, (value, weight)| sum + f64::from(value) * weight);
        // Too large and negative values become the ends.
        (sum + 0.5).floor() as Self
    }

    fn gray(colour: [Self; 3]) -> Self {
        f32::gray(colour.map(f32::from)).round() as Self
    }
}

impl Sample for f32 {
    type Weight = f64;

    fn weight(exact: f64) -> f64 {
        exact
    }

    fn sum(terms: impl Iterator<Item = (Self, f64)>) -> Self {
        terms.fold(0.0, |sum, (value, weight)| sum + f64::from(value) * weight) as Self
    }

    fn gray([red, green, blue]: [Self; 3]) -> Self {
        let [red, green, blue] = [red, green, blue].map(f64::from);
        (0.299 * red + 0.587 * green + 0.114 * blue) as Self
    }
}

/// A side of an image: resized from so many pixels to so many, of which some are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// First of the pixels that are kept.
    pub(crate) first: usize,
    pub(crate) kept: usize,
}

/// What a pixel is computed of: the first pixel, and the weights from there on. A pixel that is only selected has none.
struct Window<T: Sample> {
    first: usize,
    weights: Vec<T::Weight>,
}

impl<T: Sample> Window<T> {
    fn of(&self, values: impl Iterator<Item = T> + Clone, first: T) -> T {
        match &*self.weights {
            [] => first,
            weights => T::sum(values.zip(weights.iter().copied())),
        }
    }

    /// One after the last pixel that is used.
    fn end(&self) -> usize {
        self.first + self.weights.len().max(1)
    }
}

/// How far a filter reaches.
fn support(filter: Filter) -> f64 {
    match filter {
        Filter::Bilinear => 1.0,
        Filter::Bicubic => 2.0,
        _ => 0.5,
    }
}

/// The value of a filter.
fn value(filter: Filter, at: f64) -> f64 {
    let x = at.abs();
    match filter {
        Filter::Bilinear => (1.0 - x).max(0.0),
        Filter::Bicubic => {
            const A: f64 = -0.5;
            match x {
                _ if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
                _ if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
                _ => 0.0,
            }
        }
        _ => f64::from(u8::from(at > -0.5 && at <= 0.5)),
    }
}

/// The windows of the pixels that are kept.
fn windows<T: Sample>(filter: Filter, side: Side) -> Vec<Window<T>> {
    let kept = side.first..side.first + side.kept;
    let selected = |first| Window {
        first,
        weights: Vec::new(),
    };
    if side.from == side.to {
        return kept.map(selected).collect();
    }
    let scale = side.from as f64 / side.to as f64;
    if filter == Filter::Nearest {
        let last = side.from - 1;
        let under = |center: f64| selected((center as usize).min(last));
        if !T::ADDS_STEPS {
            return kept.map(|at| under((at as f64 + 0.5) * scale)).collect();
        }
        let centers = std::iter::successors(Some(scale * 0.5), |center| Some(center + scale));
        let centers = centers.skip(side.first).take(side.kept);
        return centers.map(under).collect();
    }
    let widened = scale.max(1.0);
    let reach = support(filter) * widened;
    let window = |at: usize| {
        let center = (at as f64 + 0.5) * scale;
        let first = (center - reach + 0.5).max(0.0) as usize;
        let end = ((center + reach + 0.5) as usize).min(side.from);
        let weight = |pixel: usize| value(filter, (pixel as f64 - center + 0.5) * (1.0 / widened));
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let share = |&weight: &f64| T::weight(if sum == 0.0 { weight } else { weight / sum });
        Window {
            first,
            weights: weights.iter().map(share).collect(),
        }
    };
    kept.map(window).collect()
}

/// How planes of one size become planes of another.
pub(crate) struct Resampling<T: Sample> {
    /// Columns before.
    width: usize,
    rows: Vec<Window<T>>,
    columns: Vec<Window<T>>,
    /// Whether the number of rows changes first.
    rows_first: bool,
}

impl<T: Sample> Resampling<T> {
    pub(crate) fn new(filter: Filter, rows: Side, columns: Side) -> Self {
        let fewer = |side: Side| side.from as i64 - side.to as i64;
        Self {
            width: columns.from,
            rows: windows(filter, rows),
            columns: windows(filter, columns),
            rows_first: fewer(rows) > 0 && fewer(rows) > 2 * fewer(columns),
        }
    }

    /// Resizes a plane.
    pub(crate) fn apply(&self, plane: &[T]) -> Vec<T> {
        if self.rows_first {
            let short = resize_rows(&self.rows, 0, plane, self.width);
            return resize_columns(&self.columns, &short, self.width);
        }
        // Only the rows that are used.
        let first = self.rows.iter().map(|row| row.first).min().unwrap_or(0);
        let end = self.rows.iter().map(Window::end).max().unwrap_or(0);
        let used = &plane[first * self.width..end * self.width];
        let narrow = resize_columns(&self.columns, used, self.width);
        resize_rows(&self.rows, first, &narrow, self.columns.len())
    }
}

/// Resizes every row of a plane.
fn resize_columns<T: Sample>(windows: &[Window<T>], plane: &[T], width: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(plane.len() / width * windows.len());
    for row in plane.chunks_exact(width) {
        out.extend(windows.iter().map(|window| {
            let values = &row[window.first..];
            window.of(values.iter().copied(), values[0])
        }));
    }
    out
}

/// Resizes every column of a plane that lacks the rows before `first`.
fn resize_rows<T: Sample>(
    windows: &[Window<T>],
    first: usize,
    plane: &[T],
    width: usize,
) -> Vec<T> {
    let mut out = Vec::with_capacity(windows.len() * width);
    for window in windows {
        let start = (window.first - first) * width;
        out.extend((start..start + width).map(|at| {
            let values = &plane[at..];
            window.of(values.iter().step_by(width).copied(), values[0])
        }));
    }
    out
}
