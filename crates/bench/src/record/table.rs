//! Records of networks as tables for the terminal.

use sordino_report::Align::{Left, Right};
use sordino_report::{Column, bytes_text, columns, number_text, percent_text, seconds_text};

use super::network::{Layer, Record};
use super::timing::Timing;

fn count(value: Option<u64>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn median(timing: Timing) -> Option<String> {
    timing.median.map(seconds_text)
}

const COLUMNS: [Column<'_, Record>; 27] = [
    ("network", Left, |r| Some(r.network.clone())),
    ("data set", Left, |r| Some(r.dataset.clone())),
    ("images", Right, |r| count(Some(r.images))),
    ("packing", Left, |r| Some(r.packing.clone())),
    ("quadratics", Left, |r| r.activation.clone()),
    ("N", Right, |r| count(r.ring_degree)),
    ("log2 QP", Right, |r| {
        r.log2_qp.or(r.log2_q).map(|bits| format!("{bits:.1}"))
    }),
    ("security", Right, |r| count(r.security_bits)),
    ("teacher", Right, |r| r.accuracy_teacher.map(percent_text)),
    ("plain", Right, |r| r.accuracy_plain.map(percent_text)),
    ("integer", Right, |r| r.accuracy_integer.map(percent_text)),
    ("encrypted", Right, |r| {
        r.accuracy_encrypted.map(percent_text)
    }),
    ("AUC", Right, |r| r.auc.map(|auc| format!("{auc:.3}"))),
    ("balanced", Right, |r| r.balanced_accuracy.map(percent_text)),
    ("agreement", Right, |r| r.agreement.map(percent_text)),
    ("worst logit error", Right, |r| {
        r.worst_logit_error.map(|error| format!("{error:.2e}"))
    }),
    ("encrypt", Right, |r| median(r.encrypt)),
    ("evaluate", Right, |r| median(r.evaluate)),
    ("x peak", Right, |r| {
        r.evaluate_peak_gproducts
            .map(|products| format!("{} G", number_text(products)))
    }),
    ("per image", Right, |r| median(r.amortized)),
    ("decrypt", Right, |r| median(r.decrypt)),
    ("upload", Right, |r| r.upload_bytes.map(bytes_text)),
    ("keys", Right, |r| r.key_bytes.map(bytes_text)),
    ("reply", Right, |r| r.reply_bytes.map(bytes_text)),
    ("peak memory", Right, |r| r.peak_rss_bytes.map(bytes_text)),
    ("memory/upload", Right, |r| {
        r.memory_over_request
            .map(|quotient| format!("{quotient:.2}"))
    }),
    ("share of peak", Right, |r| {
        r.evaluation_share_of_peak.map(percent_text)
    }),
];

/// The records as lines of text, one per record below a line of titles; columns that no record fills are left out.
///
/// `per image` is the evaluation's time divided by the images of the batch, no latency; `x peak` is the evaluation's time times
/// the machine's int8 peak, in byte products; `share of peak` is that of the whole evaluation.
pub fn table(records: &[Record]) -> String {
    columns(&COLUMNS, records)
}

/// A step, and its share of the evaluation's time.
type LayerRow = (Layer, Option<f64>);

const LAYER_COLUMNS: [Column<'_, LayerRow>; 8] = [
    ("step", Left, |(step, _)| Some(step.name.clone())),
    ("operation", Left, |(step, _)| Some(step.operation.clone())),
    ("seconds", Right, |(step, _)| step.seconds.map(seconds_text)),
    ("of the whole", Right, |(_, share)| share.map(percent_text)),
    ("int8 G/s", Right, |(step, _)| {
        step.int8_gmacs.map(number_text)
    }),
    ("share of peak", Right, |(step, _)| {
        step.share_of_peak.map(percent_text)
    }),
    ("bits predicted", Right, |(step, _)| {
        step.predicted_bits.map(|bits| format!("{bits:.1}"))
    }),
    ("measured", Right, |(step, _)| {
        step.measured_bits.map(|bits| format!("{bits:.1}"))
    }),
];

/// Where the time of one record's evaluation goes: a line per step, and one for the time outside of steps.
pub fn layer_table(record: &Record) -> String {
    let whole = record.evaluate.median.filter(|&seconds| seconds > 0.0);
    let in_steps: f64 = record.layers.iter().filter_map(|layer| layer.seconds).sum();
    let rest = Layer {
        name: "(not in a step)".into(),
        // Medians of parts need not add up to the median of the whole.
        seconds: whole.map(|whole| (whole - in_steps).max(0.0)),
        ..Layer::default()
    };
    let layers = record.layers.iter().chain([&rest]);
    let rows: Vec<LayerRow> = layers
        .map(|layer| {
            let share = layer.seconds.zip(whole).map(|(part, whole)| part / whole);
            (layer.clone(), share)
        })
        .collect();
    columns(&LAYER_COLUMNS, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_empty_ones_are_left_out() {
        let mut first = Record {
            network: "mlp".into(),
            dataset: "mnist".into(),
            images: 10_000,
            ..Record::default()
        };
        first.evaluate = Timing::of(&[0.5]);
        let second = Record {
            network: "cryptonets".into(),
            images: 7,
            ..first.clone()
        };
        let third = Record {
            evaluate: Timing::default(),
            ..second.clone()
        };
        let text = table(&[first, second, third]);
        let expected = "\
network     data set  images  evaluate
mlp         mnist      10000    500 ms
cryptonets  mnist          7    500 ms
cryptonets  mnist          7         -
";
        assert_eq!(text, expected);
    }

    #[test]
    fn layers_show_what_is_in_no_step() {
        let layer = |name: &str, operation: &str, seconds| Layer {
            name: name.into(),
            operation: operation.into(),
            seconds,
            ..Layer::default()
        };
        let mut first = layer("fc1", "dense", Some(0.25));
        (first.int8_gmacs, first.share_of_peak) = (Some(400.0), Some(0.5));
        let record = Record {
            evaluate: Timing::of(&[1.0]),
            layers: vec![
                layer("x", "input", None),
                first,
                layer("act", "square", Some(0.5)),
            ],
            ..Record::default()
        };
        let expected = "\
step             operation  seconds  of the whole  int8 G/s  share of peak
x                input            -             -         -              -
fc1              dense       250 ms       25.00 %       400        50.00 %
act              square      500 ms       50.00 %         -              -
(not in a step)  -           250 ms       25.00 %         -              -
";
        assert_eq!(layer_table(&record), expected);
    }
}
