//! Reports of a user's own run: an HTML page and its numbers as JSON beside it.

use std::io::Write;
use std::path::{Path, PathBuf};

use sordino::container::{Access, AtomicFile, Error as FileError, Overwrite};
use sordino::plan::ServerPlan;
use sordino::report::{Cell, Comparison, Report, Row, Unit, page};

use crate::exit::Usage;

/// Name and version, for a report's provenance.
pub(crate) const PROGRAM: &str = concat!("sordino ", env!("CARGO_PKG_VERSION"));

/// Where a report goes.
pub(crate) struct ReportFile {
    html: PathBuf,
    json: PathBuf,
    overwrite: Overwrite,
    access: Access,
}

impl ReportFile {
    /// Asks before the work whether both files can be written; `others` are outputs of the same command.
    pub(crate) fn new(
        html: &Path,
        others: &[&Path],
        overwrite: Overwrite,
        access: Access,
    ) -> anyhow::Result<Self> {
        let json = html.with_extension("json");
        if json == html || others.iter().any(|other| *other == html || *other == json) {
            return Err(Usage(format!(
                "--report {}: the page and {} beside it need names of their own: give another name, such as report.html",
                html.display(),
                json.display()
            ))
            .into());
        }
        for path in [html, &json] {
            drop(AtomicFile::create(path, overwrite, access)?);
        }
        Ok(Self {
            html: html.to_path_buf(),
            json,
            overwrite,
            access,
        })
    }

    /// The page.
    pub(crate) fn path(&self) -> &Path {
        &self.html
    }

    /// Writes both, each whole or not at all.
    pub(crate) fn write(&self, report: &Report) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(report)? + "\n";
        for (path, text) in [(&self.json, json), (&self.html, page(report))] {
            let mut file = AtomicFile::create(path, self.overwrite, self.access)?;
            file.write_all(text.as_bytes())
                .map_err(|error| FileError::io(path, "write", error))?;
            file.commit()?;
        }
        Ok(())
    }
}

/// A plan's parameters as a table of one column.
pub(crate) fn parameters(plan: &ServerPlan) -> Comparison {
    let found = plan.parameters();
    let count = |value: usize| Cell::number(value as f64);
    let primes = |primes: &[u64]| {
        let texts: Vec<String> = primes.iter().map(u64::to_string).collect();
        Cell::words(texts.join(" · "))
    };
    let row = |name, label, unit, cell| Row::new(name, label, unit, vec![cell]);
    let mut rows = vec![
        row(
            "ring_degree",
            "Ring degree N",
            Unit::Count,
            count(found.ring_degree()),
        ),
        row("log2_q", "log₂ Q", Unit::Bits, Cell::number(found.log2_q())),
        row(
            "log2_qp",
            "log₂ QP",
            Unit::Bits,
            Cell::number(found.log2_qp()),
        ),
        row(
            "security_bits",
            "Security",
            Unit::Bits,
            Cell::number(f64::from(found.security_bits())),
        ),
        row(
            "log2_scale",
            "log₂ of the input\u{2019}s scale",
            Unit::Bits,
            Cell::number(plan.input().scale.log2()),
        ),
        row(
            "log2_output_scale",
            "log₂ of the reply\u{2019}s scale",
            Unit::Bits,
            Cell::number(plan.output().scale.log2()),
        ),
        row(
            "primes",
            "Primes of Q",
            Unit::Number,
            primes(found.primes()),
        ),
    ];
    if !found.special_primes().is_empty() {
        let special = primes(found.special_primes());
        rows.push(row(
            "special_primes",
            "Special primes P",
            Unit::Number,
            special,
        ));
    }
    rows.extend([
        row(
            "batch",
            "Images that the plan is for",
            Unit::Count,
            count(plan.batch()),
        ),
        row(
            "macs_per_image",
            "Multiply-accumulates an image",
            Unit::Count,
            Cell::number(plan.multiply_accumulates() as f64),
        ),
        row(
            "precision_bits",
            "Guaranteed precision of logits",
            Unit::Bits,
            Cell::number(plan.estimate().precision_bits),
        ),
    ]);
    Comparison {
        title: format!("{} for {}", plan.network(), plan.dataset()),
        baseline: None,
        columns: vec![plan.packing().kind().to_string()],
        rows,
    }
}
