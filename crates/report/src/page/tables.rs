//! Headline, comparison, parameters, steps and where it was measured.

use super::html::{caption, data, escape, number, scroll, section};
use crate::quantity::change_text;
use crate::{AmortizedRatio, Cell, Comparison, Report, Row, Unit};

/// Rows that a reader looks for first.
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

/// The packings side by side.
pub(super) fn comparison_section(report: &Report) -> String {
    let mut body = String::new();
    for table in report.comparisons.iter().filter(|t| !t.rows.is_empty()) {
        let text = match table.baseline {
            Some(base) => format!(
                "Below a number: its change from {}, where both are of equally many images or of one; for times, also the smallest and largest of the runs.",
                table.columns[base]
            ),
            None => "Below a time: the smallest and largest of the runs.".into(),
        };
        body += &table_of(table, &text);
    }
    if !body.is_empty() {
        body = format!(
            "{}<p class=\"note\">Total time is from the request in memory to the reply in memory: what everybody in the batch waits for. Amortized time is total time divided by the images: no single image is answered that fast.</p>\n{body}",
            amortized(&report.amortized)
        );
    }
    let title = if report.comparisons.iter().any(|t| t.baseline.is_some()) {
        "Packings side by side"
    } else {
        "Measurements"
    };
    section(title, &body)
}

/// Element-wise against channel-wise packing, the time an image.
fn amortized(ratios: &[AmortizedRatio]) -> String {
    if ratios.is_empty() {
        return String::new();
    }
    let timed = |seconds, images: u64| {
        format!(
            "<td>{}<span class=\"sub\">{} images</span></td>",
            number(seconds, Unit::Seconds),
            number(images as f64, Unit::Count)
        )
    };
    let rows: String = ratios
        .iter()
        .map(|ratio| {
            format!(
                "<tr><th scope=\"row\">{}<span class=\"sub\">{}</span></th><td class=\"words\">{}</td>{}{}<td>{}</td><td>{}</td></tr>\n",
                escape(&ratio.network),
                escape(&ratio.dataset),
                escape(&ratio.against_label()),
                timed(ratio.amortized_seconds, ratio.images),
                timed(ratio.against_seconds, ratio.against_images),
                data(ratio.below, &ratio.below_text()),
                number(ratio.factor, Unit::Ratio),
            )
        })
        .collect();
    scroll(
        "Amortized time of the packings",
        &format!(
            "<table>\n{}\n<thead><tr><th scope=\"col\">Network</th><th scope=\"col\" class=\"words\">Against</th><th scope=\"col\">Element-wise</th><th scope=\"col\">Channel-wise</th><th scope=\"col\">Below by</th><th scope=\"col\">Factor</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n",
            caption(
                "Amortized time an image: element-wise against channel-wise packing",
                "Below a time: how many images were run."
            )
        ),
    )
}

fn table_of(table: &Comparison, text: &str) -> String {
    let columns: String = table
        .columns
        .iter()
        .map(|column| format!("<th scope=\"col\">{}</th>", escape(column)))
        .collect();
    let rows: String = table.rows.iter().map(row).collect();
    scroll(
        &table.title,
        &format!(
            "<table>\n{}\n<thead><tr><th scope=\"col\">Quantity</th>{columns}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n",
            caption(&table.title, text)
        ),
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
        (Some(value), _) => number(value, unit),
        (None, Some(text)) => escape(text),
        (None, None) => "<span class=\"none\">–</span>".into(),
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
    let none = || "<span class=\"none\">–</span>".to_owned();
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
            step.seconds.map_or_else(none, |s| number(s, Unit::Seconds)),
            step.share.map_or_else(none, |s| number(s, Unit::Share)),
            step.level
                .map_or_else(none, |l| number(l as f64, Unit::Count)),
            step.log2_scale.map_or_else(none, |s| number(s, Unit::Bits)),
        );
    }
    let table = format!(
        "<table>\n{}\n<thead><tr><th scope=\"col\">Step</th><th scope=\"col\" class=\"words\">Operation</th><th scope=\"col\">Time</th><th scope=\"col\">Of the whole</th><th scope=\"col\"></th><th scope=\"col\">Level</th><th scope=\"col\">log₂ scale</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n",
        caption(
            "",
            "Steps of the plan, over all blocks. Steps that ran together share their time by what the threads spent on each; level and scale are those of the result."
        )
    );
    section("Where the time goes", &scroll("Steps of the plan", &table))
}

/// Parameters and sizes.
pub(super) fn parameters_section(report: &Report) -> String {
    let tables = report.parameters.iter().filter(|t| !t.rows.is_empty());
    let body: String = tables.map(|table| table_of(table, "")).collect();
    section("Parameters", &body)
}

/// Machine, program, date.
pub(super) fn provenance_section(report: &Report) -> String {
    let from = &report.provenance;
    let mut facts: Vec<(&str, String)> = Vec::new();
    let mut say = |label, text: &str| {
        if !text.is_empty() {
            facts.push((label, escape(text)));
        }
    };
    say("Machine", &from.machine);
    say("Back end", from.backend.as_deref().unwrap_or(""));
    say("Program", &from.program);
    say("Commit", from.commit.as_deref().unwrap_or(""));
    say("Date", &from.date);
    if let Some(threads) = from.threads {
        facts.push(("Threads", number(threads as f64, Unit::Count)));
    }
    if let Some(load) = from.load {
        let text = format!(
            "{} (average of the minute before)",
            number(load, Unit::Number)
        );
        facts.push(("Load", text));
    }
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
    let facts: String = facts
        .iter()
        .map(|(label, text)| format!("<dt>{label}</dt><dd>{text}</dd>\n"))
        .collect();
    let mut body = format!("<dl class=\"facts\">\n{facts}</dl>\n");
    if !digests.is_empty() {
        body += &format!(
            "<details>\n<summary>Digests of the files</summary>\n<dl class=\"facts\">\n{digests}</dl>\n</details>\n"
        );
    }
    section("Machine and program", &body)
}
