//! Shell quoting for display fields.

/// One word, quoted so that a POSIX shell reads back the same bytes; bytes that are not UTF-8 as `$'\xff'`, which
/// bash, zsh and POSIX.1-2024 shells read.
pub fn quote(word: &[u8]) -> String {
    match std::str::from_utf8(word) {
        // NUL can't be quoted; a request that holds one is refused before it is shown.
        Ok(text) => shlex::try_quote(text).map_or_else(|_| ansi_c(word), Into::into),
        Err(_) => ansi_c(word),
    }
}

fn ansi_c(word: &[u8]) -> String {
    let mut out = String::from("$'");
    for chunk in word.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\'' | '\\' => out.extend(['\\', c]),
                c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn a_shell_reads_back_the_same_bytes() {
        let words: [&[u8]; 8] = [
            b"plain",
            b"",
            b"two words",
            b"it's",
            b"$HOME `x`",
            b"line\nbreak",
            b"caf\xc3\xa9",
            b"\xff\xfe'\\ok",
        ];
        for word in words {
            let out = std::process::Command::new("bash")
                .args(["-c", &format!("printf %s {}", quote(word))])
                .output()
                .unwrap();
            assert_eq!(out.stdout, word, "{}", quote(word));
        }
    }
}
