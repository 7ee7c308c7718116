//! Finding images of a batch that do not belong.

use sordino_graph::InputGuard;

use crate::{Client, Error, Marks, UnusualImage, UnusualPolicy};

impl Client {
    /// Which of the prepared images of a batch are unlike those that the network is made for, and which are left out by the policy.
    ///
    /// One such image can ruin the answers of all others in a ciphertext. A plan of a model without the statistic finds none.
    ///
    /// # Shapes
    /// `images` is `[count, C, H, W]` as the plan's preprocessing makes it.
    ///
    /// # Errors
    /// [`Error::Images`] for parts of images, [`Error::Plan`] for a statistic that does not fit the plan.
    pub fn screen(&self, images: &[f32], policy: UnusualPolicy) -> Result<Marks, Error> {
        let plan = self.plan();
        let features = plan.header.input.features;
        if !images.len().is_multiple_of(features) {
            let found = images.len();
            return Err(Error::Images { features, found });
        }
        let count = images.len() / features;
        let Some(guard) = self.guard()? else {
            return Marks::new(count, Vec::new());
        };
        let mut unusual: Vec<UnusualImage> = images
            .chunks_exact(features)
            .enumerate()
            .filter_map(|(index, image)| {
                let why = guard.unusual(image)?.to_string();
                let left_out = false;
                Some(UnusualImage {
                    index,
                    why,
                    left_out,
                })
            })
            .collect();
        // Images of one block may be all of them.
        let harmless = unusual.len() <= plan.header.contained_images;
        if policy == UnusualPolicy::Exclude && !harmless {
            unusual.iter_mut().for_each(|image| image.left_out = true);
        }
        let marks = Marks::new(count, unusual)?;
        Ok(match policy {
            UnusualPolicy::Separate if !harmless => marks.separate(),
            _ => marks,
        })
    }

    /// What finds unusual images; `None` for a plan of a model without the statistic.
    pub(crate) fn guard(&self) -> Result<Option<InputGuard<'_>>, Error> {
        let plan = self.plan();
        let statistic = plan.input_statistic.as_ref();
        let guard = statistic.map(|statistic| InputGuard::new(statistic, &plan.preprocess));
        guard.transpose().map_err(|error| Error::Plan {
            what: error.to_string(),
        })
    }
}
