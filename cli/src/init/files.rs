//! A file of somebody else's, read and replaced whole.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Longest configuration that is read: a file that is longer is something else.
const MAX_BYTES: u64 = 64 << 20;

/// None: there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "it is too large for a configuration"));
    }
    Ok(Some(text))
}

/// Writes a file beside it and renames that: who reads meanwhile sees the old one or the new one. A link stays, and what it leads to
/// is replaced. What is there keeps its mode.
pub(super) fn replace(path: &Path, text: &str, mode_of_new: u32) -> io::Result<()> {
    let target: PathBuf = match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        other => other?,
    };
    let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).create(dir)?;
    let mode = fs::metadata(&target).map_or(mode_of_new, |about| about.permissions().mode() & 0o7777);
    let mut file = tempfile::Builder::new().prefix(".ostler-").tempfile_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(&target)?;
    Ok(())
}
