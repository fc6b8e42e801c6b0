//! The threads that run plugins: a fixed number of them behind a bounded queue.
//!
//! Nothing waits for a place in the queue: who finds it full is told so at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

/// Threads and their queue. Dropping it ends them after what they are doing.
#[derive(Debug)]
pub(crate) struct Pool {
    queue: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

/// The queue is full.
#[derive(Debug)]
pub(crate) struct Full;

type Job = Box<dyn FnOnce() + Send>;

impl Pool {
    pub(crate) fn new(name: &str, threads: usize, queue: usize) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel::<Job>(queue);
        let receiver = Arc::new(Mutex::new(receiver));
        let spawn = |number| {
            let receiver = Arc::clone(&receiver);
            thread::Builder::new().name(format!("{name}-{number}")).spawn(move || work(&receiver))
        };
        let threads = (0..threads).map(spawn).collect::<Result<_, _>>()?;
        Ok(Self { queue: Some(sender), threads })
    }

    /// Has a thread do something that nobody waits for.
    pub(crate) fn leave(&self, work: impl FnOnce() + Send + 'static) -> Result<(), Full> {
        self.queue.as_ref().ok_or(Full)?.try_send(Box::new(work)).map_err(|_| Full)
    }

    /// Has a thread do it, and then, when the answer is given, something else. The answer never comes if the work panics.
    pub(crate) fn submit<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
        then: impl FnOnce() + Send + 'static,
    ) -> Result<oneshot::Receiver<R>, Full> {
        let (answer, receiver) = oneshot::channel();
        let job = Box::new(move || {
            // Whoever asked may have left: then nobody needs to be told, or even asked.
            if !answer.is_closed() {
                let _ = answer.send(work());
                then();
            }
        });
        self.queue.as_ref().ok_or(Full)?.try_send(job).map_err(|_| Full)?;
        Ok(receiver)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // A job may hold the last handle of its own pool, and cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                // Its panics are caught below.
                let _ = thread.join();
            }
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("the policy host panicked; the question is denied");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_full_queue_says_so_at_once_and_takes_more_when_it_is_empty() {
        let pool = Pool::new("test", 1, 1).unwrap();
        let (started, has_started) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let busy = move || {
            started.send(()).unwrap();
            released.recv().unwrap();
            1
        };
        let first = pool.submit(busy, || ());
        has_started.recv().unwrap();
        let second = pool.submit(|| 2, || ());
        assert!(pool.submit(|| 3, || ()).is_err());
        release.send(()).unwrap();
        assert_eq!(first.unwrap().blocking_recv(), Ok(1));
        assert_eq!(second.unwrap().blocking_recv(), Ok(2));
        assert_eq!(pool.submit(|| 4, || ()).unwrap().blocking_recv(), Ok(4));
    }

    #[test]
    fn a_panic_costs_one_answer_and_no_thread() {
        let pool = Pool::new("test", 1, 4).unwrap();
        assert!(pool.submit(|| panic!("on purpose"), || ()).unwrap().blocking_recv().is_err());
        assert_eq!(pool.submit(|| 1, || ()).unwrap().blocking_recv(), Ok(1));
    }
}
