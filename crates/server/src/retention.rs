//! Removing what is no longer needed: what has expired, and what a killed server left.

use std::collections::HashMap;
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
        service
            .database(move |database| database.remove_file(file))
            .await?;
        service.blobs.remove(file, false).await?;
    }
    if !expired.is_empty() {
        tracing::info!(files = expired.len(), "expired files removed");
        service.job_changed();
    }
    Ok(())
}

/// Brings database, blobs and work folders together again after the process ended at any moment, and queues what was not finished.
pub(super) async fn recover(service: &Service) -> Result<(), Refusal> {
    let files = service.database(|database| database.files()).await?;
    let removed = service.blobs.remove_orphans(&files).await?;
    let mut lost = 0;
    for &(file, _) in files.iter().filter(|(_, needed)| *needed) {
        let (bytes, chunks) = service
            .database(move |database| {
                let bytes = database.file_bytes(file)?.unwrap_or(0);
                Ok((bytes, database.chunks(file)?))
            })
            .await?;
        for chunk in chunks {
            let expected = Chunks::range(bytes, chunk.number).map(|range| range.end - range.start);
            // After a power cut: the rows are on the disk before the blobs.
            if service.blobs.chunk_bytes(file, &chunk).await? != expected {
                lost += 1;
                service
                    .database(move |database| database.forget_chunk(file, chunk.number))
                    .await?;
            }
        }
    }
    let folders = remove_work_of_others(service, &files).await;
    let waiting = service.database(|database| database.waiting_jobs()).await?;
    if removed + lost + folders > 0 || !waiting.is_empty() {
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

/// Removes the work folders of jobs that are over.
async fn remove_work_of_others(service: &Service, files: &[(i64, bool)]) -> u64 {
    let wanted: HashMap<i64, bool> = files.iter().copied().collect();
    let Ok(mut entries) = tokio::fs::read_dir(service.config.state.join("work")).await else {
        return 0;
    };
    let mut removed = 0;
    while let Ok(Some(entry)) = entries.next_entry().await {
        let file = entry.file_name().to_string_lossy().parse::<i64>();
        let is_wanted = file.is_ok_and(|file| wanted.get(&file) == Some(&true));
        if !is_wanted && tokio::fs::remove_dir_all(entry.path()).await.is_ok() {
            removed += 1;
        }
    }
    removed
}
