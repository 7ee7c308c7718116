//! The nearest usual image, roughly.

use super::InputGuard;
use super::layout::Part;
use crate::Score;

/// Rounds of bringing every score under its limit; one limit moves the others a little.
const ROUNDS: usize = 12;

/// What a round brings scores under, as a share of their limits.
const SHARE: f64 = 0.97;

impl InputGuard<'_> {
    /// An image near this one that [`unusual`](Self::unusual) does not refuse: for tests and for images that are made.
    ///
    /// What exceeds its limit is reduced: single coefficients and pixels are clipped, bands of detail and the coarse
    /// shape lose contrast. At last the whole image moves towards the mean.
    ///
    /// # Shapes
    /// As [`unusual`](Self::unusual).
    ///
    /// # Panics
    /// When the image has another size.
    pub fn nearest_usual(&self, image: &[f32]) -> Vec<f32> {
        let mut image = image.to_vec();
        for _ in 0..ROUNDS {
            if self.unusual(&image).is_none() {
                return image;
            }
            let mut shares = self.coefficients(&image);
            let scores = self.scores(&image);
            let limits = self.statistic.limits.iter().map(|limit| SHARE * limit);
            for ((score, value), limit) in scores.into_iter().zip(limits) {
                if value > limit {
                    self.reduce(&mut shares, score, value, limit);
                }
            }
            image = self.image(&shares);
        }
        let shares = self.coefficients(&image);
        let with_contrast = |contrast: f64| {
            let shares: Vec<f64> = shares.iter().map(|share| contrast * share).collect();
            self.image(&shares)
        };
        let mut images = (0..32).map(|step| with_contrast(0.8_f64.powi(step)));
        let usual = images.find(|image| self.unusual(image).is_none());
        usual.unwrap_or_else(|| with_contrast(0.0))
    }

    /// Brings a score of coefficients to its limit.
    fn reduce(&self, shares: &mut [f64], score: Score, value: f64, limit: f64) {
        let plane = self.layout.plane;
        match score {
            Score::Shape | Score::Negative => {
                let mut coarse = self.decorrelated(&self.coarse(shares));
                match score {
                    Score::Shape => scale(coarse.iter_mut(), (limit / value).sqrt()),
                    _ => coarse
                        .iter_mut()
                        .zip(&self.negative)
                        .for_each(|(x, direction)| *x -= (value - limit) * direction),
                }
                let mut coarse = self.correlated(&coarse).into_iter();
                for (share, part) in shares.iter_mut().zip(&self.layout.part) {
                    if *part == Part::Coarse {
                        *share = coarse.next().unwrap_or(0.0);
                    }
                }
            }
            Score::Detail { period, colour } => {
                let bands = &self.layout.bands;
                let same =
                    |band: usize| 2 << bands[band].octave == period && bands[band].colour == colour;
                let parts = shares.iter_mut().zip(&self.layout.part);
                let members =
                    parts.filter(|(_, part)| matches!(part, Part::Detail(band) if same(*band)));
                scale(members.map(|(share, _)| share), (limit / value).sqrt());
            }
            Score::Pattern { colour } => {
                let (brightness, colours) = shares.split_at_mut(plane);
                clip(if colour { colours } else { brightness }, limit);
            }
            Score::Spot => {
                let mut image = vec![0.0; shares.len()];
                image[..plane].copy_from_slice(&self.whitened(shares));
                clip(&mut image, limit);
                // All channels equal, as the sum has it.
                let channels = shares.len() / plane;
                let factor = 1.0 / (channels as f64).sqrt();
                scale(image.iter_mut(), factor);
                for channel in 1..channels {
                    image.copy_within(..plane, channel * plane);
                }
                self.transform.forward(&mut image);
                shares[..plane].copy_from_slice(&image[..plane]);
            }
        }
    }
}

fn scale<'v>(values: impl Iterator<Item = &'v mut f64>, factor: f64) {
    values.for_each(|value| *value *= factor);
}

fn clip(values: &mut [f64], limit: f64) {
    values
        .iter_mut()
        .for_each(|value| *value = value.clamp(-limit, limit));
}
