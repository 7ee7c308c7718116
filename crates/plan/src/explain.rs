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
    /// Most images a request.
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
    /// Multiply-accumulates an image; known to the server only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macs_per_image: Option<u64>,
    /// Predicted costs and precision.
    pub estimate: Estimate,
    /// Upload of one image of a full batch.
    pub upload_bytes_per_image: f64,
    /// Reply of one image of a full batch.
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
    /// Multiply-accumulates a slot, 0 for other than linear steps.
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

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = &self.estimate;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "{}: {} packing, {} images in {} block(s) of up to {}",
            self.network, self.packing, self.batch, self.blocks, self.block_images
        )?;
        writeln!(f, "  ring degree N        {}", self.ring_degree)?;
        writeln!(
            f,
            "  log2 Q / log2 QP     {:.1} / {:.1}",
            self.log2_q, self.log2_qp
        )?;
        writeln!(f, "  security             {} bits", self.security_bits)?;
        writeln!(f, "  levels               {}", self.levels)?;
        writeln!(
            f,
            "  scale in / out       2^{:.1} / 2^{:.1}",
            self.log2_input_scale, self.log2_output_scale
        )?;
        if let Some(macs) = self.macs_per_image {
            writeln!(f, "  multiply-accumulates {macs} an image")?;
        }
        writeln!(
            f,
            "  predicted precision  {:.1} bits (worst logit error {:.2e})",
            e.precision_bits,
            (-e.precision_bits).exp2()
        )?;
        writeln!(
            f,
            "  weight rounding      {:.2e} rms on a logit",
            e.rms_weight_rounding
        )?;
        writeln!(
            f,
            "  time                 {:.2} s, {:.1} us an image",
            e.evaluate_seconds,
            e.evaluate_seconds * 1e6 / self.batch as f64
        )?;
        write!(f, "  memory               {:.0} MiB", mib(e.memory_bytes))?;
        match e.scratch_bytes {
            0 => writeln!(f)?,
            bytes => writeln!(f, ", and {:.0} MiB of scratch", mib(bytes))?,
        }
        writeln!(
            f,
            "  upload               {:.1} MiB, {:.0} bytes an image",
            mib(e.upload_bytes),
            self.upload_bytes_per_image
        )?;
        write!(f, "  evaluation key       {:.1} MiB", mib(e.key_bytes))?;
        match self.galois_keys {
            0 => writeln!(f)?,
            keys => writeln!(f, ", {keys} rotations")?,
        }
        if let Some(comparison) = &self.comparison {
            writeln!(
                f,
                "  packings             element-wise {:.4} s, channel-wise {:.4} s; element-wise from {} images on",
                comparison.element_wise_seconds,
                comparison.channel_wise_seconds,
                comparison.break_even_batch
            )?;
        }
        write!(
            f,
            "  reply                {:.1} MiB, {:.0} bytes an image",
            mib(e.reply_bytes),
            self.reply_bytes_per_image
        )?;
        if self.steps.is_empty() {
            return Ok(());
        }
        let channel_wise = self.galois_keys > 0;
        let columns = match channel_wise {
            false => ["MACs", "passes"],
            true => ["rotations", "products"],
        };
        write!(
            f,
            "\n  {:<24} {:<12} {:>8} {:>6} {:>5} {:>6} {:>10} {:>12} {:>8} {:>8}",
            "step",
            "operation",
            "elements",
            "cipher",
            "comp.",
            "level",
            "log2 scale",
            columns[0],
            columns[1],
            "max |r|"
        )?;
        for step in &self.steps {
            let work = match channel_wise {
                false => [step.macs, u64::from(step.weight_passes)],
                true => [step.rotations as u64, step.products as u64],
            };
            write!(
                f,
                "\n  {:<24} {:<12} {:>8} {:>6} {:>5} {:>6} {:>10.1} {:>12} {:>8} {:>8.2}",
                step.name,
                step.operation,
                step.elements,
                step.ciphertexts,
                step.components,
                step.level,
                step.log2_scale,
                work[0],
                work[1],
                step.largest_shift
            )?;
        }
        Ok(())
    }
}
