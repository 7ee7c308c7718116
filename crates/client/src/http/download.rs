//! The reply on its way back, resumed where it broke off.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};
use sordino_container::{Error as FileError, Kind, file_bytes, inspect_file, remove_file};
use sordino_protocol::api::Id;

use super::call::{MESSAGE_TIME, printable};
use super::connect::RemoteServer;
use super::event::Event;
use super::retry::{Failure, Tries};
use crate::Error;

/// How long no byte may come.
const SILENCE: Duration = Duration::from_secs(60);

/// Most bytes of an ETag.
const ETAG_LIMIT: u64 = 1024;

/// Bytes between two reports of progress.
const REPORTED: u64 = 1 << 18;

/// The files of a download that is not complete.
struct Partial {
    content: PathBuf,
    /// Which version of the reply the content is of, as the server named it.
    version: PathBuf,
}

impl RemoteServer {
    /// Fetches a reply of `bytes` bytes into a new file, which is undamaged by its own digest.
    ///
    /// What an earlier call fetched is in a file `….part` in the same folder. It is not fetched again if the server still has the same
    /// reply.
    ///
    /// # Errors
    /// As [`models`](Self::models), and [`Error::File`], for a reply that is damaged though it was fetched twice among others.
    pub async fn download_reply(&self, id: &Id, bytes: u64, file: &Path) -> Result<(), Error> {
        let partial = Partial::of(file);
        let mut again = true;
        loop {
            self.fetch(id, bytes, &partial).await?;
            let content = partial.content.clone();
            let checked = tokio::task::spawn_blocking(move || inspect_file(&content)).await;
            match checked.map_err(|panic| Error::bug("check of a reply", panic))? {
                Ok(header) if header.kind == Kind::Reply => break,
                Ok(header) => {
                    partial.remove()?;
                    let found = header.kind.to_string();
                    return Err(self.unexpected("fetch the reply", Kind::Reply.to_string(), found));
                }
                // What was fetched before a power cut may be damaged, and what is damaged there stays so.
                Err(error) => {
                    partial.remove()?;
                    if !std::mem::take(&mut again) {
                        return Err(error.into());
                    }
                }
            }
        }
        fs::rename(&partial.content, file)
            .map_err(|error| FileError::io(file, "rename the finished file", error))?;
        partial.remove()
    }

    /// Fetches until all bytes are here.
    async fn fetch(&self, id: &Id, bytes: u64, partial: &Partial) -> Result<(), Error> {
        let mut tries = Tries::new(self);
        loop {
            let before = partial.length()?;
            match self.try_fetch(id, bytes, partial).await {
                Ok(()) => {
                    self.heard();
                    return Ok(());
                }
                Err(failure) => {
                    if partial.length()? > before {
                        tries.progress();
                    }
                    tries.pause(failure).await?;
                }
            }
        }
    }

    async fn try_fetch(&self, id: &Id, bytes: u64, partial: &Partial) -> Result<(), Failure> {
        let mut done = partial.length()?;
        let version = partial.version()?;
        if done > bytes || version.is_none() {
            partial.remove()?;
            done = 0;
        }
        if done == bytes && bytes > 0 {
            return Ok(());
        }
        let mut call = self.on_job("fetch the reply of", id, Method::GET, Some("reply"));
        if let (1.., Some(version)) = (done, &version) {
            let range = HeaderValue::from_str(&format!("bytes={done}-"));
            if let Ok(range) = range {
                call = call.header(RANGE, range).header(IF_RANGE, version.clone());
            }
        }
        let response = self.within(MESSAGE_TIME, &call.what, self.send(&call));
        let mut response = match response.await {
            Ok(response) => response,
            Err(failure) => {
                // What is here does not belong to what is there.
                if failure.error.status() == Some(416) && done > 0 {
                    partial.remove()?;
                    return Err(Failure::passing(*failure.error));
                }
                return Err(failure);
            }
        };
        if !self.continues(&response, &call.what, done, bytes, version.as_ref())? {
            partial.remove()?;
            if response.status() == StatusCode::PARTIAL_CONTENT {
                let error =
                    self.unexpected(&call.what, "the rest of a reply", "a part of another one");
                return Err(Failure::passing(error));
            }
            done = 0;
            partial.start(response.headers().get(ETAG))?;
        }
        let mut content = partial.open()?;
        let mut reported = done;
        let of = bytes;
        self.report(&Event::Downloaded { done, of });
        loop {
            let part = self.next_part(&call.what, &mut response);
            let Some(part) = self.within(SILENCE, &call.what, part).await? else {
                break;
            };
            done += part.len() as u64;
            if done > bytes {
                partial.remove()?;
                let expected = format!("a reply of {bytes} bytes");
                return Err(self.unexpected(&call.what, expected, "a longer one").into());
            }
            // A few kilobytes to the page cache: no reason for another thread.
            content
                .write_all(&part)
                .map_err(|error| file_error(&partial.content, "write", error))?;
            if done - reported >= REPORTED || done == bytes {
                reported = done;
                self.report(&Event::Downloaded { done, of });
            }
        }
        if done < bytes {
            let error = self.unexpected(&call.what, format!("{bytes} bytes"), done.to_string());
            return Err(Failure::passing(error));
        }
        content
            .sync_all()
            .map_err(|error| file_error(&partial.content, "write", error))?;
        Ok(())
    }

    /// Whether an answer starts where the partial file ends.
    fn continues(
        &self,
        response: &Response,
        what: &str,
        done: u64,
        bytes: u64,
        version: Option<&HeaderValue>,
    ) -> Result<bool, Failure> {
        match response.status() {
            StatusCode::OK => Ok(false),
            StatusCode::PARTIAL_CONTENT => {
                let range = response.headers().get(CONTENT_RANGE);
                let expected = format!("bytes {done}-{}/{bytes}", bytes.saturating_sub(1));
                let fits = range.is_some_and(|range| range.as_bytes() == expected.as_bytes());
                Ok(done > 0 && fits && response.headers().get(ETAG) == version)
            }
            status => {
                let found = format!("status {status}");
                Err(self.unexpected(what, "the reply", printable(&found)).into())
            }
        }
    }
}

impl Partial {
    fn of(file: &Path) -> Self {
        let name = |suffix: &str| {
            let mut name = file.file_name().unwrap_or_default().to_os_string();
            name.push(suffix);
            file.with_file_name(name)
        };
        Self {
            content: name(".part"),
            version: name(".etag"),
        }
    }

    /// Bytes that are here.
    fn length(&self) -> Result<u64, Error> {
        Ok(file_bytes(&self.content)?.unwrap_or(0))
    }

    /// Which reply they are of, if that is known.
    fn version(&self) -> Result<Option<HeaderValue>, Error> {
        if file_bytes(&self.version)?.is_none_or(|bytes| bytes > ETAG_LIMIT) {
            return Ok(None);
        }
        let bytes =
            fs::read(&self.version).map_err(|error| file_error(&self.version, "read", error))?;
        // A weak one says that content is as good as equal, which is not enough to put parts together.
        let strong = bytes.starts_with(b"\"") && bytes.len() > 2 && bytes.ends_with(b"\"");
        let value = strong.then(|| HeaderValue::from_bytes(&bytes).ok());
        Ok(value.flatten())
    }

    /// Begins a new one. The name of the version comes first, so that no content is ever taken for another version's.
    fn start(&self, version: Option<&HeaderValue>) -> Result<(), Error> {
        if let Some(version) = version {
            fs::write(&self.version, version.as_bytes())
                .map_err(|error| file_error(&self.version, "write", error))?;
        }
        Ok(())
    }

    fn open(&self) -> Result<File, Error> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.content)
            .map_err(|error| file_error(&self.content, "open", error))
    }

    /// Removes what is here, the content first.
    fn remove(&self) -> Result<(), Error> {
        remove_file(&self.content)?;
        Ok(remove_file(&self.version)?)
    }
}

fn file_error(path: &Path, action: &'static str, error: std::io::Error) -> Error {
    FileError::io(path, action, error).into()
}
