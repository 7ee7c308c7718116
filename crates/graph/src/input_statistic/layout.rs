//! Which coefficients share their numbers, and which of them a score looks at.

use super::Score;

/// Coefficients of an axis whose covariance is recorded, from the lowest on.
const COARSE_SIDE: usize = 8;

/// Channels whose covariance is recorded.
const COARSE_CHANNELS: usize = 3;

/// Most groups of coefficients per axis.
const AXIS_GROUPS: usize = 64;

/// Most groups of coefficients of an image.
const MAX_GROUPS: usize = 1 << 16;

/// What a coefficient is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Low frequency on every axis.
    Coarse,
    /// Detail; the number is that of its [`Band`] in [`Layout::bands`].
    Detail(usize),
}

/// Detail of one octave of frequency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Band {
    /// 0 for periods from 2 to 4 pixels, 1 for 4 to 8, and so on.
    pub(super) octave: usize,
    /// Whether it is of differences between channels, not of their sum.
    pub(super) colour: bool,
}

/// How the coefficients of images of one shape are grouped; all lists are in the order of an image's elements.
pub(super) struct Layout {
    /// The group of every coefficient: its own in images of up to 64 × 64, shared by neighbours of high frequency in
    /// larger ones.
    pub(super) group: Vec<usize>,
    /// Number of groups.
    pub(super) groups: usize,
    /// What every coefficient is part of.
    pub(super) part: Vec<Part>,
    /// Number of coarse coefficients.
    pub(super) coarse: usize,
    /// The bands of detail.
    pub(super) bands: Vec<Band>,
    /// Number of coefficients of a plane; the first plane is the sum of the channels.
    pub(super) plane: usize,
    /// Whether there are further planes.
    pub(super) colour: bool,
}

impl Layout {
    /// The layout for images `[channels, height, width]`.
    pub(super) fn new(shape: [usize; 3]) -> Self {
        let [channels, height, width] = shape;
        let (bands, counts) = (bands(shape), group_counts(shape));
        let octaves = octaves(shape);
        let elements = channels * height * width;
        let mut groups = Vec::with_capacity(elements);
        let mut part = Vec::with_capacity(elements);
        for channel in 0..channels {
            for row in 0..height {
                for column in 0..width {
                    let plane = group(channel, channels, counts[0]) * counts[1];
                    let line = (plane + group(row, height, counts[1])) * counts[2];
                    groups.push(line + group(column, width, counts[2]));
                    let coarse =
                        channel < COARSE_CHANNELS && row < COARSE_SIDE && column < COARSE_SIDE;
                    part.push(match coarse {
                        true => Part::Coarse,
                        false => {
                            let octave = octave(row, height).min(octave(column, width));
                            let octave = octave.min(octaves - 1);
                            Part::Detail(octave + if channel > 0 { octaves } else { 0 })
                        }
                    });
                }
            }
        }
        Self {
            group: groups,
            groups: counts.iter().product(),
            coarse: coarse_count(shape),
            part,
            bands,
            plane: height * width,
            colour: channels > 1,
        }
    }

    /// The scores of an image, in order.
    pub(super) fn scores(&self) -> Vec<Score> {
        let detail = |band: &Band| Score::Detail {
            period: 2 << band.octave,
            colour: band.colour,
        };
        let patterns = [false, true].into_iter().take(1 + usize::from(self.colour));
        [Score::Shape, Score::Negative]
            .into_iter()
            .chain(self.bands.iter().map(detail))
            .chain(patterns.map(|colour| Score::Pattern { colour }))
            .chain([Score::Spot])
            .collect()
    }
}

/// The bands of detail.
fn bands(shape: [usize; 3]) -> Vec<Band> {
    let octaves = octaves(shape);
    let colours = [false, true].into_iter().take(shape[0].min(2));
    colours
        .flat_map(|colour| (0..octaves).map(move |octave| Band { octave, colour }))
        .collect()
}

/// Number of scores.
pub(super) fn score_count(shape: [usize; 3]) -> usize {
    3 + (octaves(shape) + 1) * shape[0].min(2)
}

/// Number of groups of the whole image.
pub(super) fn group_count(shape: [usize; 3]) -> usize {
    group_counts(shape).iter().product()
}

/// Number of coarse coefficients.
pub(super) fn coarse_count([channels, height, width]: [usize; 3]) -> usize {
    channels.min(COARSE_CHANNELS) * height.min(COARSE_SIDE) * width.min(COARSE_SIDE)
}

/// Number of octaves of detail.
fn octaves([channels, height, width]: [usize; 3]) -> usize {
    let longest = height.max(width);
    match longest > COARSE_SIDE {
        true => octave(COARSE_SIDE, longest) + 1,
        false => usize::from(channels > COARSE_CHANNELS),
    }
}

/// The octave of a coefficient of an axis: 0 for periods from 2 to 4 pixels, 1 for 4 to 8, and so on.
fn octave(index: usize, length: usize) -> usize {
    let mut octave = 0;
    while index.max(1) << (octave + 1) < length {
        octave += 1;
    }
    octave
}

/// Number of groups per axis.
fn group_counts(shape: [usize; 3]) -> [usize; 3] {
    let mut most = AXIS_GROUPS;
    loop {
        let [channels, height, width] = shape;
        let counts = [channels.min(AXIS_GROUPS), height.min(most), width.min(most)];
        if counts.iter().product::<usize>() <= MAX_GROUPS {
            return counts;
        }
        most /= 2;
    }
}

/// The group of a coefficient of an axis: of its own in the lower half, in the upper half covering equal ratios of
/// frequency.
fn group(index: usize, length: usize, count: usize) -> usize {
    let single = count / 2;
    if length == count || index < single {
        return index;
    }
    let ratio = |index: f64| (index / single as f64).log2();
    let share = ratio(index as f64 + 0.5) / ratio(length as f64);
    single + ((share * (count - single) as f64) as usize).min(count - single - 1)
}
