//! A report as one HTML file that needs nothing else: no script, no font, no picture from outside.

mod findings;
mod images;
mod tables;

use maud::{Markup, html};

use crate::Report;

/// The page of a report.
///
/// Parts without data are left out. Numbers stand in `data` elements with the exact value, which the report's JSON has too. The
/// tags are balanced as in XML, so that other programs can read the page easily.
pub fn page(report: &Report) -> String {
    page_with(report, html! {}, html! {})
}

/// The page of a report with additions: one before the tables of the measurements, and sections after them.
pub fn page_with(report: &Report, before_tables: Markup, sections: Markup) -> String {
    let head = concat!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n",
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n",
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"/>\n",
        "<style>\n",
        include_str!("style.css"),
        "</style>\n",
    );
    let body = html! {
        title { (report.title) }
        (maud::PreEscaped("</head>\n"))
        body {
            main {
                (tables::header(report))
                (tables::measurements_section(report, &before_tables))
                (sections)
                (findings::findings_sections(report))
                (images::confusion_section(report))
                (images::samples_section(report))
                (tables::steps_section(report))
                (tables::parameters_section(report))
                (tables::provenance_section(report))
            }
            footer { "Every number of this page is also in the JSON file of the same name. The page needs no network." }
        }
    };
    let text = format!("{head}{}\n</html>\n", body.0);
    // HTML has no other control characters.
    text.replace(
        |c: char| c.is_control() && !matches!(c, '\n' | '\t'),
        "\u{fffd}",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_without_data_are_left_out() {
        let html = page(&Report {
            title: "Nothing".into(),
            ..Report::default()
        });
        for part in ["<h2", "<table", "<svg", "<dl", "<img"] {
            assert!(!html.contains(part), "{part}");
        }
    }
}
