//! Matrices by diagonals against the matrices themselves, in the clear.

use sordino_ring::linear::{LinearMap, Tile, WeightWidth};

use super::{ChannelPlan, RotationSchedule, SlotLayout, diagonals};
use crate::{Operation, Step, Term};

/// A generator that needs no crate: numbers below `bound`.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    /// Distinct places for so many elements.
    fn layout(
        &mut self,
        elements: usize,
        ciphertexts: usize,
        period: usize,
        slots: usize,
    ) -> SlotLayout {
        let mut free: Vec<u32> = (0..ciphertexts)
            .flat_map(|c| (0..period).map(move |p| (c * slots + p) as u32))
            .collect();
        let positions = (0..elements)
            .map(|_| free.swap_remove(self.below(free.len())))
            .collect();
        let layout = SlotLayout {
            ciphertexts,
            period,
            positions,
        };
        layout.check("server", elements, slots).unwrap();
        layout
    }

    fn matrix(&mut self, outputs: usize, inputs: usize) -> Vec<i16> {
        (0..outputs * inputs)
            .map(|_| [0, self.below(255) as i16 - 127][self.below(2)])
            .collect()
    }
}

fn product(outputs: usize, inputs: usize, weights: &[i16]) -> Term {
    let tile = Tile {
        outputs: (0..outputs as u32).collect(),
        inputs: (0..inputs as u32).collect(),
        weights: weights.to_vec(),
    };
    let map = LinearMap::new(inputs, outputs, WeightWidth::Eight, vec![tile]).unwrap();
    Term::Product {
        source: 0,
        map,
        weight_scale: 1.0,
    }
}

/// What ciphertexts hold: every element at all its places, something else in the gaps.
fn slots_of(layout: &SlotLayout, values: &[f64], slots: usize) -> Vec<Vec<f64>> {
    let mut rows = vec![vec![1e6; slots]; layout.ciphertexts];
    for (element, value) in values.iter().enumerate() {
        let (ciphertext, position) = layout.place(element, slots);
        (position..slots)
            .step_by(layout.period)
            .for_each(|p| rows[ciphertext][p] = *value);
    }
    rows
}

fn rotated(row: &[f64], positions: usize) -> Vec<f64> {
    (0..row.len())
        .map(|p| row[(p + positions) % row.len()])
        .collect()
}

/// The step as the engine computes it, with hoisted and outer rotations and folds.
fn evaluate(
    terms: &[Term],
    sources: &[(&SlotLayout, Vec<Vec<f64>>)],
    output: &SlotLayout,
    schedule: &RotationSchedule,
    slots: usize,
) -> Vec<Vec<f64>> {
    let mut rows = vec![vec![0.0; slots]; output.ciphertexts];
    let diagonals = terms
        .iter()
        .zip(sources)
        .flat_map(|(term, (layout, held))| {
            let diagonals = diagonals(term, layout, output, schedule, slots);
            diagonals.into_iter().map(move |diagonal| (diagonal, held))
        });
    for (diagonal, held) in diagonals {
        let (hoisted, outer) = (
            schedule.hoisted(diagonal.distance),
            schedule.outer(diagonal.distance),
        );
        let input = rotated(&held[diagonal.input], hoisted);
        let sum: Vec<f64> = (0..slots)
            .map(|p| input[p] * diagonal.weights[(p + slots - outer % slots) % slots])
            .collect();
        for (value, share) in rows[diagonal.output].iter_mut().zip(rotated(&sum, outer)) {
            *value += share;
        }
    }
    for fold in schedule.folds(output.period) {
        for row in &mut rows {
            let other = rotated(row, fold);
            row.iter_mut()
                .zip(other)
                .for_each(|(value, share)| *value += share);
        }
    }
    rows
}

fn check(output: &SlotLayout, rows: &[Vec<f64>], expected: &[f64], slots: usize, what: &str) {
    for (element, expected) in expected.iter().enumerate() {
        let (ciphertext, position) = output.place(element, slots);
        for place in (position..slots).step_by(output.period) {
            assert_eq!(
                rows[ciphertext][place], *expected,
                "{what}: element {element} at position {place}"
            );
        }
    }
}

fn times(weights: &[i16], values: &[f64]) -> Vec<f64> {
    let row = |row: &[i16]| row.iter().zip(values).map(|(w, x)| f64::from(*w) * x).sum();
    weights.chunks_exact(values.len()).map(row).collect()
}

#[test]
fn a_matrix_by_its_diagonals_is_the_matrix() {
    let (mut numbers, slots) = (Numbers(1), 64);
    for round in 0..200 {
        let (inputs, outputs) = (1 + numbers.below(30), 1 + numbers.below(20));
        let source_period = 32 << numbers.below(2);
        let source_ciphertexts = if source_period == slots {
            1 + numbers.below(inputs.min(3))
        } else {
            1
        };
        let source = numbers.layout(inputs, source_ciphertexts, source_period, slots);
        // Direct, with a period that is the source's or longer, or folded to a shorter one.
        let folded = round % 2 == 0;
        let period = if folded {
            32.min(source_period / 2).max(outputs.next_power_of_two())
        } else {
            source_period
        };
        let output_ciphertexts = if folded {
            1
        } else {
            1 + numbers.below(outputs.min(3))
        };
        let output = numbers.layout(outputs, output_ciphertexts, period, slots);
        let schedule = RotationSchedule {
            step: 1 + numbers.below(slots),
            folded_from: source_period.max(period),
        };
        schedule.check(0, &output, slots).unwrap();
        let weights = numbers.matrix(outputs, inputs);
        let values: Vec<f64> = (0..inputs).map(|_| numbers.below(1000) as f64).collect();
        let held = slots_of(&source, &values, slots);
        let term = product(outputs, inputs, &weights);
        let rows = evaluate(&[term], &[(&source, held)], &output, &schedule, slots);
        let what = format!("round {round}, periods {source_period} to {period}, {schedule:?}");
        check(&output, &rows, &times(&weights, &values), slots, &what);
    }
}

#[test]
fn a_residual_branch_is_added_wherever_it_lies() {
    let (mut numbers, slots) = (Numbers(2), 32);
    for round in 0..50 {
        let (inputs, outputs) = (1 + numbers.below(20), 1 + numbers.below(20));
        let source = numbers.layout(inputs, 1, slots, slots);
        let ciphertexts = [(); 2].map(|()| 1 + numbers.below(outputs.min(2)));
        let skip = numbers.layout(outputs, ciphertexts[0], slots, slots);
        let output = numbers.layout(outputs, ciphertexts[1], slots, slots);
        let schedule = RotationSchedule {
            step: 1 + numbers.below(slots),
            folded_from: slots,
        };
        let weights = numbers.matrix(outputs, inputs);
        let factors: Vec<i64> = (0..outputs)
            .map(|_| numbers.below(100) as i64 - 50)
            .collect();
        let draw = |numbers: &mut Numbers, count| {
            (0..count)
                .map(|_| numbers.below(1000) as f64)
                .collect::<Vec<_>>()
        };
        let (x, y) = (draw(&mut numbers, inputs), draw(&mut numbers, outputs));
        let terms = [
            product(outputs, inputs, &weights),
            Term::Scaled {
                source: 1,
                factors: factors.clone(),
            },
        ];
        let held = [
            (&source, slots_of(&source, &x, slots)),
            (&skip, slots_of(&skip, &y, slots)),
        ];
        let rows = evaluate(&terms, &held, &output, &schedule, slots);
        let expected: Vec<f64> = times(&weights, &x)
            .iter()
            .zip(factors.iter().zip(&y))
            .map(|(sum, (&factor, y))| sum + factor as f64 * y)
            .collect();
        check(&output, &rows, &expected, slots, &format!("round {round}"));
    }
}

/// One dense step on one ciphertext, as a plan would have it.
fn plan() -> (Vec<Step>, ChannelPlan) {
    let step = |operation, elements| Step {
        name: "x".into(),
        operation,
        elements,
        components: 2,
        limbs: 1,
        scale: 1.0,
        rms_noise: None,
        seconds: None,
    };
    let linear = Operation::Linear {
        terms: vec![product(4, 16, &[1; 64])],
        bias: vec![0; 4],
    };
    let steps = vec![step(Operation::Input, 16), step(linear, 4)];
    let layout = |elements: u32, period| SlotLayout {
        ciphertexts: 1,
        period,
        positions: (0..elements).collect(),
    };
    let plan = ChannelPlan {
        slots: 16,
        plaintext_bits: 8,
        layouts: vec![layout(16, 16), layout(4, 4)],
        schedules: vec![
            None,
            Some(RotationSchedule {
                step: 2,
                folded_from: 16,
            }),
        ],
    };
    (steps, plan)
}

#[test]
fn rotations_are_those_of_the_diagonals_and_the_folds() {
    let (steps, plan) = plan();
    plan.check(&steps, 64).unwrap();
    // Distances 0 to 3 are 1 hoisted and 2 outer, folds 4 and 8; four images lie interleaved.
    assert_eq!(plan.rotations(&steps, 64), [4, 8, 16, 32]);
    let counts = plan.counts(&steps, 1).unwrap();
    assert_eq!(
        (counts.hoisted, counts.outer, counts.folds, counts.products),
        (1, 1, 2, 4)
    );
}

#[test]
fn plans_that_contradict_themselves_are_refused() {
    let refused = |change: &dyn Fn(&mut ChannelPlan)| {
        let (steps, mut plan) = plan();
        change(&mut plan);
        plan.check(&steps, 64).unwrap_err().to_string()
    };
    assert!(refused(&|plan| plan.slots = 12).contains("slots"));
    assert!(refused(&|plan| plan.slots = 128).contains("slots"));
    assert!(refused(&|plan| plan.plaintext_bits = 90).contains("plaintext bits"));
    assert!(refused(&|plan| plan.layouts[0].positions[3] = 2).contains("position"));
    assert!(refused(&|plan| plan.layouts[0].positions[3] = 16).contains("position"));
    assert!(refused(&|plan| plan.layouts[1].positions[3] = 4).contains("position"));
    assert!(refused(&|plan| plan.layouts[0].period = 3).contains("period"));
    assert!(refused(&|plan| plan.layouts[0].ciphertexts = 0).contains("ciphertexts"));
    assert!(refused(&|plan| plan.layouts[0].ciphertexts = usize::MAX).contains("ciphertexts"));
    assert!(refused(&|plan| drop(plan.layouts.pop())).contains("layouts"));
    assert!(refused(&|plan| plan.schedules[0] = plan.schedules[1]).contains("schedule"));
    assert!(refused(&|plan| plan.schedules[1] = None).contains("schedule"));
    let schedule = |step, folded_from| {
        move |plan: &mut ChannelPlan| {
            plan.schedules[1] = Some(RotationSchedule { step, folded_from })
        }
    };
    assert!(refused(&schedule(0, 16)).contains("schedule"));
    assert!(refused(&schedule(17, 16)).contains("schedule"));
    assert!(refused(&schedule(2, 24)).contains("schedule"));
    assert!(refused(&schedule(2, 8)).contains("period"));
}
