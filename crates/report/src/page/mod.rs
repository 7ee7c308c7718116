//! A report as one HTML file that needs nothing else: no script, no font, no picture from outside.

mod images;
mod tables;

use crate::Report;
use crate::html::escape;

/// HTML that another crate adds to a report's page.
#[derive(Clone, Debug, Default)]
pub struct Additions {
    /// In the section of the measurements, before their tables.
    pub measurements: String,
    /// Sections after the measurements.
    pub sections: String,
}

/// The page of a report.
///
/// Parts without data are left out. Numbers stand in `data` elements with the exact value, which the report's JSON has too. The
/// tags are balanced as in XML, so that other programs can read the page easily.
pub fn page(report: &Report) -> String {
    page_with(report, &Additions::default())
}

/// The page of a report with additions.
pub fn page_with(report: &Report, additions: &Additions) -> String {
    let body = [
        tables::header(report),
        tables::measurements_section(report, &additions.measurements),
        additions.sections.clone(),
        images::confusion_section(report),
        images::samples_section(report),
        tables::steps_section(report),
        tables::parameters_section(report),
        tables::provenance_section(report),
    ];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"/>\n<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n{}</main>\n<footer>Every number of this page is also in the JSON file of the same name. The page needs no network.</footer>\n</body>\n</html>\n",
        escape(&report.title),
        include_str!("style.css"),
        body.concat()
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
