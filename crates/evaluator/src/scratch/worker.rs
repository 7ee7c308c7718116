//! Work on files beside the evaluation.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce() + Send>;

/// A thread that does one thing after the other, from the first on. Dropping it waits for all of them.
#[derive(Debug, Default)]
pub(super) struct Worker {
    running: Option<(Sender<Job>, JoinHandle<()>)>,
}

/// The result of work that may still be going on.
#[derive(Debug)]
pub(super) struct Pending<T>(Receiver<std::thread::Result<T>>);

impl Worker {
    pub(super) fn start<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Pending<T> {
        let (send, result) = channel();
        let job: Job = Box::new(move || {
            // Whoever began the work may be gone.
            let _ = send.send(catch_unwind(AssertUnwindSafe(work)));
        });
        let (jobs, _) = self.running.get_or_insert_with(|| {
            let (jobs, queue) = channel::<Job>();
            let thread = std::thread::spawn(move || queue.into_iter().for_each(|job| job()));
            (jobs, thread)
        });
        jobs.send(job)
            .expect("the thread takes jobs until it is dropped");
        Pending(result)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some((jobs, thread)) = self.running.take() {
            drop(jobs);
            let _ = thread.join();
        }
    }
}

impl<T> Pending<T> {
    /// The result, as soon as it is there. A panic of the work goes on here.
    pub(super) fn wait(self) -> T {
        match self.0.recv() {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => unreachable!("a job sends its result, whatever happens"),
        }
    }

    /// The result, if it is there.
    pub(super) fn ready(self) -> Result<T, Self> {
        match self.0.try_recv() {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(TryRecvError::Empty) => Err(self),
            Err(TryRecvError::Disconnected) => unreachable!("a job sends its result"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_in_order_and_before_the_worker_is_gone() {
        let (send, received) = channel();
        let mut worker = Worker::default();
        let pending: Vec<Pending<i32>> = (0..10)
            .map(|number| {
                let send = send.clone();
                worker.start(move || {
                    send.send(number).unwrap();
                    number
                })
            })
            .collect();
        drop(worker);
        assert!(received.try_iter().eq(0..10));
        assert!(pending.into_iter().map(Pending::wait).eq(0..10));
    }

    #[test]
    fn a_panic_goes_on_where_the_result_is_waited_for() {
        let mut worker = Worker::default();
        let failed = worker.start(|| panic!("broken"));
        let next = worker.start(|| 1);
        assert!(catch_unwind(AssertUnwindSafe(|| failed.wait())).is_err());
        assert_eq!(next.wait(), 1);
    }
}
