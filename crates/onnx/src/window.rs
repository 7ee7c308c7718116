//! Where the windows of convolutions and pools lie.

use crate::Error;
use crate::attributes::{Attributes, LARGEST_SIDE};

/// Windows over a map: rows first, then columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) input: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    /// Padding before the first and behind the last row and column.
    pub(crate) before: [usize; 2],
    pub(crate) after: [usize; 2],
    /// Window positions.
    pub(crate) output: [usize; 2],
}

impl Window {
    /// Windows of this kernel over a map, by the node's strides, dilations, padding and rounding.
    pub(crate) fn read(
        at: Attributes,
        input: [usize; 2],
        kernel: [usize; 2],
    ) -> Result<Self, Error> {
        let stride = at.pair("strides")?.unwrap_or([1, 1]);
        let dilation = at.pair("dilations")?.unwrap_or([1, 1]);
        let ceil = at.flag("ceil_mode", false)?;
        let covered = [0, 1].map(|axis| dilation[axis] * (kernel[axis] - 1) + 1);
        let mut window = Self {
            input,
            kernel,
            stride,
            dilation,
            before: [0; 2],
            after: [0; 2],
            output: [0; 2],
        };
        let same = match at.text("auto_pad", "NOTSET")? {
            "" | "NOTSET" => {
                [window.before, window.after] = explicit(at)?;
                false
            }
            "VALID" => false,
            "SAME_UPPER" | "SAME_LOWER" => true,
            other => {
                return Err(at.wrong(format!(
                    "auto_pad is {other:?}, expected NOTSET, VALID, SAME_UPPER or SAME_LOWER"
                )));
            }
        };
        for axis in 0..2 {
            if same {
                let count = input[axis].div_ceil(stride[axis]);
                let span = (count.max(1) - 1) * stride[axis] + covered[axis];
                let both = span.saturating_sub(input[axis]);
                let smaller = both / 2;
                let lower = at.text("auto_pad", "")? == "SAME_LOWER";
                window.before[axis] = if lower { both - smaller } else { smaller };
                window.after[axis] = both - window.before[axis];
                window.output[axis] = count;
                continue;
            }
            let padded = input[axis] + window.before[axis] + window.after[axis];
            let Some(free) = padded.checked_sub(covered[axis]) else {
                return Err(at.wrong(format!(
                    "a kernel of {kernel:?} with dilation {dilation:?} does not fit a map of {input:?} with padding {:?} and {:?}",
                    window.before, window.after
                )));
            };
            window.output[axis] = free / stride[axis] + 1;
            if ceil && free % stride[axis] != 0 {
                // A window that begins behind the map and its padding in front is left out.
                let start = window.output[axis] * stride[axis];
                window.output[axis] += usize::from(start < input[axis] + window.before[axis]);
            }
        }
        Ok(window)
    }

    /// Padding that the windows reach, ceil mode's included, behind the last row and column.
    pub(crate) fn reached(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let last = (self.output[axis].max(1) - 1) * self.stride[axis];
            let end = last + self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            end.saturating_sub(self.input[axis] + self.before[axis])
        })
    }

    /// How many taps of a window lie inside the map, or inside map and padding, along one axis.
    pub(crate) fn taps_inside(&self, axis: usize, position: usize, padding: bool) -> usize {
        let start = position * self.stride[axis];
        let (low, high) = match padding {
            true => (0, self.input[axis] + self.before[axis] + self.after[axis]),
            false => (self.before[axis], self.before[axis] + self.input[axis]),
        };
        (0..self.kernel[axis])
            .map(|tap| start + tap * self.dilation[axis])
            .filter(|place| (low..high).contains(place))
            .count()
    }

    /// The map's index under a tap; `None` in the padding.
    pub(crate) fn index(&self, axis: usize, position: usize, tap: usize) -> Option<usize> {
        let place = position * self.stride[axis] + tap * self.dilation[axis];
        let index = place.checked_sub(self.before[axis])?;
        (index < self.input[axis]).then_some(index)
    }
}

/// The attribute `pads`: before and after.
fn explicit(at: Attributes) -> Result<[[usize; 2]; 2], Error> {
    let Some(pads) = at.ints("pads")? else {
        return Ok([[0; 2]; 2]);
    };
    let sides: Option<Vec<usize>> = pads.iter().map(|&pad| usize::try_from(pad).ok()).collect();
    match sides.as_deref() {
        Some(&[top, left, bottom, right]) if pads.iter().all(|&pad| pad as usize <= LARGEST_SIDE) => {
            Ok([[top, left], [bottom, right]])
        }
        _ => Err(at.wrong(format!(
            "pads are {pads:?}, expected four numbers from 0 to {LARGEST_SIDE}: crop with Slice instead of negative padding"
        ))),
    }
}
