//! What a network is trained on: prepared images with labels, and how raw images become prepared ones.

use sordino_data::{DataSet, Images, Targets, prepare};
use sordino_graph::{ColorPolicy, Model, Preprocess, SizePolicy};

use crate::Error;
use crate::batches::ImageSet;

/// Prepared training images with everything that the model file says about them.
#[derive(Clone, Debug)]
pub struct TrainingData {
    /// Name of the data set, recorded in the model.
    pub dataset: String,
    /// How raw images were prepared, recorded in the model.
    pub preprocess: Preprocess,
    /// Names of the classes or findings; their number is the number of logits.
    pub classes: Vec<String>,
    /// Prepared images `[count][channels][height][width]`.
    pub images: Vec<f32>,
    /// A class for each image, or several findings.
    pub labels: Targets,
    /// Images and labels that choose the best epoch; without them some of the training images are held back.
    pub validation: Option<(Vec<f32>, Targets)>,
}

impl TrainingData {
    /// Training images of a whole set, scaled to [0, 1]; its validation images, if it has any, choose the epoch.
    ///
    /// # Errors
    /// Images without labels, and those of [`prepare`].
    pub fn from_set(set: &DataSet) -> Result<Self, Error> {
        let mut data =
            Self::from_images(&set.name, &set.train, set.class_names.clone(), set.range)?;
        if let Some(images) = &set.validation {
            let prepared = prepare(images, &data.preprocess, Some(set.range))?;
            data.validation = Some((prepared, labels(images)?));
        }
        Ok(data)
    }

    /// Training and validation images of a set, prepared as a teacher takes them; classes and names are the teacher's. `range` replaces the
    /// raw values of black and white.
    ///
    /// # Errors
    /// Images without labels, and those of [`prepare`].
    pub fn prepared_for(
        set: &DataSet,
        teacher: &Model,
        range: Option<(f64, f64)>,
    ) -> Result<Self, Error> {
        let prepared = |images: &Images| {
            let pixels = prepare(images, &teacher.preprocess, range)?;
            Ok::<_, Error>((pixels, labels(images)?))
        };
        let (images, labels) = prepared(&set.train)?;
        Ok(Self {
            dataset: set.name.clone(),
            preprocess: teacher.preprocess.clone(),
            classes: teacher.classes.clone(),
            images,
            labels,
            validation: set.validation.as_ref().map(prepared).transpose()?,
        })
    }

    /// Labelled images scaled so that the raw values of `range` become 0 and 1.
    ///
    /// # Errors
    /// Images without labels, and those of [`prepare`].
    pub fn from_images(
        dataset: &str,
        images: &Images,
        classes: Vec<String>,
        range: (f64, f64),
    ) -> Result<Self, Error> {
        let preprocess = Preprocess {
            channels: images.channels,
            height: images.height,
            width: images.width,
            size: SizePolicy::Refuse,
            input_range: range,
            mean: vec![0.0; images.channels],
            std: vec![1.0; images.channels],
            allowed: range,
            color: ColorPolicy::Refuse,
            window: None,
        };
        let prepared = prepare(images, &preprocess, Some(range))?;
        let labels = labels(images)?;
        Ok(Self {
            dataset: dataset.to_string(),
            preprocess,
            classes,
            images: prepared,
            labels,
            validation: None,
        })
    }

    /// Channels, height and width.
    pub(crate) fn shape(&self) -> [usize; 3] {
        [
            self.preprocess.channels,
            self.preprocess.height,
            self.preprocess.width,
        ]
    }

    /// The training images. Pixels outside an image are the prepared lower end of the input range.
    pub(crate) fn image_set(&self) -> ImageSet<'_> {
        let black = self.preprocess.input_range.0;
        let outside = |channel| self.preprocess.normalize(channel, black) as f32;
        ImageSet {
            pixels: &self.images,
            shape: self.shape(),
            outside: (0..self.preprocess.channels).map(outside).collect(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        self.preprocess.validate()?;
        let refuse = |expected: String, found: String| Err(Error::Data { expected, found });
        if self.labels.len() < 4 {
            return refuse(
                "at least 4 training images".to_string(),
                self.labels.len().to_string(),
            );
        }
        let (least, what) = match &self.labels {
            Targets::Classes(_) => (2, "at least 2 classes"),
            Targets::Findings(_) => (1, "at least 1 finding"),
        };
        if self.classes.len() < least {
            return refuse(what.to_string(), self.classes.len().to_string());
        }
        let elements = self.preprocess.elements();
        let sets = std::iter::once((&self.images, &self.labels))
            .chain(self.validation.iter().map(|(i, l)| (i, l)));
        for (images, labels) in sets {
            if labels.len().checked_mul(elements) != Some(images.len()) {
                return refuse(
                    format!("{} images of {elements} values, one a label", labels.len()),
                    format!("{} values", images.len()),
                );
            }
            if let Some(position) = images.iter().position(|value| !value.is_finite()) {
                return refuse(
                    "finite values".to_string(),
                    format!("{} in image {}", images[position], position / elements),
                );
            }
            self.check_labels(labels)?;
        }
        Ok(())
    }

    /// Refuses labels of other classes or of another number of findings than there are names, and a mixture.
    fn check_labels(&self, labels: &Targets) -> Result<(), Error> {
        let refuse = |expected: String, found: String| Err(Error::Data { expected, found });
        let names = self.classes.len();
        match (&self.labels, labels) {
            (Targets::Classes(_), Targets::Classes(labels)) => {
                match labels.iter().find(|&&label| usize::from(label) >= names) {
                    Some(label) => refuse(
                        format!("labels below {names}, the number of classes"),
                        format!("label {label}"),
                    ),
                    None => Ok(()),
                }
            }
            (Targets::Findings(_), Targets::Findings(matrix)) => match matrix.columns() {
                columns if columns == names => Ok(()),
                columns => refuse(
                    format!("{names} labels per image, one for each finding's name"),
                    format!("{columns} labels per image"),
                ),
            },
            _ => refuse(
                "labels of one kind for training and validation images".to_string(),
                "a class for some and several findings for others".to_string(),
            ),
        }
    }
}

fn labels(images: &Images) -> Result<Targets, Error> {
    images.targets().ok_or_else(|| Error::Data {
        expected: "a label for every image".to_string(),
        found: format!("{} without labels", images.origin),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordino_data::LabelMatrix;

    fn data() -> TrainingData {
        TrainingData {
            dataset: "toy".to_string(),
            preprocess: Preprocess {
                channels: 1,
                height: 1,
                width: 2,
                size: SizePolicy::Refuse,
                input_range: (0.0, 16.0),
                mean: vec![0.5],
                std: vec![0.25],
                allowed: (0.0, 16.0),
                color: ColorPolicy::Refuse,
                window: None,
            },
            classes: vec!["no".to_string(), "yes".to_string()],
            images: vec![0.0; 8],
            labels: Targets::Classes(vec![0, 1, 0, 1]),
            validation: None,
        }
    }

    fn findings(images: usize, columns: usize) -> Targets {
        let values = vec![Some(false); images * columns];
        LabelMatrix::new(columns, values, "test").unwrap().into()
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        data().check().unwrap();
        assert_eq!(data().image_set().outside, [-2.0]);
        type Spoil = fn(&mut TrainingData);
        let cases: [(Spoil, &str); 7] = [
            (|data| data.images.truncate(7), "7 values"),
            (|data| data.labels = vec![0, 1, 2, 1].into(), "label 2"),
            (|data| data.labels = findings(4, 3), "3 labels per image"),
            (
                |data| data.validation = Some((vec![0.0; 2], findings(1, 2))),
                "several findings for others",
            ),
            (|data| data.images[5] = f32::NAN, "image 2"),
            (|data| data.classes.truncate(1), "found 1;"),
            (
                |data| data.validation = Some((vec![0.0; 2], vec![9].into())),
                "label 9",
            ),
        ];
        for (spoil, expected) in cases {
            let mut spoilt = data();
            spoil(&mut spoilt);
            let message = spoilt.check().unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        let mut several = data();
        several.labels = findings(4, 2);
        several.check().unwrap();
    }
}
