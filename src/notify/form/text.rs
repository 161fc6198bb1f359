//! Texts within bounds.

/// A text of at most `most` UTF-16 units (what chat programs count), with `…` at the end of one that was cut. A code block
/// that is cut open is closed.
pub(super) fn cut(text: &str, most: usize) -> String {
    if units(text) <= most {
        return text.to_owned();
    }
    let kept = beginning(text, most.saturating_sub(1));
    if kept.matches("```").count().is_multiple_of(2) {
        return kept.to_owned() + "…";
    }
    let kept = beginning(text, most.saturating_sub(4));
    // The block's own beginning may have been cut off with the rest.
    if kept.matches("```").count().is_multiple_of(2) {
        kept.trim_end_matches('`').to_owned() + "…"
    } else {
        kept.to_owned() + "…```"
    }
}

pub(super) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

fn beginning(text: &str, most: usize) -> &str {
    let mut left = most;
    let end = text.char_indices().find(|(_, c)| match left.checked_sub(c.len_utf16()) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    // Not in the middle of what a backslash takes the meaning from.
    let kept = end.map_or(text, |(end, _)| &text[..end]);
    let slashes = kept.len() - kept.trim_end_matches('\\').len();
    if slashes % 2 == 1 { &kept[..kept.len() - 1] } else { kept }
}

/// Backticks that would end the code they stand in are kept apart.
pub(super) fn in_code(text: &str) -> String {
    text.replace('`', "'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cut_is_marked_and_closes_its_code() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("😀😀😀😀", 5), "😀😀…");
        assert_eq!(cut("```abcdefghijk```", 12), "```abcde…```");
        assert_eq!(cut("abcd\\_efg", 6), "abcd…");
        assert_eq!(cut("abc", 0), "…");
    }

    proptest! {
        #[test]
        fn no_cut_is_too_long(text in "[a-c`\\\\é😀 ]{0,40}", most in 8_usize..40) {
            let kept = cut(&text, most);
            prop_assert!(units(&kept) <= most, "{kept}");
            if units(&text) <= most {
                prop_assert_eq!(kept, text);
            }
        }
    }
}
