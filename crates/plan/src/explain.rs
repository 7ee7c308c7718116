//! What a plan says about itself before anything runs.

use std::fmt;

use serde::Serialize;

use crate::{
    Alternative, ClientPlan, Estimate, Operation, PackingComparison, PackingKind, PlanHeader,
    ServerPlan, Term,
};

/// A readable account of a plan; serializes to JSON and displays as a table.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The network's name.
    pub network: String,
    /// How images lie in ciphertexts.
    pub packing: String,
    /// Most images per request.
    pub batch: usize,
    /// Blocks of images.
    pub blocks: usize,
    /// Images that a block holds.
    pub block_images: usize,
    /// Galois keys that the evaluation key has; 0 element-wise.
    pub galois_keys: usize,
    /// N, coefficients and slots of a ciphertext.
    pub ring_degree: usize,
    /// Bits of the modulus of fresh ciphertexts.
    pub log2_q: f64,
    /// The same with the special primes of the evaluation key.
    pub log2_qp: f64,
    /// 128 or 192, from the security table.
    pub security_bits: u32,
    /// Primes that can be dropped from a fresh ciphertext.
    pub levels: usize,
    /// log2 of the input's scale.
    pub log2_input_scale: f64,
    /// log2 of the reply's scale.
    pub log2_output_scale: f64,
    /// Ciphertext components of the reply.
    pub reply_components: usize,
    /// Multiply-accumulates per image; known to the server only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macs_per_image: Option<u64>,
    /// Predicted costs and precision.
    pub estimate: Estimate,
    /// Bytes of the upload per image of a full batch.
    pub upload_bytes_per_image: f64,
    /// Bytes of the reply per image of a full batch.
    pub reply_bytes_per_image: f64,
    /// Every step; known to the server only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepSummary>,
    /// What both packings would take, where the planner was free to choose; known to the server only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<PackingComparison>,
    /// The best plans of other kinds, and what ruled them out; known to the server only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Alternative>,
}

/// One step as explained.
#[derive(Clone, Debug, Serialize)]
pub struct StepSummary {
    /// Folded node.
    pub name: String,
    /// Operation.
    pub operation: &'static str,
    /// Elements of the result.
    pub elements: usize,
    /// Ciphertexts that a block of them takes.
    pub ciphertexts: usize,
    /// Rotations of a block; 0 element-wise.
    pub rotations: usize,
    /// Products of a ciphertext with a plaintext of a block; 0 element-wise.
    pub products: usize,
    /// Components of the result.
    pub components: usize,
    /// Level of the result.
    pub level: usize,
    /// log2 of the scale of the result.
    pub log2_scale: f64,
    /// Multiply-accumulates per slot, 0 for other than linear steps.
    pub macs: u64,
    /// Passes of the kernel: 1 for 8-bit weights, 2 for wider ones, 0 without weights.
    pub weight_passes: u32,
    /// Largest |r| of x·(x + r) in real units, 0 for other than squares: large values amplify noise.
    pub largest_shift: f64,
}

impl StepSummary {
    fn of(plan: &ServerPlan, index: usize) -> Self {
        let steps = plan.steps();
        let step = &steps[index];
        let channel = plan.channel();
        let counts = channel.and_then(|channel| channel.counts(steps, index));
        let passes = |term: &Term| match term {
            Term::Product { map, .. } => map.weight_width().bytes() as u32,
            Term::Scaled { .. } => 1,
        };
        let (weight_passes, largest_shift) = match &step.operation {
            Operation::Linear { terms, .. } => (terms.iter().map(passes).max().unwrap_or(0), 0.0),
            Operation::Square { source, shift } => {
                let largest = shift.iter().map(|r| r.unsigned_abs()).max().unwrap_or(0);
                (0, largest as f64 / steps[*source].scale)
            }
            _ => (0, 0.0),
        };
        StepSummary {
            name: step.name.clone(),
            operation: step.operation.kind(),
            elements: step.elements,
            ciphertexts: channel
                .map_or(step.elements, |channel| channel.layouts[index].ciphertexts),
            rotations: counts.map_or(0, |counts| counts.rotations()),
            products: counts.map_or(0, |counts| counts.products),
            components: step.components,
            level: step.limbs - 1,
            log2_scale: step.scale.log2(),
            macs: step.multiply_accumulates(),
            weight_passes,
            largest_shift,
        }
    }
}

impl ServerPlan {
    /// Explains the plan, steps included.
    pub fn explain(&self) -> Explanation {
        let (header, estimate) = (self.header(), self.estimate());
        Explanation {
            galois_keys: self.rotations().len(),
            macs_per_image: Some(self.multiply_accumulates()),
            steps: (0..self.steps().len())
                .map(|index| StepSummary::of(self, index))
                .collect(),
            comparison: self.comparison(),
            alternatives: self.alternatives().to_vec(),
            ..Explanation::new(header, self.packing().kind(), self.block_images(), estimate)
        }
    }
}

impl ClientPlan {
    /// Explains the plan as far as the client knows it.
    pub fn explain(&self) -> Explanation {
        let (header, kind) = (&self.header, self.packing.kind());
        let rotations = self
            .packing
            .channel()
            .map(|channel| channel.rotations.len());
        Explanation {
            galois_keys: rotations.unwrap_or(0),
            ..Explanation::new(header, kind, self.block_images(), &self.estimate)
        }
    }
}

impl Explanation {
    fn new<Parents>(
        header: &PlanHeader<Parents>,
        packing: PackingKind,
        block_images: usize,
        estimate: &Estimate,
    ) -> Self {
        let parameters = &header.parameters;
        let per_image = |bytes: u64| bytes as f64 / header.batch as f64;
        Explanation {
            network: header.network.clone(),
            packing: packing.to_string(),
            batch: header.batch,
            blocks: header.blocks,
            block_images,
            galois_keys: 0,
            ring_degree: parameters.ring_degree(),
            log2_q: parameters.log2_q(),
            log2_qp: parameters.log2_qp(),
            security_bits: parameters.security_bits(),
            levels: parameters.max_level(),
            log2_input_scale: header.input.scale.log2(),
            log2_output_scale: header.output.scale.log2(),
            reply_components: header.output.components,
            macs_per_image: None,
            estimate: estimate.clone(),
            upload_bytes_per_image: per_image(estimate.upload_bytes),
            reply_bytes_per_image: per_image(estimate.reply_bytes),
            steps: Vec::new(),
            comparison: None,
            alternatives: Vec::new(),
        }
    }
}

impl Explanation {
    /// A label and what it says, for all but the steps.
    fn summary(&self) -> impl Iterator<Item = (&'static str, String)> {
        let e = &self.estimate;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let [input, output] = [self.log2_input_scale, self.log2_output_scale];
        let worst = (-e.precision_bits).exp2();
        let us_per_image = e.evaluate_seconds * 1e6 / self.batch as f64;
        let scratch = match e.scratch_bytes {
            0 => String::new(),
            bytes => format!(", and {:.0} MiB of scratch", mib(bytes)),
        };
        let rotations = match self.galois_keys {
            0 => String::new(),
            keys => format!(", {keys} rotations"),
        };
        let bytes = |bytes: u64, per_image: f64| {
            Some(format!(
                "{:.1} MiB, {per_image:.0} bytes per image",
                mib(bytes)
            ))
        };
        let packings = self.comparison.map(|both| {
            let [element, channel] = [both.element_wise_seconds, both.channel_wise_seconds];
            format!(
                "element-wise {element:.4} s, channel-wise {channel:.4} s; element-wise from {} images on",
                both.break_even_batch
            )
        });
        let lines = [
            ("ring degree N", Some(self.ring_degree.to_string())),
            (
                "log2 Q / log2 QP",
                Some(format!("{:.1} / {:.1}", self.log2_q, self.log2_qp)),
            ),
            ("security", Some(format!("{} bits", self.security_bits))),
            ("levels", Some(self.levels.to_string())),
            (
                "scale in / out",
                Some(format!("2^{input:.1} / 2^{output:.1}")),
            ),
            (
                "multiply-accumulates",
                self.macs_per_image.map(|macs| format!("{macs} per image")),
            ),
            (
                "predicted precision",
                Some(format!(
                    "{:.1} bits (worst logit error {worst:.2e})",
                    e.precision_bits
                )),
            ),
            (
                "weight rounding",
                Some(format!("{:.2e} rms on a logit", e.rms_weight_rounding)),
            ),
            (
                "time",
                Some(format!(
                    "{:.2} s, {us_per_image:.1} us per image",
                    e.evaluate_seconds
                )),
            ),
            (
                "memory",
                Some(format!("{:.0} MiB{scratch}", mib(e.memory_bytes))),
            ),
            ("upload", bytes(e.upload_bytes, self.upload_bytes_per_image)),
            (
                "evaluation key",
                Some(format!("{:.1} MiB{rotations}", mib(e.key_bytes))),
            ),
            ("packings", packings),
            ("reply", bytes(e.reply_bytes, self.reply_bytes_per_image)),
        ];
        lines
            .into_iter()
            .filter_map(|(label, text)| Some((label, text?)))
    }

    /// The table of steps, its head first.
    fn rows(&self) -> Vec<[String; 10]> {
        let channel_wise = self.galois_keys > 0;
        let work = match channel_wise {
            false => ["MACs", "passes"],
            true => ["rotations", "products"],
        };
        let head = [
            "step",
            "operation",
            "elements",
            "cipher",
            "comp.",
            "level",
            "log2 scale",
            work[0],
            work[1],
            "max |r|",
        ];
        let row = |step: &StepSummary| {
            let work = match channel_wise {
                false => [step.macs, u64::from(step.weight_passes)],
                true => [step.rotations as u64, step.products as u64],
            };
            [
                step.name.clone(),
                step.operation.to_owned(),
                step.elements.to_string(),
                step.ciphertexts.to_string(),
                step.components.to_string(),
                step.level.to_string(),
                format!("{:.1}", step.log2_scale),
                work[0].to_string(),
                work[1].to_string(),
                format!("{:.2}", step.largest_shift),
            ]
        };
        let rows = self.steps.iter().map(row);
        std::iter::once(head.map(str::to_owned))
            .chain(rows)
            .collect()
    }
}

/// Columns of the table of steps; the first two are aligned to the left.
const WIDTHS: [usize; 10] = [24, 12, 8, 6, 5, 6, 10, 12, 8, 8];

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} packing, {} images in {} block(s) of up to {}",
            self.network, self.packing, self.batch, self.blocks, self.block_images
        )?;
        for (label, text) in self.summary() {
            write!(f, "\n  {label:<20} {text}")?;
        }
        if self.steps.is_empty() {
            return Ok(());
        }
        for row in self.rows() {
            write!(f, "\n ")?;
            for (column, (cell, width)) in row.iter().zip(WIDTHS).enumerate() {
                match column {
                    0 | 1 => write!(f, " {cell:<width$}")?,
                    _ => write!(f, " {cell:>width$}")?,
                }
            }
        }
        Ok(())
    }
}
