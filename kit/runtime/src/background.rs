//! Jobs that a service repeats beside its inputs.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::watch;
use tracing::error;

use crate::shutdown::stopped;

/// Does `job` again and again until `stop` turns true, which also drops a job in progress. The pauses are between a half of `period` and
/// the whole, at random, so that instances that were started together do not all do it at once. A panic ends the one job only.
pub(crate) async fn repeat<F: Future<Output = ()>>(
    period: Duration,
    mut stop: watch::Receiver<bool>,
    mut job: impl FnMut() -> F,
) {
    let repeating = async {
        loop {
            tokio::time::sleep(period.mul_f64(rand::random_range(0.5..1.0))).await;
            if AssertUnwindSafe(job()).catch_unwind().await.is_err() {
                error!("a background job panicked; it is done again after a pause");
            }
        }
    };
    tokio::select! {
        () = stopped(&mut stop) => {}
        () = repeating => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_job_is_repeated_after_a_panic_and_until_the_stop() {
        let (done, mut jobs) = mpsc::channel(1);
        let (stopper, stop) = watch::channel(false);
        let mut number = 0;
        let job = move || {
            number += 1;
            let (number, done) = (number, done.clone());
            async move {
                done.send(number).await.unwrap();
                assert!(number != 1, "the first one panics");
            }
        };
        let repeating = tokio::spawn(repeat(Duration::from_millis(2), stop, job));
        for number in 1..=3 {
            assert_eq!(jobs.recv().await, Some(number));
        }
        stopper.send(true).unwrap();
        repeating.await.unwrap();
        while jobs.recv().await.is_some() {}
    }
}
