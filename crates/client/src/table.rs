//! Predictions as CSV and JSON.

use std::io::Write;

use serde::Serialize;

use sordino_container::printable;

use crate::{Error, Predictions};

/// One image in the JSON form.
#[derive(Serialize)]
struct Row<'a> {
    index: usize,
    name: &'a str,
    class: usize,
    label: &'a str,
    probabilities: &'a [f64],
    #[serde(skip_serializing_if = "Option::is_none")]
    logits: Option<&'a [f64]>,
    out_of_range: bool,
}

impl Predictions {
    /// Checks a list of names and gives the name of an image, empty without a list.
    fn names<'a>(&self, names: Option<&'a [String]>) -> Result<impl Fn(usize) -> &'a str, Error> {
        if let Some(found) = names
            .map(<[String]>::len)
            .filter(|&found| found != self.len())
        {
            let (what, expected) = ("names", self.len());
            return Err(Error::ListLength {
                what,
                expected,
                found,
            });
        }
        Ok(move |image: usize| names.map_or("", |names| names[image].as_str()))
    }

    /// Writes one row per image: `index,name,class,label,p_0,…`, with `logits` also `logit_0,…`, and last
    /// `out_of_range`, which is 1 for an image whose logits leave the range of calibration.
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
        header.push("out_of_range".to_owned());
        writer.write_record(&header)?;
        for image in 0..self.len() {
            let row = image * width..(image + 1) * width;
            let mut record = vec![
                image.to_string(),
                cell(name_of(image)),
                self.classes()[image].to_string(),
                cell(self.label(image)),
            ];
            record.extend(self.probabilities()[row.clone()].iter().map(f64::to_string));
            if logits {
                record.extend(self.logits()[row].iter().map(f64::to_string));
            }
            record.push(u8::from(self.out_of_range()[image]).to_string());
            writer.write_record(&record)?;
        }
        Ok(writer.flush().map_err(csv::Error::from)?)
    }

    /// Writes an array with one object per image and the fields of the CSV, probabilities and logits as arrays.
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
        let width = self.class_names().len();
        let row = |image: usize| {
            let range = image * width..(image + 1) * width;
            Row {
                index: image,
                name: name_of(image),
                class: self.classes()[image],
                label: self.label(image),
                probabilities: &self.probabilities()[range.clone()],
                logits: logits.then(|| &self.logits()[range]),
                out_of_range: self.out_of_range()[image],
            }
        };
        let rows: Result<Vec<String>, _> = (0..self.len())
            .map(|image| serde_json::to_string(&row(image)))
            .collect();
        let failed = |detail: String| Error::Table { detail };
        let rows = rows.map_err(|error| failed(error.to_string()))?;
        write!(out, "[\n{}\n]\n", rows.join(",\n")).map_err(|error| failed(error.to_string()))
    }
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
