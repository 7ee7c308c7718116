//! Total and amortized time over batch sizes, on logarithmic axes.

use sordino_report::html::{self, escape, number, optional, section};
use sordino_report::{Unit, count_text};

use super::axis::{Axis, log_ticks};
use super::marker::{SERIES, dashes, marker};
use super::sweep::{BreakEven, Line, SweepPoint, networks, sweep_lines};
use super::tables::packing_label;

/// The drawing, in its own units; text has 14, on phones 16.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 390.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 388.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 334.0;

/// Least distance between the names at the ends of the lines.
const NAME_DISTANCE: f64 = 44.0;

/// Which of the two times is drawn.
#[derive(Clone, Copy, PartialEq)]
enum Time {
    Total,
    Amortized,
}

impl Time {
    fn of(self, point: &SweepPoint) -> f64 {
        match self {
            Self::Total => point.total_seconds,
            Self::Amortized => point.amortized_seconds,
        }
    }

    fn of_crossing(self, crossing: &BreakEven) -> f64 {
        match self {
            Self::Total => crossing.total_seconds,
            Self::Amortized => crossing.amortized_seconds,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Total => "Total time of the batch",
            Self::Amortized => "Amortized time per image",
        }
    }

    fn note(self) -> &'static str {
        match self {
            Self::Total => {
                "What everybody in the batch waits for. Both axes logarithmic; lower is better."
            }
            Self::Amortized => {
                "Total time divided by the images of the batch: throughput, not how soon an answer comes."
            }
        }
    }
}

/// Both plots and the table behind them, for every network of the sweep.
pub(super) fn sweep_section(points: &[SweepPoint], crossings: &[BreakEven]) -> String {
    let networks = networks(points);
    let mut body = String::new();
    for &network in &networks {
        let lines = sweep_lines(points, network);
        if lines.is_empty() {
            continue;
        }
        let crossings: Vec<&BreakEven> = crossings
            .iter()
            .filter(|crossing| crossing.network.as_deref() == network)
            .collect();
        if let (Some(network), true) = (network, networks.len() > 1) {
            body += &format!("<h3>{}</h3>\n", escape(network));
        }
        body += &crossings.iter().map(|c| sentence(c)).collect::<String>();
        body += "<div class=\"plots\">\n";
        for time in [Time::Total, Time::Amortized] {
            body += &format!(
                "<figure>\n<figcaption><b>{}</b>{}</figcaption>\n{}</figure>\n",
                time.title(),
                time.note(),
                plot(&lines, &crossings, time)
            );
        }
        body += "</div>\n";
        if lines
            .iter()
            .any(|line| line.points.iter().any(|p| !p.measured))
        {
            body += "<p class=\"note\">Hollow points were not run: their times and sizes are the measured ones of fewer blocks, multiplied.</p>\n";
        }
        body += &table(&lines);
    }
    section("Time over batch size", &body)
}

fn sentence(crossing: &BreakEven) -> String {
    format!(
        "<p>From {} images on, {} packing is faster than {} packing: both take {} there, {} per image.{}</p>\n",
        number(crossing.batch as f64, Unit::Count),
        escape(&packing_label(&crossing.faster_above)),
        escape(&packing_label(&crossing.faster_below)),
        number(crossing.total_seconds, Unit::Seconds),
        number(crossing.amortized_seconds, Unit::Seconds),
        if crossing.measured {
            ""
        } else {
            " Not all points next to the crossing were run."
        }
    )
}

/// Smallest and largest with some room around them, at least a third of a decade in all.
fn domain(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, 0.0f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    (low / 1.45, high * 1.45)
}

fn plot(lines: &[Line<'_>], crossings: &[&BreakEven], time: Time) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let batches = domain(points().map(|point| point.batch as f64));
    let times = domain(points().map(|point| time.of(point)));
    let x = Axis::logarithmic(batches, (LEFT, RIGHT));
    let y = Axis::logarithmic(times, (BOTTOM, TOP));
    let names: Vec<String> = lines.iter().map(|l| packing_label(l.packing)).collect();
    let label = format!(
        "{} over batch size, both axes logarithmic: {}",
        time.title(),
        names.join("; ")
    );
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n<title>{}</title>\n",
        escape(&label),
        escape(&label)
    );
    for tick in log_ticks(times.0, times.1) {
        let at = y.at(tick);
        out += &format!(
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 8.0,
            at + 5.0,
            escape(&tick_text(tick))
        );
    }
    for tick in log_ticks(batches.0, batches.1) {
        let at = x.at(tick);
        out += &format!(
            "<path class=\"grid\" d=\"M{at:.1} {TOP}V{BOTTOM}\"/><text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            BOTTOM + 21.0,
            count_text(tick)
        );
    }
    out += &format!(
        "<path class=\"axis\" d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">images in the batch</text>\n",
        (LEFT + RIGHT) / 2.0,
        BOTTOM + 46.0
    );
    for (index, line) in lines.iter().enumerate() {
        out += &series(index, line, time, &x, &y);
    }
    let ends: Vec<f64> = lines
        .iter()
        .map(|line| line.points.last().map_or(BOTTOM, |p| y.at(time.of(p))))
        .collect();
    for (index, at) in spread(&ends).into_iter().enumerate() {
        out += &name(index, &names[index], at);
    }
    for (index, crossing) in crossings.iter().enumerate() {
        let (cx, cy) = (x.at(crossing.crossing), y.at(time.of_crossing(crossing)));
        let at = TOP - 12.0 + 20.0 * index as f64;
        // To the side with more room.
        let (dx, anchor) = if cx < (LEFT + RIGHT) / 2.0 {
            (0.0, "start")
        } else {
            (4.0, "end")
        };
        out += &format!(
            "<path class=\"mark\" d=\"M{cx:.1} {:.1}V{BOTTOM}\"/><circle class=\"ring\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"8\"/><text class=\"halo\" x=\"{:.1}\" y=\"{at:.1}\" text-anchor=\"{anchor}\">break-even: {}</text>\n",
            at + 5.0,
            cx - 4.0 + dx,
            count_text(crossing.batch as f64)
        );
    }
    out + "</svg>\n"
}

fn series(index: usize, line: &Line<'_>, time: Time, x: &Axis, y: &Axis) -> String {
    let place = |point: &SweepPoint| (x.at(point.batch as f64), y.at(time.of(point)));
    let path: Vec<String> = line
        .points
        .iter()
        .map(|point| {
            let (px, py) = place(point);
            format!("{px:.1} {py:.1}")
        })
        .collect();
    let mut out = format!(
        "<g class=\"s{}\"><path class=\"path\" stroke-dasharray=\"{}\" d=\"M{}\"/>\n",
        index % SERIES,
        dashes(index),
        path.join("L")
    );
    for point in &line.points {
        let (px, py) = place(point);
        let title = format!(
            "{}, {} images: {}",
            packing_label(line.packing),
            count_text(point.batch as f64),
            Unit::Seconds.text(time.of(point))
        );
        let class = if point.measured {
            "point"
        } else {
            "point hollow"
        };
        out += &marker(index, px, py, class, &escape(&title));
    }
    out + "</g>\n"
}

/// A line's name to the right of its end, on two lines where it has two parts.
fn name(index: usize, name: &str, at: f64) -> String {
    let parts: Vec<&str> = match name.split_once(", ") {
        Some((first, second)) => vec![first, second],
        None => vec![name],
    };
    let mut out = format!("<g class=\"s{}\">\n", index % SERIES);
    let first = at + 5.0 - 10.0 * (parts.len() - 1) as f64;
    for (row, part) in parts.iter().enumerate() {
        out += &format!(
            "<text class=\"name halo\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            RIGHT + 8.0,
            first + 20.0 * row as f64,
            escape(part)
        );
    }
    out + "</g>\n"
}

/// Heights near the wishes, in their order, with enough distance between them and within the drawing.
fn spread(wishes: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wishes.len()).collect();
    order.sort_by(|&a, &b| wishes[a].total_cmp(&wishes[b]));
    let mut heights = wishes.to_vec();
    for pair in order.windows(2) {
        heights[pair[1]] = heights[pair[1]].max(heights[pair[0]] + NAME_DISTANCE);
    }
    let mut most = BOTTOM;
    for &index in order.iter().rev() {
        heights[index] = heights[index].min(most);
        most = heights[index] - NAME_DISTANCE;
    }
    heights
}

/// A time on the axis: whole numbers where it has them.
fn tick_text(seconds: f64) -> String {
    let (factor, unit) = match seconds {
        s if s < 0.999e-6 => (1e9, "ns"),
        s if s < 0.999e-3 => (1e6, "µs"),
        s if s < 0.999 => (1e3, "ms"),
        _ => (1.0, "s"),
    };
    let value = seconds * factor;
    format!("{} {unit}", (value * 1e6).round() / 1e6)
}

fn table(lines: &[Line<'_>]) -> String {
    let count = |count: Option<u64>| optional(count.map(|count| count as f64), Unit::Count);
    let bytes = |bytes: Option<u64>| optional(bytes.map(|bytes| bytes as f64), Unit::Bytes);
    let row = |point: &&SweepPoint| {
        let cells = [
            count(Some(point.batch)),
            count(point.block_images),
            count(Some(point.blocks)),
            number(point.total_seconds, Unit::Seconds),
            number(point.amortized_seconds, Unit::Seconds),
            bytes(point.peak_rss_bytes),
            bytes(point.upload_bytes),
            bytes(point.reply_bytes),
            bytes(point.key_bytes),
            count(point.images_run),
            if point.measured { "yes" } else { "no" }.into(),
        ];
        format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n",
            escape(&packing_label(&point.packing)),
            cells.join("</td><td>")
        )
    };
    let rows: String = lines
        .iter()
        .flat_map(|line| &line.points)
        .map(row)
        .collect();
    let columns = [
        "Packing",
        "Batch",
        "Images per block",
        "Blocks",
        "Total time",
        "Amortized",
        "Memory",
        "Upload",
        "Reply",
        "Keys",
        "Images run",
        "Measured",
    ]
    .map(|title| (title, ""));
    let title = "The numbers of the plots";
    let caption = ("", "Every point of the plots.");
    format!(
        "<details>\n<summary>{title}</summary>\n{}</details>\n",
        html::table(title, caption, &columns, &rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read_in_whole_units() {
        for (seconds, text) in [
            (1e-6, "1 µs"),
            (1e-5, "10 µs"),
            (1e-3, "1 ms"),
            (0.1, "100 ms"),
            (0.5, "500 ms"),
            (1.0, "1 s"),
            (1000.0, "1000 s"),
        ] {
            assert_eq!(tick_text(seconds), text);
        }
    }

    #[test]
    fn names_keep_their_distance() {
        let heights = spread(&[100.0, 110.0, 320.0, 330.0]);
        assert_eq!(heights, [100.0, 144.0, BOTTOM - 44.0, BOTTOM]);
        assert_eq!(spread(&[200.0, 50.0]), [200.0, 50.0]);
        assert_eq!(spread(&[]), [0.0; 0]);
    }
}
