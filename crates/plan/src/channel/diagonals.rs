//! A matrix by its diagonals: the rotations that it takes, and the content of its plaintexts.

use serde::{Deserialize, Serialize};
use sordino_graph::Term as FoldedTerm;

use crate::{Error, SlotLayout, Term};

/// How a linear step is computed.
///
/// Direct: every position of an output's layout gets the whole sum of its element. Folded: the positions below the
/// source's period that are equal modulo the output's period get a share each, and log2(source period / period)
/// rotations add the shares up. The sums are then repeated after every period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationSchedule {
    /// A rotation by d positions is d mod `step` by a hoisted rotation of the source, and the rest by a rotation of a sum.
    pub step: usize,
    /// Sums of shares are folded from this period to that of the output; equal to it for a direct product.
    pub folded_from: usize,
}

/// The part of a matrix that one rotation serves: weights at the positions of the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagonal {
    /// Ciphertext of the term's source.
    pub input: usize,
    /// Ciphertext of the result.
    pub output: usize,
    /// How many positions the source is rotated to the left.
    pub distance: usize,
    /// One weight per position.
    pub weights: Vec<f64>,
}

impl RotationSchedule {
    /// The hoisted part of a rotation.
    pub fn hoisted(&self, distance: usize) -> usize {
        distance % self.step
    }

    /// The part of a rotation that is applied to a sum.
    pub fn outer(&self, distance: usize) -> usize {
        distance - distance % self.step
    }

    /// The rotations that fold the shares, for an output of this period.
    pub fn folds(&self, period: usize) -> impl Iterator<Item = usize> + use<> {
        let from = self.folded_from;
        std::iter::successors(Some(period), |fold| Some(2 * fold))
            .take_while(move |&fold| fold < from)
    }

    /// Every rotation, in positions, for a result of the given distances.
    pub(crate) fn rotations(&self, distances: &Distances, slots: usize) -> Vec<usize> {
        let of_distances = distances.seen.iter().flat_map(|&(_, _, _, distance)| {
            [
                self.hoisted(distance as usize),
                self.outer(distance as usize),
            ]
        });
        of_distances
            .chain(self.folds(distances.period))
            .filter(|&positions| !positions.is_multiple_of(slots))
            .collect()
    }

    pub(crate) fn check(
        &self,
        index: usize,
        output: &SlotLayout,
        slots: usize,
    ) -> Result<(), Error> {
        let good = (1..=slots).contains(&self.step)
            && self.folded_from.is_power_of_two()
            && (output.period..=slots).contains(&self.folded_from);
        let what = format_args!("schedule of step {index}");
        let expected = format_args!("a step and a period up to {slots}");
        Error::require(good, "server", what, expected, format_args!("{self:?}"))
    }
}

/// Which diagonals a step has: (term, input ciphertext, output ciphertext, distance), each once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Distances {
    pub seen: Vec<(u32, u32, u32, u32)>,
    /// Period of the output.
    pub period: usize,
}

/// The weights of a linear map that are not zero. The planner counts them before there are integers; the engine encodes them.
pub(crate) trait Matrix {
    /// Calls `visit(output, input, weight)` for every weight.
    fn for_each(&self, visit: &mut dyn FnMut(usize, usize, f64));
}

impl Matrix for Term {
    fn for_each(&self, visit: &mut dyn FnMut(usize, usize, f64)) {
        match self {
            Term::Product { map, .. } => {
                for tile in map.tiles() {
                    let weights = tile.weights.iter().map(|&weight| f64::from(weight));
                    visit_tile(&tile.outputs, &tile.inputs, weights, visit);
                }
            }
            Term::Scaled { factors, .. } => {
                visit_diagonal(factors.iter().map(|&factor| factor as f64), visit)
            }
        }
    }
}

impl Matrix for FoldedTerm {
    fn for_each(&self, visit: &mut dyn FnMut(usize, usize, f64)) {
        match self {
            FoldedTerm::Tiles { tiles, .. } => {
                for tile in tiles {
                    let weights = tile.weights.iter().copied();
                    visit_tile(&tile.outputs, &tile.inputs, weights, visit);
                }
            }
            FoldedTerm::Diagonal { factors, .. } => visit_diagonal(factors.iter().copied(), visit),
        }
    }
}

fn visit_tile(
    outputs: &[u32],
    inputs: &[u32],
    mut weights: impl Iterator<Item = f64>,
    visit: &mut dyn FnMut(usize, usize, f64),
) {
    for &output in outputs {
        for (&input, weight) in inputs.iter().zip(&mut weights) {
            if weight != 0.0 {
                visit(output as usize, input as usize, weight);
            }
        }
    }
}

fn visit_diagonal(factors: impl Iterator<Item = f64>, visit: &mut dyn FnMut(usize, usize, f64)) {
    for (element, factor) in factors.enumerate().filter(|(_, factor)| *factor != 0.0) {
        visit(element, element, factor);
    }
}

/// The diagonals of a linear step, without their weights. There is one source layout per term.
pub(crate) fn distances<M: Matrix>(
    terms: &[M],
    sources: &[&SlotLayout],
    output: &SlotLayout,
    schedule: &RotationSchedule,
    slots: usize,
) -> Distances {
    let mut seen = Vec::new();
    for (number, (term, source)) in terms.iter().zip(sources).enumerate() {
        // Seen or not, by output ciphertext, input ciphertext and distance: cheaper than a set for millions of weights.
        let mut flags = vec![false; pairs(source, output) * slots];
        term.for_each(&mut |to, from, _| {
            let spot = Spot::of(source, output, schedule, slots, from, to);
            flags[spot.index(source, slots)] = true;
        });
        let diagonals = flags.iter().enumerate().filter(|(_, seen)| **seen);
        seen.extend(diagonals.map(|(index, _)| {
            let (pair, distance) = (index / slots, index % slots);
            let (to, from) = (pair / source.ciphertexts, pair % source.ciphertexts);
            (number as u32, from as u32, to as u32, distance as u32)
        }));
    }
    Distances {
        seen,
        period: output.period,
    }
}

/// Pairs of a ciphertext of the result and one of the source.
pub(crate) fn pairs(source: &SlotLayout, output: &SlotLayout) -> usize {
    output.ciphertexts * source.ciphertexts
}

/// The diagonals of one term of a linear step with integer weights, in the order in which the weights name them.
///
/// # Shapes
/// Each diagonal has `slots` weights; they are repeated where the source repeats itself.
pub fn diagonals(
    term: &Term,
    source: &SlotLayout,
    output: &SlotLayout,
    schedule: &RotationSchedule,
    slots: usize,
) -> Vec<Diagonal> {
    let mut found: Vec<Diagonal> = Vec::new();
    let mut places: Vec<Option<u32>> = vec![None; pairs(source, output) * slots];
    term.for_each(&mut |to, from, weight| {
        let spot = Spot::of(source, output, schedule, slots, from, to);
        let place = *places[spot.index(source, slots)].get_or_insert_with(|| {
            found.push(Diagonal {
                input: spot.input,
                output: spot.output,
                distance: spot.distance,
                weights: vec![0.0; slots],
            });
            found.len() as u32 - 1
        });
        // A direct product fills the output's own period; shares fill that of the source.
        let weights = &mut found[place as usize].weights;
        for position in (spot.position..slots).step_by(spot.period) {
            weights[position] += weight;
        }
    });
    found
}

/// Where one weight goes.
struct Spot {
    input: usize,
    output: usize,
    distance: usize,
    position: usize,
    /// The weight is repeated after this many positions.
    period: usize,
}

impl Spot {
    /// The diagonal's place among all that there could be.
    fn index(&self, source: &SlotLayout, slots: usize) -> usize {
        (self.output * source.ciphertexts + self.input) * slots + self.distance
    }

    fn of(
        source: &SlotLayout,
        output: &SlotLayout,
        schedule: &RotationSchedule,
        slots: usize,
        from: usize,
        to: usize,
    ) -> Self {
        let (input, from) = source.place(from, slots);
        let (output_ciphertext, to) = output.place(to, slots);
        let (distance, position, period) = if schedule.folded_from > output.period {
            let distance = (from + output.period - to) % output.period;
            // The share stands where this distance leads to the input.
            let period = schedule.folded_from;
            (distance, (from + period - distance) % period, period)
        } else {
            let distance = (from + slots - to) % slots;
            (distance % source.period, to, output.period)
        };
        Self {
            input,
            output: output_ciphertext,
            distance,
            position,
            period,
        }
    }
}
