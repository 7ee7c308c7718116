//! Searching slots, ring degree, scales and plaintext bits for the cheapest channel-wise candidate that meets the constraints.

use sordino_ckks::noise as scheme_noise;
use sordino_ckks::security::largest_log2_qp;
use sordino_graph::{Calibration, Folded, Graph, without_pooling};

use super::closest::Closest;
use super::{CLEARLY_LESS, SAME_COST, weight_networks};
use crate::channel::counts::Counts;
use crate::channel::geometry::{Geometry, lay_out, least_slots};
use crate::channel::noise::of_channel_wise;
use crate::check_images::Reserved;
use crate::estimate::SwitchSeconds;
use crate::modulus::{GadgetChoice, Limbs, SizedSketch};
use crate::network::Network;
use crate::precision::Demand;
use crate::sketch::{Choice, Place, Sketch, SketchKind, SketchOperation};
use crate::{CheckImageCount, CompileOptions, CostTable, Error};

/// Plaintext bits that are tried.
const PLAINTEXT_BITS: std::ops::RangeInclusive<u32> = 5..=16;
/// Step of the grids of scales, in bits, and their length.
const GRID: usize = 2;
const GRID_BITS: u32 = 28;

/// What to change where nothing meets the constraints.
const HINT: &str = "element-wise packing, a lower --precision-bits, or fewer activations";

/// The cheapest channel-wise plan, before there are primes.
#[derive(Clone, Debug)]
pub(crate) struct ChannelWinner {
    /// Without pooling sums.
    pub folded: Folded,
    /// With the scales of the integer weights.
    pub network: Network,
    pub geometry: Geometry,
    pub candidate: Candidate,
    pub reserved: Reserved,
}

/// The best candidate so far that meets every constraint.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Estimated evaluation of the batch.
    pub seconds: f64,
    rms_noise: f64,
    /// Which of the geometries.
    geometry: usize,
    pub choice: Choice,
    pub plaintext_bits: u32,
    pub gadget: GadgetChoice,
}

/// Finds the cheapest channel-wise plan.
///
/// # Errors
/// [`Error::Impossible`] when none meets security and precision, [`Error::Memory`] when none of those that do fits the memory.
pub(crate) fn search(
    graph: &Graph,
    folded: &Folded,
    calibration: &Calibration,
    options: &CompileOptions,
) -> Result<ChannelWinner, Error> {
    let (folded, left) = without_pooling(folded);
    let mut calibration = calibration.clone();
    let mut left = left.into_iter();
    calibration.folded.retain(|_| left.next() != Some(false));
    let network = weight_networks(&Network::new(&folded, &calibration)?, options)
        .pop()
        .expect("there is always the network of the finest weights");
    let degrees = options.ring_degrees();
    let most = degrees.iter().copied().max().unwrap_or(1);
    let nodes = calibration.folded.iter();
    let mean_squares: Vec<&[f32]> = nodes.map(|node| &node.mean_square[..]).collect();
    let mut geometries: Vec<Geometry> = (least_slots(graph).ilog2()..=most.ilog2())
        .filter_map(|log| lay_out(graph, &folded, &mean_squares, 1 << log))
        .collect();
    let places = |degree: usize| {
        let slots = geometries.iter().map(|geometry| geometry.slots);
        let slots = slots.filter(move |&slots| slots <= degree);
        let places = slots.map(move |slots| degree / slots);
        places.filter(|&places| options.block_images.is_none_or(|asked| asked == places))
    };
    let most_places = degrees.iter().flat_map(|&degree| places(degree)).max();
    if let (CheckImageCount::Exactly(asked), Some(places)) = (options.check_images, most_places)
        && asked >= places
    {
        return Err(Error::NoPlaceForCheckImages { asked, places });
    }
    let mut search = Search {
        options,
        geometries: &geometries,
        demand: Demand::new(&network, options),
        best: None,
        closest: Closest::default(),
        failed_rms: f64::INFINITY,
        least_memory: None,
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
        demand,
        least_memory,
        ..
    } = search;
    let best = best.ok_or_else(|| {
        if let (Some(limit), Some(needed)) = (options.memory_bytes, least_memory) {
            let hint = String::new();
            return Error::Memory {
                limit,
                needed,
                hint,
            };
        }
        let bits = demand.bits;
        let constraints = format!(", channel-wise packing, precision of {bits:.1} bits");
        let no_room = "no ring degree has room for the shortest chain of primes".to_owned();
        closest.into_error(constraints, (no_room, HINT), HINT)
    })?;
    let geometry = geometries.swap_remove(best.geometry);
    let places = best.choice.ring_degree / geometry.slots;
    let reserved = options.check_images.reserve(options.batch, places);
    Ok(ChannelWinner {
        reserved: reserved.expect("candidates without a place for an image were left out"),
        geometry,
        candidate: best,
        folded,
        network,
    })
}

struct Search<'a> {
    options: &'a CompileOptions,
    geometries: &'a [Geometry],
    demand: Demand<'a>,
    best: Option<Candidate>,
    closest: Closest,
    /// Smallest rms error that turned out to miss the precision.
    failed_rms: f64,
    /// Least memory of the candidates that have the precision and not the memory.
    least_memory: Option<u64>,
}

impl Search<'_> {
    /// Looks at a choice with every geometry, if it is within the security bound.
    fn draw(&mut self, network: &Network, plaintext_bits: u32, choice: &Choice) {
        let degree = choice.ring_degree;
        let sketch = Sketch::draw(network, choice, None);
        let Some(limbs) = Limbs::ideal(&sketch) else {
            return;
        };
        let left = largest_log2_qp(degree).and_then(|bound| bound.checked_sub(limbs.log2_q()));
        let Some(left) = left else {
            return;
        };
        let gadgets = GadgetChoice::with_special_primes(&limbs, left, u32::MAX, degree);
        for gadget in gadgets.into_iter().flatten() {
            let sized = SizedSketch {
                network,
                sketch: &sketch,
                limbs: &limbs,
                gadget: Some(gadget),
            };
            for geometry in 0..self.geometries.len() {
                if let Some((seconds, rms_noise)) = self.consider(&sized, gadget, geometry) {
                    self.best = Some(Candidate {
                        seconds,
                        rms_noise,
                        geometry,
                        choice: choice.clone(),
                        plaintext_bits,
                        gadget,
                    });
                }
            }
        }
    }

    /// Seconds and rms error of a candidate that is better than the best so far and meets every constraint.
    fn consider(
        &mut self,
        sized: &SizedSketch<'_>,
        gadget: GadgetChoice,
        number: usize,
    ) -> Option<(f64, f64)> {
        let (geometry, degree) = (&self.geometries[number], sized.ring_degree());
        let asked = self.options.block_images;
        if geometry.slots > degree || asked.is_some_and(|images| images * geometry.slots != degree)
        {
            return None;
        }
        let reserved = self
            .options
            .check_images
            .reserve(self.options.batch, degree / geometry.slots)?;
        let seconds = reserved.blocks as f64
            * operation_seconds(sized, geometry, &self.options.cost).sum::<f64>();
        let slower = |best: &Candidate| seconds > best.seconds * SAME_COST;
        if self.best.as_ref().is_some_and(slower) {
            return None;
        }
        let noise = of_channel_wise(sized, gadget, geometry);
        let (may_meet, rms_noise) = self.demand.may_meet(&noise);
        self.closest.note_precision(degree, rms_noise);
        let better =
            |best: &Candidate| seconds * SAME_COST < best.seconds || rms_noise < best.rms_noise;
        if !may_meet
            || !self.best.as_ref().is_none_or(better)
            || rms_noise > CLEARLY_LESS * self.failed_rms
        {
            return None;
        }
        if !self.demand.meets(&noise) {
            self.failed_rms = rms_noise;
            return None;
        }
        let rotations = geometry.counts.iter().flatten().map(Counts::rotations);
        let limit = self.options.memory_bytes;
        let sizes = geometry.sizes(sized, reserved.blocks, rotations.sum(), limit);
        let fits = limit.is_none_or(|limit| sizes.memory <= limit);
        if !fits {
            let least = self.least_memory.get_or_insert(sizes.memory);
            *least = sizes.memory.min(*least);
        }
        fits.then_some((seconds, rms_noise))
    }
}

/// The network with the plaintexts' factor in the scales of its weights.
pub(crate) fn scale_weights(network: &Network, plaintext_bits: u32) -> Network {
    let mut scaled = network.clone();
    let factor = f64::from(plaintext_bits).exp2();
    let weighted: Vec<usize> = network.weighted().collect();
    for node in weighted {
        scaled.nodes[node].weight_scale *= factor;
    }
    scaled
}

/// The grid of choices. Every square is relinearized at once, as it is rotated next or sent to the client.
fn choices(network: &Network, degree: usize) -> Vec<Choice> {
    let least_input = scheme_noise::fresh(degree).log2().floor();
    let least = scheme_noise::rescale_two(degree).log2().floor();
    let grid = || (0..=GRID_BITS).step_by(GRID).map(f64::from);
    let scales = [false, true]
        .into_iter()
        .flat_map(|first| grid().map(move |scale| (first, scale)));
    let points = scales.flat_map(|(first, scale)| grid().map(move |input| (first, scale, input)));
    let choice = |(rescale_first, scale, input)| Choice {
        ring_degree: degree,
        log2_input_scale: least_input + input,
        log2_scale: least + scale,
        rescale_first,
        places: vec![Some(Place::BeforeLayer); network.nodes.len()],
    };
    points.map(choice).collect()
}

/// Seconds for one block, by operation.
pub(crate) fn operation_seconds<'a>(
    sized: &'a SizedSketch<'_>,
    geometry: &'a Geometry,
    cost: &'a CostTable,
) -> impl Iterator<Item = f64> + 'a {
    let (limbs, degree) = (sized.limbs, sized.ring_degree());
    let n = degree as f64;
    let ntt = cost.ntt_seconds(degree);
    let pointwise = n * cost.pointwise_ns * 1e-9;
    let of = move |op: &SketchOperation| {
        let ciphertexts = geometry.layouts[op.node].ciphertexts as f64;
        let left = limbs.left[op.dropped] as f64;
        let special = sized.gadget.map_or(0, |gadget| gadget.special_primes);
        let all = left + f64::from(special);
        let switch = SwitchSeconds::new(sized, op, cost);
        match op.kind {
            SketchKind::Input => ciphertexts * n * limbs.bytes(0) as f64 * cost.expand_ns * 1e-9,
            SketchKind::Linear => {
                let Some(counts) = geometry.counts[op.node] else {
                    return 0.0;
                };
                // Strips are rotated too.
                let products = 1.5 * switch.products;
                let divide = switch.division + 4.0 * left * pointwise;
                counts.inputs as f64 * switch.digits
                    + counts.hoisted as f64 * products
                    + counts.products as f64 * 2.0 * all * pointwise
                    + counts.sums as f64 * divide
                    + (counts.outer + counts.folds) as f64 * (switch.digits + products + divide)
            }
            SketchKind::Square => 5.0 * ciphertexts * left * pointwise,
            SketchKind::Relinearize => ciphertexts * switch.sum(),
            SketchKind::Rescale => {
                let before = limbs.left[op.dropped - 1] as f64;
                ciphertexts * op.components as f64 * before * (ntt + 2.0 * pointwise)
            }
        }
    };
    sized.sketch.operations.iter().map(of)
}
