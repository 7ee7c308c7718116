//! Copies of images in idle places, whose mean logits say more than the image alone.

use sordino_graph::Views;

use crate::{Client, Error, Marks};

/// How many views of an image are encrypted, the image itself included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ViewCount {
    /// As many as were best on validation images and as idle places hold.
    #[default]
    Auto,
    /// So many.
    Exactly(usize),
}

impl Client {
    /// The same marks for a request with further views of its images. They take places that would be idle; the answer for an image is
    /// the mean of the logits of its views.
    ///
    /// # Errors
    /// [`Error::Views`] for more views than the plan knows or than there are idle places for.
    pub fn with_views(&self, marks: Marks, wanted: ViewCount) -> Result<Marks, Error> {
        let plan = self.plan();
        let room = self.room_for_views(&marks);
        let views = match wanted {
            ViewCount::Auto => Views::usual(plan.views, room),
            ViewCount::Exactly(views) => views,
        };
        let known = plan.views.map_or(1, |views| views.changes.views().len());
        if views == 0 || views > known {
            let what = format!("expected 1 to {known} views of an image, found {views}");
            return Err(Error::Views {
                what: match known {
                    1 => format!(
                        "{what}: the model file says of no change that it leaves the class of an image (run `sordino ranges MODEL --data SET --views mirror` if the network was trained on mirrored images, and compile again)"
                    ),
                    _ => what,
                },
            });
        }
        let marks = marks.with_views(views);
        self.check_room(&marks).map(|()| marks)
    }

    /// Refuses marks with more views than there are places.
    pub(crate) fn check_room(&self, marks: &Marks) -> Result<(), Error> {
        let (views, room) = (marks.views(), self.room_for_views(marks).max(1));
        match views <= room {
            true => Ok(()),
            false => Err(Error::Views {
                what: format!(
                    "{views} views of {} images do not fit, there are places for {room}: give --views {room}, or encrypt fewer images at once",
                    marks.encrypted()
                ),
            }),
        }
    }

    /// Places of each image in the blocks that a request has anyway.
    fn room_for_views(&self, marks: &Marks) -> usize {
        let of_block = self.plan().block_images();
        let groups = marks.groups();
        let rooms = groups.iter().enumerate().filter_map(|(group, images)| {
            let images = images.len();
            let claimed = marks.claimed().filter(|_| group == 0).unwrap_or(images);
            (claimed.div_ceil(of_block) * of_block).checked_div(images)
        });
        rooms.min().unwrap_or(1)
    }

    /// Further views of the images that are encrypted, as many of each as the marks say.
    pub(crate) fn further_views(
        &self,
        marks: &Marks,
        images: &[f32],
    ) -> Result<Vec<Vec<f32>>, Error> {
        let plan = self.plan();
        let Some(views) = plan.views.filter(|_| marks.views() > 1) else {
            return Ok(Vec::new());
        };
        let (features, guard) = (plan.header.input.features, self.guard()?);
        let images = marks
            .kept()
            .map(|index| &images[index * features..][..features]);
        let of_image =
            |image| views.further(marks.views(), image, &plan.preprocess, guard.as_ref());
        Ok(images.flat_map(of_image).collect())
    }
}
