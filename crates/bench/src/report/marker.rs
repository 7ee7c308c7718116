//! Points and lines that can be told apart without their colours.

/// Series that look different; further ones begin again.
pub(super) const SERIES: usize = 5;

/// Lengths of dashes and gaps of a series' line.
pub(super) fn dashes(series: usize) -> &'static str {
    ["none", "7 4", "2 3", "10 3 2 3", "14 4"][series % SERIES]
}

/// The shape of a series around a point: circle, square, triangle, diamond, the triangle on its tip.
pub(super) fn marker(series: usize, x: f64, y: f64, class: &str, title: &str) -> String {
    let path = match series % SERIES {
        0 => format!(
            "M{:.1} {y:.1}a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
            x - 4.5
        ),
        1 => format!("M{:.1} {:.1}h8v8h-8z", x - 4.0, y - 4.0),
        2 => format!("M{x:.1} {:.1}l5 8.7h-10z", y - 5.5),
        3 => format!("M{x:.1} {:.1}l5.5 5.5l-5.5 5.5l-5.5 -5.5z", y - 5.5),
        _ => format!("M{x:.1} {:.1}l5 -8.7h-10z", y + 5.5),
    };
    let title = if title.is_empty() {
        String::new()
    } else {
        format!("<title>{title}</title>")
    };
    format!("<path class=\"{class}\" d=\"{path}\">{title}</path>\n")
}
