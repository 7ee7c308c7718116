//! The clear engine: the plan's integers on integers, exactly.

use sordino_plan::{ServerPlan, Step, Term};

use crate::clear_product::add_product;
use crate::{Engine, Error};

/// Integers in place of ciphertexts: what a ciphertext without noise would hold.
///
/// Linear steps and squares are exact; a rescale divides and rounds to the nearest integer, which is finer than
/// the encrypted rounding by a factor of about N/2.
#[derive(Debug)]
pub struct ClearEngine<'a> {
    /// The modulus chain.
    primes: &'a [u64],
    /// Images a feature map holds.
    images: usize,
    /// Weights are multiplied by 2 to this power, as plaintexts hold them.
    plaintext_bits: u32,
}

impl<'a> ClearEngine<'a> {
    /// An engine for the steps of a plan on `images` images at once.
    pub fn new(plan: &'a ServerPlan, images: usize) -> Self {
        ClearEngine {
            primes: plan.parameters().primes(),
            images,
            plaintext_bits: plan.channel().map_or(0, |channel| channel.plaintext_bits),
        }
    }

    /// Rounds prepared images to integers at the input's scale.
    ///
    /// # Shapes
    /// images × features in, features × images out.
    pub fn encode(&self, images: &[f32], features: usize, scale: f64) -> Vec<i128> {
        let mut value = vec![0; features * self.images];
        for (image, pixels) in images.chunks_exact(features).enumerate() {
            for (feature, &pixel) in pixels.iter().enumerate() {
                value[feature * self.images + image] = (f64::from(pixel) * scale).round() as i128;
            }
        }
        value
    }
}

impl Engine for ClearEngine<'_> {
    /// elements × images, row major.
    type Value = Vec<i128>;

    fn linear(
        &self,
        _: usize,
        step: &Step,
        terms: &[Term],
        sources: &[&Vec<i128>],
        bias: &[i128],
    ) -> Result<Vec<i128>, Error> {
        let images = self.images;
        let mut value: Vec<i128> = bias
            .iter()
            .flat_map(|&b| std::iter::repeat_n(b, images))
            .collect();
        debug_assert_eq!(value.len(), step.elements * images);
        for (term, source) in terms.iter().zip(sources) {
            match term {
                Term::Scaled { factors, .. } => {
                    let rows = value.chunks_exact_mut(images).zip(factors);
                    for ((sums, &factor), values) in rows.zip(source.chunks_exact(images)) {
                        add_multiple(sums, values, i128::from(factor));
                    }
                }
                Term::Product { map, .. } => {
                    add_product(&mut value, map, source, images, self.plaintext_bits);
                }
            }
        }
        Ok(value)
    }

    fn square(
        &self,
        _: usize,
        _: &Step,
        mut source: Vec<i128>,
        shift: &[i128],
    ) -> Result<Vec<i128>, Error> {
        for (row, &r) in source.chunks_exact_mut(self.images).zip(shift) {
            for x in row {
                *x = x.wrapping_mul(x.wrapping_add(r));
            }
        }
        Ok(source)
    }

    fn relinearize(&self, _: &Step, source: Vec<i128>) -> Result<Vec<i128>, Error> {
        Ok(source)
    }

    fn rescale(
        &self,
        step: &Step,
        mut source: Vec<i128>,
        primes: usize,
    ) -> Result<Vec<i128>, Error> {
        let group = &self.primes[step.limbs..step.limbs + primes];
        for x in &mut source {
            *x = divide_rounding(*x, group);
        }
        Ok(source)
    }

    fn duplicate(&self, value: &Vec<i128>) -> Vec<i128> {
        value.clone()
    }
}

/// sums += factor·values. Partial sums may wrap; the plan bounds the result.
fn add_multiple(sums: &mut [i128], values: &[i128], factor: i128) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum = sum.wrapping_add(value.wrapping_mul(factor));
    }
}

/// x divided by the product of `group`, rounded to the nearest integer.
fn divide_rounding(x: i128, group: &[u64]) -> i128 {
    let product = group
        .iter()
        .try_fold(1i128, |product, &q| product.checked_mul(i128::from(q)));
    match product {
        Some(product) => (x + product / 2).div_euclid(product),
        // |x| < 2^127 is far below half of such a product.
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::divide_rounding;

    #[test]
    fn rescaling_rounds_to_nearest() {
        for (x, expected) in [
            (0, 0),
            (7, 1),
            (10, 1),
            (11, 2),
            (-7, -1),
            (-10, -1),
            (-11, -2),
            (-3, 0),
        ] {
            assert_eq!(divide_rounding(x, &[7]), expected, "{x}");
        }
        assert_eq!(
            divide_rounding(1_000_000_007 * 35 + 17, &[5, 7]),
            1_000_000_007
        );
        assert_eq!(
            divide_rounding(1_000_000_007 * 35 + 18, &[5, 7]),
            1_000_000_008
        );
    }
}
