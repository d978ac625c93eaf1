//! What the reader's terminal can show: letters beyond ASCII only where the locale says so.

use std::{borrow::Cow, env, sync::LazyLock};

/// What stands where there is more than is shown, and what it is without UTF-8.
const ELLIPSIS: (&str, &str) = ("…", "...");
/// Ostler's other signs, and what they are without UTF-8.
const SIGNS: [(char, &str); 3] = [('→', "->"), ('✓', "+"), ('×', "x")];

static UTF8: LazyLock<bool> = LazyLock::new(|| {
    // The first that is set and not empty counts (POSIX, Internationalization Variables); none is C.
    let set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()));
    set.is_some_and(|locale| names_utf8(&locale))
});

fn names_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// What stands where there is more than is shown.
pub(crate) fn ellipsis() -> &'static str {
    if *UTF8 { ELLIPSIS.0 } else { ELLIPSIS.1 }
}

/// Ostler's own words as they can be shown: without UTF-8 each sign is one of ASCII, and what has none a question mark.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if *UTF8 || text.is_ascii() { Cow::Borrowed(text) } else { Cow::Owned(ascii(text)) }
}

fn ascii(text: &str) -> String {
    let sign = |c: char| SIGNS.iter().find(|(sign, _)| *sign == c).map(|(_, ascii)| *ascii);
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match sign(c) {
            Some(ascii) => plain += ascii,
            None if ELLIPSIS.0.contains(c) => plain += ELLIPSIS.1,
            None => plain.push(if c.is_ascii() { c } else { '?' }),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sign_has_one_of_ascii() {
        assert_eq!(ascii("a → b … ✓ é"), "a -> b ... + ?");
        assert!(SIGNS.iter().all(|(_, ascii)| ascii.is_ascii()) && ELLIPSIS.1.is_ascii());
    }

    #[test]
    fn a_locale_says_it_by_its_name() {
        assert!(
            names_utf8("C.UTF-8") && names_utf8("de_AT.utf8") && !names_utf8("C") && !names_utf8("POSIX")
        );
    }
}
