//! Which elements of a step read which of its sources.

use std::collections::BTreeMap;
use std::ops::Range;

use sordino_ring::linear::LinearMap;

use super::run_from;
use crate::{Operation, Step, Term, last_readers, unread};

/// What the steps of a plan read, element by element.
pub(super) struct Needs<'a> {
    steps: &'a [Step],
    /// The longest runs that are computed together; every step is in one.
    pub runs: Vec<Range<usize>>,
    /// The run of every step.
    pub run_of: Vec<usize>,
    /// For every step and product term, the tile that makes an element.
    tile_of: Vec<Vec<Vec<Option<u32>>>>,
    /// Steps whose value no step reads.
    unread: Vec<usize>,
    /// For every step, the place of an element in the order in which the step is best computed; elements of one place belong
    /// to one window and are not separated.
    pub place: Vec<Vec<u32>>,
}

/// What some elements of a run's last step need.
pub(super) struct Needed {
    /// Elements of every step of the run, ascending.
    pub elements: Vec<Vec<u32>>,
    /// Elements of every source of the first step, ascending.
    pub reads: Vec<Vec<u32>>,
}

impl<'a> Needs<'a> {
    /// Of windows row by row, in each of so many strips of columns of the image.
    pub(super) fn new(steps: &'a [Step], strips: usize) -> Self {
        let last_reader = last_readers(steps);
        let mut runs = Vec::new();
        let mut run_of = vec![0; steps.len()];
        let mut start = 0;
        while start < steps.len() {
            let run = run_from(steps, &last_reader, start);
            run_of[run.clone()].fill(runs.len());
            start = run.end;
            runs.push(run);
        }
        Self {
            steps,
            runs,
            run_of,
            unread: unread(steps),
            tile_of: steps.iter().map(tiles_of).collect(),
            place: places(steps, strips),
        }
    }

    /// How many runs with weights there are: each begins a layer, which lasts until the next one.
    pub(super) fn layers(&self) -> usize {
        self.runs
            .iter()
            .filter(|run| self.begins_layer(run))
            .count()
    }

    pub(super) fn begins_layer(&self, run: &Range<usize>) -> bool {
        let weights = matches!(self.steps[run.start].operation, Operation::Linear { .. });
        weights && !self.is_for_reply(run)
    }

    /// Whether a run makes a value that the reply alone reads.
    pub(super) fn is_for_reply(&self, run: &Range<usize>) -> bool {
        self.unread.contains(&(run.end - 1))
    }

    /// What `elements` of the last step of a run need.
    pub(super) fn of(&self, run: &Range<usize>, elements: Vec<u32>) -> Needed {
        let mut of_steps = vec![elements];
        for step in run.clone().skip(1).rev() {
            let mut sources = self.reads(step, &of_steps[of_steps.len() - 1]);
            of_steps.push(sources.remove(0));
        }
        let reads = self.reads(run.start, &of_steps[of_steps.len() - 1]);
        of_steps.reverse();
        Needed {
            elements: of_steps,
            reads,
        }
    }

    /// What some elements of a step read of each of its sources.
    fn reads(&self, step: usize, elements: &[u32]) -> Vec<Vec<u32>> {
        match &self.steps[step].operation {
            Operation::Input => vec![],
            Operation::Square { .. }
            | Operation::Relinearize { .. }
            | Operation::Rescale { .. } => {
                vec![elements.to_vec()]
            }
            Operation::Linear { terms, .. } => {
                let terms = terms.iter().zip(&self.tile_of[step]);
                terms
                    .map(|(term, tile_of)| self.reads_of_term(term, tile_of, elements))
                    .collect()
            }
        }
    }

    fn reads_of_term(&self, term: &Term, tile_of: &[Option<u32>], elements: &[u32]) -> Vec<u32> {
        let count = self.steps[term.source()].elements;
        let mut list: Vec<u32> = match term {
            Term::Scaled { .. } => {
                let present = elements.iter().filter(|&&e| (e as usize) < count);
                present.copied().collect()
            }
            Term::Product { map, .. } => {
                let tiles = elements.iter().filter_map(|&e| tile_of[e as usize]);
                let mut tiles: Vec<u32> = tiles.collect();
                tiles.sort_unstable();
                tiles.dedup();
                let inputs = tiles
                    .into_iter()
                    .map(|tile| &map.tiles()[tile as usize].inputs);
                union(inputs, count)
            }
        };
        if list.is_empty() {
            // An operation needs a ciphertext to work on, if only to multiply it by zero.
            list.push(0);
        }
        list
    }
}

/// All elements of some lists, each below `count`, ascending and once.
fn union<'l>(lists: impl Iterator<Item = &'l Vec<u32>> + Clone, count: usize) -> Vec<u32> {
    let total: usize = lists.clone().map(Vec::len).sum();
    if total < count / 4 {
        let mut list: Vec<u32> = lists.flatten().copied().collect();
        list.sort_unstable();
        list.dedup();
        return list;
    }
    let mut there = vec![false; count];
    lists.flatten().for_each(|&e| there[e as usize] = true);
    let listed = (0..).zip(there);
    listed.filter_map(|(e, there)| there.then_some(e)).collect()
}

/// The tile that makes every element, by term; none of a term without tiles.
fn tiles_of(step: &Step) -> Vec<Vec<Option<u32>>> {
    let of_term = |term: &Term| {
        let mut tile_of = vec![None; step.elements];
        for (index, tile) in (0..).zip(term.map().map_or(&[][..], LinearMap::tiles)) {
            let outputs = tile.outputs.iter();
            outputs.for_each(|&output| tile_of[output as usize] = Some(index));
        }
        tile_of
    };
    step.terms().iter().map(of_term).collect()
}

/// The place of every element of every step: where in the image, on average, that lies which it is computed from. Places come
/// strip by strip, in each row by row, every second strip from below, so that a strip begins where the one before it ends.
fn places(steps: &[Step], strips: usize) -> Vec<Vec<u32>> {
    let columns = image_columns(steps);
    let strip = |position: &Position| strips as u32 * position.column / (columns * FINENESS);
    let key = |position: &Position| {
        let strip = strip(position);
        let row = match strip % 2 {
            0 => position.row,
            _ => u32::MAX - position.row,
        };
        (strip, row, position.column)
    };
    let of_step = |positions: &Vec<Position>| {
        let keys: Vec<_> = positions.iter().map(key).collect();
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let place = |key| sorted.partition_point(|other| other < key) as u32;
        keys.iter().map(place).collect()
    };
    positions(steps, columns).iter().map(of_step).collect()
}

/// How many columns an image has, by the windows that are read of it: as many as there commonly are elements between the
/// beginnings of two stretches of one window. It decides what is computed first, and nothing else.
fn image_columns(steps: &[Step]) -> u32 {
    let terms = steps.iter().flat_map(Step::terms);
    let maps = terms
        .filter(|term| term.source() == 0)
        .filter_map(Term::map);
    let mut distances: BTreeMap<u32, usize> = BTreeMap::new();
    for tile in maps.flat_map(LinearMap::tiles) {
        let stretches = tile.inputs.chunk_by(|&a, &b| a + 1 == b);
        let begins: Vec<u32> = stretches.map(|stretch| stretch[0]).collect();
        for pair in begins.windows(2) {
            *distances
                .entry(pair[1].saturating_sub(pair[0]))
                .or_default() += 1;
        }
    }
    let commonest = distances.into_iter().max_by_key(|&(_, count)| count);
    commonest.map_or(1, |(distance, _)| distance.max(1))
}

/// Parts of a pixel's width that are told apart.
const FINENESS: u32 = 64;

/// A place in the image, in parts of a pixel.
#[derive(Clone, Copy, Default)]
struct Position {
    row: u32,
    column: u32,
}

/// The mean position of what every element of every step is computed from.
fn positions(steps: &[Step], columns: u32) -> Vec<Vec<Position>> {
    let mut of_steps: Vec<Vec<Position>> = Vec::with_capacity(steps.len());
    for step in steps {
        let mut positions = vec![Position::default(); step.elements];
        let product = step
            .terms()
            .iter()
            .find_map(|term| Some((term.source(), term.map()?)));
        match (step.operation.sources().first(), product) {
            (None, _) => {
                for (element, position) in (0..).zip(&mut positions) {
                    // Every channel begins further down, which is the same for all windows.
                    position.row = element / columns * FINENESS;
                    position.column = element % columns * FINENESS;
                }
            }
            (_, Some((source, map))) => {
                for tile in map.tiles() {
                    let of_inputs = tile
                        .inputs
                        .iter()
                        .map(|&input| of_steps[source][input as usize]);
                    let mean = mean(of_inputs);
                    let outputs = tile.outputs.iter();
                    outputs.for_each(|&output| positions[output as usize] = mean);
                }
            }
            (Some(&source), None) => {
                let source = &of_steps[source];
                for (element, position) in positions.iter_mut().enumerate() {
                    *position = source[element.min(source.len() - 1)];
                }
            }
        }
        of_steps.push(positions);
    }
    of_steps
}

fn mean(positions: impl ExactSizeIterator<Item = Position>) -> Position {
    let count = positions.len().max(1) as u64;
    let (rows, columns) = positions.fold((0, 0), |(rows, columns), position| {
        (
            rows + u64::from(position.row),
            columns + u64::from(position.column),
        )
    });
    Position {
        row: (rows / count) as u32,
        column: (columns / count) as u32,
    }
}
