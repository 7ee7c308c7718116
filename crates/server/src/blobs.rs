//! Where chunks of keys and requests, and replies, are kept.
//!
//! ```text
//! chunks/<file>/<number>-<digest>    as it was sent
//! replies/<file>                     as it was evaluated
//! ```

use std::collections::HashSet;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use axum::body::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;

use super::database::ChunkRow;

/// Size of the parts that a reply is read and written in.
const PART_BYTES: usize = 8 << 20;

#[derive(Clone, Debug)]
pub(super) struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// The same store, which returns only when the content is on the disk. A chunk that a power cut destroys is asked for again; a
    /// reply would be lost.
    durable: Arc<dyn ObjectStore>,
    /// Its place in the file system.
    folder: Option<PathBuf>,
}

type Result<T> = std::result::Result<T, object_store::Error>;

impl Blobs {
    /// A store in a folder, or at a URL such as `s3://bucket/folder` where the program was built for that; what else such a store
    /// needs is taken from the environment.
    pub(super) fn open(place: &str) -> std::result::Result<Self, String> {
        let folder = (!place.contains("://")).then(|| PathBuf::from(place));
        let (store, durable): (Arc<dyn ObjectStore>, Arc<dyn ObjectStore>) = if folder.is_none() {
            let url = url::Url::parse(place).map_err(|error| error.to_string())?;
            let (store, prefix) = object_store::parse_url_opts(&url, std::env::vars())
                .map_err(|error| error.to_string())?;
            let store = Arc::new(PrefixStore::new(store, prefix));
            (Arc::clone(&store) as _, store)
        } else {
            std::fs::create_dir_all(place).map_err(|error| error.to_string())?;
            let store = LocalFileSystem::new_with_prefix(place)
                .map_err(|error| error.to_string())?
                .with_automatic_cleanup(true);
            let durable = store.clone().with_fsync(true);
            (Arc::new(store), Arc::new(durable))
        };
        Ok(Self {
            store,
            durable,
            folder,
        })
    }

    /// The folder, where the blobs are on a disk of this machine.
    pub(super) fn folder(&self) -> Option<&FilePath> {
        self.folder.as_deref()
    }

    /// Keeps a chunk; it outlives this process.
    pub(super) async fn put_chunk(
        &self,
        file: i64,
        chunk: &ChunkRow,
        content: Bytes,
    ) -> Result<()> {
        let path = chunk_path(file, chunk);
        self.store.put(&path, PutPayload::from(content)).await?;
        Ok(())
    }

    /// The file that chunks make, to be read by a thread that may block.
    pub(super) fn reader(&self, file: i64, chunks: Vec<ChunkRow>) -> ChunkReader {
        ChunkReader {
            store: Arc::clone(&self.store),
            runtime: Handle::current(),
            paths: chunks
                .iter()
                .map(|chunk| chunk_path(file, chunk))
                .collect::<Vec<_>>()
                .into_iter(),
            present: Bytes::new(),
        }
    }

    /// Copies a reply from a file into the store.
    pub(super) async fn put_reply(&self, file: i64, source: &FilePath) -> Result<()> {
        let failed = |error: io::Error| object_store::Error::Generic {
            store: "reply",
            source: Box::new(error),
        };
        let mut source = tokio::fs::File::open(source).await.map_err(failed)?;
        let upload = self.durable.put_multipart(&reply_path(file)).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        loop {
            let mut part = Vec::with_capacity(PART_BYTES);
            let mut next = (&mut source).take(PART_BYTES as u64);
            if next.read_to_end(&mut part).await.map_err(failed)? == 0 {
                break;
            }
            upload.wait_for_capacity(2).await?;
            upload.put(part.into());
        }
        upload.finish().await?;
        Ok(())
    }

    /// A part of a reply.
    pub(super) async fn reply(
        &self,
        file: i64,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let found = self.store.get_opts(&reply_path(file), options).await?;
        Ok(found.into_stream())
    }

    /// Removes what is kept of a file but, if asked to, its reply.
    pub(super) async fn remove(&self, file: i64, keep_reply: bool) -> Result<()> {
        let folder = Path::from(format!("chunks/{file}"));
        let mut unneeded: Vec<Path> = self.list(&folder).await?;
        if !keep_reply {
            unneeded.push(reply_path(file));
        }
        self.remove_all(unneeded).await
    }

    async fn remove_all(&self, unneeded: Vec<Path>) -> Result<()> {
        for path in unneeded {
            match self.store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn list(&self, folder: &Path) -> Result<Vec<Path>> {
        let found = self.store.list(Some(folder));
        found.map_ok(|found| found.location).try_collect().await
    }

    /// Removes what a server that was killed left: blobs that no row of the database names.
    ///
    /// `files` has all files with their chunks.
    pub(super) async fn remove_orphans(&self, files: &[(i64, Vec<ChunkRow>)]) -> Result<u64> {
        let known: HashSet<Path> = files
            .iter()
            .flat_map(|(file, chunks)| {
                let chunks = chunks.iter().map(|chunk| chunk_path(*file, chunk));
                chunks.chain([reply_path(*file)])
            })
            .collect();
        let mut removed = 0;
        for folder in ["chunks", "replies"] {
            let mut unneeded = self.list(&Path::from(folder)).await?;
            unneeded.retain(|path| !known.contains(path));
            removed += unneeded.len() as u64;
            self.remove_all(unneeded).await?;
        }
        let Some(root) = self.folder.clone() else {
            return Ok(removed);
        };
        let unfinished = tokio::task::spawn_blocking(move || remove_unfinished(&root)).await;
        Ok(removed + unfinished.unwrap_or(0))
    }

    /// Whether the blob of a chunk is there with its size.
    pub(super) async fn has_chunk(&self, file: i64, chunk: &ChunkRow, bytes: u64) -> Result<bool> {
        match self.store.head(&chunk_path(file, chunk)).await {
            Ok(found) => Ok(found.size == bytes),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the blob of a chunk is there with its content.
    pub(super) async fn chunk_is_good(&self, file: i64, chunk: &ChunkRow) -> Result<bool> {
        let found = self.store.get(&chunk_path(file, chunk)).await;
        match found {
            Ok(found) => Ok(Sha256::digest(found.bytes().await?)[..] == chunk.sha256),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes the blob of a chunk.
    pub(super) async fn remove_chunk(&self, file: i64, chunk: &ChunkRow) -> Result<()> {
        self.remove_all(vec![chunk_path(file, chunk)]).await
    }
}

/// Removes what the store was writing when the process ended: files that it does not list, with a `#` and a number behind their names.
fn remove_unfinished(root: &FilePath) -> u64 {
    let (mut removed, mut open) = (0, vec![root.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            } else if entry.file_name().to_string_lossy().contains('#')
                && std::fs::remove_file(path).is_ok()
            {
                removed += 1;
            }
        }
    }
    removed
}

fn chunk_path(file: i64, chunk: &ChunkRow) -> Path {
    let digest: String = chunk.sha256[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Path::from(format!("chunks/{file}/{}-{digest}", chunk.number))
}

fn reply_path(file: i64) -> Path {
    Path::from(format!("replies/{file}"))
}

/// Reads chunks one after the other; one of them is in memory at a time.
#[derive(Debug)]
pub(super) struct ChunkReader {
    store: Arc<dyn ObjectStore>,
    runtime: Handle,
    paths: std::vec::IntoIter<Path>,
    present: Bytes,
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.present.is_empty() {
            let Some(path) = self.paths.next() else {
                return Ok(0);
            };
            let store = &self.store;
            let get = async move { store.get(&path).await?.bytes().await };
            self.present = self.runtime.block_on(get).map_err(io::Error::other)?;
        }
        let count = buffer.len().min(self.present.len());
        buffer[..count].copy_from_slice(&self.present.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(number: u64, content: &[u8]) -> ChunkRow {
        ChunkRow {
            number,
            sha256: Sha256::digest(content).into(),
        }
    }

    async fn keeps_and_removes(blobs: Blobs, folder: &FilePath) {
        let chunks = [chunk(0, b"sor"), chunk(1, b"dino")];
        for (chunk, content) in chunks.iter().zip([&b"sor"[..], b"dino"]) {
            blobs
                .put_chunk(7, chunk, Bytes::from_static(content))
                .await
                .expect("kept");
        }
        let mut reader = blobs.reader(7, chunks.to_vec());
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        assert_eq!(read.await.expect("joins").expect("read"), "sordino");
        let [first, second] = &chunks;
        assert!(blobs.has_chunk(7, second, 4).await.expect("asked"));
        assert!(!blobs.has_chunk(7, second, 5).await.expect("asked"));
        assert!(blobs.chunk_is_good(7, second).await.expect("asked"));
        // The name of a blob has only a part of the digest.
        let mut other = second.clone();
        other.sha256[31] ^= 1;
        assert!(!blobs.chunk_is_good(7, &other).await.expect("asked"));
        let reply = folder.join("reply");
        std::fs::write(&reply, b"0123456789").expect("written");
        for file in [7, 8] {
            blobs.put_reply(file, &reply).await.expect("kept");
        }
        let part = blobs.reply(7, 2..5).await.expect("there");
        let part: Vec<Bytes> = part.try_collect().await.expect("read");
        assert_eq!(part.concat(), b"234");
        // Of the files in the database, 7 has one chunk, and 8 is not there.
        let known = [(7, vec![first.clone()])];
        assert_eq!(blobs.remove_orphans(&known).await.expect("cleaned"), 2);
        assert!(blobs.chunk_is_good(7, first).await.expect("asked"));
        assert!(!blobs.chunk_is_good(7, second).await.expect("asked"));
        blobs.remove_chunk(7, first).await.expect("removed");
        blobs
            .remove_chunk(7, first)
            .await
            .expect("nothing to remove");
        assert!(!blobs.has_chunk(7, first, 3).await.expect("asked"));
        assert!(blobs.reply(8, 0..1).await.is_err());
        blobs.remove(7, true).await.expect("removed");
        assert!(blobs.reply(7, 0..1).await.is_ok());
        blobs.remove(7, false).await.expect("removed");
        blobs
            .remove(7, false)
            .await
            .expect("nothing left to remove");
        assert!(blobs.reply(7, 0..1).await.is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn in_a_folder_and_elsewhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("blobs");
        let local = Blobs::open(&place.display().to_string()).expect("opens");
        keeps_and_removes(local, folder.path()).await;
        // What a process left that was killed while it wrote.
        let left = place.join("chunks/9");
        std::fs::create_dir_all(&left).expect("made");
        std::fs::write(left.join("0-0123456789abcdef#1"), b"half").expect("written");
        let local = Blobs::open(&place.display().to_string()).expect("opens");
        assert_eq!(
            local.remove_orphans(&[(9, vec![])]).await.expect("cleaned"),
            1
        );
        assert!(!left.join("0-0123456789abcdef#1").exists());
        let elsewhere = Blobs::open("memory:///blobs").expect("opens");
        keeps_and_removes(elsewhere, folder.path()).await;
        assert!(Blobs::open("nonsense://x").is_err());
    }
}
