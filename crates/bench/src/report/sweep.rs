//! A network over batch sizes, and the batch from which one packing is faster than another.

use serde::{Deserialize, Serialize};

use sordino_report::Align::{Left, Right};
use sordino_report::{Column, bytes_text, columns, seconds_text};

use super::tables::packing_label;

/// The cost of one batch with one packing; key `sweep` of `report.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SweepPoint {
    /// Network, where a report has several.
    pub network: Option<String>,
    /// Packing, as in records; with `channel-wise` the planner chooses how many images share a ciphertext.
    pub packing: String,
    /// Images evaluated together.
    pub batch: u64,
    /// Images that one block of ciphertexts holds.
    pub block_images: Option<u64>,
    /// Images that were run: the batch, or fewer where the numbers are extrapolated.
    pub images_run: Option<u64>,
    /// Blocks of ciphertexts that the batch fills.
    pub blocks: u64,
    /// From the request's bytes in memory to the reply's: how long everyone in the batch waits.
    pub total_seconds: f64,
    /// `total_seconds` / `batch`.
    pub amortized_seconds: f64,
    /// Largest resident memory of the evaluating process.
    pub peak_rss_bytes: Option<u64>,
    /// Bytes of the request.
    pub upload_bytes: Option<u64>,
    /// Bytes of the reply.
    pub reply_bytes: Option<u64>,
    /// Bytes of evaluation keys.
    pub key_bytes: Option<u64>,
    /// Whether the batch was run; otherwise its numbers are extrapolated from fewer blocks.
    pub measured: bool,
}

/// Where the total times of two packings cross; the last crossing if there are several.
///
/// Both evaluate the same images, so the amortized times cross at the same batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakEven {
    /// Network, where a report has several.
    pub network: Option<String>,
    /// The packing that is faster from the crossing on.
    pub faster_above: String,
    /// The packing that is faster just below the crossing.
    pub faster_below: String,
    /// Number of images where the lines cross, which are straight between points on logarithmic axes.
    pub crossing: f64,
    /// The first whole batch at or after the crossing.
    pub batch: u64,
    /// Total time at the crossing.
    pub total_seconds: f64,
    /// `total_seconds` / `crossing`.
    pub amortized_seconds: f64,
    /// Whether all points next to the crossing were measured.
    pub measured: bool,
}

/// One packing's points with usable numbers, by batch; the last one where a batch has several.
pub(super) struct Line<'a> {
    pub(super) packing: &'a str,
    pub(super) points: Vec<&'a SweepPoint>,
}

/// The networks in the order of their first points.
pub(super) fn networks(points: &[SweepPoint]) -> Vec<Option<&str>> {
    let mut networks = Vec::new();
    for point in points {
        if !networks.contains(&point.network.as_deref()) {
            networks.push(point.network.as_deref());
        }
    }
    networks
}

/// A line per packing, in the order of their first points.
pub(super) fn sweep_lines<'a>(points: &'a [SweepPoint], network: Option<&str>) -> Vec<Line<'a>> {
    let usable = |seconds: f64| seconds.is_finite() && seconds > 0.0;
    let mut lines: Vec<Line<'a>> = Vec::new();
    for point in points {
        let of_network = point.network.as_deref() == network;
        if !of_network
            || point.batch == 0
            || !usable(point.total_seconds)
            || !usable(point.amortized_seconds)
        {
            continue;
        }
        let known = lines.iter().position(|line| line.packing == point.packing);
        let at = known.unwrap_or_else(|| {
            lines.push(Line {
                packing: &point.packing,
                points: Vec::new(),
            });
            lines.len() - 1
        });
        let line = &mut lines[at];
        match line
            .points
            .binary_search_by_key(&point.batch, |known| known.batch)
        {
            Ok(at) => line.points[at] = point,
            Err(at) => line.points.insert(at, point),
        }
    }
    lines
}

impl Line<'_> {
    /// ln of the total time at ln of a batch and whether the neighbouring points were measured; `None` outside.
    fn at(&self, x: f64) -> Option<(f64, bool)> {
        let ln = |point: &SweepPoint| ((point.batch as f64).ln(), point.total_seconds.ln());
        if let Some(point) = self.points.iter().find(|point| ln(point).0 == x) {
            return Some((ln(point).1, point.measured));
        }
        let pair = self
            .points
            .windows(2)
            .find(|pair| ln(pair[0]).0 < x && x < ln(pair[1]).0)?;
        let ((x0, y0), (x1, y1)) = (ln(pair[0]), ln(pair[1]));
        let y = y0 + (y1 - y0) * (x - x0) / (x1 - x0);
        Some((y, pair[0].measured && pair[1].measured))
    }
}

/// The crossing of every two packings of a network whose lines cross.
pub(super) fn break_even(points: &[SweepPoint]) -> Vec<BreakEven> {
    let mut found = Vec::new();
    for network in networks(points) {
        let lines = sweep_lines(points, network);
        for (index, first) in lines.iter().enumerate() {
            for second in &lines[index + 1..] {
                found.extend(last_crossing(network, first, second));
            }
        }
    }
    found
}

fn last_crossing(network: Option<&str>, first: &Line<'_>, second: &Line<'_>) -> Option<BreakEven> {
    let mut batches: Vec<u64> = first
        .points
        .iter()
        .chain(&second.points)
        .map(|point| point.batch)
        .collect();
    batches.sort_unstable();
    batches.dedup();
    // Where both have a time: ln of the batch, the two times, whether they were measured. Equal times decide nothing.
    let both: Vec<(f64, f64, f64, bool)> = batches
        .iter()
        .filter_map(|&batch| {
            let x = (batch as f64).ln();
            let ((y, measured), (other, also)) = (first.at(x)?, second.at(x)?);
            Some((x, y, other, measured && also))
        })
        .filter(|(_, y, other, _)| y != other)
        .collect();
    let pair = both
        .windows(2)
        .rev()
        .find(|pair| (pair[0].1 < pair[0].2) != (pair[1].1 < pair[1].2))?;
    let ((x0, y0, other0, measured0), (x1, y1, other1, measured1)) = (pair[0], pair[1]);
    let (before, after) = (y0 - other0, y1 - other1);
    let share = before / (before - after);
    let crossing = (x0 + share * (x1 - x0)).exp();
    let total_seconds = (y0 + share * (y1 - y0)).exp();
    let (above, below) = if after < 0.0 {
        (first, second)
    } else {
        (second, first)
    };
    Some(BreakEven {
        network: network.map(str::to_owned),
        faster_above: above.packing.to_owned(),
        faster_below: below.packing.to_owned(),
        crossing,
        // Rounding of the logarithms is no reason for another image.
        batch: (crossing * (1.0 - 1e-9)).ceil().max(1.0) as u64,
        total_seconds,
        amortized_seconds: total_seconds / crossing,
        measured: measured0 && measured1,
    })
}

const COLUMNS: [Column<'_, SweepPoint>; 12] = [
    ("network", Left, |p| p.network.clone()),
    ("packing", Left, |p| Some(packing_label(&p.packing))),
    ("batch", Right, |p| Some(p.batch.to_string())),
    ("images per block", Right, |p| {
        p.block_images.map(|images| images.to_string())
    }),
    ("blocks", Right, |p| Some(p.blocks.to_string())),
    ("total", Right, |p| Some(seconds_text(p.total_seconds))),
    ("per image", Right, |p| {
        Some(seconds_text(p.amortized_seconds))
    }),
    ("peak memory", Right, |p| p.peak_rss_bytes.map(bytes_text)),
    ("upload", Right, |p| p.upload_bytes.map(bytes_text)),
    ("reply", Right, |p| p.reply_bytes.map(bytes_text)),
    ("keys", Right, |p| p.key_bytes.map(bytes_text)),
    ("measured", Left, |p| {
        Some(match (p.measured, p.images_run) {
            (true, _) => "yes".into(),
            (false, Some(images)) => format!("no: from {images} images"),
            (false, None) => "no".into(),
        })
    }),
];

/// The points as lines of text.
pub fn sweep_table(points: &[SweepPoint]) -> String {
    columns(&COLUMNS, points)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(packing: &str, batch: u64, total_seconds: f64) -> SweepPoint {
        SweepPoint {
            packing: packing.into(),
            batch,
            total_seconds,
            amortized_seconds: total_seconds / batch as f64,
            measured: true,
            ..SweepPoint::default()
        }
    }

    #[test]
    fn a_constant_and_a_proportional_time_cross_where_they_must() {
        // 2 s for any batch against 0.1 s per image: equal at 20 images, between the points.
        let mut points = Vec::new();
        for batch in [1, 4, 16, 64] {
            points.push(point("element-wise", batch, 2.0));
            points.push(point("channel-wise", batch, 0.1 * batch as f64));
        }
        let [found] = &break_even(&points)[..] else {
            panic!("one crossing")
        };
        assert!((found.crossing - 20.0).abs() < 1e-9, "{found:?}");
        assert!((found.total_seconds - 2.0).abs() < 1e-9);
        assert!((found.amortized_seconds - 0.1).abs() < 1e-9);
        assert_eq!((found.batch, found.measured), (20, true));
        assert_eq!(
            (&*found.faster_above, &*found.faster_below),
            ("element-wise", "channel-wise")
        );
        // The order of the points says nothing, and a crossing between batches is rounded up.
        points.reverse();
        for point in &mut points {
            if point.packing == "element-wise" {
                (point.total_seconds, point.measured) = (2.05, false);
            }
        }
        let found = &break_even(&points)[0];
        assert!((found.crossing - 20.5).abs() < 1e-9, "{found:?}");
        assert_eq!((found.batch, found.measured), (21, false));
    }

    #[test]
    fn batches_need_not_be_the_same() {
        let points = [
            point("a", 1, 1.0),
            point("a", 100, 1.0),
            point("b", 2, 0.2),
            point("b", 50, 5.0),
        ];
        let found = &break_even(&points)[0];
        assert!((found.crossing - 10.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn the_last_crossing_counts_and_without_one_there_is_none() {
        let mut points = Vec::new();
        for (batch, first, second) in [(1, 1.0, 2.0), (10, 3.0, 2.0), (100, 3.0, 4.0)] {
            points.extend([point("a", batch, first), point("b", batch, second)]);
        }
        let found = &break_even(&points)[0];
        assert!(
            found.crossing > 10.0 && found.faster_above == "a",
            "{found:?}"
        );
        for points in [
            vec![],
            vec![point("a", 1, 1.0), point("b", 1, 2.0)],
            vec![
                point("a", 1, 1.0),
                point("a", 9, 1.0),
                point("b", 1, 2.0),
                point("b", 9, 2.0),
            ],
            vec![
                point("a", 1, 1.0),
                point("a", 9, 1.0),
                point("b", 10, 0.1),
                point("b", 11, 9.0),
            ],
            vec![
                point("a", 0, 1.0),
                point("a", 9, f64::NAN),
                point("b", 1, 0.0),
                point("b", 9, 9.0),
            ],
        ] {
            assert_eq!(break_even(&points), [], "{points:?}");
        }
    }
}
