//! Choosing where feature maps lie, and how each linear layer is rotated.
//!
//! A map keeps the grid of the one before it: after a stride of two its columns stand at a distance of two positions, after another
//! one four. A convolution then has one distance for every tap and every difference of channel places, whatever its
//! stride and padding. Channels stand side by side in blocks, and, where they do not fit otherwise, in the gaps that
//! strides have left. A dense layer folds: see [`RotationSchedule`].

use std::collections::HashMap;

use sordino_graph::{Folded, FoldedNode, FoldedOp, Graph, Shape, Term};

use super::counts::Counts;
use super::diagonals::{Distances, distances};
use super::layout::SlotLayout;
use super::memory::EncodedBytes;
use super::{MIN_SLOTS, RotationSchedule};
use crate::estimate::{BASE_BYTES, Sizes};
use crate::modulus::{GadgetChoice, SizedSketch};
use crate::primes;
use crate::sketch::SketchKind;

/// Layouts and schedules of a folded network for one number of slots.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    pub slots: usize,
    /// One per folded node.
    pub layouts: Vec<SlotLayout>,
    /// One per linear node.
    pub counts: Vec<Option<Counts>>,
    /// For each linear node and each of its terms, products first: the largest sum of mean squared values that the products of an
    /// element read, those with a weight of zero included.
    pub energies: Vec<Vec<f64>>,
}

impl Geometry {
    /// Bytes of `blocks` blocks with `rotations` Galois keys, within a limit of memory if there is one.
    pub(crate) fn sizes(
        &self,
        sized: &SizedSketch<'_>,
        blocks: usize,
        rotations: usize,
        limit: Option<u64>,
    ) -> Sizes {
        let ciphertexts = |node: usize| self.layouts[node].ciphertexts;
        let files = Sizes::of_files(sized, blocks, rotations + 1, ciphertexts);
        let gadget = sized.gadget.into_iter();
        let special = gadget.flat_map(GadgetChoice::special_sizes);
        let special: usize = special.map(primes::bytes_of).sum();
        let operations = || sized.sketch.operations.iter();
        let mut encoded = EncodedBytes::default();
        for op in operations().filter(|op| op.kind == SketchKind::Linear) {
            if let Some(counts) = self.counts[op.node] {
                let moduli = sized.limbs.bytes(op.dropped) + special;
                encoded.add(counts.products, sized.ring_degree(), moduli);
            }
        }
        let values = operations().map(|op| sized.bytes(op, ciphertexts(op.node)));
        let other =
            files.upload + files.reply + 2 * files.key + 3 * values.max().unwrap_or(0) + BASE_BYTES;
        Sizes {
            memory: other + encoded.within(other, limit),
            ..files
        }
    }
}

/// A regular arrangement of a feature map.
#[derive(Clone, Copy, Debug)]
struct Grid {
    height: usize,
    width: usize,
    /// Positions from one row to the next, and from one column to the next.
    row: usize,
    column: usize,
    /// Positions of a block, and blocks of a ciphertext.
    block: usize,
    blocks: usize,
    /// Channels along each side of the gaps.
    gap: usize,
}

impl Grid {
    fn channels(&self) -> usize {
        self.blocks * self.gap * self.gap
    }

    /// Ciphertext · slots + position.
    fn place(&self, channel: usize, y: usize, x: usize) -> usize {
        let (ciphertext, channel) = (channel / self.channels(), channel % self.channels());
        let (block, corner) = (
            channel / (self.gap * self.gap),
            channel % (self.gap * self.gap),
        );
        let offset = corner / self.gap * (self.row / self.gap)
            + corner % self.gap * (self.column / self.gap);
        (ciphertext * self.blocks + block) * self.block + y * self.row + x * self.column + offset
    }

    /// Whether no two elements meet and all are inside their block.
    fn fits(&self) -> bool {
        let last = |count: usize, step: usize| count * step - step / self.gap;
        let across = last(self.width, self.column);
        let rows_are_separate = (self.height == 1 && self.gap == 1) || across < self.row / self.gap;
        rows_are_separate && last(self.height, self.row) + across < self.block
    }

    /// The layout of a map of `channels` channels, repeated after no less than `period`.
    fn layout(&self, channels: usize, period: usize, slots: usize) -> SlotLayout {
        let ciphertexts = channels.div_ceil(self.channels());
        let used = match ciphertexts {
            1 => channels.div_ceil(self.gap * self.gap).next_power_of_two() * self.block,
            _ => slots,
        };
        SlotLayout {
            ciphertexts,
            period: used.max(period).min(slots),
            positions: (0..channels)
                .flat_map(|c| {
                    (0..self.height * self.width)
                        .map(move |at| (c, at / self.width, at % self.width))
                })
                .map(|(c, y, x)| self.place(c, y, x) as u32)
                .collect(),
        }
    }
}

/// The shape of a folded node: that of the graph node that it is named after.
fn shape_of(graph: &Graph, node: &FoldedNode) -> Shape {
    let name = node.name.split(':').next().unwrap_or_default();
    let shape = graph
        .find(&node.name)
        .or_else(|| graph.find(name))
        .map(|id| graph.shape(id));
    shape
        .filter(|shape| shape.elements() <= node.elements)
        .unwrap_or(Shape::Flat(node.elements))
}

/// Fewest positions that the input's largest channel takes.
pub(crate) fn least_slots(graph: &Graph) -> usize {
    let plane = graph.input_shape().channel_elements();
    plane.next_power_of_two().max(MIN_SLOTS)
}

/// Lays a folded network out; `mean_squares` are the mean squared values of the elements of its nodes. `None` if a vector does
/// not fit the slots.
pub(crate) fn lay_out(
    graph: &Graph,
    folded: &Folded,
    mean_squares: &[&[f32]],
    slots: usize,
) -> Option<Geometry> {
    let mut planner = Planner {
        graph,
        folded,
        mean_squares,
        slots,
        grids: Vec::new(),
        geometry: Geometry {
            slots,
            layouts: Vec::new(),
            counts: Vec::new(),
            energies: Vec::new(),
        },
    };
    for node in &folded.nodes {
        planner.node(node)?;
    }
    Some(planner.geometry)
}

struct Planner<'a> {
    graph: &'a Graph,
    folded: &'a Folded,
    mean_squares: &'a [&'a [f32]],
    slots: usize,
    grids: Vec<Option<Grid>>,
    geometry: Geometry,
}

impl Planner<'_> {
    fn push(
        &mut self,
        grid: Option<Grid>,
        layout: SlotLayout,
        product: Option<(Counts, Vec<f64>)>,
    ) {
        let (counts, energies) = product.unzip();
        self.grids.push(grid);
        self.geometry.layouts.push(layout);
        self.geometry.counts.push(counts);
        self.geometry.energies.push(energies.unwrap_or_default());
    }

    fn node(&mut self, node: &FoldedNode) -> Option<()> {
        match &node.op {
            FoldedOp::Input => {
                let shape = shape_of(self.graph, node);
                let grid = self.compact(&shape)?;
                let layout = grid.layout(shape.channels(), 0, self.slots);
                self.push(Some(grid), layout, None);
            }
            FoldedOp::Square { source, .. } => {
                let (grid, layout) = (self.grids[*source], self.geometry.layouts[*source].clone());
                self.push(grid, layout, None);
            }
            FoldedOp::Linear(linear) => {
                let options = self.options(node, &linear.terms).into_iter();
                let cost = |option: &(_, _, (Counts, _))| option.2.0.cost();
                let (grid, layout, (counts, distances)) =
                    options.min_by(|a, b| cost(a).total_cmp(&cost(b)))?;
                let energies = self.energies(&linear.terms, &layout, &counts, &distances);
                self.push(grid, layout, Some((counts, energies)));
            }
        }
        Some(())
    }

    /// Rows and columns without gaps. `None` if a channel does not fit an image's slots.
    fn compact(&self, shape: &Shape) -> Option<Grid> {
        let (height, width) = match *shape {
            Shape::Map { height, width, .. } => (height, width),
            Shape::Flat(_) => (1, 1),
        };
        // A vector is a map of channels of one element each.
        let block = (height * width).next_power_of_two();
        let grid = Grid {
            height,
            width,
            row: width,
            column: 1,
            block,
            blocks: self.slots / block,
            gap: 1,
        };
        (grid.blocks > 0).then_some(grid)
    }

    /// Layouts of a linear node, each with the cheapest rotations that make it.
    fn options(
        &self,
        node: &FoldedNode,
        terms: &[Term],
    ) -> Vec<(Option<Grid>, SlotLayout, (Counts, Distances))> {
        let sources = terms
            .iter()
            .map(|term| &self.geometry.layouts[term.source()]);
        let sources: Vec<&SlotLayout> = sources.collect();
        let source_period = sources
            .iter()
            .map(|source| source.period)
            .max()
            .unwrap_or(1);
        let shape = shape_of(self.graph, node);
        let layouts = match (shape, self.grid_after(&shape, terms)) {
            (Shape::Map { channels, .. }, Some(grid)) => {
                let layout = self.with_extras(node, terms, grid, channels, source_period);
                vec![(Some(grid), layout)]
            }
            _ => {
                let shortest = node.elements.next_power_of_two();
                let mut periods = vec![shortest, source_period.max(shortest)];
                periods.dedup();
                periods.retain(|&period| period <= self.slots);
                let vector = |period| SlotLayout {
                    ciphertexts: 1,
                    period,
                    positions: (0..node.elements as u32).collect(),
                };
                periods
                    .into_iter()
                    .map(|period| (None, vector(period)))
                    .collect()
            }
        };
        let with_counts = |(grid, layout): (_, SlotLayout)| {
            let folded_from = source_period.max(layout.period);
            let counts = self.cheapest(terms, &sources, &layout, folded_from);
            (grid, layout, counts)
        };
        layouts.into_iter().map(with_counts).collect()
    }

    /// The grid of a map that is computed from others: the first map's, thinned by the stride.
    fn grid_after(&self, shape: &Shape, terms: &[Term]) -> Option<Grid> {
        let Shape::Map {
            channels,
            height,
            width,
        } = *shape
        else {
            return None;
        };
        let term = &terms[0];
        let Some(source) = self.grids[term.source()] else {
            return self.compact(shape);
        };
        let elements = shape_of(self.graph, &self.folded.nodes[term.source()]).elements();
        let (down, right) = stride(term, shape, &source, elements);
        let thinned = Grid {
            height,
            width,
            row: source.row * down,
            column: source.column * right,
            gap: 1,
            ..source
        };
        if !thinned.fits() {
            return self.compact(shape);
        }
        // As many channels into the gaps as it takes to have one ciphertext, if strides left gaps.
        let mut grid = thinned;
        while grid.channels() < channels {
            let denser = Grid {
                gap: 2 * grid.gap,
                ..grid
            };
            let divides =
                denser.row.is_multiple_of(denser.gap) && denser.column.is_multiple_of(denser.gap);
            if !divides || !denser.fits() {
                break;
            }
            grid = denser;
        }
        Some(grid)
    }

    /// The layout of a map, with elements beyond its shape as further channels at the place of the ones they repeat.
    fn with_extras(
        &self,
        node: &FoldedNode,
        terms: &[Term],
        grid: Grid,
        channels: usize,
        period: usize,
    ) -> SlotLayout {
        let plane = grid.height * grid.width;
        let regular = channels * plane;
        let mut further: HashMap<usize, usize> = HashMap::new();
        let mut extras = vec![None; node.elements - regular];
        for tile in terms.iter().flat_map(Term::tiles) {
            let outputs = || tile.outputs.iter().map(|&output| output as usize);
            let at = outputs()
                .find(|&output| output < regular)
                .map(|output| output % plane);
            for output in outputs().filter(|&output| output >= regular) {
                let extra = &mut extras[output - regular];
                if let (Some(at), None) = (at, &extra) {
                    let count = further.entry(at).or_default();
                    *extra = Some((channels + *count, at));
                    *count += 1;
                }
            }
        }
        let mut total = channels + further.values().copied().max().unwrap_or(0);
        // Those that stand in no tile with a regular element get channels of their own.
        for extra in &mut extras {
            extra.get_or_insert_with(|| {
                total += 1;
                (total - 1, 0)
            });
        }
        let all = grid.layout(total, period, self.slots);
        let places = extras
            .into_iter()
            .flatten()
            .map(|(channel, at)| channel * plane + at);
        let positions = (0..regular)
            .chain(places)
            .map(|place| all.positions[place])
            .collect();
        SlotLayout { positions, ..all }
    }

    /// The cheapest split of the rotations into hoisted and outer ones.
    fn cheapest(
        &self,
        terms: &[Term],
        sources: &[&SlotLayout],
        output: &SlotLayout,
        folded_from: usize,
    ) -> (Counts, Distances) {
        let slots = self.slots;
        let with_step = |step| RotationSchedule { step, folded_from };
        let distances = distances(terms, sources, output, &with_step(slots), slots);
        let powers = (0..=slots.ilog2()).map(|log| 1 << log);
        // Whole rows and whole blocks are natural steps too.
        let grids = terms.iter().filter_map(|term| self.grids[term.source()]);
        let small = 1..=(2 * (output.period as f64).sqrt() as usize).min(64);
        let steps = powers.chain(grids.map(|grid| grid.row)).chain(small);
        let counts = steps
            .filter(|&step| step <= slots)
            .map(|step| Counts::new(&distances, &with_step(step), slots, output.ciphertexts))
            .min_by(|a, b| a.cost().total_cmp(&b.cost()))
            .expect("there is at least the step of all slots");
        (counts, distances)
    }

    /// See [`Geometry::energies`].
    fn energies(
        &self,
        terms: &[Term],
        output: &SlotLayout,
        counts: &Counts,
        distances: &Distances,
    ) -> Vec<f64> {
        let is_product = |&number: &usize| matches!(terms[number], Term::Tiles { .. });
        let (products, branches): (Vec<usize>, Vec<usize>) = (0..terms.len()).partition(is_product);
        let ordered = products.into_iter().chain(branches);
        let largest = |number: usize| {
            let held = self.held(terms[number].source());
            let mut read = vec![0.0f64; output.ciphertexts * self.slots];
            let of_term = distances.seen.iter();
            for &(_, input, to, distance) in of_term.filter(|seen| seen.0 as usize == number) {
                let [input, to] = [input, to].map(|row| row as usize * self.slots);
                let (before, behind) =
                    held[input..][..self.slots].split_at(distance as usize % self.slots);
                let rotated = behind.iter().chain(before);
                let sums = read[to..][..self.slots].iter_mut();
                sums.zip(rotated).for_each(|(sum, energy)| *sum += energy);
            }
            // An element is the sum of its shares.
            let of_element = |element: usize| -> f64 {
                let (ciphertext, position) = output.place(element, self.slots);
                let share = |share: usize| (position + share * output.period) % self.slots;
                let shares = (0..counts.shares).map(share);
                shares.map(|at| read[ciphertext * self.slots + at]).sum()
            };
            (0..output.positions.len())
                .map(of_element)
                .fold(0.0, f64::max)
        };
        ordered.map(largest).collect()
    }

    /// The mean squared values of a node at all positions of its ciphertexts.
    fn held(&self, node: usize) -> Vec<f64> {
        let layout = &self.geometry.layouts[node];
        let mut held = vec![0.0; layout.ciphertexts * self.slots];
        for (element, &square) in self.mean_squares[node].iter().enumerate() {
            let (ciphertext, position) = layout.place(element, self.slots);
            for at in (position..self.slots).step_by(layout.period) {
                held[ciphertext * self.slots + at] = f64::from(square);
            }
        }
        held
    }
}

/// Rows and columns that a window moves by, from the first columns and rows that the windows of a map cover.
fn stride(term: &Term, shape: &Shape, source: &Grid, elements: usize) -> (usize, usize) {
    let Shape::Map { height, width, .. } = *shape else {
        return (1, 1);
    };
    let plane = source.height * source.width;
    let mut first: HashMap<usize, [usize; 2]> = HashMap::new();
    for tile in term.tiles() {
        // Elements beyond the shape stand at the place of others.
        let inputs = tile.inputs.iter().map(|&input| input as usize);
        let places = inputs
            .filter(|&input| input < elements)
            .map(|input| input % plane);
        let corner = places
            .map(|at| [at / source.width, at % source.width])
            .reduce(|[top, left], [y, x]| [top.min(y), left.min(x)]);
        let Some(corner) = corner else { continue };
        let outputs = tile.outputs.iter().map(|&output| output as usize);
        first.extend(
            outputs
                .filter(|&o| o < height * width)
                .map(|output| (output, corner)),
        );
    }
    let steps = |next: usize, count: usize, axis: usize| {
        let step = |k: usize| {
            let [here, before] = [first.get(&(k * next))?, first.get(&((k - 1) * next))?];
            Some(here[axis].abs_diff(before[axis]))
        };
        (1..count).filter_map(step).max().unwrap_or(1).max(1)
    };
    (steps(width, height, 0), steps(1, width, 1))
}
