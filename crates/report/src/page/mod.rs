//! A report as one HTML file that needs nothing else: no script, no font, no picture from outside.

mod accuracy_plot;
mod axis;
mod html;
mod images;
mod marker;
mod sweep_plot;
mod tables;

#[cfg(test)]
mod tests;

use crate::Report;
use html::escape;

/// The report's page.
///
/// Parts without data are left out. Numbers stand in `data` elements with the exact value, which `report.json` has too. The
/// tags are balanced as in XML, so that other programs can read the page easily.
pub fn page(report: &Report) -> String {
    let body = [
        tables::header(report),
        tables::comparison_section(report),
        sweep_plot::sweep_section(report),
        accuracy_plot::accuracy_section(report),
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
