//! The encrypted engine of channel-wise packing: rotations and plaintext products.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use sordino_ckks::{
    Ciphertexts, Context, EvaluationKey, KeySet, Plaintexts, RotatedTerm, Scale, SeededCiphertexts,
};
use sordino_plan::{
    ChannelPlan, Diagonal, Operation, RotationSchedule, Schedule, ServerPlan, SlotLayout, Step,
    Term, Unit, diagonals,
};

use crate::element::{at, missing_key, relinearizes};
use crate::engine::{EncryptedEngine, live, take};
use crate::{Computed, Engine, Error, Piece};

/// The encoded weights and constants of a channel-wise plan, with its units.
#[derive(Debug)]
pub struct ChannelWeights {
    /// Products of linear steps, by step; those that are missing are encoded when they are used.
    products: HashMap<usize, Product>,
    /// Shifts of squares, and biases that are not all zero, by step.
    constants: HashMap<usize, Plaintexts>,
    /// Every switching key that the steps need.
    keys: KeySet,
    /// One unit per step.
    schedule: Schedule,
}

/// Evaluates the steps of a channel-wise plan on ciphertexts.
#[derive(Debug)]
pub struct ChannelEngine<'a> {
    steps: &'a [Step],
    channel: &'a ChannelPlan,
    context: &'a Context,
    key: &'a EvaluationKey,
    weights: &'a ChannelWeights,
}

/// A linear step: the sums that it takes.
#[derive(Debug)]
struct Product {
    terms: Vec<TermProduct>,
    /// Steps of the rotations that fold shares.
    folds: Vec<usize>,
}

/// One term of a linear step: sums of hoisted rotations times plaintexts, each sum rotated, and their sum.
#[derive(Debug)]
struct TermProduct {
    plaintexts: Plaintexts,
    sums: Vec<Vec<RotatedTerm>>,
    /// `None` where no sum is rotated.
    outer: Option<Vec<Vec<RotatedTerm>>>,
}

impl ChannelWeights {
    /// Encodes the constants of a plan, and its weights if that is to be done `beforehand`; else a step's weights are encoded, in less
    /// memory, when the step is computed.
    ///
    /// # Errors
    /// [`Error::Step`] for weights that cannot be encoded or rotations that no key may have.
    ///
    /// # Cost
    /// A vector of N residues for every diagonal and limb of the step.
    pub fn new(
        plan: &ServerPlan,
        channel: &ChannelPlan,
        context: &Context,
        beforehand: bool,
    ) -> Result<Self, Error> {
        let steps = plan.steps();
        let keys = KeySet::new(steps.iter().any(relinearizes), plan.rotations());
        let encoder = Encoder {
            context,
            channel,
            compact: false,
        };
        let mut weights = Self {
            products: HashMap::new(),
            constants: HashMap::new(),
            keys: keys.map_err(at(&steps[0]))?,
            schedule: plan.whole_steps(),
        };
        for (index, step) in steps.iter().enumerate() {
            let constants = match &step.operation {
                Operation::Linear { terms, bias } => {
                    if beforehand {
                        let product = encoder.product(index, step, terms).map_err(at(step))?;
                        weights.products.insert(index, product);
                    }
                    let any = bias.iter().any(|&constant| constant != 0);
                    any.then_some((bias, step.scale))
                }
                Operation::Square { source, shift } => Some((shift, steps[*source].scale)),
                _ => None,
            };
            if let Some((values, scale)) = constants {
                let encoded = encoder.constants(index, values, scale, step.limbs);
                weights.constants.insert(index, encoded.map_err(at(step))?);
            }
        }
        Ok(weights)
    }
}

/// Encodes weights and constants.
struct Encoder<'a> {
    context: &'a Context,
    channel: &'a ChannelPlan,
    /// Whether weights are kept as coefficients.
    compact: bool,
}

impl Encoder<'_> {
    /// Images per position, interleaved.
    fn images(&self) -> usize {
        self.context.ring_degree() / self.channel.slots
    }

    /// Encodes one integer per element, at a scale, in the layout of a step.
    fn constants(
        &self,
        index: usize,
        values: &[i128],
        scale: f64,
        limbs: usize,
    ) -> Result<Plaintexts, sordino_ckks::Error> {
        let (layout, images) = (&self.channel.layouts[index], self.images());
        let (slots, n) = (self.channel.slots, self.context.ring_degree());
        let mut vectors = vec![0.0; layout.ciphertexts * n];
        for (element, &value) in values.iter().enumerate() {
            let (ciphertext, position) = layout.place(element, slots);
            for position in (position..slots).step_by(layout.period) {
                vectors[ciphertext * n + position * images..][..images].fill(value as f64 / scale);
            }
        }
        let scale = Scale::new(scale)?;
        self.context.encode_plaintexts(&vectors, scale, limbs)
    }

    fn product(
        &self,
        index: usize,
        step: &Step,
        terms: &[Term],
    ) -> Result<Product, sordino_ckks::Error> {
        let (channel, stride) = (self.channel, self.images());
        let output = &channel.layouts[index];
        let schedule =
            channel.schedules[index].expect("plans are checked to schedule every linear step");
        let product = |term| self.term_product(term, step, output, &schedule);
        let folds = schedule.folds(output.period);
        Ok(Product {
            terms: terms.iter().map(product).collect::<Result<_, _>>()?,
            folds: folds.map(|positions| positions * stride).collect(),
        })
    }

    fn term_product(
        &self,
        term: &Term,
        step: &Step,
        output: &SlotLayout,
        schedule: &RotationSchedule,
    ) -> Result<TermProduct, sordino_ckks::Error> {
        let (slots, stride) = (self.channel.slots, self.images());
        let source = &self.channel.layouts[term.source()];
        let mut found = diagonals(term, source, output, schedule, slots);
        // A sum has at least one term: an output without diagonals of this term gets a zero.
        for output in 0..output.ciphertexts {
            if found.iter().all(|diagonal| diagonal.output != output) {
                found.push(Diagonal {
                    input: 0,
                    output,
                    distance: 0,
                    weights: vec![0.0; slots],
                });
            }
        }
        let factor = self.channel.plaintext_factor();
        // Factors of residual branches are complete; weights are multiplied by the plaintexts' scale.
        let unit = term.map().map_or(1.0 / factor, |_| 1.0);
        let mut sums: BTreeMap<(usize, usize), Vec<RotatedTerm>> = BTreeMap::new();
        for (plaintext, diagonal) in found.iter().enumerate() {
            let outer = schedule.outer(diagonal.distance);
            let sum = sums.entry((diagonal.output, outer)).or_default();
            sum.push(RotatedTerm {
                input: diagonal.input,
                steps: schedule.hoisted(diagonal.distance) % slots * stride,
                plaintext: Some(plaintext),
            });
        }
        // The sum is rotated to the left afterwards: its weights stand further to the right.
        let fill = |plaintext: usize, vector: &mut [f64]| {
            let diagonal = &found[plaintext];
            let turn = slots - schedule.outer(diagonal.distance) % slots;
            for (position, images) in vector.chunks_exact_mut(stride).enumerate() {
                images.fill(diagonal.weights[(position + turn) % slots] * unit);
            }
        };
        let mut outer = vec![Vec::new(); output.ciphertexts];
        for (input, &(output, positions)) in sums.keys().enumerate() {
            outer[output].push(rotation(input, positions % slots * stride));
        }
        let rotated = outer.iter().flatten().any(|term| term.steps != 0);
        let (context, scale) = (self.context, Scale::new(factor)?);
        let plaintexts = if self.compact {
            context.encode_compact(found.len(), fill, scale, step.limbs)?
        } else {
            let n = context.ring_degree();
            let mut vectors = vec![0.0; found.len() * n];
            let vector = vectors.par_chunks_exact_mut(n).enumerate();
            vector.for_each(|(plaintext, vector)| fill(plaintext, vector));
            context.encode_plaintexts(&vectors, scale, step.limbs)?
        };
        Ok(TermProduct {
            plaintexts,
            sums: sums.into_values().collect(),
            outer: rotated.then_some(outer),
        })
    }
}

/// A rotation without a product.
fn rotation(input: usize, steps: usize) -> RotatedTerm {
    RotatedTerm {
        input,
        steps,
        plaintext: None,
    }
}

impl<'a> ChannelEngine<'a> {
    /// An engine for a plan's weights and a client's key.
    ///
    /// # Errors
    /// [`Error::MissingKey`] without a key, [`Error::Step`] for a key that lacks a rotation of the plan.
    pub fn new(
        plan: &'a ServerPlan,
        weights: &'a ChannelWeights,
        context: &'a Context,
        key: Option<&'a EvaluationKey>,
    ) -> Result<Self, Error> {
        let steps = plan.steps();
        let key = key.ok_or_else(|| missing_key(&steps[0]))?;
        let covers = key.key_set().check_covers(&weights.keys);
        covers.map_err(at(&steps[0]))?;
        Ok(Self {
            steps,
            channel: plan.channel().expect("weights are those of the plan"),
            context,
            key,
            weights,
        })
    }

    fn apply(
        &self,
        index: usize,
        step: &Step,
        sources: &[&Ciphertexts],
    ) -> Result<Ciphertexts, sordino_ckks::Error> {
        let encoded;
        let product = match self.weights.products.get(&index) {
            Some(product) => product,
            None => {
                let encoder = Encoder {
                    context: self.context,
                    channel: self.channel,
                    compact: true,
                };
                encoded = encoder.product(index, step, step.terms())?;
                &encoded
            }
        };
        let scale = Scale::new(step.scale)?;
        let mut sum: Option<Ciphertexts> = None;
        for (term, source) in product.terms.iter().zip(sources) {
            // A source with more limbs is cut to those of the step.
            let dropped = source.limbs() - step.limbs;
            let cut = (dropped > 0).then(|| self.context.drop_limbs((*source).clone(), dropped));
            let cut = cut.transpose()?;
            let source = cut.as_ref().unwrap_or(source);
            let mut value =
                self.context
                    .sum_rotated(source, &term.sums, Some(&term.plaintexts), self.key)?;
            if let Some(outer) = &term.outer {
                value = self.context.sum_rotated(&value, outer, None, self.key)?;
            }
            let value = value.with_scale(scale);
            sum = Some(match sum {
                None => value,
                Some(sum) => self.context.add(&sum, &value)?,
            });
        }
        let mut sum = sum.expect("plans are checked to have at least one term per linear step");
        for &fold in &product.folds {
            let both = |input| vec![rotation(input, 0), rotation(input, fold)];
            let outputs: Vec<_> = (0..sum.len()).map(both).collect();
            sum = self.context.sum_rotated(&sum, &outputs, None, self.key)?;
        }
        if let Some(bias) = self.weights.constants.get(&index) {
            self.context.add_plaintexts(&mut sum, bias)?;
        }
        Ok(sum)
    }
}

impl Engine for ChannelEngine<'_> {
    type Piece = Piece;

    fn compute(
        &self,
        index: usize,
        unit: &Unit,
        pieces: &mut [Option<Piece>],
    ) -> Result<Computed<Piece>, Error> {
        let step = &self.steps[index];
        let mut taken = |source: usize| match take(pieces, source, unit) {
            Piece::Expanded(map) => map,
            Piece::Fresh(_) => unreachable!("this engine expands the input first"),
        };
        let result = match &step.operation {
            Operation::Input => unreachable!("plans are checked to have one input, first"),
            Operation::Linear { terms, .. } => {
                let source = |term: &Term| live(pieces, term.source()).expanded();
                let sources: Vec<&Ciphertexts> = terms.iter().map(source).collect();
                self.apply(index, step, &sources)
            }
            Operation::Square { source, .. } => {
                let shift = &self.weights.constants[&index];
                self.context.square_shifted_by(taken(*source), shift)
            }
            Operation::Relinearize { source } => self.context.relinearize(taken(*source), self.key),
            Operation::Rescale { source, primes } => self.context.rescale(taken(*source), *primes),
        };
        let piece = Piece::Expanded(result.map_err(at(step))?);
        Ok(Computed::by_one_step(piece))
    }
}

impl EncryptedEngine for ChannelEngine<'_> {
    fn schedule(&self) -> &Schedule {
        &self.weights.schedule
    }

    fn input(&self, block: SeededCiphertexts) -> Result<Piece, Error> {
        let block = block.expand(self.context).map_err(at(&self.steps[0]))?;
        Ok(Piece::Expanded(block))
    }

    fn result(&self, pieces: &mut [Option<Piece>]) -> Result<Ciphertexts, Error> {
        match pieces.last_mut().and_then(Option::take) {
            Some(Piece::Expanded(map)) => Ok(map),
            _ => unreachable!("the last unit was computed"),
        }
    }
}
