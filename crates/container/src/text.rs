//! Texts of somebody else, before people see them.

use std::borrow::Cow;

/// A text without what could rewrite a terminal or turn a line around: control characters but line feed and tab, and marks of
/// writing direction, become U+FFFD.
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_unfit = |c: char| match c {
        '\n' | '\t' => false,
        '\u{061c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control(),
    };
    match text.contains(is_unfit) {
        false => text.into(),
        true => text.replace(is_unfit, "\u{fffd}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_or_turns_text_is_replaced() {
        assert_eq!(printable("Röntgen 1\n\t肺炎"), "Röntgen 1\n\t肺炎");
        assert_eq!(
            printable("a\u{1b}[2Jb\rc\u{7f}\u{9b}d"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}\u{fffd}d"
        );
        assert_eq!(
            printable("\u{202e}gpj.exe\u{2069}"),
            "\u{fffd}gpj.exe\u{fffd}"
        );
    }
}
