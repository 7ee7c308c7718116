//! Waiting for a job.

use std::time::Duration;

use sordino_protocol::api::{Id, Job, JobState};

use super::connect::RemoteServer;
use super::event::Event;
use crate::Error;

/// Pauses between questions where events do not come: they grow from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(5);

impl RemoteServer {
    /// Waits until a started job is over, or has to be started again because the server lost chunks of it or of its key; by events
    /// where they come through and by asking where they do not.
    ///
    /// # Errors
    /// As [`models`](Self::models).
    pub async fn wait(&self, id: &Id) -> Result<Job, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            // Why a stream ended does not matter: the question that follows tells whether the server can be reached.
            if let Ok(mut events) = self.job_events(id).await {
                while let Ok(Some(job)) = events.next().await {
                    self.report(&Event::Job(&job));
                    if waits_for_client(&job) {
                        return Ok(job);
                    }
                    pause = FIRST_PAUSE;
                }
            }
            let job = self.job(id).await?;
            self.report(&Event::Job(&job));
            if waits_for_client(&job) {
                return Ok(job);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
}

/// Whether nothing more happens to a job until its client does something.
fn waits_for_client(job: &Job) -> bool {
    job.state.is_final() || job.state == JobState::Uploading
}
