//! Which elements of a step read which of its sources.

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
    pub(super) fn new(steps: &'a [Step]) -> Self {
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
        let mut place: Vec<Vec<u32>> = Vec::with_capacity(steps.len());
        for step in steps {
            place.push(places(step, &place));
        }
        Self {
            steps,
            runs,
            run_of,
            unread: unread(steps),
            tile_of: steps.iter().map(tiles_of).collect(),
            place,
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
        let mut read = vec![false; count];
        match term {
            Term::Scaled { .. } => {
                let present = elements.iter().filter(|&&e| (e as usize) < count);
                present.for_each(|&element| read[element as usize] = true);
            }
            Term::Product { map, .. } => {
                let mut seen = vec![false; map.tiles().len()];
                let tiles = elements.iter().filter_map(|&e| tile_of[e as usize]);
                for tile in tiles.map(|tile| tile as usize) {
                    if !std::mem::replace(&mut seen[tile], true) {
                        let inputs = &map.tiles()[tile].inputs;
                        inputs.iter().for_each(|&input| read[input as usize] = true);
                    }
                }
            }
        }
        let mut list: Vec<u32> = (0..)
            .zip(read)
            .filter_map(|(e, read)| read.then_some(e))
            .collect();
        if list.is_empty() {
            // An operation needs a ciphertext to work on, if only to multiply it by zero.
            list.push(0);
        }
        list
    }
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

/// The place of every element: that of its window where windows have several outputs, else that of the first element read.
fn places(step: &Step, before: &[Vec<u32>]) -> Vec<u32> {
    match &step.operation {
        Operation::Input => (0..step.elements as u32).collect(),
        Operation::Square { source, .. }
        | Operation::Relinearize { source }
        | Operation::Rescale { source, .. } => before[*source].clone(),
        Operation::Linear { terms, .. } => {
            let product = terms
                .iter()
                .find_map(|term| Some((term.source(), term.map()?)));
            let Some((source, map)) = product else {
                let source = &before[terms[0].source()];
                let place = |element: usize| source[element.min(source.len() - 1)];
                return (0..step.elements).map(place).collect();
            };
            let windows = map.tiles().iter().any(|tile| tile.outputs.len() > 1);
            let mut places = vec![0; step.elements];
            for (index, tile) in (0..).zip(map.tiles()) {
                let inputs = tile
                    .inputs
                    .iter()
                    .map(|&input| before[source][input as usize]);
                let place = if windows {
                    index
                } else {
                    inputs.min().unwrap_or(0)
                };
                for &output in &tile.outputs {
                    places[output as usize] = place;
                }
            }
            places
        }
    }
}
