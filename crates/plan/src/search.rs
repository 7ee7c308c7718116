//! Searching ring degree, scales, weight scales, rescaling and relinearization places and gadget for the cheapest
//! candidate that meets the constraints.
//!
//! Cost follows whole bytes of a coefficient, so many candidates cost the same. Among those the one with the smallest
//! error is taken.

mod closest;
mod runners_up;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use sordino_ckks::security::largest_log2_qp;
use sordino_ckks::{Gadget, noise as scheme_noise};

use crate::alternatives::Alternative;
use crate::estimate::{Estimate, GadgetChoice, Limbs, block_seconds, sizes};
use crate::network::{Network, NodeKind};
use crate::noise::{add_gadget, without_gadget};
use crate::precision::{Gains, NodeNoise, QuickLook, meets, worst_logit_error};
use crate::schedule::{Choice, Sketch};
use crate::{CompileOptions, Error, primes, weights};

use closest::Closest;

/// Worst error relative to the usual size of a logit, unless asked otherwise: see docs/decisions/planner.md for how
/// many predictions it moves.
const DEFAULT_RELATIVE_ERROR: f64 = 1.0 / 300.0;
/// Step of the grid of the input's scale, in bits.
const INPUT_GRID: f64 = 0.5;
/// Step of the grid of later scales, in bits: rescaling by whole bits moves them by up to half a bit anyway.
const SCALE_GRID: f64 = 1.0;
/// Range of both grids above the noise of the scheme, in bits.
const GRID_BITS: f64 = 28.0;
/// Candidates whose estimates differ by less cost the same.
const SAME_COST: f64 = 1.01;
/// The full prediction of the worst error is slow: after one of a kind has missed the precision, only errors below this
/// share of its rms error are looked at.
const CLEARLY_LESS: f64 = 0.98;
/// The most squares for which every set of early relinearizations is tried.
const MAX_FREE_SQUARES: usize = 3;

/// A candidate that meets every constraint.
#[derive(Clone, Debug)]
pub(crate) struct Winner {
    /// The network with the weight scales of the candidate.
    pub network: Network,
    pub choice: Choice,
    pub gadget: Option<GadgetChoice>,
    pub blocks: usize,
    pub estimate: Estimate,
    pub alternatives: Vec<Alternative>,
}

/// A candidate within the security bound whose rms error leaves a chance to meet the precision.
struct Candidate {
    /// Which of the networks.
    network: usize,
    choice: Rc<Choice>,
    gadget: Option<GadgetChoice>,
    /// Bits of the modulus with the special prime.
    log2_qp: u32,
    /// Stored bytes of a coefficient of a fresh ciphertext.
    bytes: usize,
    noise: Vec<NodeNoise>,
    rms_noise: f64,
    /// rms error of noise and weight rounding together.
    rms_error: f64,
    seconds: f64,
}

/// What came of drawing a choice.
enum Drawn {
    /// It takes more modulus than security allows, or more time than another of its kind.
    TooMuch,
    /// It relinearizes nothing.
    Plain,
    Relinearized,
}

/// What came of a choice with a gadget.
enum Considered {
    /// Another of its kind is cheaper.
    TooExpensive,
    TooNoisy,
    Kept,
}

/// Finds the cheapest plan.
///
/// # Errors
/// [`Error::Impossible`] when no candidate meets security and precision, with the one that came closest.
pub(crate) fn search(network: &Network, options: &CompileOptions) -> Result<Winner, Error> {
    let target_bits = target_bits(network, options);
    let logits = network.nodes.last().map_or(1, |n| n.elements);
    let samples = (options.batch * logits) as f64;
    let target = (-target_bits).exp2();
    let networks = weight_networks(network, options);
    let mut search = Search {
        networks: &networks,
        options,
        gains: network.nodes.iter().map(|n| &n.gains[..]).collect(),
        samples,
        target,
        quick_look: QuickLook::new(samples, target),
        candidates: Vec::new(),
        least: HashMap::new(),
        refused: HashSet::new(),
        failed_rms: HashMap::new(),
        closest: Closest::default(),
    };
    let degrees = options.ring_degrees();
    for &degree in &degrees {
        search.enumerate(degree);
    }
    search
        .candidates
        .sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    search.cheapest().ok_or_else(|| {
        let shortest = least_modulus(&networks[0], degrees.last().copied().unwrap_or(0));
        search
            .closest
            .into_error(options, target_bits, &degrees, shortest)
    })
}

/// −log2 of the largest tolerated error of a logit.
pub(crate) fn target_bits(network: &Network, options: &CompileOptions) -> f64 {
    options
        .precision_bits
        .unwrap_or_else(|| -(DEFAULT_RELATIVE_ERROR * network.usual_logit).log2())
}

/// The network with the scales of integer weights that are worth trying, the finest ones last.
pub(crate) fn weight_networks(network: &Network, options: &CompileOptions) -> Vec<Network> {
    weights::options(network, options.weight_bits, modulus_bits)
}

struct Search<'a> {
    /// One for each choice of weight scales.
    networks: &'a [Network],
    options: &'a CompileOptions,
    gains: Vec<Gains<'a>>,
    /// Logits of a batch.
    samples: f64,
    /// Largest tolerated error of a logit.
    target: f64,
    quick_look: QuickLook,
    candidates: Vec<Candidate>,
    /// Seconds of the cheapest candidate of a kind that meets every constraint.
    least: HashMap<Kind, f64>,
    /// Kinds of which a candidate that misses a constraint is kept.
    refused: HashSet<Kind>,
    /// Smallest rms error of a kind that turned out to miss the precision.
    failed_rms: HashMap<Kind, f64>,
    closest: Closest,
}

/// What makes two candidates of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    ring_degree: usize,
    rescale_first: bool,
    /// Squares that are relinearized before the next layer.
    early: usize,
    special_prime: Option<bool>,
    network: usize,
}

impl Kind {
    fn new(network: usize, choice: &Choice, gadget: Option<GadgetChoice>) -> Self {
        Kind {
            ring_degree: choice.ring_degree,
            rescale_first: choice.rescale_first,
            early: choice.early_squares(),
            special_prime: gadget.map(|g| g.gadget == Gadget::SpecialPrime),
            network,
        }
    }
}

impl Candidate {
    fn kind(&self) -> Kind {
        Kind::new(self.network, &self.choice, self.gadget)
    }
}

impl Search<'_> {
    /// The best of the cheapest candidates that meet the precision.
    fn cheapest(&mut self) -> Option<Winner> {
        let least = (0..self.candidates.len()).find(|&i| self.refusal(i).is_none())?;
        let limit = self.candidates[least].seconds * SAME_COST;
        // Those with the fewest bytes of ciphertexts first, then those with the smallest error.
        let mut equal: Vec<usize> = (least..self.candidates.len())
            .take_while(|&i| self.candidates[i].seconds <= limit)
            .collect();
        equal.sort_by(|&a, &b| {
            let error = |i: usize| self.candidates[i].rms_error;
            let bytes = |i: usize| self.bytes_a_feature(&self.candidates[i]);
            let errors = error(a).total_cmp(&error(b));
            bytes(a).cmp(&bytes(b)).then(errors)
        });
        let chosen = equal.into_iter().find(|&i| self.refusal(i).is_none())?;
        let candidate = &self.candidates[chosen];
        let estimate = self.estimate(candidate)?;
        Some(Winner {
            network: self.networks[candidate.network].clone(),
            choice: Choice::clone(&candidate.choice),
            gadget: candidate.gadget,
            blocks: self.blocks(&candidate.choice),
            estimate,
            alternatives: Vec::new(),
        })
        .map(|winner| Winner {
            alternatives: self.runners_up(chosen),
            ..winner
        })
    }

    /// Bytes of an upload for every feature of the input.
    fn bytes_a_feature(&self, candidate: &Candidate) -> usize {
        let choice = &candidate.choice;
        candidate.bytes * choice.ring_degree * self.blocks(choice)
    }

    fn blocks(&self, choice: &Choice) -> usize {
        self.options.batch.div_ceil(choice.ring_degree)
    }

    /// What rules a candidate out, if anything.
    fn refusal(&mut self, index: usize) -> Option<String> {
        let candidate = &self.candidates[index];
        if self.sizes(candidate).is_none() {
            return Some("no primes".to_owned());
        }
        if !meets(&candidate.noise, &self.gains, self.samples, self.target) {
            return Some(format!(
                "precision of {:.1} bits, {:.1} are asked for",
                -self.worst(candidate).log2(),
                -self.target.log2()
            ));
        }
        None
    }

    /// Upload, key and reply.
    fn sizes(&self, candidate: &Candidate) -> Option<(u64, u64, u64)> {
        let network = &self.networks[candidate.network];
        let choice = &candidate.choice;
        let sketch = Sketch::draw(network, choice, None);
        let limbs = Limbs::ideal(&sketch, choice.ring_degree)?;
        let (gadget, blocks) = (candidate.gadget, self.blocks(choice));
        Some(sizes(network, choice, &sketch, &limbs, gadget, blocks))
    }

    fn estimate(&self, candidate: &Candidate) -> Option<Estimate> {
        let (upload, key, reply) = self.sizes(candidate)?;
        Some(Estimate {
            evaluate_seconds: candidate.seconds,
            // Known when there are steps.
            memory_bytes: 0,
            scratch_bytes: 0,
            upload_bytes: upload,
            key_bytes: key,
            reply_bytes: reply,
            precision_bits: -self.worst(candidate).log2(),
            rms_noise: candidate.rms_noise,
            rms_weight_rounding: weights::rounding_error(&self.networks[candidate.network]),
        })
    }

    fn worst(&self, candidate: &Candidate) -> f64 {
        worst_logit_error(&candidate.noise, &self.gains, self.samples)
    }

    /// All candidates of one ring degree within the security bound.
    fn enumerate(&mut self, degree: usize) {
        let squares: Vec<usize> = squares(&self.networks[0]).collect();
        let early = early_sets(&self.networks[0]);
        let fresh = scheme_noise::fresh(degree).log2().floor();
        let rounding = scheme_noise::rescale_two(degree).log2().floor();
        let grid = |from: f64, step: f64, bits: f64| {
            (0..(bits / step) as usize).map(move |i| from + i as f64 * step)
        };
        for rescale_first in [false, true] {
            if rescale_first && squares.is_empty() {
                continue;
            }
            let rescales = rescale_first || squares.len() > 1;
            let scale_bits = if rescales { GRID_BITS } else { SCALE_GRID };
            for network in 0..self.networks.len() {
                for scale in grid(rounding, SCALE_GRID, scale_bits) {
                    for (position, early) in early.iter().enumerate() {
                        for input in grid(fresh, INPUT_GRID, GRID_BITS) {
                            let choice = Choice {
                                ring_degree: degree,
                                log2_input_scale: input,
                                log2_scale: scale,
                                rescale_first,
                                early: early.clone(),
                            };
                            match self.draw(network, choice) {
                                // Larger scales need even more.
                                Drawn::TooMuch => break,
                                // Nothing is relinearized: all places are the same.
                                Drawn::Plain if position > 0 => break,
                                Drawn::Plain | Drawn::Relinearized => {}
                            }
                        }
                    }
                }
            }
        }
    }

    /// Draws one choice with every gadget that fits.
    fn draw(&mut self, index: usize, choice: Choice) -> Drawn {
        let degree = choice.ring_degree;
        let Some(bound) = largest_log2_qp(degree) else {
            return Drawn::TooMuch;
        };
        let network = &self.networks[index];
        let sketch = Sketch::draw(network, &choice, None);
        let drawn = if sketch.relinearizes() {
            Drawn::Relinearized
        } else {
            Drawn::Plain
        };
        let Some(limbs) = Limbs::ideal(&sketch, degree) else {
            // A rescale by too few bits: the input's scale is too small.
            return drawn;
        };
        if !sketch.branches_fit(network) {
            return drawn;
        }
        let bare = without_gadget(network, &choice, &sketch);
        let (precise, rms) = self.quick_look.may_meet(&bare, &self.gains);
        let spare = f64::from(bound) - f64::from(limbs.log2_q());
        if spare < 0.0 {
            if precise {
                self.closest
                    .note_modulus(degree, choice.rescale_first, limbs.log2_q());
            }
            return Drawn::TooMuch;
        }
        self.closest.note_precision(degree, rms);
        if !precise {
            return drawn;
        }
        let choice = Rc::new(choice);
        if matches!(drawn, Drawn::Plain) {
            return match self.consider(index, &choice, &sketch, &limbs, None) {
                Considered::TooExpensive => Drawn::TooMuch,
                Considered::TooNoisy | Considered::Kept => drawn,
            };
        }
        let mut affordable = false;
        // Larger digits are cheaper and noisier: the first that are precise enough are the best.
        for digit_bits in [40, 32, 28, 24, 20, 18, 16, 14, 12, 10] {
            let gadget = GadgetChoice {
                gadget: Gadget::SmallDigits { digit_bits },
                special_bits: 0,
            };
            match self.consider(index, &choice, &sketch, &limbs, Some(gadget)) {
                Considered::TooExpensive => break,
                Considered::TooNoisy => affordable = true,
                Considered::Kept => {
                    affordable = true;
                    break;
                }
            }
        }
        // Only the ratio of a limb to the special prime matters, and a larger one costs no time.
        let largest = limbs.bits.iter().copied().max().unwrap_or(0);
        let most = largest.min(spare as u32);
        if let Some(special_bits) = primes::special_bits(most, &limbs.bits, degree) {
            let gadget = GadgetChoice {
                gadget: Gadget::SpecialPrime,
                special_bits,
            };
            let considered = self.consider(index, &choice, &sketch, &limbs, Some(gadget));
            affordable |= !matches!(considered, Considered::TooExpensive);
        }
        if affordable { drawn } else { Drawn::TooMuch }
    }

    /// Keeps a candidate if it may be the best of its kind.
    fn consider(
        &mut self,
        index: usize,
        choice: &Rc<Choice>,
        sketch: &Sketch,
        limbs: &Limbs,
        gadget: Option<GadgetChoice>,
    ) -> Considered {
        let network = &self.networks[index];
        let cost = &self.options.cost;
        let seconds = self.blocks(choice) as f64
            * block_seconds(network, cost, choice, sketch, limbs, gadget);
        let kind = Kind::new(index, choice, gadget);
        let least = self.least.get(&kind).copied();
        if least.is_some_and(|least| seconds > SAME_COST * least) {
            return Considered::TooExpensive;
        }
        let mut noise = without_gadget(network, choice, sketch);
        if let Some(gadget) = gadget {
            add_gadget(&mut noise, choice, sketch, gadget, limbs);
        }
        let (precise, rms_noise) = self.quick_look.may_meet(&noise, &self.gains);
        self.closest.note_precision(choice.ring_degree, rms_noise);
        let failed = self.failed_rms.get(&kind).copied();
        if !precise || failed.is_some_and(|failed| rms_noise > CLEARLY_LESS * failed) {
            return Considered::TooNoisy;
        }
        self.candidates.push(Candidate {
            network: index,
            choice: Rc::clone(choice),
            gadget,
            log2_qp: limbs.log2_q() + gadget.map_or(0, |g| g.special_bits),
            bytes: limbs.bytes(0),
            noise,
            rms_noise,
            rms_error: rms_noise.hypot(weights::rounding_error(network)),
            seconds,
        });
        if least.is_none_or(|least| seconds < least) {
            if self.refusal(self.candidates.len() - 1).is_none() {
                self.least.insert(kind, seconds);
            } else {
                if least.is_some() || !self.refused.insert(kind) {
                    // One that misses the constraints is enough to say what a kind misses.
                    self.candidates.pop();
                }
                self.failed_rms.insert(kind, rms_noise);
                return Considered::TooNoisy;
            }
        }
        Considered::Kept
    }
}

fn squares(network: &Network) -> impl Iterator<Item = usize> + '_ {
    let is_square = |node: &usize| matches!(network.nodes[*node].kind, NodeKind::Square { .. });
    (0..network.nodes.len()).filter(is_square)
}

/// Sets of squares to relinearize at once instead of after the next layer: none, and where they are few every other set,
/// else all that may be. Squares that only the logits read are never among them: the client decrypts three components.
fn early_sets(network: &Network) -> Vec<Vec<bool>> {
    let last = network.nodes.len() - 1;
    let only_logits = |node: usize| network.readers(node).iter().all(|&reader| reader == last);
    let free: Vec<usize> = squares(network)
        .filter(|&node| {
            let read_pooled =
                network.sole_reader_is_pooling(node) && only_logits(network.readers(node)[0]);
            !only_logits(node) && !read_pooled
        })
        .collect();
    let set = |chosen: &dyn Fn(usize) -> bool| {
        let mut early = vec![false; network.nodes.len()];
        for (position, &node) in free.iter().enumerate() {
            early[node] = chosen(position);
        }
        early
    };
    if free.len() <= MAX_FREE_SQUARES {
        (0..1usize << free.len())
            .map(|mask| set(&|position| mask >> position & 1 == 1))
            .collect()
    } else {
        vec![set(&|_| false), set(&|_| true)]
    }
}

/// The plainest choice on the grid of one ring degree.
fn plainest(network: &Network, degree: usize) -> Choice {
    Choice {
        ring_degree: degree,
        log2_input_scale: scheme_noise::fresh(degree).log2().floor(),
        log2_scale: scheme_noise::rescale_two(degree).log2().floor(),
        rescale_first: false,
        early: vec![false; network.nodes.len()],
    }
}

/// Bits of the shortest chain on the grid, whatever its precision.
fn least_modulus(network: &Network, degree: usize) -> f64 {
    Sketch::draw(network, &plainest(network, degree), None).log2_q()
}

/// Bits of modulus that one bit of each weighted node's scale costs.
fn modulus_bits(network: &Network) -> Vec<f64> {
    // Many bits at once, so that neither rounding nor the value that needs the most modulus decides.
    const STEP_BITS: f64 = 32.0;
    let choice = plainest(network, 1 << 15);
    let before = Sketch::draw(network, &choice, None).log2_q();
    network
        .weighted()
        .map(|node| {
            let mut scaled = network.clone();
            scaled.nodes[node].weight_scale *= STEP_BITS.exp2();
            let after = Sketch::draw(&scaled, &choice, None).log2_q();
            ((after - before) / STEP_BITS).max(1.0)
        })
        .collect()
}
