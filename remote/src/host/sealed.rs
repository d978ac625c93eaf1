//! Sealed output of commands that have ended, fetched once and read like any other files.

use crate::{
    errors::{Error, server},
    store::{Store, decode, unheard},
    words::{Files, PageHead, object, text_object},
};
use ostler::{OutputFile, Page, ReadRequest, Record};
use ostler_artifacts::{Paths, ReadError, read_now};
use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::Mutex,
    time::timeout,
};

/// Of how many commands files are kept here: who reads several at a time does not fetch one anew for each page. The files are at most as long as
/// what the store keeps.
const COMMANDS: usize = 8;
/// Longest record.
const RECORD_MAX_BYTES: u64 = 64 << 20;
/// Longest wait for the next bytes of an object.
const NEXT_TIME: Duration = Duration::from_secs(10);
/// So many bytes are copied at a time: as the engine divides objects.
const PIECE_BYTES: usize = 128 << 10;
/// In errors.
const READ: &str = "read an object";

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
    let Ok(Ok(from)) = timeout(NEXT_TIME, store.output.get(object(key, source))).await else {
        return Ok(false);
    };
    let mut to = tokio::fs::File::create(&part).await.map_err(io)?;
    // Its end is an error if the bytes are not those that were put: the engine has their digest.
    let copied = copy(from, &mut to, io).await?;
    to.sync_data().await.map_err(io)?;
    if copied != size {
        return Ok(false);
    }
    fs::rename(part, path).map_err(io)?;
    Ok(true)
}

/// A record that was too long for a message.
pub(super) async fn record(store: &Store, key: &str) -> Result<Record, Error> {
    let got = timeout(NEXT_TIME, store.output.get(text_object(key))).await;
    let from = got.map_err(|_| unheard(READ))?.map_err(server(READ))?;
    let mut json = Vec::new();
    copy(from.take(RECORD_MAX_BYTES), &mut json, server(READ)).await?;
    decode("a record", &json)
}

/// How many bytes. A server that goes away meanwhile holds up nobody: whoever reads asks again.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
    not_written: impl FnOnce(io::Error) -> Error,
) -> Result<u64, Error> {
    let (mut piece, mut copied) = (vec![0; PIECE_BYTES], 0);
    loop {
        let read = timeout(NEXT_TIME, from.read(&mut piece)).await.map_err(|_| unheard(READ))?;
        let count = read.map_err(server(READ))?;
        if count == 0 {
            return Ok(copied);
        }
        if let Err(error) = to.write_all(&piece[..count]).await {
            return Err(not_written(error));
        }
        copied += count as u64;
    }
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
