//! Findings: curves, decisions against labels, margins, and the images around the threshold.

use maud::{Markup, PreEscaped, html};

use super::images::is_picture;
use crate::findings::{Finding, NearImage};
use crate::html::{data, number, scroll, section};
use crate::{Report, Unit, count_text};

/// The drawing, in its own units; text has 14, on phones 16.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 386.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 322.0;

/// The findings of a report, a section each.
pub(super) fn findings_sections(report: &Report) -> Markup {
    html! { @for finding in &report.findings { (finding_section(finding)) } }
}

fn finding_section(finding: &Finding) -> Markup {
    let body = html! {
        @if !finding.note.is_empty() { p.note { (finding.note) } }
        @if !finding.measures.is_empty() { (measures(finding)) }
        @if let Some(counts) = &finding.confusion { (confusion(finding, counts)) }
        div.plots {
            @if !finding.roc.is_empty() {
                (curve(&finding.roc, finding.roc_point, &Axes {
                    title: "ROC curve",
                    note: "Further up and left is better; on the dashed line scores say nothing.",
                    x: "1 − specificity",
                    y: "sensitivity",
                    diagonal: true,
                }))
            }
            @if !finding.precision_recall.is_empty() {
                (curve(&finding.precision_recall, finding.precision_recall_point, &Axes {
                    title: "Precision and sensitivity",
                    note: "Precision: share of the images decided to have the finding that have it.",
                    x: "sensitivity",
                    y: "precision",
                    diagonal: false,
                }))
            }
            @if !finding.reliability.is_empty() { (reliability(&finding.reliability)) }
            @if !finding.margins.is_empty() { (margins(finding)) }
        }
        @if !finding.around.is_empty() { (around(finding)) }
    };
    section(&format!("Finding: {}", finding.name), &body)
}

fn measures(finding: &Finding) -> Markup {
    let rows = html! {
        @for (label, value, note) in &finding.measures {
            tr {
                th scope="row" { (label) }
                td { (data(*value, &format!("{value:.3}"))) }
                td.words { (note) }
            }
        }
    };
    let table = html! { table { tbody { (rows) } } };
    scroll(&format!("Measures of {}", finding.name), &table)
}

fn confusion(finding: &Finding, counts: &[[u64; 2]; 2]) -> Markup {
    let rows = ["labelled with it", "labelled without"];
    let columns = ["there", "not there"];
    let table = html! {
        table.matrix {
            caption { "Rows: labels; columns: decisions at the operating point. Blue are right decisions, orange are wrong ones." }
            thead { tr { th scope="col" {} @for column in columns { th scope="col" { (column) } } } }
            tbody {
                @for (row, (name, cells)) in rows.iter().zip(counts).enumerate() {
                    tr {
                        th scope="row" { (name) }
                        @for (column, &count) in cells.iter().enumerate() {
                            @let color = if row == column { "--right" } else { "--wrong" };
                            td style=(format!("background:rgb(var({color}) / 0.25)")) {
                                (number(count as f64, Unit::Count))
                            }
                        }
                    }
                }
            }
        }
    };
    scroll(&format!("Decisions on {}", finding.name), &table)
}

/// What a plot of two shares says.
struct Axes {
    title: &'static str,
    note: &'static str,
    x: &'static str,
    y: &'static str,
    diagonal: bool,
}

fn x_of(share: f64) -> f64 {
    place(LEFT + (RIGHT - LEFT) * share.clamp(0.0, 1.0))
}

fn y_of(share: f64) -> f64 {
    place(BOTTOM - (BOTTOM - TOP) * share.clamp(0.0, 1.0))
}

/// A coordinate with one digit after the point.
fn place(at: f64) -> f64 {
    (at * 10.0).round() / 10.0
}

/// A grid of both axes from 0 to 1, with their names.
fn unit_grid(axes: &Axes) -> Markup {
    html! {
        @for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
            path.grid d={ "M" (LEFT) " " (y_of(tick)) "H" (RIGHT) } {}
            path.grid d={ "M" (x_of(tick)) " " (TOP) "V" (BOTTOM) } {}
            text.tick x=(LEFT - 8.0) y=(y_of(tick) + 5.0) text-anchor="end" { (tick) }
            text.tick x=(x_of(tick)) y=(BOTTOM + 20.0) text-anchor="middle" { (tick) }
        }
        @if axes.diagonal { path.mark d={ "M" (x_of(0.0)) " " (y_of(0.0)) "L" (x_of(1.0)) " " (y_of(1.0)) } {} }
        text.aside x=((LEFT + RIGHT) / 2.0) y=(BOTTOM + 44.0) text-anchor="middle" { (axes.x) }
        text.aside x=(13) y=((TOP + BOTTOM) / 2.0) text-anchor="middle"
            transform={ "rotate(-90 13 " ((TOP + BOTTOM) / 2.0) ")" } { (axes.y) }
    }
}

fn drawing(axes: &Axes, marks: &Markup) -> Markup {
    let label = format!("{}: {} over {}", axes.title, axes.y, axes.x);
    html! {
        figure.square {
            figcaption { b { (axes.title) } (axes.note) }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label) {
                title { (label) }
                (unit_grid(axes))
                (marks)
            }
        }
    }
}

fn curve(points: &[(f64, f64)], operating: Option<(f64, f64)>, axes: &Axes) -> Markup {
    let step = |(at, &(x, y)): (usize, &(f64, f64))| {
        format!("{}{} {}", if at == 0 { "M" } else { "L" }, x_of(x), y_of(y))
    };
    let path: String = points.iter().enumerate().map(step).collect();
    let marks = html! {
        g.s0 {
            path.path d=(path) {}
            @if let Some((x, y)) = operating {
                circle.ring cx=(x_of(x)) cy=(y_of(y)) r="7" {
                    title { "operating point: " (axes.x) " " (format!("{x:.3}")) ", " (axes.y) " " (format!("{y:.3}")) }
                }
            }
        }
    };
    drawing(axes, &marks)
}

fn reliability(bins: &[(f64, f64, u64)]) -> Markup {
    let axes = Axes {
        title: "Reliability",
        note: "Calibrated probability against the share of images with the finding; on the dashed line they are equal. Larger points are more images.",
        x: "probability",
        y: "share with the finding",
        diagonal: true,
    };
    let most = bins.iter().map(|bin| bin.2).max().unwrap_or(1).max(1);
    let marks = html! {
        g.s0 {
            @for &(probability, observed, images) in bins {
                @let radius = place(3.0 + 7.0 * (images as f64 / most as f64).sqrt());
                circle.point cx=(x_of(probability)) cy=(y_of(observed)) r=(radius) {
                    title {
                        (count_text(images as f64)) " images: probability " (format!("{probability:.3}"))
                        ", with the finding " (format!("{observed:.3}"))
                    }
                }
            }
        }
    };
    drawing(&axes, &marks)
}

fn margins(finding: &Finding) -> Markup {
    let bars = &finding.margins;
    let most = bars.iter().map(|bar| bar.2).max().unwrap_or(1).max(1) as f64;
    let (low, high) = (bars[0].0, bars[bars.len() - 1].1);
    let x = |margin: f64| x_of((margin - low) / (high - low));
    let y = |count: u64| y_of(count as f64 / most);
    let label = format!("Margins of {} images", finding.name);
    html! {
        figure.square {
            figcaption {
                b { "Margins" }
                "Score less threshold: images on the right of 0 are decided to have the finding. Rounding and noise move a margin by no more than "
                (data(finding.close_margin, &format!("{:.4}", finding.close_margin))) "."
            }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label) {
                title { (label) }
                @for share in [0.5, 1.0] {
                    path.grid d={ "M" (LEFT) " " (y_of(share)) "H" (RIGHT) } {}
                    text.tick x=(LEFT - 8.0) y=(y_of(share) + 5.0) text-anchor="end" { (count_text((most * share).round())) }
                }
                @for &(left, right, count) in bars {
                    @let class = if right <= high / 1e9 { "s0" } else { "s1" };
                    g class=(class) {
                        rect.point x=(x(left) + 0.5) y=(y(count)) width=(place((x(right) - x(left) - 1.0).max(0.5)))
                            height=(place(BOTTOM - y(count))) {
                            title { (count_text(count as f64)) " images from " (format!("{left:.3}")) " to " (format!("{right:.3}")) }
                        }
                    }
                }
                path.axis d={ "M" (LEFT) " " (BOTTOM) "H" (RIGHT) } {}
                path.mark d={ "M" (x(0.0)) " " (TOP) "V" (BOTTOM) } {}
                @for margin in [low, 0.0, high] {
                    text.tick x=(x(margin)) y=(BOTTOM + 20.0) text-anchor="middle" { (format!("{margin:.1}").replace('-', "−")) }
                }
                text.aside x=((LEFT + RIGHT) / 2.0) y=(BOTTOM + 44.0) text-anchor="middle" { "margin" }
            }
        }
    }
}

fn around(finding: &Finding) -> Markup {
    html! {
        h3 { "Images around the threshold" }
        p.note { "Those with the smallest margins, from the least to the largest." }
        ul.samples { @for image in &finding.around { (item(image)) } }
    }
}

fn item(image: &NearImage) -> Markup {
    let index = count_text(image.index as f64);
    html! {
        li.wrong[image.is_wrong()] {
            @if let Some(picture) = image.picture.as_ref().filter(|picture| is_picture(picture)) {
                (PreEscaped(format!("<img src=\"{picture}\" alt=\"image {index}\"/>")))
            }
            b { @if image.is_wrong() { "✗ " } @if image.found { "there" } @else { "not there" } }
            @if let Some(label) = image.label { span { "label: " @if label { "there" } @else { "not there" } } }
            span { "margin " (data(image.margin, &format!("{:+.3}", image.margin).replace('-', "−"))) }
            span { "probability " (data(image.probability, &format!("{:.3}", image.probability))) }
            @if image.close { span { "within rounding" } }
            span { "no. " (index) " " (image.name.as_deref().unwrap_or_default()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::histogram;
    use crate::page;

    #[test]
    fn a_finding_shows_its_curves_counts_and_images() {
        let report = Report {
            findings: vec![Finding {
                name: "<rib fracture>".into(),
                note: "A note.".into(),
                measures: vec![("AUC".into(), 0.9512, "0.94 to 0.96".into())],
                roc: vec![(0.0, 0.0), (0.1, 0.9), (1.0, 1.0)],
                roc_point: Some((0.1, 0.9)),
                precision_recall: vec![(0.5, 1.0), (1.0, 0.5)],
                precision_recall_point: None,
                reliability: vec![(0.2, 0.1, 30), (0.9, 1.0, 3)],
                confusion: Some([[12, 3], [4, 81]]),
                margins: histogram(&[-2.0, 1.0, 0.5]),
                close_margin: 0.01,
                around: vec![NearImage {
                    index: 7,
                    margin: -0.005,
                    close: true,
                    label: Some(true),
                    ..NearImage::default()
                }],
            }],
            ..Report::default()
        };
        let html = page(&report);
        assert!(html.contains("Finding: &lt;rib fracture&gt;"));
        assert_eq!(html.matches("<svg").count(), 4);
        for part in [
            "<data value=\"0.9512\">0.951</data>",
            "<data value=\"81\">81</data>",
            "operating point: 1 − specificity 0.100, sensitivity 0.900",
            "✗ ",
            "within rounding",
            "margin <data value=\"-0.005\">−0.005</data>",
        ] {
            assert!(html.contains(part), "{part}");
        }
    }

    #[test]
    fn parts_of_a_finding_without_data_are_left_out() {
        let report = Report {
            findings: vec![Finding {
                name: "a".into(),
                note: "b".into(),
                ..Finding::default()
            }],
            ..Report::default()
        };
        let html = page(&report);
        for part in ["<svg", "<table", "<h3", "<ul"] {
            assert!(!html.contains(part), "{part}");
        }
    }
}
