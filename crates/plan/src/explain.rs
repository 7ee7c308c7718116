//! A readable account of a plan, before anything runs.

use std::fmt;

use serde::Serialize;

use crate::packing::Ends;
use crate::{
    Alternative, ClientPlan, Estimate, Operation, Packing, PackingComparison, PlanHeader,
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
    /// Images of a request that a block holds.
    pub block_images: usize,
    /// Check images of every block.
    pub check_images: usize,
    /// Largest accepted error of a check image's logit; known to the client only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_tolerance: Option<f64>,
    /// Most images that these blocks hold besides the usual number of check images; 0 where a block has no place for them.
    pub largest_checked_batch: usize,
    /// Why there are no check images, and what to do, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_check_images: Option<String>,
    /// Images of a block that may be any allowed image without harm to the others, as far as is proven.
    pub contained_images: usize,
    /// Galois keys that the evaluation key has; 0 element-wise.
    pub galois_keys: usize,
    /// N, coefficients and slots of a ciphertext.
    pub ring_degree: usize,
    /// Bits of the modulus of fresh ciphertexts.
    pub log2_q: f64,
    /// Bits of the modulus with the special primes of the evaluation key.
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
    /// Estimated time of both packings, where the planner was free to choose; known to the server only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<PackingComparison>,
    /// Which packing has no plan where the planner was free to choose, and why; known to the server only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impossible_packing: Option<String>,
    /// The best plans of other kinds, and what ruled them out; known to the server only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Alternative>,
}

/// One step of an [`Explanation`].
#[derive(Clone, Debug, Serialize)]
pub struct StepSummary {
    /// Folded node.
    pub name: String,
    /// Operation.
    pub operation: &'static str,
    /// Elements of the result.
    pub elements: usize,
    /// Ciphertexts of the result, per block.
    pub ciphertexts: usize,
    /// Rotations per block; 0 element-wise.
    pub rotations: usize,
    /// Products of a ciphertext and a plaintext, per block; 0 element-wise.
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
    /// Bytes of the result, per block; half of a fresh ciphertext is a seed.
    pub bytes: u64,
    /// Estimated seconds for all blocks; unknown for values that only explain failed check images, and in older plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

impl StepSummary {
    fn of(plan: &ServerPlan, index: usize) -> Self {
        let steps = plan.steps();
        let step = &steps[index];
        let channel = plan.channel();
        let counts = channel.and_then(|channel| channel.counts(steps, index));
        let passes = |term: &Term| {
            term.map()
                .map_or(1, |map| map.weight_width().bytes() as u32)
        };
        let largest_shift = match &step.operation {
            Operation::Square { source, shift } => {
                let largest = shift.iter().map(|r| r.unsigned_abs()).max().unwrap_or(0);
                largest as f64 / steps[*source].scale
            }
            _ => 0.0,
        };
        let ciphertexts =
            channel.map_or(step.elements, |channel| channel.layouts[index].ciphertexts);
        let parameters = plan.parameters();
        let widths = parameters.primes()[..step.limbs]
            .iter()
            .map(|&prime| prime.ilog2() as usize / 8 + 1);
        let stored = match step.operation {
            Operation::Input => 1,
            _ => step.components,
        };
        let polynomial = widths.sum::<usize>() * parameters.ring_degree();
        StepSummary {
            name: step.name.clone(),
            operation: step.operation.kind(),
            elements: step.elements,
            ciphertexts,
            rotations: counts.map_or(0, |counts| counts.rotations()),
            products: counts.map_or(0, |counts| counts.products),
            components: step.components,
            level: step.limbs - 1,
            log2_scale: step.scale.log2(),
            macs: step.multiply_accumulates(),
            weight_passes: step.terms().iter().map(passes).max().unwrap_or(0),
            largest_shift,
            bytes: (ciphertexts * stored * polynomial) as u64,
            seconds: step.seconds.map(|seconds| seconds * plan.blocks() as f64),
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
            impossible_packing: self.impossible_packing().map(str::to_owned),
            alternatives: self.alternatives().to_vec(),
            ..Explanation::new(header, self.packing(), estimate)
        }
    }
}

impl ClientPlan {
    /// Explains the plan as far as the client knows it.
    pub fn explain(&self) -> Explanation {
        let header = &self.header;
        let rotations = self
            .packing
            .channel()
            .map(|channel| channel.rotations.len());
        Explanation {
            galois_keys: rotations.unwrap_or(0),
            check_tolerance: self.check_tolerance(),
            ..Explanation::new(header, &self.packing, &self.estimate)
        }
    }
}

impl Explanation {
    fn new(header: &PlanHeader, packing: &Packing<impl Ends>, estimate: &Estimate) -> Self {
        let (parameters, block) = (&header.parameters, header.block(packing));
        let per_image = |bytes: u64| bytes as f64 / header.batch as f64;
        Explanation {
            network: header.network.clone(),
            packing: packing.kind().to_string(),
            batch: header.batch,
            blocks: header.blocks,
            block_images: block.images,
            check_images: header.check_images,
            check_tolerance: None,
            largest_checked_batch: header.largest_checked_batch(packing),
            no_check_images: header.no_check_images(packing),
            contained_images: header.contained_images,
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
            impossible_packing: None,
            alternatives: Vec::new(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = &self.estimate;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (network, packing, batch) = (&self.network, &self.packing, self.batch);
        let (blocks, images) = (self.blocks, self.block_images);
        write!(
            f,
            "{network}: {packing} packing, {batch} images in {blocks} block(s) of up to {images}"
        )?;
        let mut line = |label: &str, text: String| write!(f, "\n  {label:<20} {text}");
        line("ring degree N", self.ring_degree.to_string())?;
        line(
            "log2 Q / log2 QP",
            format!("{:.1} / {:.1}", self.log2_q, self.log2_qp),
        )?;
        line("security", format!("{} bits", self.security_bits))?;
        line("levels", self.levels.to_string())?;
        let (input, output) = (self.log2_input_scale, self.log2_output_scale);
        line("scale in / out", format!("2^{input:.1} / 2^{output:.1}"))?;
        line("check images", self.check_images_text())?;
        line("unusual images", self.unusual_text())?;
        if let Some(macs) = self.macs_per_image {
            line("multiply-accumulates", format!("{macs} per image"))?;
        }
        let (bits, worst) = (e.precision_bits, (-e.precision_bits).exp2());
        line(
            "predicted precision",
            format!("{bits:.1} bits (worst logit error {worst:.2e})"),
        )?;
        line(
            "weight rounding",
            format!("{:.2e} rms on a logit", e.rms_weight_rounding),
        )?;
        let us_per_image = e.evaluate_seconds * 1e6 / batch as f64;
        line(
            "time",
            format!(
                "{:.2} s, {us_per_image:.1} us per image",
                e.evaluate_seconds
            ),
        )?;
        let scratch = match e.scratch_bytes {
            0 => String::new(),
            bytes => format!(", and {:.0} MiB of scratch", mib(bytes)),
        };
        line("memory", format!("{:.0} MiB{scratch}", mib(e.memory_bytes)))?;
        let (bytes, per_image) = (mib(e.upload_bytes), self.upload_bytes_per_image);
        line(
            "upload",
            format!("{bytes:.1} MiB, {per_image:.0} bytes per image"),
        )?;
        let rotations = match self.galois_keys {
            0 => String::new(),
            keys => format!(", {keys} rotations"),
        };
        line(
            "evaluation key",
            format!("{:.1} MiB{rotations}", mib(e.key_bytes)),
        )?;
        if let Some(both) = self.comparison {
            let (element, channel) = (both.element_wise_seconds, both.channel_wise_seconds);
            let from = format!("element-wise from {} images on", both.break_even_batch);
            let packings =
                format!("element-wise {element:.4} s, channel-wise {channel:.4} s; {from}");
            line("packings", packings)?;
        }
        if let Some(reason) = &self.impossible_packing {
            line("impossible", reason.clone())?;
        }
        let (bytes, per_image) = (mib(e.reply_bytes), self.reply_bytes_per_image);
        line(
            "reply",
            format!("{bytes:.1} MiB, {per_image:.0} bytes per image"),
        )?;
        if !self.steps.is_empty() {
            self.write_steps(f)?;
        }
        Ok(())
    }
}

impl Explanation {
    /// The check images, or why there are none.
    fn check_images_text(&self) -> String {
        if let Some(reason) = &self.no_check_images {
            return format!("none: {reason}");
        }
        let tolerance = self
            .check_tolerance
            .map(|tolerance| format!(", whose logits may be off by {tolerance:.1e}"));
        let (count, tolerance) = (self.check_images, tolerance.unwrap_or_default());
        format!("{count} in every block{tolerance}")
    }

    /// What becomes of images unlike those of calibration.
    fn unusual_text(&self) -> String {
        match self.contained_images {
            0 => "left out: one may ruin the others of its block".to_owned(),
            count => {
                format!("up to {count} do no harm to others and are marked only; more are left out")
            }
        }
    }

    /// The table of steps.
    fn write_steps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channel_wise = self.galois_keys > 0;
        // Tabs end cells; the first two are aligned to the left.
        let mut row = |cells: String| {
            write!(f, "\n ")?;
            let widths = [24, 12, 8, 6, 5, 6, 10, 12, 8, 8, 9];
            let mut cells = cells.split('\t').zip(widths).enumerate();
            cells.try_for_each(|(column, (cell, width))| match column {
                0 | 1 => write!(f, " {cell:<width$}"),
                _ => write!(f, " {cell:>width$}"),
            })
        };
        let work = match channel_wise {
            false => "MACs\tpasses",
            true => "rotations\tproducts",
        };
        let head = "step\toperation\telements\tcipher\tcomp.\tlevel\tlog2 scale";
        row(format!("{head}\t{work}\tmax |r|\tseconds"))?;
        self.steps.iter().try_for_each(|step| {
            let (name, operation, elements) = (&step.name, step.operation, step.elements);
            let (ciphertexts, components, level) = (step.ciphertexts, step.components, step.level);
            let value = format!("{elements}\t{ciphertexts}\t{components}\t{level}");
            let work = match channel_wise {
                false => format!("{}\t{}", step.macs, step.weight_passes),
                true => format!("{}\t{}", step.rotations, step.products),
            };
            let (scale, shift) = (step.log2_scale, step.largest_shift);
            let seconds = step
                .seconds
                .map_or_else(String::new, |seconds| format!("{seconds:.4}"));
            row(format!(
                "{name}\t{operation}\t{value}\t{scale:.1}\t{work}\t{shift:.2}\t{seconds}"
            ))
        })
    }
}
