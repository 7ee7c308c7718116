//! Logarithmic and linear axes: where the ticks are and where a value lies.

/// A range of values on a line from `start` to `end` in the drawing.
pub(super) struct Axis {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
    logarithmic: bool,
}

impl Axis {
    /// Decades: `low` and `high` are positive.
    pub(super) fn logarithmic((low, high): (f64, f64), (start, end): (f64, f64)) -> Self {
        Self {
            low: low.ln(),
            high: high.ln(),
            start,
            end,
            logarithmic: true,
        }
    }

    /// Equal steps.
    pub(super) fn linear((low, high): (f64, f64), (start, end): (f64, f64)) -> Self {
        Self {
            low,
            high,
            start,
            end,
            logarithmic: false,
        }
    }

    /// Where a value lies.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.ln() } else { value };
        self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)
    }
}

/// A place in a drawing, to a tenth of its unit.
pub(super) fn place(at: f64) -> String {
    format!("{at:.1}")
}

/// Powers of ten from `low` to `high`, every second or third where there are many; with 2 and 5 times these where there
/// are fewer than three.
pub(super) fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    // A little room, as logarithms are not exact.
    let inside = |value: &f64| *value >= low * (1.0 - 1e-9) && *value <= high * (1.0 + 1e-9);
    let exponents = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let decades: Vec<(i32, f64)> = exponents
        .clone()
        .map(|exponent| (exponent, power_of_ten(exponent)))
        .filter(|(_, value)| inside(value))
        .collect();
    if decades.len() >= 3 {
        let every = decades.len().div_ceil(7) as i32;
        let thinned = decades
            .iter()
            .filter(|(exponent, _)| exponent.rem_euclid(every) == 0);
        return thinned.map(|&(_, value)| value).collect();
    }
    exponents
        .flat_map(|exponent| [1.0, 2.0, 5.0].map(|step| step * power_of_ten(exponent)))
        .filter(inside)
        .collect()
}

/// 10^exponent, the nearest number to it rather than a product of rounded ones.
fn power_of_ten(exponent: i32) -> f64 {
    format!("1e{exponent}").parse().unwrap_or(f64::NAN)
}

/// Multiples of 1, 2 or 5 times a power of ten from `low` to `high`, about five of them, and how many digits they have
/// behind the point.
pub(super) fn linear_ticks(low: f64, high: f64) -> (Vec<f64>, usize) {
    let rough = (high - low) / 5.0;
    let exponent = rough.log10().floor() as i32;
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|step| step * power_of_ten(exponent))
        .into_iter()
        .find(|&step| step >= rough)
        .unwrap_or(rough);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    let digits = usize::try_from(-step.log10().floor() as i64).unwrap_or(0);
    ((first..=last).map(|k| k as f64 * step).collect(), digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_decades() {
        assert_eq!(log_ticks(1.0, 1000.0), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(log_ticks(0.7, 20_000.0), [1.0, 10.0, 100.0, 1e3, 1e4]);
        assert_eq!(log_ticks(3e-6, 0.2), [1e-5, 1e-4, 1e-3, 1e-2, 0.1]);
        // Many decades are thinned, few are filled.
        assert_eq!(log_ticks(1e-6, 1e4), [1e-6, 1e-4, 1e-2, 1.0, 100.0, 1e4]);
        assert_eq!(log_ticks(0.9, 12.0), [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(log_ticks(0.03, 0.3), [0.05, 0.1, 0.2]);
    }

    #[test]
    fn ticks_of_equal_steps() {
        let (ticks, digits) = linear_ticks(90.3, 95.2);
        assert_eq!((ticks, digits), (vec![91.0, 92.0, 93.0, 94.0, 95.0], 0));
        let (ticks, digits) = linear_ticks(98.9, 99.4);
        assert_eq!((ticks.len(), digits), (6, 1));
        assert!((ticks[5] - 99.4).abs() < 1e-9);
    }

    #[test]
    fn values_lie_between_the_ends() {
        let axis = Axis::logarithmic((1.0, 10_000.0), (0.0, 400.0));
        for (value, place) in [(1.0, 0.0), (10.0, 100.0), (100.0, 200.0), (10_000.0, 400.0)] {
            assert!((axis.at(value) - place).abs() < 1e-9);
        }
        let axis = Axis::linear((90.0, 100.0), (50.0, 0.0));
        assert!((axis.at(96.0) - 20.0).abs() < 1e-9);
    }
}
