//! Replies to comments that did not start a task, at most one reply for each comment. Run by the engine.

use chrono::{DateTime, TimeDelta};

use super::{Context, Error, Step};
use domain::comment::{self, AnswerContext};
use domain::job::{CommentReference, Reply};

/// Replies to a comment. `again` is true when an earlier try may have succeeded without Porter knowing.
///
/// # Errors
/// An error that a retry may resolve. A permanent refusal by GitHub is only logged, because there is no other way to
/// reach the person.
pub async fn run(
    context: &Context,
    to: &CommentReference,
    reply: &Reply,
    again: bool,
) -> Result<Step, Error> {
    match give(context, to, reply, again).await {
        Ok(()) => Ok(Step::Done),
        Err(error) if error.may_pass() => Err(error.into()),
        Err(error) => {
            tracing::warn!(
                github.comment_id = %to.comment_id,
                error = %error,
                "the reply to a comment was rejected"
            );
            Ok(Step::Done)
        }
    }
}

async fn give(
    context: &Context,
    to: &CommentReference,
    reply: &Reply,
    again: bool,
) -> Result<(), github::Error> {
    let github = context.github.installation(to.installation);
    let proof = context.keys.comment_proof(&format!("answer:{}:{}", to.repo_id, to.comment_id));
    let about = AnswerContext { comment_id: to.comment_id, proof: &proof };
    let body = match reply {
        Reply::Refusal(refusal) => comment::refusal(refusal, &about),
        Reply::Answer(answer) => comment::answer(answer, &about),
    };
    if again {
        let since = DateTime::from_timestamp_millis(to.at).unwrap_or_default() - TimeDelta::minutes(5);
        let comments = github.list_comments_since(&to.repository, to.issue, since).await?;
        if comments.iter().any(|found| comment::has_answer_marker(&found.body, to.comment_id, &proof)) {
            return Ok(());
        }
    }
    github.create_comment(&to.repository, to.issue, &body).await.map(|_| ())
}
