//! Removing what is no longer needed: what has expired, and what a killed server left.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use sordino_protocol::api::Chunks;

use super::refusal::Refusal;
use super::service::Service;

/// The longest time between two looks.
const INTERVAL: Duration = Duration::from_secs(60);

/// Removes jobs and keys that have expired, until the server ends.
pub(super) async fn sweep(service: Arc<Service>) {
    let retention = service.config.retention;
    loop {
        tokio::select! {
            () = service.stopping() => return,
            () = tokio::time::sleep(INTERVAL.min(retention / 4)) => {}
        }
        if let Err(refusal) = remove_expired(&service).await {
            tracing::error!(
                reason = refusal.problem.detail,
                "expired files could not be removed"
            );
        }
    }
}

async fn remove_expired(service: &Service) -> Result<(), Refusal> {
    let retention = service.config.retention.as_secs();
    let expired = service
        .database(move |database| database.expired(retention))
        .await?;
    for &file in &expired {
        service.remove_file(file).await?;
    }
    if !expired.is_empty() {
        tracing::info!(files = expired.len(), "expired files removed");
        service.job_changed();
    }
    Ok(())
}

/// Brings database, blobs and work folders together again after the process ended at any moment, and queues what was not finished.
pub(super) async fn recover(service: &Service) -> Result<(), Refusal> {
    let clients = service.config.clients.clone();
    let aside = service.database(move |database| database.admit(&clients));
    for client in aside.await? {
        tracing::warn!(
            client,
            "its keys and jobs are put aside until they expire: the configuration does not have it, or with another token"
        );
    }
    let files = service.database(|database| database.files()).await?;
    let (mut kept, mut lost) = (Vec::new(), 0);
    for &(file, bytes, _) in &files {
        let chunks = service.database(move |database| database.chunks(file));
        let mut chunks = chunks.await?;
        let mut missing = Vec::new();
        for chunk in &chunks {
            let expected =
                Chunks::range(bytes, chunk.number).map_or(0, |range| range.end - range.start);
            // After a power cut: the rows are on the disk before the blobs.
            if !service.blobs.has_chunk(file, chunk, expected).await? {
                missing.push(chunk.number);
            }
        }
        chunks.retain(|chunk| !missing.contains(&chunk.number));
        kept.push((file, chunks));
        lost += missing.len();
        forget(service, file, missing).await?;
    }
    let removed = service.blobs.remove_orphans(&kept).await?;
    let folders = remove_work_of_others(service, &files).await;
    let waiting = service.database(|database| database.waiting_jobs()).await?;
    if removed + folders > 0 || lost > 0 || !waiting.is_empty() {
        let jobs = waiting.len();
        tracing::info!(
            removed,
            lost,
            folders,
            jobs,
            "resumed from the state folder"
        );
    }
    for job in waiting {
        service.queue.push(job);
    }
    Ok(())
}

/// Looks whether the chunks of a file are what was acknowledged, which they may not be after a power cut. Those that are not are
/// asked for again; their number is returned.
pub(super) async fn forget_lost(service: &Service, file: i64) -> Result<usize, Refusal> {
    let chunks = service
        .database(move |database| database.chunks(file))
        .await?;
    let mut lost = Vec::new();
    for chunk in &chunks {
        if !service.blobs.chunk_is_good(file, chunk).await? {
            lost.push(chunk.number);
        }
    }
    let count = lost.len();
    forget(service, file, lost).await?;
    Ok(count)
}

async fn forget(service: &Service, file: i64, lost: Vec<u64>) -> Result<(), Refusal> {
    if lost.is_empty() {
        return Ok(());
    }
    tracing::warn!(file, chunks = ?lost, "chunks are lost and asked for again");
    let jobs = service.database(move |database| database.forget_lost(file, &lost));
    for job in jobs.await? {
        service.queue.remove(job);
    }
    service.job_changed();
    Ok(())
}

/// Removes the work folders of jobs that are over.
async fn remove_work_of_others(service: &Service, files: &[(i64, u64, bool)]) -> u64 {
    let wanted = files.iter().filter(|(.., wanted)| *wanted);
    let wanted: HashSet<i64> = wanted.map(|&(file, ..)| file).collect();
    let Ok(mut entries) = tokio::fs::read_dir(service.config.state.join("work")).await else {
        return 0;
    };
    let mut removed = 0;
    while let Ok(Some(entry)) = entries.next_entry().await {
        let file = entry.file_name().to_string_lossy().parse::<i64>();
        let is_wanted = file.is_ok_and(|file| wanted.contains(&file));
        if !is_wanted && tokio::fs::remove_dir_all(entry.path()).await.is_ok() {
            removed += 1;
        }
    }
    removed
}
