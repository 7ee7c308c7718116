//! The confusion matrix, and sample images with predictions.

use crate::data_address::PICTURE;
use crate::html::{data, escape, number, scroll, section};
use crate::{ConfusionMatrix, Report, Sample, Unit, count_text};

/// Longest name of a class that heads a column; longer ones are numbered.
const SHORT_NAME: usize = 4;

/// The confusion matrix.
pub(super) fn confusion_section(report: &Report) -> String {
    let Some(matrix) = report.confusion.as_ref().filter(|m| !m.classes.is_empty()) else {
        return String::new();
    };
    let share = matrix.share.map_or(String::new(), |share| {
        format!(" {} lie on the diagonal.", number(share, Unit::Share))
    });
    let body = format!(
        "{}<p class=\"note\">Rows: {}; columns: class that was decrypted; last column: share of the row on the diagonal.{share} Blue is the diagonal, orange are the errors, stronger for a larger share of the row.</p>\n{}",
        predictions_of(report),
        escape(&matrix.rows),
        scroll("Confusion matrix", &table(matrix))
    );
    section("Confusion matrix", &body)
}

/// Which predictions the reader sees, where the report says so.
fn predictions_of(report: &Report) -> String {
    if report.predictions_of.is_empty() {
        return String::new();
    }
    format!("<p>{}</p>\n", escape(&report.predictions_of))
}

fn table(matrix: &ConfusionMatrix) -> String {
    let numbered = matrix
        .classes
        .iter()
        .any(|name| name.chars().count() > SHORT_NAME);
    let head: String = matrix
        .classes
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let short = if numbered {
                index.to_string()
            } else {
                escape(name)
            };
            format!("<th scope=\"col\" title=\"{}\">{short}</th>", escape(name))
        })
        .collect();
    let mut rows = String::new();
    for (row, counts) in matrix.counts.iter().enumerate() {
        let name = matrix.classes.get(row).map_or("", String::as_str);
        let name = if numbered && !name.is_empty() {
            format!("{} {row}", escape(name))
        } else {
            escape(name)
        };
        let total = matrix.totals.get(row).copied().unwrap_or(0);
        let cells: String = counts
            .iter()
            .enumerate()
            .map(|(column, &count)| cell(count, total, row == column))
            .collect();
        let right = matrix.right.get(row).copied().flatten();
        let right = right.map_or("–".into(), |right| {
            data(right, &format!("{:.1} %", 100.0 * right))
        });
        rows += &format!(
            "<tr><th scope=\"row\">{name}</th>{cells}<td class=\"recall\">{right}</td></tr>\n"
        );
    }
    format!(
        "<table class=\"matrix\">\n<caption>Images by {} and predicted class.</caption>\n<thead><tr><th scope=\"col\"></th>{head}<th scope=\"col\">right</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n",
        escape(&matrix.rows)
    )
}

fn cell(count: u64, total: u64, diagonal: bool) -> String {
    if count == 0 {
        return "<td><span class=\"none\">·</span></td>".into();
    }
    let share = count as f64 / total.max(1) as f64;
    // Errors are few: the square root makes one in a hundred visible. The colour never hides the number.
    let (color, strength) = if diagonal {
        ("--right", 0.1 + 0.4 * share)
    } else {
        ("--wrong", 0.15 + 0.5 * share.sqrt())
    };
    format!(
        "<td style=\"background:rgb(var({color}) / {:.2})\">{}</td>",
        strength.min(0.6),
        data(count as f64, &count_text(count as f64))
    )
}

/// Images with predictions.
pub(super) fn samples_section(report: &Report) -> String {
    if report.samples.is_empty() {
        return String::new();
    }
    let items: String = report.samples.iter().map(item).collect();
    let note = if report.samples_note.is_empty() {
        String::new()
    } else {
        format!("<p class=\"note\">{}</p>\n", escape(&report.samples_note))
    };
    section(
        "Images and predictions",
        &format!(
            "{}{note}<ul class=\"samples\">\n{items}</ul>\n",
            predictions_of(report)
        ),
    )
}

fn item(sample: &Sample) -> String {
    let wrong = sample.is_wrong();
    let class = if wrong { " class=\"wrong\"" } else { "" };
    let mark = if wrong { "✗ " } else { "" };
    let name = sample.name.clone().unwrap_or_default();
    let index = count_text(sample.index as f64);
    let picture = sample.picture.as_deref().filter(|picture| {
        picture.strip_prefix(PICTURE).is_some_and(|rest| {
            let digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
            rest.bytes().all(digit)
        })
    });
    let picture = picture.map_or(String::new(), |picture| {
        format!("<img src=\"{picture}\" alt=\"image {index}\"/>")
    });
    let mut out = format!(
        "<li{class}>{picture}<b>{mark}{}</b>",
        escape(&sample.predicted)
    );
    let mut line = |label: &str, text: &Option<String>| {
        if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
            out += &format!("<span>{label}{}</span>", escape(text));
        }
    };
    line("label: ", &sample.label);
    let differs = |class: &Option<String>| class.clone().filter(|class| *class != sample.predicted);
    line("float network: ", &differs(&sample.plain));
    line("clear integers: ", &differs(&sample.integer));
    line("", &Some(format!("no. {index} {name}").trim().to_owned()));
    out + "</li>\n"
}
