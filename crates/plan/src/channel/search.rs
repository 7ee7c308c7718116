//! Searching slots, ring degree, scales and plaintext bits for the cheapest channel-wise plan.

use sordino_ckks::security::largest_log2_qp;
use sordino_ckks::{Gadget, noise as scheme_noise};
use sordino_graph::{Calibration, Folded, Graph};

use super::counts::Counts;
use super::geometry::{Geometry, lay_out, least_slots};
use super::merge::without_sums;
use super::noise::of_sketch;
use crate::estimate::{Estimate, GadgetChoice, Limbs, key_bytes, relinearize_seconds};
use crate::network::{Network, NodeKind};
use crate::precision::{Gains, QuickLook, meets};
use crate::schedule::{Choice, Kind, Sketch};
use crate::search::{target_bits, weight_networks};
use crate::{CompileOptions, CostTable, Error, primes, weights};

/// Plaintext bits that are tried.
const PLAINTEXT_BITS: std::ops::RangeInclusive<u32> = 5..=16;
/// Step of the grids of scales, in bits, and their length.
const GRID: usize = 2;
const GRID_BITS: u32 = 28;

/// After one candidate has missed the precision, only errors below this share of its own are looked at.
const CLEARLY_LESS: f64 = 0.98;

/// The cheapest channel-wise plan, before there are primes.
#[derive(Clone, Debug)]
pub(crate) struct ChannelWinner {
    /// Without pooling sums.
    pub folded: Folded,
    /// With the scales of the integer weights.
    pub network: Network,
    /// The same with the plaintexts' factor in them.
    pub scaled: Network,
    pub geometry: Geometry,
    pub choice: Choice,
    pub plaintext_bits: u32,
    pub gadget: GadgetChoice,
    pub blocks: usize,
    pub estimate: Estimate,
    /// For each node the sum over the positions of the mean squared value.
    pub energies: Vec<f64>,
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
    let degrees: Vec<usize> = match options.ring_degree {
        Some(degree) => vec![degree],
        None => vec![1 << 12, 1 << 13, 1 << 14, 1 << 15],
    };
    let most = degrees.iter().copied().max().unwrap_or(0);
    let geometries: Vec<Geometry> = (least_slots(graph).ilog2()..=most.max(1).ilog2())
        .map(|log| 1 << log)
        .filter(|slots| options.slots.is_none_or(|fixed| fixed == *slots))
        .filter_map(|slots| lay_out(graph, &folded, slots))
        .collect();
    let mean_squares: Vec<f64> = calibration
        .folded
        .iter()
        .map(|node| {
            node.mean_square
                .iter()
                .map(|&square| f64::from(square))
                .sum()
        })
        .collect();
    let gains: Vec<Gains<'_>> = network.nodes.iter().map(|n| &n.gains[..]).collect();
    let bits = target_bits(&network, options);
    let logits = network.nodes.last().map_or(1, |n| n.elements);
    let samples = (options.batch * logits) as f64;
    let target = (-bits).exp2();
    let quick_look = QuickLook::new(samples, target);

    let mut best: Option<(f64, ChannelWinner)> = None;
    let mut closest: Option<(f64, usize)> = None;
    // Smallest rms error that turned out to miss the precision: the full prediction is slow.
    let mut failed = f64::INFINITY;
    for &degree in &degrees {
        let Some(bound) = largest_log2_qp(degree) else {
            continue;
        };
        for plaintext_bits in PLAINTEXT_BITS {
            let scaled = scale_weights(&network, plaintext_bits);
            for choice in choices(&network, degree) {
                let sketch = Sketch::draw(&scaled, &choice, None);
                let Some(limbs) = Limbs::ideal(&sketch, degree) else {
                    continue;
                };
                let Some(left) = bound.checked_sub(limbs.log2_q()) else {
                    continue;
                };
                let Some(special_bits) = primes::special_bits(left, &limbs.bits, degree) else {
                    continue;
                };
                let gadget = GadgetChoice {
                    gadget: Gadget::SpecialPrime,
                    special_bits,
                };
                for geometry in geometries.iter().filter(|g| g.slots <= degree) {
                    let blocks = options.batch.div_ceil(degree / geometry.slots);
                    let seconds = blocks as f64
                        * block_seconds(
                            &scaled,
                            geometry,
                            &options.cost,
                            &choice,
                            &sketch,
                            &limbs,
                            gadget,
                        );
                    let improves = |least: f64, rms: f64, found: &ChannelWinner| {
                        seconds < least * 0.999
                            || (seconds < least * 1.001 && rms < found.estimate.rms_noise)
                    };
                    if best
                        .as_ref()
                        .is_some_and(|(least, _)| seconds > least * 1.001)
                    {
                        continue;
                    }
                    let energies = energies(&mean_squares, geometry);
                    let noise = of_sketch(
                        &scaled, geometry, &choice, &sketch, gadget, &limbs, &energies,
                    );
                    let (may_meet, rms) = quick_look.may_meet(&noise, &gains);
                    if closest.is_none_or(|(least, _)| rms < least) {
                        closest = Some((rms, degree));
                    }
                    let better = best
                        .as_ref()
                        .is_none_or(|(least, found)| improves(*least, rms, found));
                    if !may_meet || !better || rms > CLEARLY_LESS * failed {
                        continue;
                    }
                    if !meets(&noise, &gains, samples, target) {
                        failed = rms;
                        continue;
                    }
                    let rotations: usize = geometry
                        .counts
                        .iter()
                        .flatten()
                        .map(Counts::rotations)
                        .sum();
                    let (upload, key, reply, memory) = sizes(
                        &scaled, geometry, degree, &sketch, &limbs, gadget, blocks, rotations,
                    );
                    if options.memory_bytes.is_some_and(|limit| memory > limit) {
                        continue;
                    }
                    let estimate = Estimate {
                        evaluate_seconds: seconds,
                        memory_bytes: memory,
                        upload_bytes: upload,
                        key_bytes: key,
                        reply_bytes: reply,
                        // As predicted once there are primes.
                        precision_bits: bits,
                        rms_noise: rms,
                        rms_weight_rounding: weights::rounding_error(&network),
                    };
                    let winner = ChannelWinner {
                        folded: Folded { nodes: vec![] },
                        network: network.clone(),
                        scaled: scaled.clone(),
                        geometry: geometry.clone(),
                        choice: choice.clone(),
                        plaintext_bits,
                        gadget,
                        blocks,
                        estimate,
                        energies,
                    };
                    best = Some((seconds, winner));
                }
            }
        }
    }
    match best {
        Some((_, winner)) => Ok(ChannelWinner { folded, ..winner }),
        None => Err(impossible(closest, bits, options)),
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

fn scale_weights(network: &Network, plaintext_bits: u32) -> Network {
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
    network: &Network,
    geometry: &Geometry,
    cost: &CostTable,
    choice: &Choice,
    sketch: &Sketch,
    limbs: &Limbs,
    gadget: GadgetChoice,
) -> f64 {
    let degree = choice.ring_degree;
    let n = degree as f64;
    let ntt = cost.ntt_seconds(degree);
    let pointwise = n * cost.pointwise_ns * 1e-9;
    let of = |op: &crate::schedule::Operation| {
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
    debug_assert_eq!(network.nodes.len(), geometry.layouts.len());
    sketch.operations.iter().map(of).sum()
}

/// Upload, key, reply and peak memory of `blocks` blocks with so many Galois keys.
#[expect(clippy::too_many_arguments, reason = "what a candidate is made of")]
pub(crate) fn sizes(
    network: &Network,
    geometry: &Geometry,
    degree: usize,
    sketch: &Sketch,
    limbs: &Limbs,
    gadget: GadgetChoice,
    blocks: usize,
    rotations: usize,
) -> (u64, u64, u64, u64) {
    const HEADER_BYTES: u64 = 2048;
    let bytes = |op: &crate::schedule::Operation| {
        (geometry.layouts[op.node].ciphertexts * op.components * degree * limbs.bytes(op.dropped))
            as u64
    };
    let last = &sketch.operations[sketch.operations.len() - 1];
    debug_assert_eq!(last.node + 1, network.nodes.len());
    let upload = blocks as u64 * bytes(&sketch.operations[0]) / 2 + HEADER_BYTES;
    let reply = blocks as u64 * bytes(last) + HEADER_BYTES;
    let keys = rotations as u64 + 1;
    let key = keys * key_bytes(limbs, gadget, degree) + HEADER_BYTES;
    let special = u64::from(gadget.special_bits).div_ceil(8);
    let plaintexts: u64 = sketch
        .operations
        .iter()
        .filter(|op| op.kind == Kind::Linear)
        .filter_map(|op| Some((op, geometry.counts[op.node]?)))
        .map(|(op, counts)| {
            counts.products as u64 * degree as u64 * (limbs.bytes(op.dropped) as u64 + special)
        })
        .sum();
    let values = 3 * sketch.operations.iter().map(bytes).max().unwrap_or(0);
    (
        upload,
        key,
        reply,
        upload + reply + 2 * key + plaintexts + values + (64 << 20),
    )
}
