//! The images of each training step and their random changes: a pure function of seed and epoch.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::balance::groups;
use crate::network::unit;
use crate::score::Measure;
use crate::{TrainConfig, TrainingData};

/// Stream numbers of the seed's generator: one for the split, then one per epoch.
const SPLIT_STREAM: u64 = 1;
const FIRST_EPOCH_STREAM: u64 = 2;

fn stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

fn below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
    ((u128::from(rng.next_u64()) * bound as u128) >> 64) as usize
}

fn shuffle(items: &mut [usize], rng: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(rng, last + 1));
    }
}

/// Splits images at random into those to train on and a `share` to choose the best epoch by.
pub(crate) fn split(order: Vec<usize>, share: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let count = (order.len() as f64 * share) as usize;
    split_off(order, count, seed)
}

/// Splits images at random; the second part has `count` of them.
pub(crate) fn split_off(
    mut order: Vec<usize>,
    count: usize,
    seed: u64,
) -> (Vec<usize>, Vec<usize>) {
    shuffle(&mut order, &mut stream(seed, SPLIT_STREAM));
    let second = order.split_off(order.len() - count);
    (order, second)
}

/// The images of a run, and how they are taken.
pub(crate) struct TrainedOn<'a> {
    pub(crate) set: ImageSet<'a>,
    /// Those that are not held back.
    train: Vec<usize>,
    /// What is drawn equally often; empty where each image is drawn once.
    groups: Vec<Vec<usize>>,
    /// What each class weighs, or each finding where it is present.
    pub(crate) weights: Vec<f64>,
    /// The score that chooses the epoch.
    pub(crate) measure: Measure,
}

impl<'a> TrainedOn<'a> {
    pub(crate) fn new(
        data: &'a TrainingData,
        config: &TrainConfig,
        train: Vec<usize>,
        measure: Measure,
    ) -> Self {
        let labels = data.labels.subset(&train);
        Self {
            set: data.image_set(),
            groups: match config.balanced_sampling {
                true => groups(&data.labels, &train),
                false => Vec::new(),
            },
            weights: config.class_weights.of(&labels, data.classes.len()),
            train,
            measure,
        }
    }

    /// Order and changes of an epoch.
    pub(crate) fn order(&self, seed: u64, epoch: usize) -> Epoch {
        match self.groups.is_empty() {
            true => Epoch::new(&self.train, seed, epoch),
            false => Epoch::balanced(&self.groups, self.train.len(), seed, epoch),
        }
    }
}

/// One epoch's order and random changes.
pub(crate) struct Epoch {
    order: Vec<usize>,
    rng: ChaCha8Rng,
}

impl Epoch {
    pub(crate) fn new(images: &[usize], seed: u64, epoch: usize) -> Self {
        let mut rng = stream(seed, FIRST_EPOCH_STREAM + epoch as u64);
        let mut order = images.to_vec();
        shuffle(&mut order, &mut rng);
        Self { order, rng }
    }

    /// An epoch as long that draws from each group equally often: one image of each in turn, in an order of the group's own that is drawn
    /// anew when it is over.
    pub(crate) fn balanced(groups: &[Vec<usize>], length: usize, seed: u64, epoch: usize) -> Self {
        let mut rng = stream(seed, FIRST_EPOCH_STREAM + epoch as u64);
        let mut left: Vec<Vec<usize>> = vec![Vec::new(); groups.len()];
        let mut order = Vec::with_capacity(length);
        for draw in 0..length {
            let at = draw % groups.len();
            if left[at].is_empty() {
                left[at].clone_from(&groups[at]);
                shuffle(&mut left[at], &mut rng);
            }
            order.extend(left[at].pop());
        }
        shuffle(&mut order, &mut rng);
        Self { order, rng }
    }

    /// The images of each step. The rest that fills no batch is left out, for this epoch, once there is one.
    pub(crate) fn batches(&self, size: usize) -> Vec<Vec<usize>> {
        if self.order.len() < size {
            return vec![self.order.clone()];
        }
        self.order
            .chunks_exact(size)
            .map(<[usize]>::to_vec)
            .collect()
    }

    /// Copies images into one batch, each changed at random as the configuration says.
    pub(crate) fn gather(
        &mut self,
        set: &ImageSet<'_>,
        indices: &[usize],
        config: &TrainConfig,
    ) -> Vec<f32> {
        let mut batch = Vec::with_capacity(indices.len() * set.image_len());
        let reach = config.shift;
        for &index in indices {
            let [dy, dx] =
                [(); 2].map(|()| below(&mut self.rng, 2 * reach + 1) as isize - reach as isize);
            let start = batch.len();
            set.push_shifted(index, dy, dx, &mut batch);
            let image = &mut batch[start..];
            if config.flip && below(&mut self.rng, 2) == 1 {
                flip(image, set.shape[2]);
            }
            if config.crop < 1.0 {
                let [size, top, left] = [(); 3].map(|()| f64::from(unit(&mut self.rng)));
                let size = config.crop + (1.0 - config.crop) * size;
                stretch(
                    image,
                    set.shape,
                    size,
                    [top, left].map(|place| place * (1.0 - size)),
                );
            }
            if config.cutout > 0 {
                let [_, height, width] = set.shape;
                let center = [height, width].map(|side| below(&mut self.rng, side));
                cut(image, set, center, config.cutout);
            }
        }
        batch
    }
}

/// Mirrors an image left and right.
fn flip(image: &mut [f32], width: usize) {
    image.chunks_exact_mut(width).for_each(<[f32]>::reverse);
}

/// Stretches a part of the image to its whole size, linearly between pixels; `size` and `corner` (top and left) are
/// shares of the sides.
fn stretch(image: &mut [f32], [_, height, width]: [usize; 3], size: f64, corner: [f64; 2]) {
    // For every pixel of a side: the pixel before its place, and how far behind that it lies.
    let places = |side: usize, start: f64| -> Vec<(usize, f32)> {
        let place = |pixel: usize| {
            let at = (pixel as f64 + 0.5) * size + start * side as f64 - 0.5;
            let at = at.clamp(0.0, (side - 1) as f64);
            let before = (at as usize).min(side.saturating_sub(2));
            (before, (at - before as f64) as f32)
        };
        (0..side).map(place).collect()
    };
    let (rows, columns) = (places(height, corner[0]), places(width, corner[1]));
    let between = |low: f32, high: f32, share: f32| low + (high - low) * share;
    for plane in image.chunks_exact_mut(height * width) {
        let source = plane.to_vec();
        let pixel = |y: usize, x: usize| source[y.min(height - 1) * width + x.min(width - 1)];
        for (values, &(y, down)) in plane.chunks_exact_mut(width).zip(&rows) {
            for (value, &(x, across)) in values.iter_mut().zip(&columns) {
                let upper = between(pixel(y, x), pixel(y, x + 1), across);
                let lower = between(pixel(y + 1, x), pixel(y + 1, x + 1), across);
                *value = between(upper, lower, down);
            }
        }
    }
}

/// Blanks a square around a pixel, as far as it lies inside.
fn cut(image: &mut [f32], set: &ImageSet<'_>, center: [usize; 2], side: usize) {
    let [_, height, width] = set.shape;
    let span = |center: usize, end: usize| {
        let start = (center + 1).saturating_sub(side.div_ceil(2));
        start..(center + side / 2 + 1).min(end)
    };
    for (plane, &outside) in image.chunks_exact_mut(height * width).zip(&set.outside) {
        for y in span(center[0], height) {
            plane[y * width..][span(center[1], width)].fill(outside);
        }
    }
}

/// Prepared images `[count][channels][height][width]`, and the value of pixels outside an image.
pub(crate) struct ImageSet<'a> {
    pub(crate) pixels: &'a [f32],
    pub(crate) shape: [usize; 3],
    /// One prepared value per channel.
    pub(crate) outside: Vec<f32>,
}

impl ImageSet<'_> {
    pub(crate) fn image_len(&self) -> usize {
        self.shape.iter().product()
    }

    pub(crate) fn push_shifted(&self, index: usize, dy: isize, dx: isize, out: &mut Vec<f32>) {
        let [_, height, width] = self.shape;
        let image = &self.pixels[index * self.image_len()..][..self.image_len()];
        if (dy, dx) == (0, 0) {
            return out.extend_from_slice(image);
        }
        for (plane, &outside) in image.chunks_exact(height * width).zip(&self.outside) {
            for y in 0..height as isize {
                let source = y - dy;
                if source < 0 || source >= height as isize {
                    out.extend(std::iter::repeat_n(outside, width));
                    continue;
                }
                let row = &plane[source as usize * width..][..width];
                let gap = dx.unsigned_abs().min(width);
                if dx >= 0 {
                    out.extend(std::iter::repeat_n(outside, gap));
                    out.extend_from_slice(&row[..width - gap]);
                } else {
                    out.extend_from_slice(&row[gap..]);
                    out.extend(std::iter::repeat_n(outside, gap));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_is_a_partition_and_depends_on_the_seed() {
        let split = |seed| split((0..1000).collect(), 0.1, seed);
        let (train, validation) = split(3);
        assert_eq!((train.len(), validation.len()), (900, 100));
        let mut all: Vec<usize> = train.iter().chain(&validation).copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        assert_eq!(split(3).1, validation);
        assert_ne!(split(4).1, validation);
    }

    #[test]
    fn shifts_move_pixels_and_fill_with_the_outside_value() {
        let pixels: Vec<f32> = (1..=6).map(|value| value as f32).collect();
        let set = ImageSet {
            pixels: &pixels,
            shape: [1, 2, 3],
            outside: vec![-1.0],
        };
        let shifted = |dy, dx| {
            let mut out = Vec::new();
            set.push_shifted(0, dy, dx, &mut out);
            out
        };
        assert_eq!(shifted(0, 0), pixels);
        assert_eq!(shifted(1, 0), [-1.0, -1.0, -1.0, 1.0, 2.0, 3.0]);
        assert_eq!(shifted(0, 1), [-1.0, 1.0, 2.0, -1.0, 4.0, 5.0]);
        assert_eq!(shifted(-1, -1), [5.0, 6.0, -1.0, -1.0, -1.0, -1.0]);
        assert_eq!(shifted(5, 5), [-1.0; 6]);
    }

    #[test]
    fn flips_crops_and_blanked_squares_change_what_they_say() {
        let mut image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        flip(&mut image, 3);
        assert_eq!(image, [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);

        // A ramp stays one; half of it, from a quarter on, has half of its slope.
        let ramp: Vec<f32> = (0..64).map(|index| (index % 8) as f32).collect();
        let mut whole = ramp.clone();
        stretch(&mut whole, [1, 8, 8], 1.0, [0.0, 0.0]);
        assert_eq!(whole, ramp);
        let mut half = ramp;
        stretch(&mut half, [1, 8, 8], 0.5, [0.25, 0.25]);
        for row in half.chunks(8) {
            for (x, value) in row.iter().enumerate() {
                assert!((value - (1.75 + 0.5 * x as f32)).abs() < 1e-5, "{row:?}");
            }
        }

        let set = ImageSet {
            pixels: &[],
            shape: [2, 4, 4],
            outside: vec![-1.0, -2.0],
        };
        let mut blanked = vec![1.0; 32];
        cut(&mut blanked, &set, [0, 2], 3);
        let at = |channel: usize, y: usize, x: usize| blanked[channel * 16 + y * 4 + x];
        let inside = |y: usize, x: usize| y <= 1 && (1..=3).contains(&x);
        for (y, x) in (0..16).map(|index| (index / 4, index % 4)) {
            let expected = if inside(y, x) { [-1.0, -2.0] } else { [1.0; 2] };
            assert_eq!([at(0, y, x), at(1, y, x)], expected, "{y} {x}");
        }
    }

    #[test]
    fn epochs_differ_and_repeat_by_seed() {
        let images: Vec<usize> = (0..50).collect();
        let first = Epoch::new(&images, 7, 0).batches(16);
        assert_eq!(first.len(), 3);
        assert_eq!(first, Epoch::new(&images, 7, 0).batches(16));
        assert_ne!(first, Epoch::new(&images, 7, 1).batches(16));
        assert_eq!(Epoch::new(&images[..5], 7, 0).batches(16).concat().len(), 5);
    }

    #[test]
    fn a_balanced_epoch_draws_from_every_group_equally_often() {
        let groups = [(0..90).collect::<Vec<_>>(), vec![90, 91], vec![5, 92]];
        let order = Epoch::balanced(&groups, 94, 7, 3).batches(94).concat();
        let drawn = |image: usize| order.iter().filter(|&&found| found == image).count();
        // 32, 31 and 31 draws.
        assert_eq!(order.len(), 94);
        assert_eq!(drawn(90) + drawn(91), 31);
        assert!((15..=16).contains(&drawn(92)) && (15..=17).contains(&drawn(5)));
        assert!(
            (0..90)
                .filter(|&image| image != 5)
                .all(|image| drawn(image) <= 1)
        );
        let again = |seed, epoch| {
            Epoch::balanced(&groups, 94, seed, epoch)
                .batches(94)
                .concat()
        };
        assert_eq!(order, again(7, 3));
        assert_ne!(order, again(7, 4));
        assert_ne!(order, again(8, 3));
    }
}
