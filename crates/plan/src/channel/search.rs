//! Searching slots, ring degree, scales and plaintext bits for the cheapest channel-wise plan.

use sordino_ckks::security::largest_log2_qp;
use sordino_ckks::{Gadget, noise as scheme_noise};
use sordino_graph::{Calibration, Folded, Graph};

use super::counts::Counts;
use super::geometry::{Geometry, lay_out, least_slots};
use super::merge::without_sums;
use super::noise::of_sketch;
use crate::estimate::{
    BASE_BYTES, Estimate, GadgetChoice, HEADER_BYTES, Limbs, key_bytes, relinearize_seconds,
};
use crate::network::{Network, NodeKind};
use crate::precision::{Gains, QuickLook, meets};
use crate::schedule::{Choice, Kind, Sketch};
use crate::search::{target_bits, weight_networks};
use crate::{CompileOptions, CostTable, Error, primes, schedule, weights};

/// Plaintext bits that are tried.
const PLAINTEXT_BITS: std::ops::RangeInclusive<u32> = 5..=16;
/// Step of the grids of scales, in bits, and their length.
const GRID: usize = 2;
const GRID_BITS: u32 = 28;

/// Candidates whose estimates differ by less cost the same.
const SAME_COST: f64 = 1.001;
/// After one candidate has missed the precision, only errors below this share of its own are looked at.
const CLEARLY_LESS: f64 = 0.98;

/// The cheapest channel-wise plan, before there are primes.
#[derive(Clone, Debug)]
pub(crate) struct ChannelWinner {
    /// Without pooling sums.
    pub folded: Folded,
    /// With the scales of the integer weights.
    pub network: Network,
    pub geometry: Geometry,
    pub choice: Choice,
    pub plaintext_bits: u32,
    pub gadget: GadgetChoice,
    pub blocks: usize,
    pub estimate: Estimate,
    /// For each node the sum over the positions of the mean squared value.
    pub energies: Vec<f64>,
}

/// A candidate that meets every constraint; the best one so far.
struct Candidate {
    seconds: f64,
    rms_noise: f64,
    /// Which of the geometries.
    geometry: usize,
    choice: Choice,
    plaintext_bits: u32,
    gadget: GadgetChoice,
    blocks: usize,
    sizes: Sizes,
}

/// Finds the cheapest channel-wise plan.
///
/// # Errors
/// [`Error::Impossible`] when none meets security, precision and memory.
pub(crate) fn search(
    graph: &Graph,
    folded: &Folded,
    calibration: &Calibration,
    options: &CompileOptions,
) -> Result<ChannelWinner, Error> {
    let (folded, calibration) = without_sums(folded, calibration);
    let network = weight_networks(&Network::new(&folded, &calibration)?, options)
        .pop()
        .expect("there is always the network of the finest weights");
    let degrees = options.ring_degrees();
    let most = degrees.iter().copied().max().unwrap_or(1);
    let geometries: Vec<Geometry> = (least_slots(graph).ilog2()..=most.ilog2())
        .filter_map(|log| lay_out(graph, &folded, 1 << log))
        .collect();
    let sum = |squares: &[f32]| squares.iter().map(|&square| f64::from(square)).sum();
    let mean_squares: Vec<f64> = calibration
        .folded
        .iter()
        .map(|node| sum(&node.mean_square))
        .collect();
    let bits = target_bits(&network, options);
    let samples = (options.batch * network.nodes.last().map_or(1, |n| n.elements)) as f64;
    let target = (-bits).exp2();
    let mut search = Search {
        options,
        energies: geometries
            .iter()
            .map(|geometry| energies(&mean_squares, geometry))
            .collect(),
        geometries: &geometries,
        gains: network.nodes.iter().map(|n| &n.gains[..]).collect(),
        samples,
        target,
        quick_look: QuickLook::new(samples, target),
        best: None,
        closest: None,
        failed: f64::INFINITY,
    };
    for &degree in &degrees {
        for plaintext_bits in PLAINTEXT_BITS {
            let scaled = scale_weights(&network, plaintext_bits);
            for choice in choices(&network, degree) {
                search.draw(&scaled, plaintext_bits, &choice);
            }
        }
    }
    let Search {
        best,
        closest,
        mut energies,
        ..
    } = search;
    let best = best.ok_or_else(|| impossible(closest, bits, options))?;
    Ok(ChannelWinner {
        estimate: Estimate {
            evaluate_seconds: best.seconds,
            memory_bytes: best.sizes.memory,
            scratch_bytes: 0,
            upload_bytes: best.sizes.upload,
            key_bytes: best.sizes.key,
            reply_bytes: best.sizes.reply,
            // As predicted once there are primes.
            precision_bits: bits,
            rms_noise: best.rms_noise,
            rms_weight_rounding: weights::rounding_error(&network),
        },
        energies: energies.swap_remove(best.geometry),
        geometry: geometries[best.geometry].clone(),
        choice: best.choice,
        plaintext_bits: best.plaintext_bits,
        gadget: best.gadget,
        blocks: best.blocks,
        folded,
        network,
    })
}

struct Search<'a> {
    options: &'a CompileOptions,
    geometries: &'a [Geometry],
    /// For each geometry: see [`ChannelWinner::energies`].
    energies: Vec<Vec<f64>>,
    gains: Vec<Gains<'a>>,
    /// Logits of a batch.
    samples: f64,
    /// Largest tolerated error of a logit.
    target: f64,
    quick_look: QuickLook,
    best: Option<Candidate>,
    /// The smallest rms error, and the ring degree that it takes.
    closest: Option<(f64, usize)>,
    /// Smallest rms error that turned out to miss the precision: the full prediction is slow.
    failed: f64,
}

impl Search<'_> {
    /// Looks at a choice with every geometry, if it is within the security bound.
    fn draw(&mut self, scaled: &Network, plaintext_bits: u32, choice: &Choice) {
        let degree = choice.ring_degree;
        let sketch = Sketch::draw(scaled, choice, None);
        let Some(limbs) = Limbs::ideal(&sketch, degree) else {
            return;
        };
        let left = largest_log2_qp(degree).and_then(|bound| bound.checked_sub(limbs.log2_q()));
        let special_bits = left.and_then(|left| primes::special_bits(left, &limbs.bits, degree));
        let Some(special_bits) = special_bits else {
            return;
        };
        let gadget = GadgetChoice {
            gadget: Gadget::SpecialPrime,
            special_bits,
        };
        for geometry in 0..self.geometries.len() {
            self.consider(
                scaled,
                plaintext_bits,
                choice,
                &sketch,
                &limbs,
                gadget,
                geometry,
            );
        }
    }

    /// Keeps a candidate that is better than the best so far and meets every constraint.
    #[expect(clippy::too_many_arguments, reason = "what a candidate is made of")]
    fn consider(
        &mut self,
        scaled: &Network,
        plaintext_bits: u32,
        choice: &Choice,
        sketch: &Sketch,
        limbs: &Limbs,
        gadget: GadgetChoice,
        number: usize,
    ) {
        let (geometry, degree) = (&self.geometries[number], choice.ring_degree);
        let asked = self.options.block_images;
        if geometry.slots > degree || asked.is_some_and(|images| images * geometry.slots != degree)
        {
            return;
        }
        let blocks = self.options.batch.div_ceil(degree / geometry.slots);
        let seconds = blocks as f64
            * block_seconds(geometry, &self.options.cost, degree, sketch, limbs, gadget);
        let slower = |best: &Candidate| seconds > best.seconds * SAME_COST;
        if self.best.as_ref().is_some_and(slower) {
            return;
        }
        let energies = &self.energies[number];
        let noise = of_sketch(scaled, geometry, choice, sketch, gadget, limbs, energies);
        let (may_meet, rms_noise) = self.quick_look.may_meet(&noise, &self.gains);
        if self.closest.is_none_or(|(least, _)| rms_noise < least) {
            self.closest = Some((rms_noise, degree));
        }
        let better =
            |best: &Candidate| seconds * SAME_COST < best.seconds || rms_noise < best.rms_noise;
        if !may_meet
            || !self.best.as_ref().is_none_or(better)
            || rms_noise > CLEARLY_LESS * self.failed
        {
            return;
        }
        if !meets(&noise, &self.gains, self.samples, self.target) {
            self.failed = rms_noise;
            return;
        }
        let rotations = geometry
            .counts
            .iter()
            .flatten()
            .map(Counts::rotations)
            .sum();
        let sizes = Sizes::new(geometry, degree, sketch, limbs, gadget, blocks, rotations);
        if self
            .options
            .memory_bytes
            .is_some_and(|limit| sizes.memory > limit)
        {
            return;
        }
        self.best = Some(Candidate {
            seconds,
            rms_noise,
            geometry: number,
            choice: choice.clone(),
            plaintext_bits,
            gadget,
            blocks,
            sizes,
        });
    }
}

fn impossible(closest: Option<(f64, usize)>, bits: f64, options: &CompileOptions) -> Error {
    let mut constraints = format!(", channel-wise packing, precision of {bits:.1} bits");
    if let Some(limit) = options.memory_bytes {
        constraints += &format!(", memory of {:.2} GiB", limit as f64 / f64::from(1 << 30));
    }
    let closest = match closest {
        Some((rms, degree)) => format!(
            "N = {degree} with an rms logit error of 2^{:.1}",
            rms.log2()
        ),
        None => "no ring degree has room for the shortest chain of primes".to_owned(),
    };
    let hint = "element-wise packing, a lower --precision-bits, or fewer activations".to_owned();
    Error::Impossible {
        constraints,
        closest,
        hint,
    }
}

/// The network with the plaintexts' factor in the scales of its weights.
pub(crate) fn scale_weights(network: &Network, plaintext_bits: u32) -> Network {
    let mut scaled = network.clone();
    let factor = f64::from(plaintext_bits).exp2();
    for node in scaled
        .nodes
        .iter_mut()
        .filter(|n| matches!(n.kind, NodeKind::Linear { exact: false, .. }))
    {
        node.weight_scale *= factor;
    }
    scaled
}

/// Every square is relinearized at once: what follows rotates it, or is the client.
fn choices(network: &Network, degree: usize) -> impl Iterator<Item = Choice> {
    let least_input = scheme_noise::fresh(degree).log2().floor();
    let least = scheme_noise::rescale_two(degree).log2().floor();
    let early = vec![true; network.nodes.len()];
    let grid = || (0..=GRID_BITS).step_by(GRID).map(f64::from);
    [false, true].into_iter().flat_map(move |rescale_first| {
        let early = early.clone();
        grid().flat_map(move |scale| {
            let early = early.clone();
            grid().map(move |input| Choice {
                ring_degree: degree,
                log2_input_scale: least_input + input,
                log2_scale: least + scale,
                rescale_first,
                early: early.clone(),
            })
        })
    })
}

/// Sums of mean squares over all positions of an image, copies included.
pub(crate) fn energies(mean_squares: &[f64], geometry: &Geometry) -> Vec<f64> {
    let copies = |period: usize| (geometry.slots / period) as f64;
    mean_squares
        .iter()
        .zip(&geometry.layouts)
        .map(|(sum, layout)| sum * copies(layout.period))
        .collect()
}

/// Seconds for one block.
fn block_seconds(
    geometry: &Geometry,
    cost: &CostTable,
    degree: usize,
    sketch: &Sketch,
    limbs: &Limbs,
    gadget: GadgetChoice,
) -> f64 {
    let n = degree as f64;
    let ntt = cost.ntt_seconds(degree);
    let pointwise = n * cost.pointwise_ns * 1e-9;
    let of = |op: &schedule::Operation| {
        let ciphertexts = geometry.layouts[op.node].ciphertexts as f64;
        let left = limbs.left[op.dropped] as f64;
        // With the special prime.
        let all = left + 1.0;
        match op.kind {
            Kind::Input => ciphertexts * n * limbs.bytes(0) as f64 * cost.expand_ns * 1e-9,
            Kind::Linear => {
                let Some(counts) = geometry.counts[op.node] else {
                    return 0.0;
                };
                let digits = (left + left * left) * ntt;
                let switch = 3.0 * left * all * pointwise;
                let divide = 2.0 * (1.0 + left) * ntt + 4.0 * left * pointwise;
                counts.inputs as f64 * digits
                    + counts.hoisted as f64 * switch
                    + counts.products as f64 * 2.0 * all * pointwise
                    + counts.sums as f64 * divide
                    + (counts.outer + counts.folds) as f64 * (digits + switch + divide)
            }
            Kind::Square => 5.0 * ciphertexts * left * pointwise,
            Kind::Relinearize => {
                ciphertexts
                    * relinearize_seconds(
                        cost,
                        gadget,
                        &limbs.bits[..limbs.left[op.dropped]],
                        degree,
                    )
            }
            Kind::Rescale => {
                let before = limbs.left[op.dropped - 1] as f64;
                ciphertexts * op.components as f64 * before * (ntt + 2.0 * pointwise)
            }
        }
    };
    sketch.operations.iter().map(of).sum()
}

/// Bytes of a plan's files and of evaluation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub upload: u64,
    pub key: u64,
    pub reply: u64,
    /// Peak of the evaluator.
    pub memory: u64,
}

impl Sizes {
    /// Of `blocks` blocks with so many Galois keys.
    pub(crate) fn new(
        geometry: &Geometry,
        degree: usize,
        sketch: &Sketch,
        limbs: &Limbs,
        gadget: GadgetChoice,
        blocks: usize,
        rotations: usize,
    ) -> Self {
        let bytes = |op: &schedule::Operation| {
            let ciphertexts = geometry.layouts[op.node].ciphertexts;
            (ciphertexts * op.components * degree * limbs.bytes(op.dropped)) as u64
        };
        let last = &sketch.operations[sketch.operations.len() - 1];
        let upload = blocks as u64 * bytes(&sketch.operations[0]) / 2 + HEADER_BYTES;
        let reply = blocks as u64 * bytes(last) + HEADER_BYTES;
        let key = (rotations as u64 + 1) * key_bytes(limbs, gadget, degree) + HEADER_BYTES;
        let special = u64::from(gadget.special_bits).div_ceil(8);
        let plaintexts: u64 = sketch
            .operations
            .iter()
            .filter(|op| op.kind == Kind::Linear)
            .filter_map(|op| Some((op, geometry.counts[op.node]?)))
            .map(|(op, counts)| {
                let residues = (counts.products * degree) as u64;
                residues * (limbs.bytes(op.dropped) as u64 + special)
            })
            .sum();
        let values = 3 * sketch.operations.iter().map(bytes).max().unwrap_or(0);
        Self {
            upload,
            key,
            reply,
            memory: upload + reply + 2 * key + plaintexts + values + BASE_BYTES,
        }
    }
}
