//! Searching ring degree, scales, weight scales, rescaling and relinearization places and gadget for the cheapest
//! element-wise candidate that meets the constraints.
//!
//! The cost depends on the whole bytes of a coefficient, so that many candidates cost the same. The search takes the one with
//! the smallest error among them.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use sordino_ckks::noise as scheme_noise;
use sordino_ckks::security::largest_log2_qp;

use super::closest::Closest;
use super::{CLEARLY_LESS, SAME_COST, weight_networks};
use crate::alternatives::Alternative;
use crate::check_images::Reserved;
use crate::estimate::block_seconds;
use crate::modulus::{GadgetChoice, Limbs, SizedSketch};
use crate::network::{Network, NodeKind};
use crate::noise::of_sketch;
use crate::precision::{Demand, NodeNoise};
use crate::sketch::{Choice, Place, Sketch};
use crate::{CompileOptions, Error, weights};

/// Step of the grid of the input's scale, in bits.
const INPUT_GRID: f64 = 0.5;
/// Step of the grid of later scales, in bits. Rescaling by whole bits moves them by up to half a bit anyway.
const SCALE_GRID: f64 = 1.0;
/// Range of both grids above the noise of the scheme, in bits.
const GRID_BITS: f64 = 28.0;
/// The most squares for which every set of early relinearizations is tried.
const MAX_FREE_SQUARES: usize = 3;

/// A candidate that meets every constraint.
#[derive(Clone, Debug)]
pub(crate) struct Winner {
    /// The network with the weight scales of the candidate.
    pub network: Network,
    pub choice: Choice,
    pub gadget: Option<GadgetChoice>,
    pub reserved: Reserved,
    /// Estimated evaluation of the batch.
    pub seconds: f64,
    pub alternatives: Vec<Alternative>,
}

/// A candidate within the security bound whose rms error leaves a chance to meet the precision.
pub(super) struct Candidate {
    pub(super) kind: Kind,
    pub(super) choice: Rc<Choice>,
    pub(super) gadget: Option<GadgetChoice>,
    /// Bits of the modulus with the special prime.
    pub(super) log2_qp: u32,
    /// Stored bytes of a coefficient of a fresh ciphertext.
    pub(super) bytes: usize,
    pub(super) noise: Vec<NodeNoise>,
    /// rms error of noise and weight rounding together.
    pub(super) rms_error: f64,
    pub(super) seconds: f64,
}

/// The outcome of drawing a choice.
enum Drawn {
    /// It takes more modulus than security allows, or more time than another candidate of its kind.
    TooMuch,
    /// It relinearizes nothing.
    Plain,
    Relinearized,
}

/// The outcome of a choice with a gadget.
enum Considered {
    /// Another candidate of its kind is cheaper.
    TooExpensive,
    TooNoisy,
    Kept,
}

/// Finds the cheapest plan.
///
/// # Errors
/// [`Error::Impossible`] when no candidate meets security and precision, with the one that came closest.
pub(crate) fn search(network: &Network, options: &CompileOptions) -> Result<Winner, Error> {
    let networks = weight_networks(network, options);
    let mut search = Search {
        networks: &networks,
        options,
        demand: Demand::new(network, options),
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
        let mut constraints = format!(", precision of {:.1} bits", search.demand.bits);
        if let Some(degree) = options.ring_degree {
            constraints += &format!(", ring degree {degree}");
        }
        let degree = degrees.last().copied().unwrap_or(0);
        let bound = largest_log2_qp(degree).unwrap_or(0);
        let shortest = Sketch::draw(&networks[0], &plainest(&networks[0], degree), None).log2_q();
        let no_room = format!(
            "N = {degree} has room for {bound} bits of modulus and the shortest chain needs {shortest:.0}"
        );
        search.closest.into_error(
            constraints,
            (no_room, "a larger --ring-degree, fewer --weight-bits, or fewer activations"),
            "a lower --precision-bits, fewer --weight-bits, another --ring-degree, or fewer activations",
        )
    })
}

pub(super) struct Search<'a> {
    /// One network for each choice of weight scales.
    pub(super) networks: &'a [Network],
    options: &'a CompileOptions,
    pub(super) demand: Demand<'a>,
    pub(super) candidates: Vec<Candidate>,
    /// Seconds of the cheapest candidate of a kind that meets every constraint.
    least: HashMap<Kind, f64>,
    /// Kinds for which a candidate that misses a constraint is kept.
    refused: HashSet<Kind>,
    /// By kind, the smallest rms error that turned out to miss the precision.
    failed_rms: HashMap<Kind, f64>,
    pub(super) closest: Closest,
}

/// What candidates of one kind have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) ring_degree: usize,
    pub(super) rescale_first: bool,
    /// Squares that are relinearized before, after and after the rescale of the next layer.
    pub(super) places: [usize; 3],
    /// Limbs of a digit of the gadget, 0 for parts of a limb.
    pub(super) digit_limbs: Option<u32>,
    /// Which of the networks.
    pub(super) network: usize,
}

impl Kind {
    fn new(network: usize, choice: &Choice, gadget: Option<GadgetChoice>) -> Self {
        Kind {
            ring_degree: choice.ring_degree,
            rescale_first: choice.rescale_first,
            places: Place::ALL.map(|place| choice.count(place)),
            digit_limbs: gadget.map(GadgetChoice::digit_limbs),
            network,
        }
    }
}

impl Search<'_> {
    /// The best of the cheapest candidates that meet the precision.
    fn cheapest(&self) -> Option<Winner> {
        let least = (0..self.candidates.len()).find(|&i| self.refusal(i).is_none())?;
        let limit = self.candidates[least].seconds * SAME_COST;
        // Fewest bytes of ciphertexts first, then smallest error.
        let equal =
            (least..self.candidates.len()).take_while(|&i| self.candidates[i].seconds <= limit);
        let mut equal: Vec<usize> = equal.collect();
        equal.sort_by(|&a, &b| {
            let [a, b] = [a, b].map(|i| &self.candidates[i]);
            let errors = a.rms_error.total_cmp(&b.rms_error);
            self.bytes_per_feature(a)
                .cmp(&self.bytes_per_feature(b))
                .then(errors)
        });
        let chosen = equal.into_iter().find(|&i| self.refusal(i).is_none())?;
        let candidate = &self.candidates[chosen];
        Some(Winner {
            network: self.networks[candidate.kind.network].clone(),
            choice: Choice::clone(&candidate.choice),
            gadget: candidate.gadget,
            reserved: self.reserved(&candidate.choice),
            seconds: candidate.seconds,
            alternatives: self.runners_up(chosen),
        })
    }

    /// Bytes of an upload per feature of the input.
    pub(super) fn bytes_per_feature(&self, candidate: &Candidate) -> usize {
        let choice = &candidate.choice;
        candidate.bytes * choice.ring_degree * self.blocks(choice)
    }

    fn blocks(&self, choice: &Choice) -> usize {
        self.reserved(choice).blocks
    }

    fn reserved(&self, choice: &Choice) -> Reserved {
        let Self { options, .. } = self;
        let reserved = options
            .check_images
            .reserve(options.batch, choice.ring_degree);
        reserved.expect("fewer check images than the smallest ring degree")
    }

    /// What rules a candidate out, if anything.
    pub(super) fn refusal(&self, index: usize) -> Option<String> {
        let candidate = &self.candidates[index];
        let network = &self.networks[candidate.kind.network];
        let sketch = Sketch::draw(network, &candidate.choice, None);
        if Limbs::ideal(&sketch).is_none() {
            return Some("no primes".to_owned());
        }
        if !self.demand.meets(&candidate.noise) {
            return Some(format!(
                "precision of {:.1} bits, {:.1} are asked for",
                self.demand.precision_bits(&candidate.noise),
                self.demand.bits
            ));
        }
        None
    }

    /// All candidates of one ring degree within the security bound.
    fn enumerate(&mut self, degree: usize) {
        let squares: Vec<usize> = squares(&self.networks[0]).collect();
        let usual = usual_places(&self.networks[0]);
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
                    let choice = |places: &Places, input: f64| Choice {
                        ring_degree: degree,
                        log2_input_scale: input,
                        log2_scale: scale,
                        rescale_first,
                        places: places.clone(),
                    };
                    let inputs = || grid(fresh, INPUT_GRID, GRID_BITS);
                    let mut places = usual.clone();
                    for allowed in [&Place::ALL[..2], &Place::ALL] {
                        let cheapest = |input| {
                            self.cheapest_places(network, choice(&usual[0], input), allowed)
                        };
                        let cheapest = inputs().find_map(cheapest);
                        let unknown = cheapest.filter(|cheapest| !places.contains(cheapest));
                        places.extend(unknown);
                    }
                    for (position, places) in places.iter().enumerate() {
                        for input in inputs() {
                            match self.draw(network, choice(places, input)) {
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

    /// The choice's places with the cheapest of the allowed ones for every square, with the cheapest gadget; none for a choice without
    /// primes.
    ///
    /// The time of a chain is a sum over its squares, each with its next layer, so that the best places are found one by one.
    fn cheapest_places(
        &self,
        index: usize,
        mut choice: Choice,
        allowed: &[Place],
    ) -> Option<Places> {
        let (network, cost) = (&self.networks[index], &self.options.cost);
        let seconds = |choice: &Choice, gadget: GadgetChoice| {
            let sketch = &Sketch::draw(network, choice, None);
            let limbs = &Limbs::ideal(sketch)?;
            let gadget = Some(gadget);
            let sized = SizedSketch {
                network,
                sketch,
                limbs,
                gadget,
            };
            Some(block_seconds(&sized, cost))
        };
        let degree = choice.ring_degree;
        let limbs = Limbs::ideal(&Sketch::draw(network, &choice, None))?;
        let spare = largest_log2_qp(degree)?.checked_sub(limbs.log2_q())?;
        let gadgets = GadgetChoice::with_special_primes(&limbs, spare, 0, degree);
        let timed = gadgets
            .into_iter()
            .flatten()
            .filter_map(|gadget| Some((seconds(&choice, gadget)?, gadget)));
        let (mut least, gadget) = timed.min_by(|a, b| a.0.total_cmp(&b.0))?;
        for node in relinearized(network) {
            for &place in allowed {
                let before = choice.places[node].replace(place);
                match seconds(&choice, gadget) {
                    Some(seconds) if seconds < least => least = seconds,
                    _ => choice.places[node] = before,
                }
            }
        }
        Some(choice.places)
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
        let Some(limbs) = Limbs::ideal(&sketch) else {
            // A rescale by too few bits: the input's scale is too small.
            return drawn;
        };
        if !sketch.branches_fit(network) {
            return drawn;
        }
        let sized = SizedSketch {
            network,
            sketch: &sketch,
            limbs: &limbs,
            gadget: None,
        };
        let (precise, rms) = self.demand.may_meet(&of_sketch(&sized));
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
            return match self.consider(index, &choice, sized) {
                Considered::TooExpensive => Drawn::TooMuch,
                Considered::TooNoisy | Considered::Kept => drawn,
            };
        }
        let mut affordable = false;
        // Larger digits are cheaper and noisier: the first that are precise enough are the best.
        for digit_bits in [40, 32, 28, 24, 20, 18, 16, 14, 12, 10] {
            let gadget = GadgetChoice::small_digits(digit_bits);
            match self.consider(index, &choice, sized.with(gadget)) {
                Considered::TooExpensive => break,
                Considered::TooNoisy => affordable = true,
                Considered::Kept => {
                    affordable = true;
                    break;
                }
            }
        }
        for gadgets in GadgetChoice::with_special_primes(&limbs, spare as u32, 0, degree) {
            for gadget in gadgets {
                match self.consider(index, &choice, sized.with(gadget)) {
                    Considered::TooExpensive => break,
                    Considered::TooNoisy => affordable = true,
                    Considered::Kept => {
                        affordable = true;
                        break;
                    }
                }
            }
        }
        if affordable { drawn } else { Drawn::TooMuch }
    }

    /// Keeps a candidate if it may be the best of its kind.
    fn consider(
        &mut self,
        index: usize,
        choice: &Rc<Choice>,
        sized: SizedSketch<'_>,
    ) -> Considered {
        let (gadget, limbs) = (sized.gadget, sized.limbs);
        let seconds = self.blocks(choice) as f64 * block_seconds(&sized, &self.options.cost);
        let kind = Kind::new(index, choice, gadget);
        let least = self.least.get(&kind).copied();
        if least.is_some_and(|least| seconds > SAME_COST * least) {
            return Considered::TooExpensive;
        }
        let noise = of_sketch(&sized);
        let (precise, rms_noise) = self.demand.may_meet(&noise);
        self.closest.note_precision(choice.ring_degree, rms_noise);
        let failed = self.failed_rms.get(&kind).copied();
        if !precise || failed.is_some_and(|failed| rms_noise > CLEARLY_LESS * failed) {
            return Considered::TooNoisy;
        }
        self.candidates.push(Candidate {
            kind,
            choice: Rc::clone(choice),
            gadget,
            log2_qp: limbs.log2_q() + gadget.map_or(0, |g| g.special_bits),
            bytes: limbs.bytes(0),
            noise,
            rms_error: rms_noise.hypot(weights::rounding_error(sized.network)),
            seconds,
        });
        if least.is_none_or(|least| seconds < least) {
            if self.refusal(self.candidates.len() - 1).is_none() {
                self.least.insert(kind, seconds);
            } else {
                if least.is_some() || !self.refused.insert(kind) {
                    // One candidate that misses the constraints is enough to tell what its kind misses.
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

/// Where every square is relinearized, by node; none for other nodes, and for squares that only the logits read: the client decrypts
/// three components.
type Places = Vec<Option<Place>>;

/// Squares that are relinearized.
fn relinearized(network: &Network) -> Vec<usize> {
    let last = network.nodes.len() - 1;
    let only_logits = |node: usize| network.readers(node).iter().all(|&reader| reader == last);
    let pooled_logits =
        |node: usize| network.sole_reader_is_pooling(node) && only_logits(network.readers(node)[0]);
    let free = squares(network).filter(|&node| !only_logits(node) && !pooled_logits(node));
    free.collect()
}

/// Places that are tried whatever they cost: all squares after the layer, all before it, and everything between where squares are few.
fn usual_places(network: &Network) -> Vec<Places> {
    let free = relinearized(network);
    let set = |before: &dyn Fn(usize) -> bool| {
        let mut places = vec![None; network.nodes.len()];
        for (position, &node) in free.iter().enumerate() {
            places[node] = Some(match before(position) {
                true => Place::BeforeLayer,
                false => Place::AfterLayer,
            });
        }
        places
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
pub(super) fn plainest(network: &Network, degree: usize) -> Choice {
    Choice {
        ring_degree: degree,
        log2_input_scale: scheme_noise::fresh(degree).log2().floor(),
        log2_scale: scheme_noise::rescale_two(degree).log2().floor(),
        rescale_first: false,
        places: usual_places(network).swap_remove(0),
    }
}
