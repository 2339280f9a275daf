//! Stores webhooks durably. Each delivery is parsed (`reading`), decided (`tasks::decision`) and stored with all
//! follow-up jobs (`record`) in one transaction without a network call, and answered only after the commit (main-spec
//! §5).
//!
//! Deliveries that arrive during a commit share the next one. A commit requires a disk flush, which is most of the
//! cost under load.

mod known;
mod reading;
mod record;

use tokio::sync::{mpsc, oneshot};

use super::decision::Rules;
use super::{Context, Error, Store};

pub(super) use reading::concerns;
pub use reading::{Delivery, Unreadable};

/// The result of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The delivery was stored; `task` is the task that it started or refers to.
    Accepted {
        /// The task.
        task: Option<String>,
    },
    /// The delivery was processed before and has no further effect.
    Duplicate {
        /// The task of the first delivery.
        task: Option<String>,
    },
    /// The delivery is not relevant to Porter.
    Ignored {
        /// The reason, in one word.
        reason: &'static str,
    },
    /// The delivery is for Porter but was refused; the person is informed on the issue.
    Rejected {
        /// The reason, in one word of main-spec §5.
        reason: &'static str,
    },
}

/// The largest number of deliveries that share one commit.
const MAX_BATCH: usize = 256;
/// How many deliveries may wait for a commit. Further ones wait in their connections.
const QUEUE_CAPACITY: usize = 4096;

/// Accepts deliveries. Cheap to clone. The recorder ends when the last clone is dropped.
#[derive(Clone)]
pub struct Intake {
    waiting: mpsc::Sender<(Delivery, oneshot::Sender<Result<Answer, Error>>)>,
}

impl Intake {
    /// Starts the recorder. The returned future completes when every clone of the handle is dropped.
    pub fn new(context: &Context) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (waiting, deliveries) = mpsc::channel(QUEUE_CAPACITY);
        (Self { waiting }, run(context.store().clone(), Rules::of(context), deliveries))
    }

    /// Stores one delivery. It is on disk when this function returns.
    ///
    /// # Errors
    /// [`Error::Db`]; then nothing was stored, and GitHub must deliver again.
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
                    // An error means that the sender disconnected; its delivery is on disk.
                    let _ = waiting.send(Ok(answer));
                }
            }
            // One delivery must not make the others fail, so each is now stored alone.
            Err(error) => {
                tracing::warn!(
                    error = %error,
                    deliveries = deliveries.len(),
                    "a batch of deliveries failed; storing each alone"
                );
                for (delivery, waiting) in deliveries.iter().zip(waiting) {
                    let alone = record::batch(&store, &rules, std::slice::from_ref(delivery)).await;
                    let _ = waiting.send(alone.map(|mut answers| answers.remove(0)));
                }
            }
        }
    }
}
