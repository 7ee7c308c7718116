//! Predictions as CSV and JSON.

use std::io::Write;

use serde::Serialize;
use serde_json::value::RawValue;
use sordino_container::printable;
use sordino_graph::OutputKind;

use crate::{Error, Predictions, Status};

/// Digits after the point of a probability.
const PROBABILITY_DIGITS: usize = 9;

/// One image in the JSON form.
#[derive(Serialize)]
struct Row<'a> {
    index: usize,
    name: &'a str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    answer: Option<Answer<'a>>,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    unusual: Option<&'a str>,
}

/// What there is for an image that was encrypted.
#[derive(Serialize)]
struct Answer<'a> {
    class: usize,
    label: &'a str,
    probabilities: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logits: Option<Vec<Box<RawValue>>>,
    out_of_range: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Finding<'a>>,
}

/// What there is for one finding of an image.
#[derive(Serialize)]
struct Finding<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<bool>,
    probability: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    margin: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<bool>,
}

impl Predictions {
    /// Checks a list of names and gives the name of an image, empty without a list.
    fn names<'a>(&self, names: Option<&'a [String]>) -> Result<impl Fn(usize) -> &'a str, Error> {
        let expected = self.marks().images();
        if let Some(found) = names
            .map(<[String]>::len)
            .filter(|&found| found != expected)
        {
            let what = "names";
            return Err(Error::ListLength {
                what,
                expected,
                found,
            });
        }
        Ok(move |image: usize| names.map_or("", |names| names[image].as_str()))
    }

    /// Images of the batch: the index there, and that among those that have a prediction.
    fn rows(&self) -> impl Iterator<Item = (usize, Option<usize>)> {
        let mut next = 0;
        (0..self.marks().images()).map(move |index| {
            let left_out = self.marks().of(index).is_some_and(|image| image.left_out);
            let image = (!left_out).then_some(next);
            next += usize::from(!left_out);
            (index, image)
        })
    }

    /// Probabilities of an image, and its logits, each with the same number of digits after the point whatever it is.
    fn numbers(&self, image: usize) -> [Vec<String>; 2] {
        let width = self.class_names().len();
        let row = image * width..(image + 1) * width;
        // Every multiple of the released precision has so many digits at most.
        let digits = usize::try_from(self.released_bits()).unwrap_or(0);
        let scores = &self.probabilities()[row.clone()];
        let of_scores = match self.output_kind() {
            OutputKind::Raw => digits,
            OutputKind::Softmax | OutputKind::Sigmoid => PROBABILITY_DIGITS,
        };
        let write = |values: &[f64], digits| {
            values
                .iter()
                .map(|value| format!("{value:.digits$}"))
                .collect()
        };
        [write(scores, of_scores), write(&self.logits()[row], digits)]
    }

    /// Names of the columns of a finding.
    fn finding_header(&self, class: usize) -> Vec<String> {
        let name = printable(&self.class_names()[class]);
        let columns = ["label", "p", "decision", "margin", "close"];
        let skipped = usize::from(!self.has_several_findings());
        let columns = columns.into_iter().skip(skipped);
        columns.map(|column| format!("{column}_{name}")).collect()
    }

    /// The columns of a finding: whether its probability is at least one half (only where there are several findings), the probability,
    /// and decision, margin and whether that is small, empty without an operating point.
    fn finding_cells(&self, image: usize, class: usize) -> Vec<String> {
        let bit = |yes: bool| u8::from(yes).to_string();
        let found = self.decision(image, class);
        let mut cells = Vec::new();
        if self.has_several_findings() {
            cells.push(bit(found.probability >= 0.5));
        }
        cells.push(fixed(found.probability));
        match found.at_point {
            Some(point) => {
                cells.extend([bit(point.found), fixed(point.margin), bit(point.close)]);
            }
            None => cells.extend([const { String::new() }; 3]),
        }
        cells
    }

    /// The findings of an image.
    fn finding_values(&self, image: usize) -> Result<Vec<Finding<'_>>, serde_json::Error> {
        let value = |class: usize| {
            let found = self.decision(image, class);
            let margin = found.at_point.map(|point| fixed(point.margin));
            Ok(Finding {
                name: &self.class_names()[class],
                label: self
                    .has_several_findings()
                    .then_some(found.probability >= 0.5),
                probability: RawValue::from_string(fixed(found.probability))?,
                decision: found.at_point.map(|point| point.found),
                margin: margin.map(RawValue::from_string).transpose()?,
                close: found.at_point.map(|point| point.close),
            })
        };
        self.findings().into_iter().map(value).collect()
    }

    /// Writes one row per image: `index,name,class,label,p_0,…`, with `logits` also `logit_0,…`, then `out_of_range`, which is 1 for an
    /// image whose logits leave the range of calibration, `status`, and for every finding `label_NAME` (only where there are several),
    /// `p_NAME`, `decision_NAME`, `margin_NAME` and `close_NAME`. A row of an image that was left out has its index, name and
    /// status and nothing else.
    ///
    /// # Errors
    /// [`Error::ListLength`] for names that are not one per image, [`Error::Table`] if writing fails.
    pub fn write_csv(
        &self,
        out: impl Write,
        names: Option<&[String]>,
        logits: bool,
    ) -> Result<(), Error> {
        let name_of = self.names(names)?;
        let width = self.class_names().len();
        let mut writer = csv::Writer::from_writer(out);
        let mut header = ["index", "name", "class", "label"]
            .map(str::to_owned)
            .to_vec();
        header.extend((0..width).map(|class| format!("p_{class}")));
        if logits {
            header.extend((0..width).map(|class| format!("logit_{class}")));
        }
        header.extend(["out_of_range", "status"].map(str::to_owned));
        let status = header.len() - 1;
        let findings = self.findings();
        header.extend(
            findings
                .iter()
                .flat_map(|&class| self.finding_header(class)),
        );
        writer.write_record(&header)?;
        for (index, image) in self.rows() {
            let mut record = vec![index.to_string(), cell(name_of(index))];
            let Some(image) = image else {
                record.resize(header.len(), String::new());
                record[status] = Status::Unusual.word().to_owned();
                writer.write_record(&record)?;
                continue;
            };
            record.push(self.classes()[image].to_string());
            record.push(cell(self.label(image)));
            let [probabilities, scores] = self.numbers(image);
            record.extend(probabilities);
            if logits {
                record.extend(scores);
            }
            record.push(u8::from(self.out_of_range()[image]).to_string());
            record.push(self.status(image, index).word().to_owned());
            let cells = findings.iter();
            record.extend(cells.flat_map(|&class| self.finding_cells(image, class)));
            writer.write_record(&record)?;
        }
        Ok(writer.flush().map_err(csv::Error::from)?)
    }

    /// Writes an array with one object per image and the fields of the CSV, probabilities and logits as arrays, and `unusual` with what is
    /// unusual about an image.
    ///
    /// # Errors
    /// As [`write_csv`](Self::write_csv).
    pub fn write_json(
        &self,
        mut out: impl Write,
        names: Option<&[String]>,
        logits: bool,
    ) -> Result<(), Error> {
        let name_of = self.names(names)?;
        let failed = |detail: String| Error::Table { detail };
        let mut rows = Vec::with_capacity(self.marks().images());
        for (index, image) in self.rows() {
            let answer = image.map(|image| {
                let raw =
                    |numbers: Vec<String>| numbers.into_iter().map(RawValue::from_string).collect();
                let [probabilities, scores] = self.numbers(image);
                Ok::<_, serde_json::Error>(Answer {
                    class: self.classes()[image],
                    label: self.label(image),
                    probabilities: raw(probabilities)?,
                    logits: logits.then(|| raw(scores)).transpose()?,
                    out_of_range: self.out_of_range()[image],
                    findings: self.finding_values(image)?,
                })
            });
            let row = answer.transpose().and_then(|answer| {
                serde_json::to_string(&Row {
                    index,
                    name: name_of(index),
                    answer,
                    status: image.map_or(Status::Unusual, |image| self.status(image, index)),
                    unusual: self.marks().of(index).map(|image| image.why.as_str()),
                })
            });
            rows.push(row.map_err(|error| failed(error.to_string()))?);
        }
        write!(out, "[\n{}\n]\n", rows.join(",\n")).map_err(|error| failed(error.to_string()))
    }
}

/// A number with the same number of digits after the point whatever it is.
fn fixed(number: f64) -> String {
    format!("{number:.PROBABILITY_DIGITS$}")
}

/// A text in a cell: what a spreadsheet would run as a formula gets an apostrophe in front, which makes it text there.
fn cell(text: &str) -> String {
    let text = printable(text);
    match text.starts_with(['=', '+', '-', '@', '\t', '\n', '\u{fffd}']) {
        true => format!("'{text}"),
        false => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn no_cell_is_a_formula() {
        for text in ["=HYPERLINK(\"x\")", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert!(cell(text).starts_with('\''), "{text:?}");
        }
        assert_eq!(cell("chest-1.png"), "chest-1.png");
        assert_eq!(cell("a=b"), "a=b");
    }
}
