//! Pieces of a page. The templates escape all text that is put into them.

use maud::{Markup, html};

use crate::Unit;

/// A number for people that carries the exact one with it.
pub fn number(value: f64, unit: Unit) -> Markup {
    data(value, &unit.text(value).replace('-', "−"))
}

/// A number in any wording that carries the exact one with it.
pub fn data(value: f64, text: &str) -> Markup {
    html! { data value=(value) { (text) } }
}

/// A number that may be absent.
pub fn optional(value: Option<f64>, unit: Unit) -> Markup {
    match value {
        Some(value) => number(value, unit),
        None => html! { span.none { "–" } },
    }
}

/// A section with a heading, or nothing without a body.
pub fn section(title: &str, body: &Markup) -> Markup {
    html! {
        @if !body.0.is_empty() {
            section { h2 { (title) } (body) }
        }
    }
}

/// Content that may be wider than a phone, in a container that scrolls and can be reached with the keyboard.
pub fn scroll(label: &str, body: &Markup) -> Markup {
    html! {
        div.scroll role="region" aria-label=(label) tabindex="0" { (body) }
    }
}

/// A table that scrolls where it is wider than the window: a caption, titles of the columns with their classes, rows.
///
/// The caption has a title, where that is not empty, and a text; it stays in the window where the table is wider.
pub fn table(
    label: &str,
    (title, text): (&str, &str),
    columns: &[(&str, &str)],
    rows: &Markup,
) -> Markup {
    let body = html! {
        table {
            caption { div { @if !title.is_empty() { b { (title) } } (text) } }
            thead {
                tr {
                    @for (title, class) in columns {
                        th scope="col" class=[Some(class).filter(|class| !class.is_empty())] { (title) }
                    }
                }
            }
            tbody { (rows) }
        }
    };
    scroll(label, &body)
}
