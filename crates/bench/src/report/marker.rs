//! Shapes of points and lines that differ also without colours.

use maud::{Markup, html};

/// Series that look different; further ones begin again.
pub(super) const SERIES: usize = 5;

/// Lengths of dashes and gaps of a series' line.
pub(super) fn dashes(series: usize) -> &'static str {
    ["none", "7 4", "2 3", "10 3 2 3", "14 4"][series % SERIES]
}

/// The shape of a series around a point: circle, square, triangle, diamond, triangle upside down.
pub(super) fn marker(series: usize, x: f64, y: f64, class: &str, title: &str) -> Markup {
    let (dx, dy, shape) = [
        (-4.5, 0.0, "a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z"),
        (-4.0, -4.0, "h8v8h-8z"),
        (0.0, -5.5, "l5 8.7h-10z"),
        (0.0, -5.5, "l5.5 5.5l-5.5 5.5l-5.5 -5.5z"),
        (0.0, 5.5, "l5 -8.7h-10z"),
    ][series % SERIES];
    let path = format!("M{:.1} {:.1}{shape}", x + dx, y + dy);
    html! {
        path class=(class) d=(path) { @if !title.is_empty() { title { (title) } } }
    }
}
