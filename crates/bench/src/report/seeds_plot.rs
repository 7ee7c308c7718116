//! Plot of accuracy over seeds: a ring per network, a mark at the mean, a bar of one standard deviation.

use maud::{Markup, html};
use sordino_report::html::section;
use sordino_report::percent_text;

use super::axis::{Axis, linear_ticks, place};
use super::marker::marker;
use super::seeds::AccuracyGroup;

const WIDTH: f64 = 520.0;
const LEFT: f64 = 14.0;
const RIGHT: f64 = 506.0;
const TOP: f64 = 10.0;
const ROW: f64 = 58.0;

/// A plot for each network and data set.
pub(super) fn accuracy_section(groups: &[AccuracyGroup]) -> Markup {
    if groups.is_empty() {
        return html! {};
    }
    let of_network =
        |x: &AccuracyGroup, y: &AccuracyGroup| (&x.network, &x.dataset) == (&y.network, &y.dataset);
    let body = html! {
        div.plots {
            @for groups in groups.chunk_by(of_network) {
                figure {
                    figcaption {
                        b { (title(groups)) }
                        "Float network on test images, in per cent. Rings: one seed each; filled mark: mean; bar: one standard deviation to either side. "
                        "Names: granularity of the quadratics. Circles: trained on labels only; squares: also on a teacher."
                    }
                    (plot(groups))
                }
            }
        }
    };
    section("Accuracy over seeds", &body)
}

fn title(groups: &[AccuracyGroup]) -> String {
    format!("{} on {}", groups[0].network, groups[0].dataset)
}

fn plot(groups: &[AccuracyGroup]) -> Markup {
    let ends = groups.iter().flat_map(|group| {
        let deviation = group.deviation.unwrap_or(0.0);
        [
            group.min,
            group.max,
            group.mean - deviation,
            group.mean + deviation,
        ]
    });
    let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), end| {
        (low.min(100.0 * end), high.max(100.0 * end))
    });
    let room = ((high - low) * 0.06).max(0.05);
    let range = (low - room, high + room);
    let axis = Axis::linear(range, (LEFT, RIGHT));
    let bottom = TOP + ROW * groups.len() as f64;
    let label = format!("Accuracy over seeds, {}", title(groups));
    let (ticks, digits) = linear_ticks(range.0, range.1);
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (bottom + 34.0) } role="img" aria-label=(label) {
            title { (label) }
            @for tick in ticks {
                @let x = place(axis.at(tick));
                path.grid d={ "M" (x) " " (TOP) "V" (bottom) } {}
                text.tick x=(x) y=(bottom + 22.0) text-anchor="middle" { (format!("{tick:.digits$} %")) }
            }
            path.axis d={ "M" (LEFT) " " (bottom) "H" (RIGHT) } {}
            @for (index, group) in groups.iter().enumerate() {
                (row(group, TOP + ROW * index as f64, &axis))
            }
        }
    }
}

fn row(group: &AccuracyGroup, top: f64, axis: &Axis) -> Markup {
    let series = usize::from(group.distilled);
    let y = top + 38.0;
    let name = match group.activation.as_str() {
        "relu" => "ReLU",
        activation => activation,
    };
    let mean = format!("{:.2}", 100.0 * group.mean);
    let deviation = group
        .deviation
        .map(|deviation| format!(" ± {:.2}", 100.0 * deviation));
    let count = group.accuracies.len();
    let plural = if count == 1 { "" } else { "s" };
    let value = format!(
        "{mean}{} %, {count} seed{plural}",
        deviation.unwrap_or_default()
    );
    let at = |accuracy: f64| axis.at(100.0 * accuracy);
    html! {
        g class={ "s" (series) } {
            text.name.halo x=(LEFT) y=(top + 21.0) { (name) ", " (group.training()) }
            text.halo x=(RIGHT) y=(top + 21.0) text-anchor="end" { (value) }
            @if let Some(deviation) = group.deviation {
                @let ends = [group.mean - deviation, group.mean + deviation].map(|end| place(at(end)));
                path.path d={ "M" (ends[0]) " " (y) "H" (ends[1]) "M" (ends[0]) " " (y - 6.0) "v12M" (ends[1]) " " (y - 6.0) "v12" } {}
            }
            @for &accuracy in &group.accuracies {
                (marker(series, at(accuracy), y, "seed", &percent_text(accuracy)))
            }
            (marker(series, at(group.mean), y, "point", &value))
        }
    }
}
