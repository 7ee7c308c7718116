//! Changes of an image that leave its class, and the views of it that they make.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, InputGuard, Preprocess};

/// Most pixels that a view is shifted by.
const MOST_SHIFT: u8 = 64;

/// The changes that a network was trained with, so that it says the same of an image and of its views, and how many views help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Views {
    /// The changes.
    pub changes: Changes,
    /// Views of an image whose mean logits were best on validation images; 1 is the image alone.
    pub best: usize,
}

/// Changes of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// Left and right.
    pub mirror: bool,
    /// Quarters of a circle.
    pub turns: bool,
    /// Up, down, left and right by up to this many pixels.
    pub shift: u8,
}

/// One way to change an image: mirrored first, then turned, then shifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    mirror: bool,
    quarters: u8,
    down: isize,
    right: isize,
}

impl Changes {
    /// All views that the changes make, the image itself first and the smallest changes before larger ones.
    pub fn views(self) -> Vec<View> {
        let step = isize::from(self.shift.div_ceil(2));
        let places = [(0, 0), (0, step), (0, -step), (step, 0), (-step, 0)];
        let places = &places[..if self.shift > 0 { 5 } else { 1 }];
        let quarters: &[u8] = if self.turns { &[0, 2, 1, 3] } else { &[0] };
        let mirrors: &[bool] = if self.mirror {
            &[false, true]
        } else {
            &[false]
        };
        let mut views = Vec::new();
        for &(down, right) in places {
            for &quarters in quarters {
                for &mirror in mirrors {
                    views.push(View {
                        mirror,
                        quarters,
                        down,
                        right,
                    });
                }
            }
        }
        views
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if self.mirror {
            words.push("mirror".to_owned());
        }
        if self.turns {
            words.push("turn".to_owned());
        }
        if self.shift > 0 {
            words.push(format!("shift:{}", self.shift));
        }
        f.write_str(&words.join(","))
    }
}

impl FromStr for Changes {
    type Err = Error;

    /// Reads `mirror`, `turn` and `shift:N`, with commas in between.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut changes = Self::default();
        for word in text.split(',').map(str::trim) {
            match word.split_once(':') {
                None if word == "mirror" => changes.mirror = true,
                None if word == "turn" => changes.turns = true,
                Some(("shift", pixels)) => {
                    let pixels = pixels.parse().ok();
                    let pixels = pixels.filter(|pixels| (1..=MOST_SHIFT).contains(pixels));
                    changes.shift = pixels.ok_or_else(|| Error::Views {
                        what: format!(
                            "expected a shift by 1 to {MOST_SHIFT} pixels, such as shift:1, found {word:?}"
                        ),
                    })?;
                }
                _ => {
                    return Err(Error::Views {
                        what: format!("expected mirror, turn or shift:N, found {word:?}"),
                    });
                }
            }
        }
        Ok(changes)
    }
}

impl Views {
    /// Views of each image in auto: as many as were best, and as there is room for.
    pub fn usual(views: Option<Self>, room: usize) -> usize {
        views.map_or(1, |views| views.best).min(room).max(1)
    }

    /// Views of a prepared image but the first, which is the image itself. One that the guard finds unusual, though the image is not,
    /// is the image once more, so that it harms no others.
    ///
    /// # Shapes
    /// `image` and each view are `[C, H, W]`; there are `count - 1` of them, fewer if the changes make fewer.
    pub fn further(
        self,
        count: usize,
        image: &[f32],
        images: &Preprocess,
        guard: Option<&InputGuard<'_>>,
    ) -> Vec<Vec<f32>> {
        let usual = |image: &[f32]| guard.is_none_or(|guard| guard.unusual(image).is_none());
        let views = self.changes.views().into_iter().take(count).skip(1);
        views
            .map(|view| view.of(image, images))
            .map(|view| {
                if usual(&view) || !usual(image) {
                    view
                } else {
                    image.to_vec()
                }
            })
            .collect()
    }

    /// Checks that images of this kind have these views.
    ///
    /// # Errors
    /// [`Error::Views`].
    pub fn validate(&self, images: &Preprocess) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::Views { what });
        if self.changes.turns && images.height != images.width {
            return wrong(format!(
                "images of {}x{} pixels cannot be turned by a quarter: leave out turn",
                images.height, images.width
            ));
        }
        let (shift, side) = (self.changes.shift, images.height.min(images.width));
        if shift > MOST_SHIFT || usize::from(shift) >= side {
            return wrong(format!(
                "expected a shift below the {side} pixels of a side and at most {MOST_SHIFT}, found {shift}"
            ));
        }
        let (most, best) = (self.changes.views().len(), self.best);
        match (1..=most).contains(&best) {
            true => Ok(()),
            false => wrong(format!("expected 1 to {most} views, found {best}")),
        }
    }
}

impl View {
    /// The view of a prepared image.
    ///
    /// # Shapes
    /// `image` and the result are `[C, H, W]` as the preprocessing makes them; turning by a quarter needs squares.
    ///
    /// # Panics
    /// If the image has another number of values.
    pub fn of(self, image: &[f32], images: &Preprocess) -> Vec<f32> {
        let (height, width) = (images.height, images.width);
        assert_eq!(image.len(), images.elements());
        let mut view = Vec::with_capacity(image.len());
        for (channel, plane) in image.chunks_exact(height * width).enumerate() {
            // As training fills what a shift leaves empty.
            let outside = images.normalize(channel, images.input_range.0) as f32;
            for y in 0..height as isize {
                for x in 0..width as isize {
                    let (y, x) = (y - self.down, x - self.right);
                    let inside =
                        (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
                    view.push(match inside {
                        true => plane[self.source(y as usize, x as usize, height, width)],
                        false => outside,
                    });
                }
            }
        }
        view
    }

    /// Where the pixel at a row and column of the mirrored and turned image comes from.
    fn source(self, y: usize, x: usize, height: usize, width: usize) -> usize {
        let (y, x) = match self.quarters {
            0 => (y, x),
            1 => (x, width - 1 - y),
            2 => (height - 1 - y, width - 1 - x),
            _ => (height - 1 - x, y),
        };
        y * width + if self.mirror { width - 1 - x } else { x }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ColorPolicy, SizePolicy};

    fn images(height: usize, width: usize) -> Preprocess {
        Preprocess {
            channels: 1,
            height,
            width,
            size: SizePolicy::Refuse,
            input_range: (0.0, 1.0),
            mean: vec![0.5],
            std: vec![0.5],
            allowed: (0.0, 1.0),
            color: ColorPolicy::Refuse,
            window: None,
        }
    }

    fn changes(text: &str) -> Changes {
        text.parse().unwrap()
    }

    #[test]
    fn every_view_of_the_square_is_another_one_and_the_first_is_the_image() {
        let image: Vec<f32> = (0..9u8).map(f32::from).collect();
        let views = changes("mirror,turn,shift:2").views();
        let made: Vec<Vec<f32>> = views
            .iter()
            .map(|view| view.of(&image, &images(3, 3)))
            .collect();
        assert_eq!(made.len(), 40);
        assert_eq!(made[0], image);
        assert_eq!(made[1], [2.0, 1.0, 0.0, 5.0, 4.0, 3.0, 8.0, 7.0, 6.0]);
        // Half a turn.
        assert_eq!(made[2], [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]);
        // A quarter counterclockwise.
        assert_eq!(made[4], [2.0, 5.0, 8.0, 1.0, 4.0, 7.0, 0.0, 3.0, 6.0]);
        for (at, view) in made.iter().enumerate() {
            assert!(!made[..at].contains(view), "view {at}");
        }
    }

    #[test]
    fn a_shift_moves_pixels_and_fills_with_black() {
        let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let views = changes("shift:1").views();
        let of = |at: usize| views[at].of(&image, &images(2, 3));
        assert_eq!(of(1), [-1.0, 1.0, 2.0, -1.0, 4.0, 5.0]);
        assert_eq!(of(4), [4.0, 5.0, 6.0, -1.0, -1.0, -1.0]);
    }

    #[test]
    fn changes_are_read_as_they_are_written() {
        for text in ["mirror", "turn", "mirror,turn,shift:3"] {
            assert_eq!(changes(text).to_string(), text);
        }
        for text in [
            "", "mirrored", "shift", "shift:0", "shift:65", "shift:x", "turn:1",
        ] {
            assert!(text.parse::<Changes>().is_err(), "{text}");
        }
    }

    #[test]
    fn views_that_images_cannot_have_are_refused() {
        let views = |text, best| Views {
            changes: changes(text),
            best,
        };
        assert!(views("mirror,shift:1", 10).validate(&images(3, 4)).is_ok());
        for wrong in [
            views("turn", 1),
            views("shift:3", 1),
            views("mirror", 3),
            views("mirror", 0),
        ] {
            assert!(wrong.validate(&images(3, 4)).is_err(), "{wrong:?}");
        }
    }
}
