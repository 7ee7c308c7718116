//! Tables of a series: one network with more and more blocks, or threads.

use sordino_report::Align::Right;
use sordino_report::{Column, columns, number_text, seconds_text};

use super::network::Record;

/// The amortized time counts as flat if no number of blocks deviates from the first by a larger share.
const FLAT_WITHIN: f64 = 0.15;

/// The amortized times relative to that of the first record that has one.
fn relative(records: &[Record]) -> Vec<Option<f64>> {
    let first = records.iter().find_map(|record| record.amortized.median);
    let quotient = |record: &Record| {
        let (seconds, first) = record.amortized.median.zip(first)?;
        (first > 0.0).then(|| seconds / first)
    };
    records.iter().map(quotient).collect()
}

/// The largest deviation of an amortized time from that of the first record, as a share of it; `None` where there is nothing to
/// compare.
fn largest_deviation(records: &[Record]) -> Option<f64> {
    let relative: Vec<f64> = relative(records).into_iter().flatten().collect();
    let deviations = relative.iter().map(|quotient| (quotient - 1.0).abs());
    deviations.reduce(f64::max).filter(|_| relative.len() > 1)
}

/// A record, and its amortized time relative to that of the first.
type BlockRow<'a> = (&'a Record, Option<f64>);

/// One network over numbers of full ciphertext blocks, and whether the time per image stays the same.
pub fn block_table(records: &[Record]) -> String {
    let Some(first) = records.first() else {
        return String::new();
    };
    let plural = if first.blocks == 1 { "" } else { "s" };
    let against = format!("relative to {} block{plural}", first.blocks);
    let titles: [Column<'_, BlockRow<'_>>; 5] = [
        ("blocks", Right, |(r, _)| Some(r.blocks.to_string())),
        ("images", Right, |(r, _)| Some(r.images.to_string())),
        ("evaluate", Right, |(r, _)| {
            r.evaluate.median.map(seconds_text)
        }),
        ("per image", Right, |(r, _)| {
            r.amortized.median.map(seconds_text)
        }),
        (&against, Right, |(_, quotient)| {
            quotient.map(|q| format!("{q:.3}"))
        }),
    ];
    let rows: Vec<BlockRow<'_>> = records.iter().zip(relative(records)).collect();
    let mut text = columns(&titles, &rows);
    if let Some(deviation) = largest_deviation(records) {
        let verdict = if deviation <= FLAT_WITHIN {
            "flat"
        } else {
            "not flat"
        };
        text.push_str(&format!(
            "{}: amortized time {verdict} within {:.0} % (largest deviation {:.1} %)\n",
            first.network,
            100.0 * FLAT_WITHIN,
            100.0 * deviation
        ));
    }
    text
}

const THREADS: [Column<'_, Record>; 5] = [
    ("threads", Right, |r| {
        r.threads.map(|threads| threads.to_string())
    }),
    ("images", Right, |r| Some(r.images.to_string())),
    ("evaluate", Right, |r| r.evaluate.median.map(seconds_text)),
    ("int8 peak", Right, |r| {
        r.int8_peak_gmacs.map(|peak| number_text(peak) + " G/s")
    }),
    ("over 1 thread", Right, |r| {
        r.speedup.map(|speedup| format!("{speedup:.2}x"))
    }),
];

/// One network over numbers of threads.
pub fn thread_table(records: &[Record]) -> String {
    columns(&THREADS, records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Timing;

    fn blocks(times: &[(u64, f64)]) -> Vec<Record> {
        times
            .iter()
            .map(|&(blocks, amortized)| Record {
                network: "mlp".into(),
                blocks,
                images: 4096 * blocks,
                evaluate: Timing::of(&[amortized * 4096.0 * blocks as f64]),
                amortized: Timing::of(&[amortized]),
                ..Record::default()
            })
            .collect()
    }

    #[test]
    fn flatness_is_judged_against_the_first() {
        let records = blocks(&[(1, 1e-5), (2, 1.1e-5), (3, 0.9e-5)]);
        let text = block_table(&records);
        assert!(
            text.starts_with("blocks  images  evaluate  per image  relative to 1 block\n"),
            "{text}"
        );
        assert!(
            text.contains("90.1 ms    11.0 us                1.100\n"),
            "{text}"
        );
        assert!(
            text.ends_with("mlp: amortized time flat within 15 % (largest deviation 10.0 %)\n"),
            "{text}"
        );
        let text = block_table(&blocks(&[(2, 1e-5), (3, 0.8e-5)]));
        assert!(
            text.contains("relative to 2 blocks") && text.contains("not flat within 15 %"),
            "{text}"
        );
    }

    #[test]
    fn one_record_is_not_compared() {
        let text = block_table(&blocks(&[(4, 1e-5)]));
        assert!(!text.contains("flat"), "{text}");
        assert_eq!(largest_deviation(&[]), None);
        assert_eq!(block_table(&[]), "");
    }

    #[test]
    fn threads_show_their_speedup() {
        let record = |threads, seconds, speedup| Record {
            threads: Some(threads),
            images: 10_000,
            evaluate: Timing::of(&[seconds]),
            int8_peak_gmacs: Some(400.0 * threads as f64),
            speedup,
            ..Record::default()
        };
        let text = thread_table(&[record(1, 0.4, Some(1.0)), record(2, 0.2, Some(2.0))]);
        let expected = "\
threads  images  evaluate  int8 peak  over 1 thread
      1   10000    400 ms    400 G/s          1.00x
      2   10000    200 ms    800 G/s          2.00x
";
        assert_eq!(text, expected);
    }
}
