//! `stop`, `retry`, `status` and `help` in a comment (main-spec §4).

use domain::task::{Status, Task};
use porter::tasks::control;
use serde_json::json;
use standin::Permission;

use crate::testkit::people::comment_of;
use crate::testkit::{ADA, BOB, CAROL, EVE, Person, Plan, REPO, TEST_TIMEOUT, Testkit};

/// Comments with a control word and returns the one reply.
async fn control(kit: &Testkit, issue: u64, who: Person, text: &str) -> String {
    let delivery = kit.say(issue, who, text).await;
    assert_eq!((delivery.status, &delivery.answer), (Some(202), &json!({ "status": "accepted" })));
    kit.answer_to(issue, comment_of(&delivery)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_queued_and_running_tasks_for_anyone_who_may_push() {
    let kit = Plan::silent().with("PORTER_MAX_CONCURRENT_TASKS_PER_USER", "1").start().await;
    let (first, second) = (kit.issue().await, kit.issue().await);
    let running = kit.ask(first, ADA, "@porter mock").await;
    kit.working(&running).await;
    let waiting = kit.ask(second, ADA, "@porter mock").await;
    // Carol has never signed in; her push permission is sufficient.
    for (issue, id) in [(second, &waiting), (first, &running)] {
        let answer = control(&kit, issue, CAROL, "@porter stop").await;
        assert!(answer.contains("Stopped") && answer.contains(id.as_str()), "{answer}");
        let task = kit.ended(id).await;
        assert_eq!(
            (task.status, task.attempt.error_message.as_deref()),
            (Status::Failed, Some("Stopped by carol."))
        );
        let comment = kit.status_comment(issue, id);
        assert!(comment.body.contains("**Mock Agent was stopped.**"), "{}", comment.body);
        assert!(kit.labels(issue).contains(&"porter:failed".to_owned()), "{:?}", kit.labels(issue));
    }
    assert_eq!(kit.task(&waiting).await.attempt.machine_id, None, "the queued task was launched");
    let answer = control(&kit, first, ADA, "@porter stop").await;
    assert!(answer.contains("nothing to stop"), "{answer}");
    assert!(kit.pulls().is_empty());
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_help_reply_without_changing_the_task() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let answer = control(&kit, issue, ADA, "@porter status").await;
    assert!(answer.contains("no task on this issue"), "{answer}");
    let id = kit.ask(issue, ADA, "@porter mock").await;
    kit.working(&id).await;
    let answer = control(&kit, issue, BOB, "@porter status").await;
    assert!(answer.contains("running, 0 %") && answer.contains(id.as_str()), "{answer}");
    let task = kit.succeed(&id).await;
    let answer = control(&kit, issue, BOB, "@Porter STATUS").await;
    assert!(answer.contains(task.pr_url.as_deref().unwrap()), "{answer}");
    let answer = control(&kit, issue, BOB, "@porter help").await;
    for word in ["`mock`", "`claude-code`", "--priority=low|normal|high", "@porter stop"] {
        assert!(answer.contains(word), "{word} is missing in {answer}");
    }
    assert_eq!(kit.task(&id).await, task, "the task was changed");
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_words_require_push_permission() {
    let kit = Plan::silent().start().await;
    kit.github.add_user("stranger", 900);
    let (issue, task) = kit.at_work().await;
    let id = task.id.clone();
    for word in ["stop", "retry", "status", "help"] {
        for login in [EVE.login, "stranger"] {
            let delivery = kit.github.comment(REPO, issue, login, &format!("@porter {word}")).await.unwrap();
            let answer = kit.answer_to(issue, comment_of(&delivery)).await;
            assert!(answer.contains("Only people who may push"), "{login} said {word}: {answer}");
        }
    }
    assert_eq!(kit.task(&id).await.status, task.status);
    kit.github.grant(REPO, "eve", Permission::Triage).unwrap();
    let answer = control(&kit, issue, EVE, "@porter stop").await;
    assert!(answer.contains("Only people who may push"), "triage is not enough: {answer}");
    kit.succeed(&id).await;
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_starts_a_second_attempt_that_can_succeed() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let answer = control(&kit, issue, ADA, "@porter retry").await;
    assert!(answer.contains("no task on this issue"), "{answer}");
    let id = kit.ask(issue, ADA, "@porter mock").await;
    kit.working(&id).await;
    let answer = control(&kit, issue, ADA, "@porter retry").await;
    assert!(answer.contains("has not ended yet"), "{answer}");
    kit.fail(&id).await;
    let first_token = kit.token(&id, 1);

    let answer = control(&kit, issue, BOB, "@porter retry").await;
    assert!(answer.contains("attempt 2"), "{answer}");
    let task = kit.succeed(&id).await;
    assert_eq!((task.status, task.attempt.number), (Status::Success, 2));
    let body = json!({ "task_id": id, "attempt": 1, "status": "failed" });
    kit.call_back("complete", &first_token, &body).await.expect_error(401, "invalid_callback_token");
    kit.call_back("progress", &first_token, &body).await.expect_error(401, "invalid_callback_token");

    let answer = control(&kit, issue, ADA, "@porter retry").await;
    assert!(answer.contains("succeeded"), "{answer}");
    let comment = kit.status_comment(issue, &id);
    assert!(comment.body.contains("attempt 2"), "{}", comment.body);
    kit.only_pull();
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_is_refused_while_another_task_of_the_agent_is_active() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let older = kit.ask(issue, ADA, "@porter mock").await;
    kit.fail(&older).await;
    let newer = kit.ask(issue, ADA, "@porter mock").await;
    kit.fail(&newer).await;
    kit.post(ADA, &format!("/api/tasks/{older}/retry"), &json!({})).await.expect(202);
    kit.working(&older).await;
    // The latest task is the newer one; it cannot be retried while the older one is active.
    let answer = control(&kit, issue, ADA, "@porter retry").await;
    assert!(answer.contains("has not ended yet") && answer.contains(older.as_str()), "{answer}");
    kit.succeed(&older).await;
    assert_eq!(kit.task(&newer).await.attempt.number, 1, "the newer task was retried");
    kit.status_comment(issue, &older);
    kit.status_comment(issue, &newer);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_word_is_executed_once_after_a_crash() {
    use domain::ids::RepositoryName;
    use domain::job::{CommentReference, Control, Job};
    let mut kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    kit.github.set_webhook_url("http://127.0.0.1:9/nobody");
    let comment = comment_of(&kit.say(issue, ADA, "@porter help").await);
    let id = kit.github.read(|all| all.deliveries().last().map(|last| last.guid.clone()));
    let payload: serde_json::Value =
        serde_json::from_slice(&kit.github.payload(&id.unwrap()).unwrap()).unwrap();
    let by = CommentReference {
        installation: payload["installation"]["id"].as_i64().unwrap().into(),
        repo_id: payload["repository"]["id"].as_i64().unwrap().into(),
        repository: RepositoryName::new("acme", "greeter"),
        issue: i64::try_from(issue).unwrap().into(),
        comment_id: i64::try_from(comment).unwrap().into(),
        login: "ada".to_owned(),
        at: kit.clock.now().timestamp_millis(),
    };
    // Simulates a kill between the operation and recording the job's end: the engine does not run.
    kit.stop_porter().await;
    let job = Job::Control { by: by.clone(), word: Control::Help };
    let context = kit.context_without_engine().await;
    let mut work = context.store().begin().await.unwrap();
    work.enqueue([job.clone()]).await.unwrap();
    work.commit().await.unwrap();
    control::run(&context, &by, Control::Help).await.unwrap();
    let mut connection = context.store().read().await.unwrap();
    assert!(
        !db::jobs::is_pending(&mut connection, &job.key()).await.unwrap(),
        "the control word would be executed twice"
    );
    drop(connection);
    context.store().close().await;
    drop(context);
    kit.start_porter().await;
    let answer = kit.answer_to(issue, comment).await;
    assert!(answer.contains("Agents"), "{answer}");
    kit.close().await;
}

async fn execute(kit: &Testkit, statement: &'static str) {
    let mut work = kit.porter().store().begin().await.unwrap();
    sqlx::query(statement).execute(&mut *work).await.unwrap();
    work.commit().await.unwrap();
}

/// Makes a write fail at its last statement, the reply, after the task was changed in the transaction.
const REFUSE_ANSWERS: &str = "CREATE TRIGGER refuse_answers BEFORE INSERT ON jobs WHEN NEW.kind = 'answer'
   BEGIN SELECT RAISE(ABORT, 'no answers'); END";

#[tokio::test(flavor = "multi_thread")]
async fn followers_are_notified_of_a_stop_or_a_retry_only_after_it_is_stored() {
    let kit = Plan::silent().start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    for (words, before) in [("@porter stop", Status::Running), ("@porter retry", Status::Failed)] {
        kit.drained().await;
        execute(&kit, REFUSE_ANSWERS).await;
        let mut changes = kit.porter().store().follow();
        let comment = comment_of(&kit.say(issue, ADA, words).await);
        kit.backlog_when("the write has failed", |all| all.retrying == 1).await;
        assert_eq!(kit.task(&id).await.status, before, "{words}");
        let notified = changes.try_recv().ok();
        assert_eq!(
            notified, None,
            "{words}: the task is as before, and a follower would wait for the next change"
        );
        execute(&kit, "DROP TRIGGER refuse_answers").await;
        let changed = |task: &Task| task.status != before;
        kit.task_in_time(&id, "the word was obeyed at last", changed).await;
        let notified =
            tokio::time::timeout(TEST_TIMEOUT, changes.recv()).await.expect("a notification").unwrap();
        assert_eq!(notified, id, "{words}");
        let answer = kit.answer_to(issue, comment).await;
        assert!(answer.contains(id.as_str()), "{words}: {answer}");
    }
    kit.fail(&id).await;
    kit.status_comment(issue, &id);
    kit.close().await;
}
