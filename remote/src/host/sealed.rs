//! Sealed output of commands that have ended, fetched once and read like any other files.

use crate::{
    errors::{Error, server},
    store::Store,
    words::{Files, PageHead, object, text_object},
};
use ostler::{OutputFile, Page, ReadRequest, Record};
use ostler_artifacts::{Paths, ReadError, read_now};
use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, sync::Mutex};

/// Of how many commands files are kept here: who reads several at a time does not fetch one anew for each page. The files are at most as long as
/// what the store keeps.
const COMMANDS: usize = 8;
/// Longest record.
const RECORD_MAX_BYTES: u64 = 64 << 20;

/// A directory that is gone with its connection.
pub(super) struct Cache {
    dir: TempDir,
    /// The newest last. Each has a lock of its own, so that one that is being fetched holds up nobody else.
    commands: std::sync::Mutex<VecDeque<(String, Arc<Mutex<Entry>>)>>,
}
struct Entry(Option<TempDir>);

impl Cache {
    pub(super) fn new() -> Result<Cache, Error> {
        let dir = tempfile::Builder::new().prefix("ostler-remote-").tempdir();
        let dir = dir.map_err(|source| Error::Io { path: std::env::temp_dir(), source })?;
        Ok(Cache { dir, commands: std::sync::Mutex::default() })
    }

    /// A page of a sealed file; none: it is not in the store, now or for ever.
    pub(super) async fn page(
        &self,
        store: &Store,
        key: &str,
        record: &Record,
        files: &Files,
        request: &ReadRequest,
    ) -> Result<Option<Page>, Error> {
        // What leftovers say is with the worker only, and so is what was lost with it.
        if request.which == OutputFile::Kept || files.missing || *files == Files::default() {
            return Ok(None);
        }
        let entry = self.entry(key);
        let mut entry = entry.lock().await;
        if entry.0.is_none() {
            entry.0 = Some(TempDir::new_in(self.dir.path()).map_err(|source| at(self.dir.path(), source))?);
        }
        let Some(root) = entry.0.as_ref().map(TempDir::path) else { return Ok(None) };
        let paths = Paths::of(root, record.command_id);
        if !paths.file(request.which).exists()
            && !fetch(store, key, record, files, request.which, &paths).await?
        {
            return Ok(None);
        }
        match read_now(&paths, None, request) {
            Ok(mut page) => {
                page.path.clone_from(&record.output_path);
                Ok(Some(page))
            }
            Err(error) => {
                Err(Error::Damaged { what: "sealed output".into(), why: ReadError::to_string(&error) })
            }
        }
    }

    fn entry(&self, key: &str) -> Arc<Mutex<Entry>> {
        let mut commands = super::lock(&self.commands);
        let there = commands.iter().position(|(of, _)| of == key).and_then(|at| commands.remove(at));
        let (key, entry) = there.unwrap_or_else(|| (key.to_owned(), Arc::new(Mutex::new(Entry(None)))));
        commands.push_back((key, entry.clone()));
        if commands.len() > COMMANDS {
            // Its directory goes with whoever still reads it.
            commands.pop_front();
        }
        entry
    }
}

fn at(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.to_owned(), source }
}

/// Brings one file; false: it is not there.
async fn fetch(
    store: &Store,
    key: &str,
    record: &Record,
    files: &Files,
    which: OutputFile,
    paths: &Paths,
) -> Result<bool, Error> {
    let io = |source| at(&paths.dir, source);
    fs::create_dir_all(&paths.dir).map_err(io)?;
    let result = serde_json::to_vec(record).map_err(|error| io(error.into()))?;
    // It says that nothing more is written here.
    fs::write(paths.result(), result).map_err(io)?;
    let path = paths.file(which);
    // Only what is whole has its name.
    let part = PathBuf::from(format!("{}.part", path.display()));
    let size = files.size(which);
    if size == 0 || files.in_text {
        let text = if files.stderr == 0 { &record.stdout } else { &record.stderr };
        fs::write(&part, if size == 0 { "" } else { text }).map_err(io)?;
        fs::rename(part, path).map_err(io)?;
        return Ok(true);
    }
    // A stream that is all there is, is the combined one.
    let source = if size == files.combined { OutputFile::Combined } else { which };
    if !files.is_object(source) {
        return Ok(false);
    }
    let Ok(mut from) = store.output.get(object(key, source)).await else { return Ok(false) };
    let mut to = tokio::fs::File::create(&part).await.map_err(io)?;
    // Its end is an error if the bytes are not those that were put: the engine has their digest.
    let copied = tokio::io::copy(&mut from, &mut to).await.map_err(server("read an object"))?;
    to.sync_data().await.map_err(io)?;
    if copied != size {
        return Ok(false);
    }
    fs::rename(part, path).map_err(io)?;
    Ok(true)
}

/// A record that was too long for a message.
pub(super) async fn record(store: &Store, key: &str) -> Result<Record, Error> {
    let from = store.output.get(text_object(key)).await.map_err(server("read an object"))?;
    let mut json = Vec::new();
    from.take(RECORD_MAX_BYTES).read_to_end(&mut json).await.map_err(server("read an object"))?;
    crate::store::decode("a record", &json)
}

/// A page that has come over the wire.
pub(super) fn page(path: &Path, head: PageHead, content: Vec<u8>) -> Page {
    let mut page = Page::new(path.to_owned(), content);
    page.offset = head.offset;
    page.bytes_read = head.bytes_read;
    page.next_offset = head.next_offset;
    page.total_bytes = head.total_bytes;
    page.eof = head.eof;
    page.first_line = head.first_line;
    page.gap = head.gap;
    page
}
