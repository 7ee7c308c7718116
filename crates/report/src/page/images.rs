//! The confusion matrix, and sample images with predictions.

use maud::{Markup, PreEscaped, html};

use crate::data_address::PICTURE;
use crate::html::{data, number, scroll, section};
use crate::{ConfusionMatrix, Report, Sample, Unit, count_text};

/// Longest name of a class that heads a column; longer ones are numbered.
const SHORT_NAME: usize = 4;

/// The confusion matrix.
pub(super) fn confusion_section(report: &Report) -> Markup {
    let Some(matrix) = report.confusion.as_ref().filter(|m| !m.classes.is_empty()) else {
        return html! {};
    };
    let body = html! {
        (predictions_of(report))
        p.note {
            "Rows: " (matrix.rows) "; columns: class that was decrypted; last column: share of the row on the diagonal. "
            @if let Some(share) = matrix.share { (number(share, Unit::Share)) " lie on the diagonal. " }
            "Blue is the diagonal, orange are the errors, stronger for a larger share of the row."
        }
        (scroll("Confusion matrix", &table(matrix)))
    };
    section("Confusion matrix", &body)
}

/// Which predictions the reader sees, where the report says so.
fn predictions_of(report: &Report) -> Markup {
    html! { @if !report.predictions_of.is_empty() { p { (report.predictions_of) } } }
}

fn table(matrix: &ConfusionMatrix) -> Markup {
    let long = |name: &String| name.chars().count() > SHORT_NAME;
    let numbered = matrix.classes.iter().any(long);
    let name = |row: usize| matrix.classes.get(row).map_or("", String::as_str);
    let percent = |share: f64| data(share, &format!("{:.1} %", 100.0 * share));
    html! {
        table.matrix {
            caption { "Images by " (matrix.rows) " and predicted class." }
            thead {
                tr {
                    th scope="col" {}
                    @for (index, name) in matrix.classes.iter().enumerate() {
                        th scope="col" title=(name) { @if numbered { (index) } @else { (name) } }
                    }
                    th scope="col" { "right" }
                }
            }
            tbody {
                @for (row, counts) in matrix.counts.iter().enumerate() {
                    tr {
                        th scope="row" { (name(row)) @if numbered && !name(row).is_empty() { " " (row) } }
                        @for (column, &count) in counts.iter().enumerate() {
                            (cell(count, matrix.totals.get(row).copied().unwrap_or(0), row == column))
                        }
                        td.recall {
                            @if let Some(share) = matrix.right.get(row).copied().flatten() { (percent(share)) } @else { "–" }
                        }
                    }
                }
            }
        }
    }
}

fn cell(count: u64, total: u64, diagonal: bool) -> Markup {
    if count == 0 {
        return html! { td { span.none { "·" } } };
    }
    let share = count as f64 / total.max(1) as f64;
    // Errors are few: the square root makes one in a hundred visible. The colour never hides the number.
    let (color, strength) = if diagonal {
        ("--right", 0.1 + 0.4 * share)
    } else {
        ("--wrong", 0.15 + 0.5 * share.sqrt())
    };
    let style = format!("background:rgb(var({color}) / {:.2})", strength.min(0.6));
    html! { td style=(style) { (number(count as f64, Unit::Count)) } }
}

/// Images with predictions.
pub(super) fn samples_section(report: &Report) -> Markup {
    if report.samples.is_empty() {
        return html! {};
    }
    let body = html! {
        (predictions_of(report))
        @if !report.samples_note.is_empty() { p.note { (report.samples_note) } }
        ul.samples { @for sample in &report.samples { (item(sample)) } }
    };
    section("Images and predictions", &body)
}

/// Whether a text is a picture's data address, and nothing else that would end the attribute it stands in.
pub(super) fn is_picture(picture: &str) -> bool {
    let digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let rest = picture.strip_prefix(PICTURE);
    rest.is_some_and(|rest| rest.bytes().all(digit))
}

fn item(sample: &Sample) -> Markup {
    let index = count_text(sample.index as f64);
    let differs = |class: &Option<String>| class.clone().filter(|class| *class != sample.predicted);
    let lines = [
        ("label: ", sample.label.clone()),
        ("float network: ", differs(&sample.plain)),
        ("clear integers: ", differs(&sample.integer)),
    ];
    html! {
        li.wrong[sample.is_wrong()] {
            @if let Some(picture) = sample.picture.as_ref().filter(|picture| is_picture(picture)) {
                (PreEscaped(format!("<img src=\"{picture}\" alt=\"image {index}\"/>")))
            }
            b { @if sample.is_wrong() { "✗ " } (sample.predicted) }
            @for (label, text) in &lines {
                @if let Some(text) = text { span { (label) (text) } }
            }
            span { "no. " (index) " " (sample.name.as_deref().unwrap_or_default()) }
        }
    }
}
