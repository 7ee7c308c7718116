//! The headline, tables of quantities, steps, and where the numbers come from.

use crate::html::{data, escape, number, optional, section, table};
use crate::quantity::change_text;
use crate::{Cell, Report, Row, Table, Unit};

/// Rows in bold: what a reader looks for first.
const LEADING: [&str; 3] = [
    "evaluate_seconds",
    "amortized_seconds",
    "accuracy_encrypted",
];

/// Title, summary, verdict and figures.
pub(super) fn header(report: &Report) -> String {
    let mut out = format!("<header>\n<h1>{}</h1>\n", escape(&report.title));
    if !report.summary.is_empty() {
        out += &format!("<p class=\"summary\">{}</p>\n", escape(&report.summary));
    }
    if let Some(verdict) = &report.verdict {
        let (class, word) = if verdict.passed {
            ("passed", "✓ passed")
        } else {
            ("failed", "✗ failed")
        };
        out += &format!(
            "<p class=\"verdict {class}\"><b>{word}</b>{}</p>\n",
            escape(&verdict.text)
        );
    }
    if !report.figures.is_empty() {
        out += "<dl class=\"figures\">\n";
        for figure in &report.figures {
            out += &format!(
                "<div><dt>{}</dt><dd class=\"value\">{}</dd><dd class=\"detail\">{}</dd></div>\n",
                escape(&figure.label),
                number(figure.value, figure.unit),
                escape(&figure.detail)
            );
        }
        out += "</dl>\n";
    }
    if !report.notes.is_empty() {
        let items = report.notes.iter();
        let items: String = items
            .map(|note| format!("<li>{}</li>\n", escape(note)))
            .collect();
        out += &format!("<ul class=\"notes\">\n{items}</ul>\n");
    }
    out + "</header>\n"
}

/// The tables of measurements, after `first`.
pub(super) fn measurements_section(report: &Report, first: &str) -> String {
    let tables = report.comparisons.iter().filter(|t| !t.rows.is_empty());
    let body: String = tables
        .map(|table| {
            let text = match table.baseline {
                Some(base) => format!(
                    "Below a number: its change from {}, where both are of equally many images or per image; for times, also the smallest and largest of the runs.",
                    table.columns[base]
                ),
                None => "Below a time: the smallest and largest of the runs.".into(),
            };
            quantities(table, &text)
        })
        .collect();
    if body.is_empty() {
        return String::new();
    }
    let title = match report.comparisons.iter().any(|t| t.baseline.is_some()) {
        true => "Packings side by side",
        false => "Measurements",
    };
    section(
        title,
        &format!(
            "{first}<p class=\"note\">Total time is from the request in memory to the reply in memory: what everybody in the batch waits for. Amortized time is total time divided by the images: no single image is answered that fast.</p>\n{body}"
        ),
    )
}

fn quantities(quantities: &Table, text: &str) -> String {
    let columns = quantities.columns.iter().map(|title| (title.as_str(), ""));
    let columns: Vec<(&str, &str)> = [("Quantity", "")].into_iter().chain(columns).collect();
    let rows: String = quantities.rows.iter().map(row).collect();
    table(
        &quantities.title,
        (&quantities.title, text),
        &columns,
        &rows,
    )
}

fn row(row: &Row) -> String {
    let class = if LEADING.contains(&row.name.as_str()) {
        " class=\"lead\""
    } else {
        ""
    };
    let note = row.note.as_ref().map_or(String::new(), |note| {
        format!("<span class=\"sub\">{}</span>", escape(note))
    });
    let cells: String = row.cells.iter().map(|c| cell(c, row.unit)).collect();
    format!(
        "<tr{class}><th scope=\"row\">{}{note}</th>{cells}</tr>\n",
        escape(&row.label)
    )
}

fn cell(cell: &Cell, unit: Unit) -> String {
    let mut out = match (cell.value, &cell.text) {
        (None, Some(text)) => escape(text),
        (value, _) => optional(value, unit),
    };
    if let Some(ratio) = cell.ratio {
        out += &format!(
            "<span class=\"sub\">{}</span>",
            data(ratio, &change_text(ratio))
        );
    }
    if let (Some(min), Some(max)) = (cell.min, cell.max) {
        out += &format!(
            "<span class=\"sub\">{} to {}</span>",
            number(min, unit),
            number(max, unit)
        );
    }
    format!("<td>{out}</td>")
}

/// Where the time of an evaluation goes.
pub(super) fn steps_section(report: &Report) -> String {
    if report.steps.is_empty() {
        return String::new();
    }
    let largest = report.steps.iter().filter_map(|step| step.share);
    let largest = largest.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let mut rows = String::new();
    for step in &report.steps {
        let bar = step.share.map_or(String::new(), |share| {
            let width = 100.0 * (share / largest).clamp(0.0, 1.0);
            format!("<span style=\"width:{width:.1}%\"></span>")
        });
        rows += &format!(
            "<tr><th scope=\"row\">{}</th><td class=\"words\">{}</td><td>{}</td><td>{}</td><td class=\"bar\">{bar}</td><td>{}</td><td>{}</td></tr>\n",
            escape(&step.name),
            escape(&step.operation),
            optional(step.seconds, Unit::Seconds),
            optional(step.share, Unit::Share),
            optional(step.level.map(|level| level as f64), Unit::Count),
            optional(step.log2_scale, Unit::Bits),
        );
    }
    let text = "Steps of the plan, over all blocks. Steps that ran together share their time by what the threads spent on each; level and scale are those of the result.";
    let columns = [
        ("Step", ""),
        ("Operation", "words"),
        ("Time", ""),
        ("Of the whole", ""),
        ("", ""),
        ("Level", ""),
        ("log₂ scale", ""),
    ];
    let table = table("Steps of the plan", ("", text), &columns, &rows);
    section("Where the time goes", &table)
}

/// Parameters and sizes.
pub(super) fn parameters_section(report: &Report) -> String {
    let tables = report.parameters.iter().filter(|t| !t.rows.is_empty());
    let body: String = tables.map(|table| quantities(table, "")).collect();
    section("Parameters", &body)
}

/// Machine, program, date.
pub(super) fn provenance_section(report: &Report) -> String {
    let from = &report.provenance;
    let word = |text: &str| (!text.is_empty()).then(|| escape(text));
    let load = |load| {
        let number = number(load, Unit::Number);
        format!("{number} (average of the minute before)")
    };
    let threads = |threads| number(threads as f64, Unit::Count);
    let facts = [
        ("Machine", word(&from.machine)),
        ("Back end", from.backend.as_deref().and_then(word)),
        ("Program", word(&from.program)),
        ("Commit", from.commit.as_deref().and_then(word)),
        ("Date", word(&from.date)),
        ("Threads", from.threads.map(threads)),
        ("Load", from.load.map(load)),
    ];
    let facts: String = facts
        .into_iter()
        .filter_map(|(label, text)| Some(format!("<dt>{label}</dt><dd>{}</dd>\n", text?)))
        .collect();
    let digests: String = from
        .digests
        .iter()
        .map(|(what, digest)| {
            format!(
                "<dt>{}</dt><dd><code>{}</code></dd>",
                escape(what),
                escape(digest)
            )
        })
        .collect();
    if facts.is_empty() && digests.is_empty() {
        return String::new();
    }
    let mut body = format!("<dl class=\"facts\">\n{facts}</dl>\n");
    if !digests.is_empty() {
        body += &format!(
            "<details>\n<summary>Digests of the files</summary>\n<dl class=\"facts\">\n{digests}</dl>\n</details>\n"
        );
    }
    section("Machine and program", &body)
}
