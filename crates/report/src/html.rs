//! Pieces of a page's HTML. All text from outside goes through [`escape`].

use crate::Unit;

/// Text as it may stand between tags and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // HTML cannot contain other control characters.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A number for people that carries the exact one with it.
pub fn number(value: f64, unit: Unit) -> String {
    data(value, &unit.text(value).replace('-', "−"))
}

/// A number in any wording that carries the exact one with it.
pub fn data(value: f64, text: &str) -> String {
    format!("<data value=\"{value}\">{}</data>", escape(text))
}

/// A section with a heading, or nothing without a body.
pub fn section(title: &str, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    format!("<section>\n<h2>{}</h2>\n{body}</section>\n", escape(title))
}

/// Content that may be wider than a phone, in a container that scrolls and can be reached with the keyboard.
pub fn scroll(label: &str, body: &str) -> String {
    format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{}\" tabindex=\"0\">\n{body}</div>\n",
        escape(label)
    )
}

/// A table that scrolls where it is wider than the window: a caption, titles of the columns with their classes, rows of HTML.
///
/// The caption has a title, where that is not empty, and a text; it stays in the window where the table is wider.
pub fn table(
    label: &str,
    (title, text): (&str, &str),
    columns: &[(&str, &str)],
    rows: &str,
) -> String {
    let title = match title {
        "" => String::new(),
        title => format!("<b>{}</b>", escape(title)),
    };
    let heads: String = columns
        .iter()
        .map(|(title, class)| {
            let class = match *class {
                "" => String::new(),
                class => format!(" class=\"{class}\""),
            };
            format!("<th scope=\"col\"{class}>{}</th>", escape(title))
        })
        .collect();
    scroll(
        label,
        &format!(
            "<table>\n<caption><div>{title}{}</div></caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n",
            escape(text)
        ),
    )
}

/// A number that may be absent, as the content of a table's cell.
pub fn optional(value: Option<f64>, unit: Unit) -> String {
    value.map_or("<span class=\"none\">–</span>".into(), |value| {
        number(value, unit)
    })
}
