//! Webhooks become durable: each is read (`reading`), decided (`tasks::decision`) and recorded with everything
//! that must follow (`record`), in one transaction and without a network call; only then it is answered (main-spec §5).
//!
//! Deliveries that arrive while a commit is under way share the next one: a commit costs a disk flush, and
//! under load that flush is most of the work.

mod known;
mod reading;
mod record;

use tokio::sync::{mpsc, oneshot};

use super::decision::Rules;
use super::{Context, Error, Store};

pub(super) use reading::concerns;
pub use reading::{Delivery, Unreadable};

/// What a delivery is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Recorded; `task` is the one it made or is about.
    Accepted {
        /// The task.
        task: Option<String>,
    },
    /// Answered before; nothing more happens.
    Duplicate {
        /// The task of the first time.
        task: Option<String>,
    },
    /// Not for Porter.
    Ignored {
        /// Why, in one word.
        reason: &'static str,
    },
    /// For Porter, but it cannot be done; the person is told on the issue.
    Rejected {
        /// Why, in one word of main-spec §5.
        reason: &'static str,
    },
}

/// The most deliveries that share one commit.
const MAX_BATCH: usize = 256;
/// How many deliveries may wait for a commit; more wait in their sockets.
const QUEUE_CAPACITY: usize = 4096;

/// Takes deliveries. Cheap to clone; when the last clone is gone, the recorder ends.
#[derive(Clone)]
pub struct Intake {
    waiting: mpsc::Sender<(Delivery, oneshot::Sender<Result<Answer, Error>>)>,
}

impl Intake {
    /// Starts the recorder. The future ends when every clone of the handle is gone.
    pub fn new(context: &Context) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (waiting, deliveries) = mpsc::channel(QUEUE_CAPACITY);
        (Self { waiting }, run(context.store().clone(), Rules::of(context), deliveries))
    }

    /// Records one delivery. When this answers, it is on disk.
    ///
    /// # Errors
    /// [`Error::Db`]; then nothing was recorded, and GitHub must deliver again.
    pub async fn take(&self, delivery: Delivery) -> Result<Answer, Error> {
        let closed = || Error::Refused("Porter is shutting down".to_owned());
        let (answer, answered) = oneshot::channel();
        self.waiting.send((delivery, answer)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

async fn run(
    store: Store,
    rules: Rules,
    mut deliveries: mpsc::Receiver<(Delivery, oneshot::Sender<Result<Answer, Error>>)>,
) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while deliveries.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let (deliveries, waiting): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        match record::batch(&store, &rules, &deliveries).await {
            Ok(answers) => {
                for (answer, waiting) in answers.into_iter().zip(waiting) {
                    // A sender that hung up was answered all the same: its delivery is on disk.
                    let _ = waiting.send(Ok(answer));
                }
            }
            // One delivery must not take the others down with it: each alone now.
            Err(error) => {
                tracing::warn!(error = %error, deliveries = deliveries.len(), "a batch failed");
                for (delivery, waiting) in deliveries.iter().zip(waiting) {
                    let alone = record::batch(&store, &rules, std::slice::from_ref(delivery)).await;
                    let _ = waiting.send(alone.map(|mut answers| answers.remove(0)));
                }
            }
        }
    }
}
