//! The input of a file: which dimensions are images, rows, columns and channels.

use crate::Error;
use crate::element::Element;
use crate::error::malformed;
use crate::layout::Layout;
use crate::options::{ImportOptions, InputLayout};
use crate::proto::ValueInfoProto;

/// The input of a file, as the user and the file describe it together.
pub(crate) struct InputDescription {
    pub(crate) name: String,
    pub(crate) element: Element,
    /// The file's dimensions, with any batch as it will be counted.
    pub(crate) dims: Vec<usize>,
    /// Images that the file takes at once; `None` for any number.
    pub(crate) batch: Option<usize>,
    /// Channels, height and width.
    pub(crate) image: [usize; 3],
    pub(crate) layout: InputLayout,
    /// Whether the layout follows from the sides alone.
    pub(crate) guessed: bool,
}

/// The input's dimensions, type and meaning.
pub(crate) fn describe(
    input: &ValueInfoProto,
    options: &ImportOptions,
) -> Result<InputDescription, Error> {
    let name = &input.name;
    let tensor = input
        .r#type
        .as_ref()
        .and_then(|kind| kind.tensor_type.as_ref());
    let code = tensor.map_or(0, |tensor| tensor.elem_type);
    let element = match Element::of(if code == 0 { 1 } else { code }) {
        Some(element) if element.is_float() || element == Element::Uint8 => element,
        _ => {
            return Err(malformed(format!(
                "input {name:?} is of type {}, expected floating-point numbers or uint8: export the network on such images",
                Element::name(code)
            )));
        }
    };
    let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
    let dims: Vec<i64> = shape.map_or_else(Vec::new, |shape| {
        shape.dim.iter().map(|dim| dim.dim_value.max(0)).collect()
    });
    let batch = match dims.first() {
        Some(&batch @ 1..=4096) => Some(batch as usize),
        _ => None,
    };
    let known = |side: i64| usize::try_from(side).ok().filter(|&side| side > 0);
    let agree = |side: i64, given: usize| known(side).is_none_or(|side| side == given);
    let wrong = |what: &str| {
        malformed(format!(
            "input {name:?} has the dimensions {dims:?} (0: open), {what}"
        ))
    };
    let mut guessed = false;
    let (image, layout) = match (&dims[..], options.input_shape) {
        (&[_, a, b, c], Some([channels, height, width])) => {
            let first = agree(a, channels) && agree(b, height) && agree(c, width);
            let last = agree(a, height) && agree(b, width) && agree(c, channels);
            let layout = match (options.layout, first, last) {
                (Some(InputLayout::Nhwc), _, true) | (None, false, true) => InputLayout::Nhwc,
                (Some(InputLayout::Nchw) | None, true, _) => InputLayout::Nchw,
                _ => {
                    return Err(wrong(&format!(
                        "which --input-shape {channels},{height},{width} does not fit"
                    )));
                }
            };
            ([channels, height, width], layout)
        }
        (&[_, a, b, c], None) => {
            let sides = [known(a), known(b), known(c)];
            let [Some(a), Some(b), Some(c)] = sides else {
                return Err(wrong(
                    "expected numbers for channels, height and width: give them with --input-shape C,H,W",
                ));
            };
            let layout = options.layout.unwrap_or_else(|| {
                guessed = matches!(c, 1 | 3 | 4) && a > 4;
                if guessed {
                    InputLayout::Nhwc
                } else {
                    InputLayout::Nchw
                }
            });
            match layout {
                InputLayout::Nchw => ([a, b, c], layout),
                InputLayout::Nhwc => ([c, a, b], layout),
            }
        }
        (&[_, a, b], Some([1, height, width])) if agree(a, height) && agree(b, width) => {
            ([1, height, width], InputLayout::Nchw)
        }
        (&[_, a, b], None) if a > 0 && b > 0 => ([1, a as usize, b as usize], InputLayout::Nchw),
        (&[_, features], Some([channels, height, width])) => {
            let product = channels
                .checked_mul(height)
                .and_then(|area| area.checked_mul(width));
            if product.is_none_or(|product| !agree(features, product)) {
                return Err(wrong(&format!(
                    "which --input-shape {channels},{height},{width} does not fit"
                )));
            }
            (
                [channels, height, width],
                options.layout.unwrap_or(InputLayout::Nchw),
            )
        }
        (&[_, features], None) => return Err(wrong(&flat_advice(features))),
        _ => {
            return Err(wrong(
                "expected [batch, channels, height, width], [batch, height, width, channels], [batch, height, width] or \
                 [batch, pixels]: export the network on images",
            ));
        }
    };
    let [channels, height, width] = image;
    let elements = channels
        .checked_mul(height)
        .and_then(|area| area.checked_mul(width));
    let images = batch.unwrap_or(2);
    if elements
        .is_none_or(|count| count == 0 || count.saturating_mul(images) > crate::array::MAX_MADE)
    {
        return Err(wrong(
            "expected images of one to sixteen million values, a few at a time",
        ));
    }
    let mut full = vec![images];
    match (dims.len(), layout) {
        (4, InputLayout::Nchw) => full.extend(image),
        (4, InputLayout::Nhwc) => full.extend([height, width, channels]),
        (3, _) => full.extend([height, width]),
        _ => full.push(channels * height * width),
    }
    Ok(InputDescription {
        name: name.clone(),
        element,
        dims: full,
        batch,
        image,
        layout,
        guessed,
    })
}

/// What to do about a network that reads images as vectors.
fn flat_advice(features: i64) -> String {
    let advice = "which does not say how large an image is: give it with --input-shape C,H,W";
    for channels in [1, 3] {
        let side = ((features / channels) as f64).sqrt().round() as i64;
        if features > 0 && side * side * channels == features {
            return format!("{advice}, such as --input-shape {channels},{side},{side}");
        }
    }
    advice.to_string()
}

impl InputDescription {
    /// How the file orders the elements of an image that is channels, rows, columns.
    pub(crate) fn layout(&self) -> Layout {
        let [channels, height, width] = self.image;
        let images = self.dims[0];
        match self.layout {
            InputLayout::Nchw => Layout::reshaped(self.dims.clone()),
            InputLayout::Nhwc => Layout {
                dims: self.dims.clone(),
                ..Layout::transposed(&[images, channels, height, width], &[0, 2, 3, 1])
            },
        }
    }
}
