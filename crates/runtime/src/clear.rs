//! The clear engine: the plan's integers on integers, exactly.

use sordino_plan::{Operation, ServerPlan, Step, Term, Unit};

use crate::clear_product::add_product;
use crate::engine::{live, take};
use crate::{Computed, Engine, Error};

/// Integers in place of ciphertexts: what a ciphertext without noise would hold.
///
/// Linear steps and squares are exact; a rescale divides and rounds to the nearest integer, which is finer than
/// the encrypted rounding by a factor of about N/2.
#[derive(Debug)]
pub struct ClearEngine<'a> {
    steps: &'a [Step],
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
            steps: plan.steps(),
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

impl ClearEngine<'_> {
    /// Sum of the terms, each over its own source, plus the bias.
    fn linear(&self, terms: &[Term], sources: &[&Vec<i128>], bias: &[i128]) -> Vec<i128> {
        let images = self.images;
        let constants = bias.iter().flat_map(|&b| std::iter::repeat_n(b, images));
        let mut value: Vec<i128> = constants.collect();
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
        value
    }
}

impl Engine for ClearEngine<'_> {
    /// elements × images, row major.
    type Piece = Vec<i128>;

    fn compute(
        &self,
        index: usize,
        unit: &Unit,
        pieces: &mut [Option<Vec<i128>>],
    ) -> Result<Computed<Vec<i128>>, Error> {
        let step = &self.steps[index];
        let piece = match &step.operation {
            Operation::Input => unreachable!("plans are checked to have one input, first"),
            Operation::Linear { terms, bias } => {
                let sources: Vec<_> = terms.iter().map(|t| live(pieces, t.source())).collect();
                self.linear(terms, &sources, bias)
            }
            Operation::Square { source, shift } => {
                let mut value = take(pieces, *source, unit);
                for (row, &r) in value.chunks_exact_mut(self.images).zip(shift) {
                    row.iter_mut()
                        .for_each(|x| *x = x.wrapping_mul(x.wrapping_add(r)));
                }
                value
            }
            Operation::Relinearize { source } => take(pieces, *source, unit),
            Operation::Rescale { source, primes } => {
                let mut value = take(pieces, *source, unit);
                let group = &self.primes[step.limbs..step.limbs + primes];
                value
                    .iter_mut()
                    .for_each(|x| *x = divide_rounding(*x, group));
                value
            }
        };
        Ok(Computed::by_one_step(piece))
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
