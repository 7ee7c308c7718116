//! Elements of values in a new order: selections and concatenations.

use rayon::prelude::*;

/// For every image the elements that `indices` name, 0 for -1; `elements` are those of an image.
pub(crate) fn select(images: &[f32], elements: usize, indices: &[i32]) -> Vec<f32> {
    let mut out = vec![0.0; images.len() / elements * indices.len()];
    let each = out.par_chunks_mut(indices.len());
    each.zip(images.par_chunks(elements))
        .for_each(|(out, image)| {
            for (out, &index) in out.iter_mut().zip(indices) {
                *out = usize::try_from(index).map_or(0.0, |index| image[index]);
            }
        });
    out
}

/// The gradient of what [`select`] reads.
pub(crate) fn select_backward(gradient: &[f32], elements: usize, indices: &[i32]) -> Vec<f32> {
    let mut all = vec![0.0; gradient.len() / indices.len() * elements];
    let each = all.par_chunks_mut(elements);
    each.zip(gradient.par_chunks(indices.len()))
        .for_each(|(of_x, gradient)| {
            for (g, &index) in gradient.iter().zip(indices) {
                if let Ok(index) = usize::try_from(index) {
                    of_x[index] += g;
                }
            }
        });
    all
}

/// The values one after the other, image by image; each comes with the elements of an image.
pub(crate) fn concat(values: &[(&[f32], usize)]) -> Vec<f32> {
    let total: usize = values.iter().map(|(_, elements)| elements).sum();
    let images = values.first().map_or(0, |(x, elements)| x.len() / elements);
    let mut out = Vec::with_capacity(images * total);
    for image in 0..images {
        for (x, elements) in values {
            out.extend_from_slice(&x[image * elements..][..*elements]);
        }
    }
    out
}

/// The part of each image's `total` elements that begins at `start`.
pub(crate) fn part(values: &[f32], total: usize, start: usize, elements: usize) -> Vec<f32> {
    let images = values.chunks_exact(total);
    images
        .flat_map(|image| &image[start..start + elements])
        .copied()
        .collect()
}
