//! Which locales this machine has, for programs of the GNU library: each is a directory, or a name in an archive. C.UTF-8 is one
//! of them; no library has it built in. Those of musl take any name.
//!
//! * in: the directory of locales, looked at once, when a launch first needs it: by a spawn thread, never by the graph's
//! * out: the line that sets one with UTF-8
//! * keeps: where nothing can be seen nothing is claimed: no line, and what is inherited is believed

use std::{
    collections::BTreeSet,
    ffi::{CStr, CString},
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    sync::LazyLock,
};

const DIRECTORY: &str = "/usr/lib/locale";
const ARCHIVE: &str = "locale-archive";
/// First word of an archive, and which of its words say where its names lie (glibc, `locarchive.h`).
const ARCHIVE_MAGIC: u32 = 0xde02_0109;
const STRINGS_AT_WORD: usize = 5;
const STRINGS_USED_WORD: usize = 6;
/// Names of an archive with every locale there is take 20 KiB.
const ARCHIVE_NAMES_BYTES: usize = 1 << 20;

struct Locales {
    /// As the GNU library compares them: `en_US.utf8`. None where there is no such directory.
    names: Option<BTreeSet<Vec<u8>>>,
    /// `LC_ALL=` and one with UTF-8.
    line: Option<CString>,
}

static LOCALES: LazyLock<Locales> = LazyLock::new(|| Locales::look(Path::new(DIRECTORY)));

/// The line that sets a locale with UTF-8 that this machine has: the plain one where it can.
pub(crate) fn utf8_locale() -> Option<&'static CStr> {
    LOCALES.line.as_deref()
}

/// Whether a program with this locale writes UTF-8. One that the machine does not have is C.
pub(crate) fn is_utf8(locale: &[u8]) -> bool {
    LOCALES.has_utf8(locale)
}

impl Locales {
    fn look(directory: &Path) -> Locales {
        let names = fs::read_dir(directory).ok().map(|entries| {
            let name = |entry: fs::DirEntry| entry.file_name().into_encoded_bytes();
            let mut names: BTreeSet<Vec<u8>> =
                entries.flatten().map(name).map(|name| normal(&name)).collect();
            names.extend(archived(&directory.join(ARCHIVE)).unwrap_or_default());
            names
        });
        let known = |name: &[u8]| names.as_ref().is_some_and(|names| names.contains(&normal(name)));
        let plain =
            [&b"C.UTF-8"[..], b"en_US.UTF-8"].into_iter().find(|name| known(name)).map(<[u8]>::to_vec);
        let any = || names.iter().flatten().find(|name| names_utf8(name)).cloned();
        let line = plain.or_else(any).and_then(|name| CString::new([b"LC_ALL=", &name[..]].concat()).ok());
        Locales { names, line }
    }

    fn has_utf8(&self, locale: &[u8]) -> bool {
        let is_there = self.names.as_ref().is_none_or(|names| names.contains(&normal(locale)));
        names_utf8(locale) && is_there
    }
}

fn names_utf8(locale: &[u8]) -> bool {
    let normal = normal(locale);
    let codeset = normal.split(|byte| *byte == b'.').nth(1).unwrap_or_default();
    codeset.split(|byte| *byte == b'@').next() == Some(b"utf8")
}

/// `en_US.UTF-8@euro` → `en_US.utf8@euro`, as the library does it.
fn normal(locale: &[u8]) -> Vec<u8> {
    let Some(dot) = locale.iter().position(|byte| *byte == b'.') else { return locale.to_vec() };
    let at = locale.iter().position(|byte| *byte == b'@').filter(|at| *at > dot).unwrap_or(locale.len());
    let codeset = locale[dot + 1..at].iter().filter(|byte| byte.is_ascii_alphanumeric());
    let codeset = codeset.map(u8::to_ascii_lowercase);
    locale[..=dot].iter().copied().chain(codeset).chain(locale[at..].iter().copied()).collect()
}

/// Names in an archive. Nothing of it is believed: a file that is something else has none.
fn archived(path: &Path) -> Option<Vec<Vec<u8>>> {
    let file = File::open(path).ok()?;
    let mut head = [0; 4 * (STRINGS_USED_WORD + 1)];
    file.read_exact_at(&mut head, 0).ok()?;
    let word = |n: usize| Some(u32::from_ne_bytes(head.get(4 * n..4 * n + 4)?.try_into().ok()?));
    if word(0)? != ARCHIVE_MAGIC {
        return None;
    }
    let mut names = vec![0; usize::try_from(word(STRINGS_USED_WORD)?).ok()?.min(ARCHIVE_NAMES_BYTES)];
    file.read_exact_at(&mut names, u64::from(word(STRINGS_AT_WORD)?)).ok()?;
    Some(names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(normal).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_is_in_a_directory_or_in_the_archive_and_names_are_compared_as_the_library_does() {
        let dir = tempfile::tempdir().unwrap();
        let locales = || Locales::look(dir.path());
        assert!(locales().line.is_none() && !locales().has_utf8(b"C.UTF-8"));

        let names = b"de_DE\0de_DE.utf8\0hy_AM.utf8@x\0";
        let mut archive: Vec<u8> = [ARCHIVE_MAGIC, 0, 0, 0, 0, 28, names.len() as u32]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        archive.extend(names);
        fs::write(dir.path().join(ARCHIVE), &archive).unwrap();
        assert_eq!(locales().line.as_deref(), Some(c"LC_ALL=de_DE.utf8"));
        for there in [&b"de_DE.UTF-8"[..], b"de_DE.utf8", b"hy_AM.UTF8@x"] {
            assert!(locales().has_utf8(there));
        }
        for other in [&b"de_DE"[..], b"", b"C", b"fr_FR.UTF-8", b"de_DE.iso88591"] {
            assert!(!locales().has_utf8(other));
        }
        fs::create_dir(dir.path().join("C.utf8")).unwrap();
        assert_eq!(locales().line.as_deref(), Some(c"LC_ALL=C.UTF-8"));

        archive.truncate(40);
        fs::write(dir.path().join(ARCHIVE), &archive).unwrap();
        assert!(!locales().has_utf8(b"de_DE.utf8"), "half an archive is none");
    }

    #[test]
    fn where_nothing_can_be_seen_nothing_is_claimed() {
        let locales = Locales::look(Path::new("/nowhere"));
        assert!(locales.line.is_none() && locales.has_utf8(b"de_DE.UTF-8") && !locales.has_utf8(b"C"));
    }
}
