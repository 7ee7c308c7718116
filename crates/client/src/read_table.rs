//! Reading a CSV of predictions back.

use std::io::Read;

use crate::{Error, Status};

/// What a CSV of predictions says.
///
/// # Shapes
/// `logits` and `probabilities` are `[images, classes]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictionTable {
    /// Place in the batch of every image that has a prediction.
    pub indices: Vec<usize>,
    /// Number of images, those that were left out too.
    pub images: usize,
    /// Class of every image.
    pub classes: Vec<usize>,
    /// Rounded logits, if they were written.
    pub logits: Option<Vec<f64>>,
    /// Probabilities as they were written, if they were.
    pub probabilities: Option<Vec<f64>>,
    /// Decisions of every image on the findings that have them, by the name of the finding.
    pub decisions: Vec<(String, Vec<TableDecision>)>,
}

/// A decision as the CSV has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableDecision {
    /// Whether the image is decided to have the finding.
    pub found: bool,
    /// Whether rounding or noise could have decided.
    pub close: bool,
}

impl PredictionTable {
    /// Reads the CSV that [`Predictions::write_csv`](crate::Predictions::write_csv) writes, for a network with `width`
    /// classes. Columns are found by name; others are passed over, and so are images that were left out.
    ///
    /// # Errors
    /// [`Error::Predictions`] naming the line.
    pub fn read_csv(source: impl Read, width: usize, location: &str) -> Result<Self, Error> {
        let wrong = |expected: String, found: String| Error::Predictions {
            location: location.to_owned(),
            expected,
            found,
        };
        let mut reader = csv::Reader::from_reader(source);
        let text =
            |error: csv::Error| wrong("comma separated values".to_owned(), error.to_string());
        let header = reader.headers().map_err(text)?.clone();
        let column = |name: &str| header.iter().position(|field| field == name);
        let required = |name: &str| {
            column(name).ok_or_else(|| {
                wrong(
                    format!("a column {name}"),
                    header.iter().collect::<Vec<_>>().join(","),
                )
            })
        };
        let (index, class) = (required("index")?, required("class")?);
        let logit_columns: Option<Vec<usize>> = (0..width)
            .map(|class| column(&format!("logit_{class}")))
            .collect();
        if logit_columns.is_none() && column("logit_0").is_some()
            || column(&format!("logit_{width}")).is_some()
        {
            let found = header
                .iter()
                .filter(|field| field.starts_with("logit_"))
                .count();
            return Err(wrong(
                format!("{width} logits per image"),
                found.to_string(),
            ));
        }
        let probability_columns: Option<Vec<usize>> = (0..width)
            .map(|class| column(&format!("p_{class}")))
            .collect();
        let left_out = |record: &csv::StringRecord| {
            let status = column("status").and_then(|at| record.get(at));
            status == Some(Status::Unusual.word()) && record.get(class) == Some("")
        };
        let mut table = Self {
            indices: Vec::new(),
            images: 0,
            classes: Vec::new(),
            logits: logit_columns.as_ref().map(|_| vec![]),
            probabilities: probability_columns.as_ref().map(|_| vec![]),
            decisions: Vec::new(),
        };
        let decision_columns: Vec<(usize, usize, &str)> = header
            .iter()
            .enumerate()
            .filter_map(|(at, field)| field.strip_prefix("decision_").map(|name| (at, name)))
            .map(|(at, name)| Ok((at, required(&format!("close_{name}"))?, name)))
            .collect::<Result<_, Error>>()?;
        let mut decisions = vec![Vec::new(); decision_columns.len()];
        for (row, record) in reader.records().enumerate() {
            let record = record.map_err(text)?;
            let field = |at: usize| record.get(at).unwrap_or("");
            let line = row + 2;
            if field(index) != row.to_string() {
                return Err(wrong(
                    format!("index {row} in line {line}"),
                    format!("{:?}", field(index)),
                ));
            }
            table.images += 1;
            if left_out(&record) {
                continue;
            }
            table.indices.push(row);
            match field(class).parse::<usize>() {
                Ok(class) if class < width => table.classes.push(class),
                _ => {
                    let expected = format!("a class from 0 to {} in line {line}", width - 1);
                    return Err(wrong(expected, format!("{:?}", field(class))));
                }
            }
            for (&(at, close, _), found) in decision_columns.iter().zip(&mut decisions) {
                let bit = |at: usize| match field(at) {
                    "0" => Ok(false),
                    "1" => Ok(true),
                    other => Err(wrong(
                        format!("0 or 1 for a decision in line {line}"),
                        format!("{other:?}"),
                    )),
                };
                // Without an operating point there is no decision in any line.
                if !field(at).is_empty() {
                    found.push(TableDecision {
                        found: bit(at)?,
                        close: bit(close)?,
                    });
                }
            }
            let number = |at: usize, what: &str| match field(at).parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(number),
                _ => {
                    let expected = format!("a finite {what} in line {line}");
                    Err(wrong(expected, format!("{:?}", field(at))))
                }
            };
            for &at in logit_columns.iter().flatten() {
                let logit = number(at, "logit")?;
                table.logits.get_or_insert_default().push(logit);
            }
            for &at in probability_columns.iter().flatten() {
                let probability = number(at, "probability")?;
                table
                    .probabilities
                    .get_or_insert_default()
                    .push(probability);
            }
        }
        for ((_, _, name), decisions) in decision_columns.into_iter().zip(decisions) {
            if !decisions.is_empty() && decisions.len() != table.classes.len() {
                let expected = format!("a decision_{name} for every prediction, or for none");
                return Err(wrong(expected, decisions.len().to_string()));
            }
            if !decisions.is_empty() {
                table.decisions.push((name.to_owned(), decisions));
            }
        }
        Ok(table)
    }
}
