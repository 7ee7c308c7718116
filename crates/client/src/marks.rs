//! Images of a batch that are unlike those that a network is made for.

use serde::{Deserialize, Serialize};

use crate::Error;

/// An image unlike those that the network is made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnusualImage {
    /// Its place in the batch.
    pub index: usize,
    /// What is unusual about it.
    pub why: String,
    /// Whether it was not encrypted, and so has no prediction.
    pub left_out: bool,
}

/// Which images of a batch are unusual, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marks {
    images: usize,
    unusual: Vec<UnusualImage>,
    /// Whether the unusual images that are encrypted have blocks of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    separate: bool,
    /// Images that the request says it has, if more than are encrypted: as many as that of the same batch before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claimed: Option<usize>,
    /// Places of every image that is encrypted: one for each of its views.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    views: usize,
}

/// Most views that marks have.
const MOST_VIEWS: usize = 64;

fn one() -> usize {
    1
}

fn is_one(views: &usize) -> bool {
    *views == 1
}

/// What to do with unusual images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnusualPolicy {
    /// Leave them out, unless the plan proves that so many do no harm to others.
    #[default]
    Exclude,
    /// Encrypt them in blocks of their own.
    Separate,
    /// Encrypt them among the others.
    Keep,
}

/// What is known of the answer for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Nothing speaks against it.
    Ok,
    /// The image is unlike those that the network is made for.
    Unusual,
    /// The scores are unlike those of calibration.
    OutOfRange,
}

impl Status {
    /// The word in tables.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unusual => "unusual",
            Self::OutOfRange => "out-of-range",
        }
    }
}

impl Marks {
    /// Marks of a batch of so many images.
    ///
    /// # Errors
    /// [`Error::Marks`] for images that are not in the batch, or not in their order.
    pub fn new(images: usize, unusual: Vec<UnusualImage>) -> Result<Self, Error> {
        let separate = false;
        let marks = Self {
            images,
            unusual,
            separate,
            claimed: None,
            views: one(),
        };
        marks.check().map(|()| marks)
    }

    /// The same with blocks of their own for the unusual images that are encrypted.
    #[must_use]
    pub fn separate(self) -> Self {
        Self {
            separate: true,
            ..self
        }
    }

    /// The same with so many views of every image.
    pub(crate) fn with_views(self, views: usize) -> Self {
        Self { views, ..self }
    }

    /// Views of every image that is encrypted, the image itself included.
    pub fn views(&self) -> usize {
        self.views
    }

    /// Checks marks that were read.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let in_order = self.unusual.is_sorted_by(|one, two| one.index < two.index);
        let last = self.unusual.last();
        let in_batch = last.is_none_or(|last| last.index < self.images);
        if !(in_order && in_batch && (1..=MOST_VIEWS).contains(&self.views)) {
            return Err(Error::Marks);
        }
        let claims = |claimed: usize| claimed >= self.encrypted() && !self.separate;
        match self.claimed.is_none_or(claims) {
            true => Ok(()),
            false => Err(Error::Marks),
        }
    }

    /// Images of the batch, those that were left out too.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Images that are unusual.
    pub fn unusual(&self) -> &[UnusualImage] {
        &self.unusual
    }

    /// Images that were not encrypted.
    pub fn left_out(&self) -> usize {
        self.unusual.iter().filter(|image| image.left_out).count()
    }

    /// Images that were encrypted.
    pub fn encrypted(&self) -> usize {
        self.images - self.left_out()
    }

    /// What is unusual about an image.
    pub fn of(&self, index: usize) -> Option<&UnusualImage> {
        let at = self
            .unusual
            .binary_search_by_key(&index, |image| image.index);
        at.ok().map(|at| &self.unusual[at])
    }

    /// Places in the batch of the images that were encrypted, in order.
    pub fn kept(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.images).filter(|&index| !self.of(index).is_some_and(|image| image.left_out))
    }

    /// Images that the request says it has, if more than are encrypted.
    pub(crate) fn claimed(&self) -> Option<usize> {
        self.claimed
    }

    /// The same without images that are named by their places in the batch, in a request that says it has as many as before. `None` if one
    /// was left out before, or if unusual images have blocks of their own.
    #[cfg(feature = "http")]
    pub(crate) fn leaving_out(&self, named: &[usize], request_images: usize) -> Option<Self> {
        let mut marks = self.clone();
        for &index in named {
            let at = marks
                .unusual
                .binary_search_by_key(&index, |image| image.index);
            let image = UnusualImage {
                index,
                why: "in a layer of the network its values were unlike those of all others"
                    .to_owned(),
                left_out: true,
            };
            match at {
                Ok(at) if marks.unusual[at].left_out => return None,
                Ok(at) => marks.unusual[at] = image,
                Err(at) => marks.unusual.insert(at, image),
            }
        }
        marks.claimed = Some(request_images);
        (!marks.separate && marks.encrypted() > 0).then_some(marks)
    }

    /// The same where some of the encrypted images, by their numbers among them, have no prediction after all.
    pub(crate) fn without(mut self, encrypted: &[usize]) -> Self {
        let kept: Vec<usize> = self.kept().collect();
        for &number in encrypted {
            let at = self
                .unusual
                .binary_search_by_key(&kept[number], |image| image.index);
            if let Ok(at) = at {
                self.unusual[at].left_out = true;
            }
        }
        self
    }

    /// Which of the encrypted images lie in the first blocks, and which in blocks of their own, each by its number among them.
    pub(crate) fn groups(&self) -> [Vec<usize>; 2] {
        let mut groups = [Vec::new(), Vec::new()];
        for (number, index) in self.kept().enumerate() {
            groups[usize::from(self.separate && self.of(index).is_some())].push(number);
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unusual(index: usize, left_out: bool) -> UnusualImage {
        UnusualImage {
            index,
            why: "a test".to_owned(),
            left_out,
        }
    }

    #[test]
    fn marks_name_images_of_the_batch_in_their_order() {
        let marks = Marks::new(
            5,
            vec![unusual(1, true), unusual(3, false), unusual(4, true)],
        )
        .unwrap();
        assert_eq!(
            (marks.images(), marks.left_out(), marks.encrypted()),
            (5, 2, 3)
        );
        assert_eq!(marks.kept().collect::<Vec<_>>(), [0, 2, 3]);
        assert!(marks.of(0).is_none() && marks.of(3).is_some());
        for wrong in [
            vec![unusual(5, true)],
            vec![unusual(2, true), unusual(2, true)],
            vec![unusual(2, true), unusual(1, true)],
        ] {
            assert!(matches!(Marks::new(5, wrong), Err(Error::Marks)));
        }
    }
}
