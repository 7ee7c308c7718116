//! The headline, tables of quantities, steps, and where the numbers come from.

use maud::{Markup, html};

use crate::html::{data, number, optional, section, table};
use crate::quantity::change_text;
use crate::{Cell, Report, Table, Unit};

/// Rows in bold: what a reader looks for first.
const LEADING: [&str; 3] = [
    "evaluate_seconds",
    "amortized_seconds",
    "accuracy_encrypted",
];

/// Title, summary, verdict and figures.
pub(super) fn header(report: &Report) -> Markup {
    html! {
        header {
            h1 { (report.title) }
            @if !report.summary.is_empty() {
                p.summary { (report.summary) }
            }
            @if let Some(verdict) = &report.verdict {
                @if verdict.passed {
                    p.verdict.passed { b { "✓ passed" } (verdict.text) }
                } @else {
                    p.verdict.failed { b { "✗ failed" } (verdict.text) }
                }
            }
            @if !report.figures.is_empty() {
                dl.figures {
                    @for figure in &report.figures {
                        div {
                            dt { (figure.label) }
                            dd.value { (number(figure.value, figure.unit)) }
                            dd.detail { (figure.detail) }
                        }
                    }
                }
            }
            @if !report.notes.is_empty() {
                ul.notes { @for note in &report.notes { li { (note) } } }
            }
        }
    }
}

/// The tables of measurements, after `first`.
pub(super) fn measurements_section(report: &Report, first: &Markup) -> Markup {
    let mut tables = report
        .comparisons
        .iter()
        .filter(|t| !t.rows.is_empty())
        .peekable();
    if tables.peek().is_none() {
        return html! {};
    }
    let compared = report.comparisons.iter().any(|t| t.baseline.is_some());
    let title = if compared {
        "Packings side by side"
    } else {
        "Measurements"
    };
    let body = html! {
        (first)
        p.note {
            "Total time is from the request in memory to the reply in memory: what everybody in the batch waits for. "
            "Amortized time is total time divided by the images: no single image is answered that fast."
        }
        @for table in tables {
            @if let Some(base) = table.baseline {
                (quantities(table, &format!(
                    "Below a number: its change from {}, where both are of equally many images or per image; for times, also the smallest and largest of the runs.",
                    table.columns[base]
                )))
            } @else {
                (quantities(table, "Below a time: the smallest and largest of the runs."))
            }
        }
    };
    section(title, &body)
}

fn quantities(quantities: &Table, text: &str) -> Markup {
    let columns = quantities.columns.iter().map(|title| (title.as_str(), ""));
    let columns: Vec<(&str, &str)> = [("Quantity", "")].into_iter().chain(columns).collect();
    let rows = html! {
        @for row in &quantities.rows {
            tr.lead[LEADING.contains(&row.name.as_str())] {
                th scope="row" {
                    (row.label)
                    @if let Some(note) = &row.note { span.sub { (note) } }
                }
                @for cell in &row.cells { td { (content(cell, row.unit)) } }
            }
        }
    };
    let title = &quantities.title;
    table(title, (title, text), &columns, &rows)
}

fn content(cell: &Cell, unit: Unit) -> Markup {
    html! {
        @if let (None, Some(text)) = (cell.value, &cell.text) { (text) } @else { (optional(cell.value, unit)) }
        @if let Some(ratio) = cell.ratio {
            span.sub { (data(ratio, &change_text(ratio))) }
        }
        @if let (Some(min), Some(max)) = (cell.min, cell.max) {
            span.sub { (number(min, unit)) " to " (number(max, unit)) }
        }
    }
}

/// Where the time of an evaluation goes.
pub(super) fn steps_section(report: &Report) -> Markup {
    if report.steps.is_empty() {
        return html! {};
    }
    let largest = report.steps.iter().filter_map(|step| step.share);
    let largest = largest.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let width = |share: f64| format!("width:{:.1}%", 100.0 * (share / largest).clamp(0.0, 1.0));
    let rows = html! {
        @for step in &report.steps {
            tr {
                th scope="row" { (step.name) }
                td.words { (step.operation) }
                td { (optional(step.seconds, Unit::Seconds)) }
                td { (optional(step.share, Unit::Share)) }
                td.bar { @if let Some(share) = step.share { span style=(width(share)) {} } }
                td { (optional(step.level.map(|level| level as f64), Unit::Count)) }
                td { (optional(step.log2_scale, Unit::Bits)) }
            }
        }
    };
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
pub(super) fn parameters_section(report: &Report) -> Markup {
    let tables = report.parameters.iter().filter(|t| !t.rows.is_empty());
    let body = html! { @for table in tables { (quantities(table, "")) } };
    section("Parameters", &body)
}

/// Machine, program, date.
pub(super) fn provenance_section(report: &Report) -> Markup {
    let from = &report.provenance;
    let word = |text: &str| (!text.is_empty()).then(|| html! { (text) });
    let load = |load| html! { (number(load, Unit::Number)) " (average of the minute before)" };
    let facts = [
        ("Machine", word(&from.machine)),
        ("Back end", from.backend.as_deref().and_then(word)),
        ("Program", word(&from.program)),
        ("Commit", from.commit.as_deref().and_then(word)),
        ("Date", word(&from.date)),
        (
            "Threads",
            from.threads
                .map(|threads| number(threads as f64, Unit::Count)),
        ),
        ("Load", from.load.map(load)),
    ];
    if from.digests.is_empty() && facts.iter().all(|(_, fact)| fact.is_none()) {
        return html! {};
    }
    let body = html! {
        dl.facts {
            @for (label, fact) in &facts {
                @if let Some(fact) = fact { dt { (label) } dd { (fact) } }
            }
        }
        @if !from.digests.is_empty() {
            details {
                summary { "Digests of the files" }
                dl.facts {
                    @for (what, digest) in &from.digests { dt { (what) } dd { code { (digest) } } }
                }
            }
        }
    };
    section("Machine and program", &body)
}
