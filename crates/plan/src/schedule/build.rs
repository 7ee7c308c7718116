//! Cutting steps into units, ordered so that each unit finds what it reads.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::needs::{Needed, Needs};
use super::{Sizes, Unit};
use crate::Step;

/// Columns that a thread takes through a run at a time.
const STRIP_COLUMNS: u64 = 64;
/// Most bytes of a strip of two feature maps: most of a second-level cache.
const STRIP_BYTES: u64 = 640 << 10;
/// How much more a run may compute for strips that fit; windows overlap.
const MOST_RECOMPUTED: f64 = 1.1;
/// How much more a run may read for strips that fit.
const MOST_READ_AGAIN: f64 = 2.5;

pub(super) struct Builder<'a> {
    steps: &'a [Step],
    needs: &'a Needs<'a>,
    sizes: &'a Sizes,
    /// Largest piece.
    unit_bytes: u64,
    units: Vec<Unit>,
    /// The unit that made every element of a run's last step.
    made_by: Vec<Vec<Option<usize>>>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        steps: &'a [Step],
        needs: &'a Needs<'a>,
        sizes: &'a Sizes,
        unit_bytes: u64,
    ) -> Self {
        let made_by = |run: &Range<usize>| vec![None; steps[run.end - 1].elements];
        Self {
            steps,
            needs,
            sizes,
            unit_bytes,
            units: Vec::new(),
            made_by: needs.runs.iter().map(made_by).collect(),
        }
    }

    /// The units of the whole plan. Layers that are `whole` are finished before the next one begins, the others are computed
    /// when they are read.
    pub(super) fn build(mut self, whole: &[bool]) -> Vec<Unit> {
        let mut layers = whole.iter();
        let mut present = true;
        let needs = self.needs;
        let last = needs.runs.len() - 1;
        let begins_layer = |index: usize| index <= last && needs.begins_layer(&needs.runs[index]);
        for (index, run) in needs.runs.iter().enumerate() {
            if begins_layer(index) {
                present = *layers.next().expect("one for every layer");
            }
            if needs.is_for_reply(run) && index != last {
                continue;
            }
            let next = (index + 1..=last)
                .find(|&next| next == last || !needs.is_for_reply(&needs.runs[next]));
            let ends_layer = next.is_none_or(begins_layer);
            if (present && ends_layer) || index == 0 || index == last {
                let all = (0..self.steps[run.end - 1].elements as u32).collect();
                self.make(index, all);
            }
        }
        self.set_frees();
        self.units
    }

    /// Makes those elements of a run's last step that are not there yet.
    fn make(&mut self, run: usize, elements: Vec<u32>) {
        let missing: Vec<u32> = elements
            .into_iter()
            .filter(|&element| self.made_by[run][element as usize].is_none())
            .collect();
        if missing.is_empty() {
            return;
        }
        if let Some(source) = self.worked_on(run) {
            // Piece by piece, so that no more than one of them waits for the step.
            for part in self.parts(source, missing) {
                self.make(source, part.clone());
                for piece in self.by_source(source, &part) {
                    self.make_unit(run, piece);
                }
            }
        } else {
            for piece in self.pieces(run, missing) {
                self.make_unit(run, piece);
            }
        }
    }

    /// The run whose value a run works on element by element.
    fn worked_on(&self, run: usize) -> Option<usize> {
        let steps = &self.steps[self.needs.runs[run].clone()];
        let source = steps[0].operation.sources().first().copied();
        let source = source.filter(|_| steps.iter().all(Step::is_row_local));
        source.map(|source| self.needs.run_of[source])
    }

    /// The pieces in which a run will make elements.
    fn parts(&self, run: usize, elements: Vec<u32>) -> Vec<Vec<u32>> {
        match self.worked_on(run) {
            Some(source) => self.parts(source, elements),
            None => self.pieces(run, elements),
        }
    }

    fn make_unit(&mut self, run: usize, piece: Vec<u32>) {
        let range = self.needs.runs[run].clone();
        let Needed { elements, reads } = self.needs.of(&range, piece);
        let sources = self.steps[range.start].operation.sources();
        for (source, read) in sources.into_iter().zip(&reads) {
            self.make(self.needs.run_of[source], read.clone());
        }
        let unit = self.units.len();
        for &element in elements.last().into_iter().flatten() {
            self.made_by[run][element as usize] = Some(unit);
        }
        self.units.push(Unit {
            steps: range,
            elements,
            reads,
            from: Vec::new(),
            frees: Vec::new(),
        });
        self.make_for_reply(run);
    }

    /// Makes the values that the reply alone reads as soon as what they sum is there.
    fn make_for_reply(&mut self, source: usize) {
        let needs = self.needs;
        for (index, run) in needs.runs.iter().enumerate() {
            if index + 1 == needs.runs.len()
                || !needs.is_for_reply(run)
                || self.made_by[index][0].is_some()
            {
                continue;
            }
            let all = (0..self.steps[run.end - 1].elements as u32).collect();
            let reads = needs.of(run, all).reads;
            let sources = self.steps[run.start].operation.sources();
            let there = sources.iter().zip(&reads).all(|(&step, read)| {
                let of = needs.run_of[step];
                read.iter()
                    .all(|&element| self.made_by[of][element as usize].is_some())
            });
            if there && sources.iter().any(|&step| needs.run_of[step] == source) {
                let all = (0..self.steps[run.end - 1].elements as u32).collect();
                self.make(index, all);
            }
        }
    }

    /// The elements by the unit that made their sources: whole pieces are worked on in place.
    fn by_source(&self, source: usize, elements: &[u32]) -> Vec<Vec<u32>> {
        let mut pieces: BTreeMap<Option<usize>, Vec<u32>> = BTreeMap::new();
        for &element in elements {
            let unit = self.made_by[source][element as usize];
            pieces.entry(unit).or_default().push(element);
        }
        pieces.into_values().collect()
    }

    /// Splits the elements into the fewest pieces whose strips fit a cache, with little that is computed twice.
    fn pieces(&self, run: usize, elements: Vec<u32>) -> Vec<Vec<u32>> {
        let range = &self.needs.runs[run];
        if range.start == 0 {
            return vec![elements];
        }
        let windows = windows(&self.needs.place[range.end - 1], elements);
        let mut best: Option<(Vec<Vec<u32>>, Cut)> = None;
        let mut count = 1;
        let mut once: Option<Cut> = None;
        loop {
            let pieces = split(&windows, count);
            let cut = self.cut(range, &pieces);
            let whole = once.get_or_insert(cut);
            let fair = cut.computed <= whole.computed * MOST_RECOMPUTED
                && cut.read <= whole.read * MOST_READ_AGAIN;
            let better = |(_, best): &(_, Cut)| {
                best.piece > self.unit_bytes || (fair && cut.strip < best.strip)
            };
            if best.as_ref().is_none_or(better) {
                best = Some((pieces, cut));
            }
            let fits =
                |(_, best): &(_, Cut)| best.strip <= STRIP_BYTES && best.piece <= self.unit_bytes;
            if best.as_ref().is_some_and(fits) || count >= windows.len() {
                break;
            }
            count = (2 * count).min(windows.len());
        }
        best.map_or_else(Vec::new, |(pieces, _)| pieces)
    }

    fn cut(&self, run: &Range<usize>, pieces: &[Vec<u32>]) -> Cut {
        let mut cut = Cut::default();
        for piece in pieces {
            let bytes = self.sizes.elements(self.steps, run.end - 1, piece.len());
            cut.piece = cut.piece.max(bytes);
            let needed = self.needs.of(run, piece.clone());
            let sources = self.steps[run.start].operation.sources();
            let components = sources.first().map_or(2, |&s| self.steps[s].components);
            let read: usize = needed.reads.iter().map(Vec::len).sum();
            cut.read += read as f64;
            let mut before = (read * components) as u64;
            for (step, elements) in run.clone().zip(&needed.elements) {
                let after = (elements.len() * self.steps[step].components) as u64;
                let strip = (before + after) * STRIP_COLUMNS * self.sizes.widest;
                cut.strip = cut.strip.max(strip);
                cut.computed += after as f64;
                before = after;
            }
        }
        cut
    }

    /// Sets which units made what a unit reads, and which pieces it frees: those that it reads last. What the reply reads stays.
    fn set_frees(&mut self) {
        let mut last_reader = vec![None; self.units.len()];
        for index in 0..self.units.len() {
            let unit = &self.units[index];
            let sources = self.steps[unit.steps.start].operation.sources();
            let mut from = BTreeSet::new();
            for (source, read) in sources.into_iter().zip(&unit.reads) {
                let made_by = &self.made_by[self.needs.run_of[source]];
                from.extend(read.iter().filter_map(|&element| made_by[element as usize]));
            }
            from.iter()
                .for_each(|&unit| last_reader[unit] = Some(index));
            self.units[index].from = from.into_iter().collect();
        }
        for (unit, reader) in last_reader.into_iter().enumerate() {
            if let Some(reader) = reader {
                self.units[reader].frees.push(unit);
            }
        }
    }
}

/// The cost of one way to cut a run into pieces.
#[derive(Clone, Copy, Default)]
struct Cut {
    /// Most bytes that a strip takes between two steps.
    strip: u64,
    /// Bytes of the largest piece.
    piece: u64,
    /// Elements of all steps.
    computed: f64,
    /// Elements read.
    read: f64,
}

/// The elements of every window, in the order of their places.
fn windows(place: &[u32], mut elements: Vec<u32>) -> Vec<Vec<u32>> {
    elements.sort_by_key(|&element| (place[element as usize], element));
    elements
        .chunk_by(|&a, &b| place[a as usize] == place[b as usize])
        .map(<[u32]>::to_vec)
        .collect()
}

/// Windows in `count` parts of about as many, each ascending.
fn split(windows: &[Vec<u32>], count: usize) -> Vec<Vec<u32>> {
    (0..count)
        .map(|part| {
            let range = part * windows.len() / count..(part + 1) * windows.len() / count;
            let mut elements = windows[range].concat();
            elements.sort_unstable();
            elements
        })
        .collect()
}
