//! Median and extremes of several measurements.

/// Median, smallest and largest of several measurements; all `None` without any.
///
/// In a record's file the three are fields of their own: the name of the timing, with `_min` and `_max` for the extremes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// The middle one, or the mean of the middle two.
    pub median: Option<f64>,
    /// The smallest.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
}

impl Timing {
    /// Of `samples`; all `None` if there are none, or if one is not a number.
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else {
            return Self::default();
        };
        if samples.iter().any(|sample| sample.is_nan()) {
            return Self::default();
        }
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Self {
            median: Some(low + (high - low) / 2.0),
            min: Some(min),
            max: Some(max),
        }
    }

    /// Each of the three divided by `count`; `None` for a count of 0.
    pub fn per(self, count: u64) -> Self {
        let share = |value: Option<f64>| Some(value? / count as f64).filter(|_| count > 0);
        Self {
            median: share(self.median),
            min: share(self.min),
            max: share(self.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        let of = |samples: &[f64]| {
            let Timing { median, min, max } = Timing::of(samples);
            Some((median?, min?, max?))
        };
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0)));
        assert_eq!(of(&[4.0, 1.0, 2.0, 8.0]), Some((3.0, 1.0, 8.0)));
        assert_eq!(of(&[5.0]), Some((5.0, 5.0, 5.0)));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[1.0, f64::NAN]), None);
    }
}
