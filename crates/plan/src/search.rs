//! Searching ring degree, scales, relinearization places and gadget for the cheapest candidate that meets the
//! constraints.

use sordino_ckks::security::largest_log2_qp;
use sordino_ckks::{Gadget, noise as scheme_noise};

use crate::estimate::{Estimate, GadgetChoice, Limbs, block_seconds, sizes};
use crate::network::{Network, NodeKind};
use crate::noise::{add_gadget, without_gadget};
use crate::precision::{EXCEED_PROBABILITY, Gains, NodeNoise, rms_logit_error, worst_logit_error};
use crate::primes;
use crate::schedule::{Choice, Sketch};
use crate::{CompileOptions, Error};

/// Worst error relative to the largest calibrated logit, unless asked otherwise.
const DEFAULT_RELATIVE_ERROR: f64 = 1.0 / 1500.0;
/// Step of the grid of scales, in bits.
const GRID: f64 = 0.5;

/// A candidate that meets every constraint.
#[derive(Clone, Debug)]
pub(crate) struct Winner {
    pub choice: Choice,
    pub gadget: Option<GadgetChoice>,
    pub blocks: usize,
    pub estimate: Estimate,
}

/// A candidate within the security bound whose rms error leaves a chance to meet the precision.
struct Candidate {
    choice: Choice,
    gadget: Option<GadgetChoice>,
    noise: Vec<NodeNoise>,
    rms: f64,
    seconds: f64,
}

/// Finds the cheapest plan.
///
/// # Errors
/// [`Error::Impossible`] when no candidate meets security, precision and memory, with the one that came closest.
pub(crate) fn search(
    network: &Network,
    options: &CompileOptions,
    rms_weight_rounding: f64,
) -> Result<Winner, Error> {
    let largest_logit = network.nodes.last().map_or(1.0, |n| n.max_abs);
    let target_bits = options
        .precision_bits
        .unwrap_or_else(|| -(DEFAULT_RELATIVE_ERROR * largest_logit).log2());
    let logits = network.nodes.last().map_or(1, |n| n.elements);
    let samples = (options.batch * logits) as f64;
    let target = (-target_bits).exp2();
    let mut search = Search {
        network,
        options,
        gains: network.nodes.iter().map(|n| &n.gains[..]).collect(),
        samples,
        target,
        largest_rms: target
            / scheme_noise::worst_of_gaussians(samples, EXCEED_PROBABILITY).max(1.0),
        candidates: Vec::new(),
        closest: Closest::default(),
    };
    let degrees: Vec<usize> = match options.ring_degree {
        Some(degree) => vec![degree],
        None => vec![1 << 12, 1 << 13, 1 << 14, 1 << 15],
    };
    for &degree in &degrees {
        search.enumerate(degree);
    }
    search.cheapest(rms_weight_rounding).ok_or_else(|| {
        let Search { closest, .. } = search;
        closest.into_error(network, options, target_bits, &degrees)
    })
}

struct Search<'a> {
    network: &'a Network,
    options: &'a CompileOptions,
    gains: Vec<Gains<'a>>,
    /// Logits of a batch.
    samples: f64,
    /// Largest tolerated error of a logit.
    target: f64,
    /// No candidate with a larger rms error can meet the target: it would need the best case of equally sensitive
    /// images and Gaussian errors.
    largest_rms: f64,
    candidates: Vec<Candidate>,
    closest: Closest,
}

impl Search<'_> {
    /// The cheapest candidate that meets precision and memory.
    fn cheapest(&mut self, rms_weight_rounding: f64) -> Option<Winner> {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        for candidate in candidates {
            let Candidate {
                choice,
                gadget,
                noise,
                rms,
                seconds,
            } = candidate;
            let blocks = self.options.batch.div_ceil(choice.ring_degree);
            let sketch = Sketch::draw(self.network, &choice, None);
            let limbs = Limbs::ideal(&sketch, choice.ring_degree)?;
            let (upload, key, reply, memory) =
                sizes(self.network, &choice, &sketch, &limbs, gadget, blocks);
            if self
                .options
                .memory_bytes
                .is_some_and(|limit| memory > limit)
            {
                self.closest.note_memory(choice.ring_degree, memory);
                continue;
            }
            let worst = worst_logit_error(&noise, &self.gains, self.samples);
            if worst > self.target {
                continue;
            }
            let estimate = Estimate {
                evaluate_seconds: seconds,
                memory_bytes: memory,
                upload_bytes: upload,
                key_bytes: key,
                reply_bytes: reply,
                precision_bits: -worst.log2(),
                rms_noise: rms,
                rms_weight_rounding,
            };
            return Some(Winner {
                choice,
                gadget,
                blocks,
                estimate,
            });
        }
        None
    }

    /// All candidates of one ring degree within the security bound.
    fn enumerate(&mut self, degree: usize) {
        let activations = self
            .network
            .nodes
            .iter()
            .filter(|n| matches!(n.kind, NodeKind::Square { .. }))
            .count();
        let fresh = scheme_noise::fresh(degree).log2().floor();
        let rounding = scheme_noise::rescale_two(degree).log2().floor();
        let grid =
            |from: f64, bits: f64| (0..(bits / GRID) as usize).map(move |i| from + i as f64 * GRID);
        for rescale_first in [false, true] {
            let rescales = rescale_first || activations > 1;
            if rescale_first && activations == 0 {
                continue;
            }
            for input in grid(fresh, 28.0) {
                for scale in grid(rounding, if rescales { 28.0 } else { GRID }) {
                    let mut choice = Choice {
                        ring_degree: degree,
                        log2_input_scale: input,
                        log2_scale: scale,
                        rescale_first,
                        early: vec![false; self.network.nodes.len()],
                    };
                    if self.draw(&choice) {
                        choice.early = early(self.network);
                        self.draw(&choice);
                    }
                }
            }
        }
    }

    /// Draws one choice with every gadget that fits; says whether it relinearizes.
    fn draw(&mut self, choice: &Choice) -> bool {
        let Some(bound) = largest_log2_qp(choice.ring_degree) else {
            return false;
        };
        let sketch = Sketch::draw(self.network, choice, None);
        let relinearizes = sketch.relinearizes();
        // Primes are found a little off their targets.
        let spare = f64::from(bound) - sketch.log2_q() - 0.05;
        let limbs = Limbs::ideal(&sketch, choice.ring_degree);
        let (true, Some(limbs)) = (spare >= 0.0, limbs) else {
            return relinearizes;
        };
        let bare = without_gadget(self.network, choice, &sketch);
        let rms = rms_logit_error(&bare, &self.gains);
        self.closest.note_precision(choice.ring_degree, rms);
        if rms > self.largest_rms {
            return relinearizes;
        }
        if !relinearizes {
            self.consider(choice, &sketch, &limbs, None);
            return false;
        }
        for digit_bits in [10, 12, 14, 16, 18, 20, 24, 28, 32, 40] {
            let gadget = GadgetChoice {
                gadget: Gadget::SmallDigits { digit_bits },
                special_bits: 0,
            };
            self.consider(choice, &sketch, &limbs, Some(gadget));
        }
        let smallest = primes::min_prime_bits(choice.ring_degree).log2().ceil() as u32;
        for special_bits in (smallest..=49)
            .step_by(4)
            .filter(|&bits| f64::from(bits) < spare)
        {
            let gadget = GadgetChoice {
                gadget: Gadget::SpecialPrime,
                special_bits,
            };
            self.consider(choice, &sketch, &limbs, Some(gadget));
        }
        true
    }

    /// Keeps a candidate whose rms error leaves a chance to meet the precision.
    fn consider(
        &mut self,
        choice: &Choice,
        sketch: &Sketch,
        limbs: &Limbs,
        gadget: Option<GadgetChoice>,
    ) {
        let mut noise = without_gadget(self.network, choice, sketch);
        if let Some(gadget) = gadget {
            add_gadget(&mut noise, choice, sketch, gadget, limbs);
        }
        let rms = rms_logit_error(&noise, &self.gains);
        self.closest.note_precision(choice.ring_degree, rms);
        if rms > self.largest_rms {
            return;
        }
        let blocks = self.options.batch.div_ceil(choice.ring_degree) as f64;
        let seconds = blocks
            * block_seconds(
                self.network,
                &self.options.cost,
                choice,
                sketch,
                limbs,
                gadget,
            );
        self.candidates.push(Candidate {
            choice: choice.clone(),
            gadget,
            noise,
            rms,
            seconds,
        });
    }
}

/// Every square relinearized at once, but for those that only the logits read: the client decrypts three components.
fn early(network: &Network) -> Vec<bool> {
    let last = network.nodes.len() - 1;
    let only_logits = |node: usize| network.readers(node).iter().all(|&reader| reader == last);
    (0..network.nodes.len())
        .map(|node| {
            let square = matches!(network.nodes[node].kind, NodeKind::Square { .. });
            let read_pooled =
                network.sole_reader_is_pooling(node) && only_logits(network.readers(node)[0]);
            square && !only_logits(node) && !read_pooled
        })
        .collect()
}

/// What to report when nothing fits.
#[derive(Default)]
struct Closest {
    best_rms: Option<(f64, usize)>,
    least_memory: Option<(u64, usize)>,
}

impl Closest {
    fn note_precision(&mut self, degree: usize, rms: f64) {
        if self.best_rms.is_none_or(|(best, _)| rms < best) {
            self.best_rms = Some((rms, degree));
        }
    }

    fn note_memory(&mut self, degree: usize, memory: u64) {
        if self.least_memory.is_none_or(|(best, _)| memory < best) {
            self.least_memory = Some((memory, degree));
        }
    }

    fn into_error(
        self,
        network: &Network,
        options: &CompileOptions,
        target_bits: f64,
        degrees: &[usize],
    ) -> Error {
        let mut constraints = format!(", precision of {target_bits:.1} bits");
        if let Some(limit) = options.memory_bytes {
            constraints += &format!(", memory of {:.2} GiB", limit as f64 / f64::from(1 << 30));
        }
        if let Some(degree) = options.ring_degree {
            constraints += &format!(", ring degree {degree}");
        }
        let (closest, hint) = if let Some((memory, degree)) = self.least_memory {
            (
                format!(
                    "N = {degree} needs {:.2} GiB",
                    memory as f64 / f64::from(1 << 30)
                ),
                "more --memory, or a smaller --batch".to_owned(),
            )
        } else if let Some((rms, degree)) = self.best_rms {
            (
                format!("N = {degree} with an rms logit error of 2^{:.1}", rms.log2()),
                "a lower --precision-bits, fewer --weight-bits, another --ring-degree, or fewer activations".to_owned(),
            )
        } else {
            let degree = degrees.last().copied().unwrap_or(0);
            let needed = least_modulus(network, degree);
            let bound = f64::from(largest_log2_qp(degree).unwrap_or(0));
            (
                format!(
                    "N = {degree} has room for {bound:.0} bits of modulus and the shortest chain needs {needed:.0}"
                ),
                "a larger --ring-degree, fewer --weight-bits, or fewer activations".to_owned(),
            )
        };
        Error::Impossible {
            constraints,
            closest,
            hint,
        }
    }
}

/// Bits of the shortest chain on the grid, whatever its precision.
fn least_modulus(network: &Network, degree: usize) -> f64 {
    let choice = Choice {
        ring_degree: degree,
        log2_input_scale: scheme_noise::fresh(degree).log2().floor(),
        log2_scale: scheme_noise::rescale_two(degree).log2().floor(),
        rescale_first: false,
        early: vec![false; network.nodes.len()],
    };
    let sketch = Sketch::draw(network, &choice, None);
    sketch.log2_q()
}
