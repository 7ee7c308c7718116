//! Pieces of HTML. Everything that comes from outside goes through [`escape`].

use crate::Unit;

/// Text as it may stand between tags and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Nothing that HTML has no character for.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A number for people that carries the exact one with it.
pub(super) fn number(value: f64, unit: Unit) -> String {
    data(value, &unit.text(value).replace('-', "−"))
}

/// Any wording of a number, with the exact one.
pub(super) fn data(value: f64, text: &str) -> String {
    format!("<data value=\"{value}\">{}</data>", escape(text))
}

/// A section with a heading, or nothing without a body.
pub(super) fn section(title: &str, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    format!("<section>\n<h2>{}</h2>\n{body}</section>\n", escape(title))
}

/// What may be wider than a phone, in a container of its own that scrolls and can be reached with the keyboard.
pub(super) fn scroll(label: &str, body: &str) -> String {
    format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{}\" tabindex=\"0\">\n{body}</div>\n",
        escape(label)
    )
}

/// A table's caption: a title, where it has one, and what else there is to say. It keeps to the window where the table is wider.
pub(super) fn caption(title: &str, text: &str) -> String {
    let title = match title {
        "" => String::new(),
        title => format!("<b>{}</b>", escape(title)),
    };
    format!("<caption><div>{title}{}</div></caption>", escape(text))
}
