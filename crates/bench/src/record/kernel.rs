//! One row of a benchmark of single kernels.

use serde::{Deserialize, Serialize};

use sordino_report::Align::{Left, Right};
use sordino_report::{Column, columns, number_text, percent_text};

use super::origin::Origin;
use super::timing::Timing;

/// One kernel on one shape: median and extremes of the runs, in `unit`.
///
/// What a row lacks is `None`, and `null` in JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KernelRecord {
    /// `kernels`.
    pub suite: String,
    /// `int8_peak`, `linear`, `ntt_forward`, `ntt_inverse`, `square_shifted`, `multiply_add`, `pack`, `unpack`,
    /// `expand_uniform`.
    pub kernel: String,
    /// The shape of its operands, in words.
    pub shape: String,
    /// Bytes of a packed residue.
    pub width_bytes: Option<u64>,
    /// Residues of a polynomial, or columns of a product.
    pub ring_degree: Option<u64>,
    /// Name of the kernels.
    pub backend: String,
    /// Threads at work together.
    pub threads: u64,
    /// Median of the runs.
    pub median: f64,
    /// Smallest of the runs.
    pub min: f64,
    /// Largest of the runs.
    pub max: f64,
    /// What the three numbers count; times are those of one item, all threads working on different ones.
    pub unit: String,
    /// Median over the int8 peak measured just before, for products.
    pub share_of_peak: Option<f64>,
    /// Runs.
    pub runs: u64,
    /// Program, machine and load.
    #[serde(flatten)]
    pub origin: Origin,
}

impl KernelRecord {
    /// A row of the suite `kernels`. Without samples its numbers are 0.
    pub fn new(origin: &Origin, kernel: &str, unit: &str, samples: &[f64]) -> Self {
        let Timing { median, min, max } = Timing::of(samples);
        Self {
            suite: "kernels".into(),
            kernel: kernel.into(),
            unit: unit.into(),
            median: median.unwrap_or(0.0),
            min: min.unwrap_or(0.0),
            max: max.unwrap_or(0.0),
            runs: samples.len() as u64,
            origin: origin.clone(),
            ..Self::default()
        }
    }
}

/// The sections of [`kernel_tables`]: title and kernels.
const SECTIONS: [(&str, &[&str]); 5] = [
    ("Peak of byte products", &["int8_peak"]),
    ("Whole-layer product", &["linear"]),
    ("Transform", &["ntt_forward", "ntt_inverse"]),
    (
        "Residue by residue",
        &["square_shifted", "multiply_add", "pack", "unpack"],
    ),
    ("Expansion of a seed", &["expand_uniform"]),
];

const COLUMNS: [Column<'_, KernelRecord>; 11] = [
    ("backend", Left, |r| Some(r.backend.clone())),
    ("kernel", Left, |r| Some(r.kernel.clone())),
    ("shape", Left, |r| Some(r.shape.clone())),
    ("bytes", Right, |r| {
        r.width_bytes.map(|width| width.to_string())
    }),
    ("N", Right, |r| r.ring_degree.map(|n| n.to_string())),
    ("threads", Right, |r| Some(r.threads.to_string())),
    ("median", Right, |r| Some(number_text(r.median))),
    ("min", Right, |r| Some(number_text(r.min))),
    ("max", Right, |r| Some(number_text(r.max))),
    ("unit", Left, |r| Some(r.unit.clone())),
    ("of peak", Right, |r| r.share_of_peak.map(percent_text)),
];

/// The rows as one table per section; sections without rows are left out.
pub fn kernel_tables(records: &[KernelRecord]) -> String {
    let mut texts = Vec::new();
    for (title, kernels) in SECTIONS {
        let rows: Vec<KernelRecord> = records
            .iter()
            .filter(|record| kernels.contains(&record.kernel.as_str()))
            .cloned()
            .collect();
        if !rows.is_empty() {
            texts.push(format!("{title}\n{}", columns(&COLUMNS, &rows)));
        }
    }
    texts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_scripts_rely_on_are_all_there() {
        let contract = "suite kernel shape width_bytes ring_degree backend threads median min max unit \
            share_of_peak runs commit machine load";
        let json = serde_json::to_value(KernelRecord::default()).unwrap();
        let fields = json.as_object().unwrap();
        for name in contract.split_whitespace() {
            assert!(fields.contains_key(name), "{name}");
        }
        assert_eq!(fields.len(), contract.split_whitespace().count());
    }

    #[test]
    fn every_section_has_a_title_and_its_rows() {
        let origin = Origin::default();
        let peak = KernelRecord::new(&origin, "int8_peak", "G MAC/s", &[1.0, 3.0, 2.0]);
        let expand = KernelRecord {
            width_bytes: Some(4),
            ..KernelRecord::new(&origin, "expand_uniform", "ns/byte", &[0.25])
        };
        assert_eq!(
            (peak.median, peak.min, peak.max, peak.runs),
            (2.0, 1.0, 3.0, 3)
        );
        let text = kernel_tables(&[expand, peak]);
        let sections: Vec<&str> = text.split("\n\n").collect();
        assert_eq!(sections.len(), 2, "{text}");
        assert!(
            sections[0].starts_with("Peak of byte products\nkernel"),
            "{text}"
        );
        assert!(
            sections[1].contains("bytes") && sections[1].contains("0.250"),
            "{text}"
        );
    }
}
