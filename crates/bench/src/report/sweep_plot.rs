//! Total and amortized time over batch sizes, on logarithmic axes.

use maud::{Markup, html};
use sordino_report::html::{self as parts, number, optional, section};
use sordino_report::{Unit, count_text};

use super::axis::{Axis, log_ticks, place};
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

/// One of the two times that are drawn.
struct Time {
    title: &'static str,
    note: &'static str,
    of: fn(&SweepPoint) -> f64,
    of_crossing: fn(&BreakEven) -> f64,
}

const TIMES: [Time; 2] = [
    Time {
        title: "Total time of the batch",
        note: "What everybody in the batch waits for. Both axes logarithmic; lower is better.",
        of: |point| point.total_seconds,
        of_crossing: |crossing| crossing.total_seconds,
    },
    Time {
        title: "Amortized time per image",
        note: "Total time divided by the images of the batch: throughput, not how soon an answer comes.",
        of: |point| point.amortized_seconds,
        of_crossing: |crossing| crossing.amortized_seconds,
    },
];

/// Both plots and the table behind them, for every network of the sweep.
pub(super) fn sweep_section(points: &[SweepPoint], crossings: &[BreakEven]) -> Markup {
    let networks = networks(points);
    let body = html! {
        @for &network in &networks {
            @let lines = sweep_lines(points, network);
            @let of_network = |crossing: &&BreakEven| crossing.network.as_deref() == network;
            @let crossings: Vec<&BreakEven> = crossings.iter().filter(of_network).collect();
            @if !lines.is_empty() {
                @if let (Some(network), true) = (network, networks.len() > 1) { h3 { (network) } }
                @for crossing in &crossings { (sentence(crossing)) }
                div.plots {
                    @for time in &TIMES {
                        figure {
                            figcaption { b { (time.title) } (time.note) }
                            (plot(&lines, &crossings, time))
                        }
                    }
                }
                @if lines.iter().flat_map(|line| &line.points).any(|point| !point.measured) {
                    p.note {
                        "Hollow points were not run: their times and sizes are the measured ones of fewer blocks, multiplied."
                    }
                }
                (table(&lines))
            }
        }
    };
    section("Time over batch size", &body)
}

fn sentence(crossing: &BreakEven) -> Markup {
    html! {
        p {
            "From " (number(crossing.batch as f64, Unit::Count)) " images on, "
            (packing_label(&crossing.faster_above)) " packing is faster than "
            (packing_label(&crossing.faster_below)) " packing: both take "
            (number(crossing.total_seconds, Unit::Seconds)) " there, "
            (number(crossing.amortized_seconds, Unit::Seconds)) " per image."
            @if !crossing.measured { " Not all points next to the crossing were run." }
        }
    }
}

/// Smallest and largest with some room around them, at least a third of a decade in all.
fn domain(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, 0.0f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    (low / 1.45, high * 1.45)
}

fn plot(lines: &[Line<'_>], crossings: &[&BreakEven], time: &Time) -> Markup {
    let points = || lines.iter().flat_map(|line| &line.points);
    let batches = domain(points().map(|point| point.batch as f64));
    let times = domain(points().map(|point| (time.of)(point)));
    let x = Axis::logarithmic(batches, (LEFT, RIGHT));
    let y = Axis::logarithmic(times, (BOTTOM, TOP));
    let names: Vec<String> = lines.iter().map(|l| packing_label(l.packing)).collect();
    let label = format!(
        "{} over batch size, both axes logarithmic: {}",
        time.title,
        names.join("; ")
    );
    let end = |line: &Line<'_>| line.points.last().map_or(BOTTOM, |p| y.at((time.of)(p)));
    let ends: Vec<f64> = lines.iter().map(end).collect();
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label) {
            title { (label) }
            @for tick in log_ticks(times.0, times.1) {
                path.grid d={ "M" (LEFT) " " (place(y.at(tick))) "H" (RIGHT) } {}
                text.tick x=(LEFT - 8.0) y=(place(y.at(tick) + 5.0)) text-anchor="end" { (tick_text(tick)) }
            }
            @for tick in log_ticks(batches.0, batches.1) {
                @let at = place(x.at(tick));
                path.grid d={ "M" (at) " " (TOP) "V" (BOTTOM) } {}
                text.tick x=(at) y=(BOTTOM + 21.0) text-anchor="middle" { (count_text(tick)) }
            }
            path.axis d={ "M" (LEFT) " " (TOP) "V" (BOTTOM) "H" (RIGHT) } {}
            text.tick x=((LEFT + RIGHT) / 2.0) y=(BOTTOM + 46.0) text-anchor="middle" { "images in the batch" }
            @for (index, line) in lines.iter().enumerate() { (series(index, line, time, &x, &y)) }
            @for (index, at) in spread(&ends).into_iter().enumerate() { (name(index, &names[index], at)) }
            @for (index, crossing) in crossings.iter().enumerate() {
                @let (cx, cy) = (x.at(crossing.crossing), y.at((time.of_crossing)(crossing)));
                @let at = TOP - 12.0 + 20.0 * index as f64;
                // To the side with more room.
                @let (dx, anchor) = if cx < (LEFT + RIGHT) / 2.0 { (-4.0, "start") } else { (0.0, "end") };
                path.mark d={ "M" (place(cx)) " " (at + 5.0) "V" (BOTTOM) } {}
                circle.ring cx=(place(cx)) cy=(place(cy)) r="8" {}
                text.halo x=(place(cx + dx)) y=(at) text-anchor=(anchor) {
                    "break-even: " (count_text(crossing.batch as f64))
                }
            }
        }
    }
}

fn series(index: usize, line: &Line<'_>, time: &Time, x: &Axis, y: &Axis) -> Markup {
    let at = |point: &SweepPoint| (x.at(point.batch as f64), y.at((time.of)(point)));
    let path: Vec<String> = line
        .points
        .iter()
        .map(|point| {
            let (px, py) = at(point);
            format!("{px:.1} {py:.1}")
        })
        .collect();
    let title = |point: &SweepPoint| {
        let batch = count_text(point.batch as f64);
        let seconds = Unit::Seconds.text((time.of)(point));
        format!("{}, {batch} images: {seconds}", packing_label(line.packing))
    };
    html! {
        g class={ "s" (index % SERIES) } {
            path.path stroke-dasharray=(dashes(index)) d={ "M" (path.join("L")) } {}
            @for point in &line.points {
                @let class = if point.measured { "point" } else { "point hollow" };
                (marker(index, at(point).0, at(point).1, class, &title(point)))
            }
        }
    }
}

/// A line's name to the right of its end, on two lines where it has two parts.
fn name(index: usize, name: &str, at: f64) -> Markup {
    let parts: Vec<&str> = name.splitn(2, ", ").collect();
    let first = at + 5.0 - 10.0 * (parts.len() - 1) as f64;
    html! {
        g class={ "s" (index % SERIES) } {
            @for (row, part) in parts.iter().enumerate() {
                text.name.halo x=(RIGHT + 8.0) y=(place(first + 20.0 * row as f64)) { (part) }
            }
        }
    }
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

fn table(lines: &[Line<'_>]) -> Markup {
    let count = |count: Option<u64>| optional(count.map(|count| count as f64), Unit::Count);
    let bytes = |bytes: Option<u64>| optional(bytes.map(|bytes| bytes as f64), Unit::Bytes);
    let rows = html! {
        @for point in lines.iter().flat_map(|line| &line.points) {
            tr {
                th scope="row" { (packing_label(&point.packing)) }
                td { (count(Some(point.batch))) }
                td { (count(point.block_images)) }
                td { (count(Some(point.blocks))) }
                td { (number(point.total_seconds, Unit::Seconds)) }
                td { (number(point.amortized_seconds, Unit::Seconds)) }
                td { (bytes(point.peak_rss_bytes)) }
                td { (bytes(point.upload_bytes)) }
                td { (bytes(point.reply_bytes)) }
                td { (bytes(point.key_bytes)) }
                td { (count(point.images_run)) }
                td { @if point.measured { "yes" } @else { "no" } }
            }
        }
    };
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
    html! {
        details {
            summary { (title) }
            (parts::table(title, caption, &columns, &rows))
        }
    }
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
