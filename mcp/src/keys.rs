//! Keys by name, as a terminal sends them (xterm's control sequences, cursor keys in normal mode).

/// The bytes of a key: `enter`, `ctrl-c`, `up`, `f5`.
pub(crate) fn bytes(name: &str) -> Option<Vec<u8>> {
    let name = name.to_ascii_lowercase().replace(['_', '+', ' '], "-");
    let fixed: &[u8] = match &*name {
        "enter" | "return" => b"\r",
        "tab" => b"\t",
        "shift-tab" | "backtab" => b"\x1b[Z",
        "escape" | "esc" => b"\x1b",
        "space" => b" ",
        "backspace" => b"\x7f",
        "delete" | "del" => b"\x1b[3~",
        "insert" => b"\x1b[2~",
        "up" => b"\x1b[A",
        "down" => b"\x1b[B",
        "right" => b"\x1b[C",
        "left" => b"\x1b[D",
        "home" => b"\x1b[H",
        "end" => b"\x1b[F",
        "page-up" | "pageup" => b"\x1b[5~",
        "page-down" | "pagedown" => b"\x1b[6~",
        "f1" => b"\x1bOP",
        "f2" => b"\x1bOQ",
        "f3" => b"\x1bOR",
        "f4" => b"\x1bOS",
        "f5" => b"\x1b[15~",
        "f6" => b"\x1b[17~",
        "f7" => b"\x1b[18~",
        "f8" => b"\x1b[19~",
        "f9" => b"\x1b[20~",
        "f10" => b"\x1b[21~",
        "f11" => b"\x1b[23~",
        "f12" => b"\x1b[24~",
        _ => return with_control(&name),
    };
    Some(fixed.to_vec())
}

/// `ctrl-a` to `ctrl-z`, and those of the punctuation that have a code of their own.
fn with_control(name: &str) -> Option<Vec<u8>> {
    let key = name
        .strip_prefix("ctrl-")
        .or_else(|| name.strip_prefix("control-"))
        .or_else(|| name.strip_prefix("c-"))?;
    let byte = match key.as_bytes() {
        [letter @ b'a'..=b'z'] => letter - b'a' + 1,
        [b'\\'] => 0x1c,
        [b']'] => 0x1d,
        [b'@'] => 0,
        _ => return None,
    };
    Some(vec![byte])
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn keys_have_the_bytes_that_a_terminal_sends() {
        assert_eq!(bytes("enter").as_deref(), Some(&b"\r"[..]));
        assert_eq!(bytes("Ctrl+C").as_deref(), Some(&b"\x03"[..]));
        assert_eq!(bytes("ctrl-d").as_deref(), Some(&b"\x04"[..]));
        assert_eq!(bytes("Page_Up").as_deref(), Some(&b"\x1b[5~"[..]));
        assert_eq!((bytes("ctrl-enter"), bytes("hyper-x"), bytes("")), (None, None, None));
    }
}
