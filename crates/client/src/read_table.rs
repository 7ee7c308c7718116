//! Reading a CSV of predictions back.

use std::io::Read;

use crate::{Error, Status};

/// What a CSV of predictions says.
///
/// # Shapes
/// `logits` is `[images, classes]`.
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
        let left_out = |record: &csv::StringRecord| {
            let status = column("status").and_then(|at| record.get(at));
            status == Some(Status::Unusual.word()) && record.get(class) == Some("")
        };
        let mut table = Self {
            indices: Vec::new(),
            images: 0,
            classes: Vec::new(),
            logits: logit_columns.as_ref().map(|_| vec![]),
        };
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
            for &at in logit_columns.iter().flatten() {
                match field(at).parse::<f64>() {
                    Ok(logit) if logit.is_finite() => {
                        table.logits.get_or_insert_default().push(logit)
                    }
                    _ => {
                        let expected = format!("a finite logit in line {line}");
                        return Err(wrong(expected, format!("{:?}", field(at))));
                    }
                }
            }
        }
        Ok(table)
    }
}
