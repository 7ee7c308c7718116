//! Plot of accuracy over seeds: a ring per network, a mark at the mean, a bar of one standard deviation.

use sordino_report::Unit;
use sordino_report::html::{escape, section};

use super::axis::{Axis, linear_ticks};
use super::marker::marker;
use super::seeds::AccuracyGroup;

const WIDTH: f64 = 520.0;
const LEFT: f64 = 14.0;
const RIGHT: f64 = 506.0;
const TOP: f64 = 10.0;
const ROW: f64 = 58.0;

/// A plot for each network and data set.
pub(super) fn accuracy_section(groups: &[AccuracyGroup]) -> String {
    let groups = groups.chunk_by(|x, y| (&x.network, &x.dataset) == (&y.network, &y.dataset));
    let figures: Vec<String> = groups
        .map(|groups| {
            let title = format!("{} on {}", groups[0].network, groups[0].dataset);
            format!(
                "<figure>\n<figcaption><b>{}</b>Float network on test images, in per cent. Rings: one seed each; filled mark: mean; bar: one standard deviation to either side. Names: granularity of the quadratics. Circles: trained on labels only; squares: also on a teacher.</figcaption>\n{}</figure>\n",
                escape(&title),
                plot(groups, &title)
            )
        })
        .collect();
    if figures.is_empty() {
        return String::new();
    }
    let body = format!("<div class=\"plots\">\n{}</div>\n", figures.concat());
    section("Accuracy over seeds", &body)
}

fn plot(groups: &[AccuracyGroup], title: &str) -> String {
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
    let label = format!("Accuracy over seeds, {title}");
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{}\">\n<title>{}</title>\n",
        bottom + 34.0,
        escape(&label),
        escape(&label)
    );
    let (ticks, digits) = linear_ticks(range.0, range.1);
    for tick in ticks {
        let at = axis.at(tick);
        out += &format!(
            "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/><text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick:.digits$} %</text>\n",
            bottom + 22.0
        );
    }
    out += &format!("<path class=\"axis\" d=\"M{LEFT} {bottom}H{RIGHT}\"/>\n");
    for (index, group) in groups.iter().enumerate() {
        out += &row(group, TOP + ROW * index as f64, &axis);
    }
    out + "</svg>\n"
}

fn row(group: &AccuracyGroup, top: f64, axis: &Axis) -> String {
    let series = usize::from(group.distilled);
    let y = top + 38.0;
    let name = match group.activation.as_str() {
        "relu" => "ReLU",
        activation => activation,
    };
    let count = group.accuracies.len();
    let plural = if count == 1 { "" } else { "s" };
    let value = match group.deviation {
        Some(deviation) => format!(
            "{:.2} ± {:.2} %, {count} seed{plural}",
            100.0 * group.mean,
            100.0 * deviation
        ),
        None => format!("{}, {count} seed{plural}", Unit::Share.text(group.mean)),
    };
    let mut out = format!(
        "<g class=\"s{series}\"><text class=\"name halo\" x=\"{LEFT}\" y=\"{:.1}\">{}</text><text class=\"halo\" x=\"{RIGHT}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
        top + 21.0,
        escape(&format!("{name}, {}", group.training())),
        top + 21.0,
        escape(&value)
    );
    let at = |accuracy: f64| axis.at(100.0 * accuracy);
    if let Some(deviation) = group.deviation {
        out += &format!(
            "<path class=\"path\" d=\"M{:.1} {y:.1}H{:.1}M{:.1} {:.1}v12M{:.1} {:.1}v12\"/>\n",
            at(group.mean - deviation),
            at(group.mean + deviation),
            at(group.mean - deviation),
            y - 6.0,
            at(group.mean + deviation),
            y - 6.0
        );
    }
    for &accuracy in &group.accuracies {
        let title = Unit::Share.text(accuracy);
        out += &marker(series, at(accuracy), y, "seed", &title);
    }
    out += &marker(series, at(group.mean), y, "point", &escape(&value));
    out + "</g>\n"
}
