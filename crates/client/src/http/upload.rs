//! Files on their way to the server, chunk by chunk.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use reqwest::Method;
use sordino_container::{Error as FileError, file_bytes};
use sordino_protocol::api::{Chunks, Id};
use tokio::task::JoinSet;

use super::call::Call;
use super::connect::RemoteServer;
use super::event::{Event, Upload};
use crate::Error;

/// Chunks on their way at once: enough that the line is never idle while the server writes one down.
const AT_ONCE: usize = 3;

impl RemoteServer {
    /// Sends what is missing. A chunk that was acknowledged is not sent again.
    pub(super) async fn upload(
        &self,
        what: Upload,
        id: &Id,
        file: &Path,
        chunks: &Chunks,
    ) -> Result<(), Error> {
        let missing = || FileError::io(file, "look up", std::io::ErrorKind::NotFound.into());
        let bytes = file_bytes(file)?.ok_or_else(missing)?;
        if chunks.of != Chunks::count(bytes) {
            let expected = format!("{} chunks", Chunks::count(bytes));
            return Err(self.unexpected("upload a file", expected, chunks.of.to_string()));
        }
        let missing: Vec<u64> = chunks.missing().collect();
        let length =
            |&number: &u64| Chunks::range(bytes, number).map_or(0, |range| range.end - range.start);
        let mut done = bytes - missing.iter().map(length).sum::<u64>();
        let of = bytes;
        self.report(&Event::Uploaded { what, done, of });
        let mut left = missing.into_iter();
        // Dropped on an error, it ends what is still on its way.
        let mut sending = JoinSet::new();
        loop {
            while sending.len() < AT_ONCE
                && let Some(number) = left.next()
            {
                let (server, id, file) = (self.clone(), id.clone(), file.to_path_buf());
                sending.spawn(async move {
                    server.send_chunk(what, &id, file, bytes, number).await?;
                    Ok::<u64, Error>(number)
                });
            }
            let Some(sent) = sending.join_next().await else {
                return Ok(());
            };
            let number = sent.map_err(|panic| Error::bug("upload of a chunk", panic))??;
            done += length(&number);
            self.report(&Event::Uploaded { what, done, of });
        }
    }

    async fn send_chunk(
        &self,
        what: Upload,
        id: &Id,
        file: PathBuf,
        bytes: u64,
        number: u64,
    ) -> Result<(), Error> {
        let (plural, name) = match what {
            Upload::Key => ("keys", "key"),
            Upload::Request => ("jobs", "job"),
        };
        let path = [plural, id.as_str(), "chunks", &number.to_string()];
        let text = format!("upload chunk {number} of {name} {id}");
        let call = Call::new(self, text, Method::PUT, &path);
        let reading = move || Ok::<_, Error>(call.chunk(read_chunk(&file, bytes, number)?));
        let call = tokio::task::spawn_blocking(reading).await;
        let call = call.map_err(|panic| Error::bug("reading of a chunk", panic))??;
        self.call(call).await.map(drop)
    }
}

fn read_chunk(path: &Path, bytes: u64, number: u64) -> Result<Vec<u8>, Error> {
    let range = Chunks::range(bytes, number).unwrap_or(0..0);
    // At most the size of a chunk.
    let mut chunk = vec![0; (range.end - range.start) as usize];
    File::open(path)
        .and_then(|mut file| {
            file.seek(SeekFrom::Start(range.start))?;
            file.read_exact(&mut chunk)
        })
        .map_err(|error| FileError::io(path, "read", error))?;
    Ok(chunk)
}
