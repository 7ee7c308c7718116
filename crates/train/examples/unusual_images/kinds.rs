//! Images that do not belong, of every kind that the guard is judged by.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sordino_graph::Preprocess;

/// Images of a kind, as raw values from 0 to 1.
pub(crate) struct Kind {
    pub(crate) name: String,
    pub(crate) images: Vec<Vec<f64>>,
}

/// Sizes of an image.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Size {
    pub(crate) fn of(preprocess: &Preprocess) -> Self {
        Self {
            channels: preprocess.channels,
            height: preprocess.height,
            width: preprocess.width,
        }
    }

    /// An image with this plane in every channel.
    fn gray(self, pixel: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        let rows = 0..self.height;
        let plane: Vec<f64> = rows
            .flat_map(|y| (0..self.width).map(move |x| (y, x)))
            .map(|(y, x)| pixel(y, x))
            .collect();
        plane.repeat(self.channels)
    }
}

fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

fn binary(set: bool) -> f64 {
    f64::from(u8::from(set))
}

/// Every kind; `usual` are usual images to change.
pub(crate) fn all(usual: &[Vec<f64>], size: Size) -> Vec<Kind> {
    let mut kinds = patterns(size);
    kinds.extend(noise(size));
    kinds.extend(changed(usual, size));
    kinds
}

/// What becomes of the place of a pixel in the allowed range.
type OfPixel = fn(f64) -> f64;

/// Plain images, checkerboards and stripes with every cell size, with two offsets, and with both colours exchanged.
fn patterns(size: Size) -> Vec<Kind> {
    let plain = |name: &str, value: f64| Kind {
        name: name.into(),
        images: vec![size.gray(|_, _| value)],
    };
    let mut kinds = vec![plain("black", 0.0), plain("gray", 0.5), plain("white", 1.0)];
    type Cells = fn(usize, usize, usize, usize) -> usize;
    let families: [(&str, Cells); 5] = [
        ("checkerboard", |y, x, cell, offset| {
            (y + offset) / cell + (x + offset) / cell
        }),
        ("vertical stripes", |_, x, cell, offset| (x + offset) / cell),
        ("horizontal stripes", |y, _, cell, offset| {
            (y + offset) / cell
        }),
        ("diagonal stripes", |y, x, cell, offset| {
            (x + y + offset) / cell
        }),
        ("antidiagonal stripes", |y, x, cell, offset| {
            (x + 64 * cell - y + offset) / cell
        }),
    ];
    for cell in 1..=size.height / 2 {
        for (name, cells) in families {
            let variants = [(0, 0), (0, 1), (cell / 2, 0), (cell / 2, 1)];
            let image = |(offset, inverse)| {
                size.gray(|y, x| binary((cells(y, x, cell, offset) + inverse) % 2 == 0))
            };
            kinds.push(Kind {
                name: format!("{name} of {cell} pixels"),
                images: variants.map(image).to_vec(),
            });
        }
    }
    kinds
}

/// Noise with independent pixels.
fn noise(size: Size) -> Vec<Kind> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let plane = size.height * size.width;
    let mut kind = |name: &str, gray: bool, value: fn(f64) -> f64| {
        let mut image = || {
            let count = if gray { plane } else { plane * size.channels };
            let pixels: Vec<f64> = (0..count).map(|_| value(unit(&mut rng))).collect();
            pixels.repeat(plane * size.channels / count)
        };
        Kind {
            name: name.into(),
            images: (0..50).map(|_| image()).collect(),
        }
    };
    vec![
        kind("noise", false, |x| x),
        kind("gray noise", true, |x| x),
        kind("binary noise", true, f64::round),
    ]
}

/// Usual images with something done to them.
fn changed(usual: &[Vec<f64>], size: Size) -> Vec<Kind> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let plane = size.height * size.width;
    let mut kinds = Vec::new();
    let mut add = |name: String, change: &mut dyn FnMut(&[f64]) -> Vec<f64>| {
        let images = usual.iter().map(|image| change(image)).collect();
        kinds.push(Kind { name, images });
    };
    for percent in [2, 5, 10, 20, 30, 50] {
        add(format!("salt and pepper, {percent} %"), &mut |image| {
            let mut image = image.to_vec();
            for place in 0..plane {
                if 100.0 * unit(&mut rng) < f64::from(percent) {
                    let value = unit(&mut rng).round();
                    image[place..]
                        .iter_mut()
                        .step_by(plane)
                        .for_each(|pixel| *pixel = value);
                }
            }
            image
        });
    }
    for steps in [8, 16, 32, 64] {
        let amplitude = f64::from(steps) / 255.0;
        add(format!("with noise up to {steps} of 255"), &mut |image| {
            let pixel = |x: &f64| (x + amplitude * (2.0 * unit(&mut rng) - 1.0)).clamp(0.0, 1.0);
            image.iter().map(pixel).collect()
        });
    }
    let plain: [(&str, OfPixel); 4] = [
        ("inverted", |x| 1.0 - x),
        ("twice the contrast", |x| (2.0 * x - 0.5).clamp(0.0, 1.0)),
        ("binary", |x| binary(x > 0.5)),
        ("divided by 255", |x| x / 255.0),
    ];
    for (name, change) in plain {
        add(name.into(), &mut |image| {
            image.iter().map(|&x| change(x)).collect()
        });
    }
    add("pixels shuffled".into(), &mut |image| {
        let mut image = image.to_vec();
        for last in (1..plane).rev() {
            let other = (unit(&mut rng) * (last + 1) as f64) as usize;
            for channel in 0..size.channels {
                image.swap(channel * plane + last, channel * plane + other);
            }
        }
        image
    });
    add("upside down".into(), &mut |image| {
        let planes = image.chunks_exact(plane);
        planes
            .flat_map(|plane| plane.chunks_exact(size.width).rev())
            .flatten()
            .copied()
            .collect()
    });
    kinds
}
