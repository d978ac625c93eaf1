//! One file that is appended to until its first error.

use crate::Directory;
use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    mem,
    os::unix::fs::MetadataExt,
};

/// Where a sink stands.
#[derive(Debug)]
enum State {
    /// No byte has come: many commands say nothing on at least one stream, and descriptors are scarce.
    Untouched,
    /// Every byte so far is in the file.
    Open(File),
    /// Never appended to again. The file, if it could be opened, is kept for the look at the end.
    Failed(Option<File>),
    Closed,
}

/// One of the files of a command, in its directory.
#[derive(Debug)]
pub(crate) struct AppendFile {
    name: &'static str,
    /// It is not there before its first byte.
    is_new: bool,
    state: State,
    written: u64,
}

impl AppendFile {
    pub(crate) fn new(name: &'static str) -> AppendFile {
        AppendFile { name, is_new: false, state: State::Untouched, written: 0 }
    }
    /// One that is made with its first byte.
    pub(crate) fn made_later(name: &'static str) -> AppendFile {
        AppendFile { is_new: true, ..AppendFile::new(name) }
    }

    /// Bytes in the file that this sink put there.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Appends as much as goes. An error is reported once; from then on nothing is done.
    pub(crate) fn append(&mut self, dir: &Directory, bytes: &[u8]) -> Option<String> {
        if bytes.is_empty() {
            return None;
        }
        if let State::Untouched = self.state {
            match if self.is_new { dir.append_new(self.name) } else { dir.append(self.name) } {
                Ok(file) => self.state = State::Open(file),
                Err(error) => {
                    self.state = State::Failed(None);
                    return Some(format!("opening {}: {error}", self.name));
                }
            }
        }
        let State::Open(file) = &mut self.state else { return None };
        let (written, error) = write_counted(file, bytes);
        self.written += written;
        let error = error?;
        if let State::Open(file) = mem::replace(&mut self.state, State::Closed) {
            self.state = State::Failed(Some(file));
        }
        Some(format!("writing {}: {error}", self.name))
    }

    /// Closes the file and says its length in bytes, and what others did to it, if that shows.
    pub(crate) fn close(&mut self, dir: &Directory) -> (u64, Option<String>) {
        let opened = match mem::replace(&mut self.state, State::Closed) {
            State::Open(file) | State::Failed(Some(file)) => file.metadata().ok(),
            State::Untouched | State::Failed(None) | State::Closed => None,
        };
        // Deleted (even if another file has its name by now), or moved away.
        let deleted = opened.as_ref().is_some_and(|file| file.nlink() == 0);
        if deleted || !dir.has(self.name) {
            return (0, Some(format!("{} was removed", self.name)));
        }
        let (length, was) = (opened.map_or(self.written, |file| file.len()), self.written);
        let changed = format_args!("{} was changed by others: {length} bytes instead of {was}", self.name);
        (length, (length != was).then(|| changed.to_string()))
    }
}

/// Writes all of it, or as much as goes before an error; how much that was.
fn write_counted(to: &mut impl Write, bytes: &[u8]) -> (u64, Option<io::Error>) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let error = match to.write(rest) {
            Ok(0) => ErrorKind::WriteZero.into(),
            Ok(n) => {
                rest = &rest[n..];
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        return ((bytes.len() - rest.len()) as u64, Some(error));
    }
    (bytes.len() as u64, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Paths;
    use std::{fs, path::PathBuf};

    /// Answers as it was told to, then takes everything.
    struct Scripted(Vec<io::Result<usize>>, Vec<u8>);
    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = if self.0.is_empty() { bytes.len() } else { self.0.remove(0)?.min(bytes.len()) };
            self.1.extend_from_slice(&bytes[..n]);
            Ok(n)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn short_and_interrupted_writes_go_on_where_they_stopped() {
        let interrupted = || Err(ErrorKind::Interrupted.into());
        let mut to = Scripted(vec![Ok(2), interrupted(), Ok(1), interrupted()], Vec::new());
        let (written, error) = write_counted(&mut to, b"0123456789");
        assert!(error.is_none());
        assert_eq!((written, to.1.as_slice()), (10, b"0123456789".as_slice()));
    }

    #[test]
    fn bytes_before_an_error_are_counted() {
        let full = || Err(io::Error::from_raw_os_error(nix::libc::ENOSPC));
        let mut to = Scripted(vec![Ok(4), full()], Vec::new());
        let (written, error) = write_counted(&mut to, b"0123456789");
        assert_eq!((written, error.and_then(|e| e.raw_os_error())), (4, Some(nix::libc::ENOSPC)));
        let mut to = Scripted(vec![Ok(0)], Vec::new());
        assert_eq!(write_counted(&mut to, b"01").1.map(|e| e.kind()), Some(ErrorKind::WriteZero));
    }

    /// A command directory and its combined file.
    fn directory(dir: &tempfile::TempDir) -> (Directory, PathBuf) {
        let paths = Paths { dir: dir.path().to_owned() };
        (Directory::open(&paths).unwrap(), paths.combined())
    }

    #[test]
    fn a_link_or_a_fifo_in_place_of_the_file_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let (directory, path) = directory(&dir);
        let target = dir.path().join("target");
        fs::write(&target, "").unwrap();
        for is_link in [true, false] {
            match is_link {
                true => std::os::unix::fs::symlink(&target, &path).unwrap(),
                false => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            }
            let mut sink = AppendFile::new("combined.txt");
            let error = sink.append(&directory, b"x").unwrap();
            assert!(error.starts_with("opening combined.txt: "), "{error}");
            let again = (sink.append(&directory, b"x"), sink.written());
            assert_eq!(again, (None, 0), "reported once, and never tried again");
            fs::remove_file(&path).unwrap();
        }
        assert_eq!(fs::read(&target).unwrap(), b"");
    }

    #[test]
    fn a_file_that_others_cut_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (directory, path) = directory(&dir);
        fs::write(&path, "").unwrap();
        let mut sink = AppendFile::new("combined.txt");
        assert_eq!(sink.append(&directory, b"0123456789"), None);
        fs::File::options().write(true).open(&path).unwrap().set_len(3).unwrap();
        let told = "combined.txt was changed by others: 3 bytes instead of 10";
        assert_eq!(sink.close(&directory), (3, Some(told.to_owned())));
    }
}
