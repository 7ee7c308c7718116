//! Records of networks as tables for the terminal.

use crate::lines::Align::{Left, Right};
use crate::lines::{Column, columns, number_text, percent};
use crate::{Layer, Record, bytes_text, seconds_text};

const COLUMNS: [Column<Record>; 26] = [
    ("network", Left, |r| Some(r.network.clone())),
    ("data set", Left, |r| Some(r.dataset.clone())),
    ("images", Right, |r| Some(r.images.to_string())),
    ("packing", Left, |r| Some(r.packing.clone())),
    ("quadratics", Left, |r| r.activation.clone()),
    ("N", Right, |r| r.ring_degree.map(|n| n.to_string())),
    ("log2 QP", Right, |r| {
        r.log2_qp.or(r.log2_q).map(|bits| format!("{bits:.1}"))
    }),
    ("security", Right, |r| {
        r.security_bits.map(|bits| bits.to_string())
    }),
    ("teacher", Right, |r| percent(r.accuracy_teacher)),
    ("plain", Right, |r| percent(r.accuracy_plain)),
    ("integer", Right, |r| percent(r.accuracy_integer)),
    ("encrypted", Right, |r| percent(r.accuracy_encrypted)),
    ("AUC", Right, |r| r.auc.map(|auc| format!("{auc:.3}"))),
    ("agreement", Right, |r| percent(r.agreement)),
    ("worst logit error", Right, |r| {
        r.worst_logit_error.map(|error| format!("{error:.2e}"))
    }),
    ("encrypt", Right, |r| r.encrypt_seconds.map(seconds_text)),
    ("evaluate", Right, |r| r.evaluate_seconds.map(seconds_text)),
    ("x peak", Right, |r| {
        r.evaluate_peak_gproducts
            .map(|products| format!("{} G", number_text(products)))
    }),
    ("per image", Right, |r| {
        r.amortized_seconds.map(seconds_text)
    }),
    ("decrypt", Right, |r| r.decrypt_seconds.map(seconds_text)),
    ("upload", Right, |r| r.upload_bytes.map(bytes_text)),
    ("keys", Right, |r| r.key_bytes.map(bytes_text)),
    ("reply", Right, |r| r.reply_bytes.map(bytes_text)),
    ("peak memory", Right, |r| r.peak_rss_bytes.map(bytes_text)),
    ("memory/upload", Right, |r| {
        r.memory_over_request
            .map(|quotient| format!("{quotient:.2}"))
    }),
    ("share of peak", Right, |r| {
        percent(r.evaluation_share_of_peak)
    }),
];

/// The records as lines of text, one a record below a line of titles; columns that no record fills are left out.
///
/// `per image` is the evaluation's time shared out over the batch, no latency; `x peak` the evaluation's time times the
/// machine's int8 peak, in byte products; `share of peak` that of the whole evaluation.
pub fn table(records: &[Record]) -> String {
    columns(&COLUMNS, records)
}

const LAYER_COLUMNS: [Column<(Layer, Option<f64>)>; 8] = [
    ("step", Left, |(layer, _)| Some(layer.name.clone())),
    ("operation", Left, |(layer, _)| {
        Some(layer.operation.clone())
    }),
    ("seconds", Right, |(layer, _)| {
        layer.seconds.map(seconds_text)
    }),
    ("of the whole", Right, |(_, share)| percent(*share)),
    ("int8 G/s", Right, |(layer, _)| {
        layer.int8_gmacs.map(number_text)
    }),
    ("share of peak", Right, |(layer, _)| {
        percent(layer.share_of_peak)
    }),
    ("bits predicted", Right, |(layer, _)| {
        layer.predicted_bits.map(|bits| format!("{bits:.1}"))
    }),
    ("measured", Right, |(layer, _)| {
        layer.measured_bits.map(|bits| format!("{bits:.1}"))
    }),
];

/// Where the time of one record's evaluation goes: a line a step, and one for what is in no step.
pub fn layer_table(record: &Record) -> String {
    let whole = record.evaluate_seconds.filter(|&seconds| seconds > 0.0);
    let share = |seconds: Option<f64>| seconds.zip(whole).map(|(part, whole)| part / whole);
    let in_steps: f64 = record.layers.iter().filter_map(|layer| layer.seconds).sum();
    let rest = Layer {
        name: "(not in a step)".into(),
        // Medians of parts need not add up to the median of the whole.
        seconds: whole.map(|whole| (whole - in_steps).max(0.0)),
        ..Layer::default()
    };
    let rows: Vec<(Layer, Option<f64>)> = record
        .layers
        .iter()
        .cloned()
        .chain([rest])
        .map(|layer| {
            let of_whole = share(layer.seconds);
            (layer, of_whole)
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
        first.evaluate_seconds = Some(0.5);
        let second = Record {
            network: "cryptonets".into(),
            images: 7,
            ..first.clone()
        };
        let third = Record {
            evaluate_seconds: None,
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
            evaluate_seconds: Some(1.0),
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
