//! `stop`, `retry`, `status` and `help` in a comment (contract §4).

use domain::task::Status;
use porter::tasks::control;
use serde_json::json;
use standin::Permission;

use crate::world::people::comment_of;
use crate::world::{ADA, BOB, CAROL, EVE, Person, Plan, REPO, World};

/// Says a control word and gives the one answer.
async fn control(world: &World, issue: u64, who: Person, text: &str) -> String {
    let delivery = world.say(issue, who, text).await;
    assert_eq!((delivery.status, &delivery.answer), (Some(202), &json!({ "status": "accepted" })));
    world.answer_to(issue, comment_of(&delivery)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_a_waiting_and_a_running_task_for_anyone_who_may_push() {
    let world = Plan::silent().with("PORTER_MAX_CONCURRENT_TASKS_PER_USER", "1").start().await;
    let (first, second) = (world.issue().await, world.issue().await);
    let running = world.ask(first, ADA, "@porter mock").await;
    world.working(&running).await;
    let waiting = world.ask(second, ADA, "@porter mock").await;
    // Carol never signed in; that she may push is enough.
    for (issue, id) in [(second, &waiting), (first, &running)] {
        let answer = control(&world, issue, CAROL, "@porter stop").await;
        assert!(answer.contains("Stopped") && answer.contains(id.as_str()), "{answer}");
        let task = world.ended(id).await;
        assert_eq!((task.status, task.error_message.as_deref()), (Status::Failed, Some("Stopped by carol.")));
        let comment = world.status_comment(issue, id);
        assert!(comment.body.contains("**Mock Agent was stopped.**"), "{}", comment.body);
        assert!(world.labels(issue).contains(&"porter:failed".to_owned()), "{:?}", world.labels(issue));
    }
    assert_eq!(world.task(&waiting).await.machine_id, None, "it was never launched");
    let answer = control(&world, first, ADA, "@porter stop").await;
    assert!(answer.contains("nothing to stop"), "{answer}");
    assert!(world.pulls().is_empty());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_help_answer_and_change_nothing() {
    let world = Plan::silent().start().await;
    let issue = world.issue().await;
    let answer = control(&world, issue, ADA, "@porter status").await;
    assert!(answer.contains("no task on this issue"), "{answer}");
    let id = world.ask(issue, ADA, "@porter mock").await;
    world.working(&id).await;
    let answer = control(&world, issue, BOB, "@porter status").await;
    assert!(answer.contains("running, 0 %") && answer.contains(id.as_str()), "{answer}");
    let task = world.succeed(&id).await;
    let answer = control(&world, issue, BOB, "@Porter STATUS").await;
    assert!(answer.contains(task.pr_url.as_deref().unwrap()), "{answer}");
    let answer = control(&world, issue, BOB, "@porter help").await;
    for word in ["`mock`", "`claude-code`", "--priority=low|normal|high", "@porter stop"] {
        assert!(answer.contains(word), "{word} is missing in {answer}");
    }
    assert_eq!(world.task(&id).await, task, "nothing was changed");
    world.status_comment(issue, &id);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_push_is_refused_whatever_they_say() {
    let world = Plan::silent().start().await;
    world.github.add_user("stranger", 900);
    let (issue, task) = world.at_work().await;
    let id = task.id.clone();
    for word in ["stop", "retry", "status", "help"] {
        for login in [EVE.login, "stranger"] {
            let delivery =
                world.github.comment(REPO, issue, login, &format!("@porter {word}")).await.unwrap();
            let answer = world.answer_to(issue, comment_of(&delivery)).await;
            assert!(answer.contains("Only people who may push"), "{login} said {word}: {answer}");
        }
    }
    assert_eq!(world.task(&id).await.status, task.status);
    world.github.grant(REPO, "eve", Permission::Triage).unwrap();
    let answer = control(&world, issue, EVE, "@porter stop").await;
    assert!(answer.contains("Only people who may push"), "triage is not enough: {answer}");
    world.succeed(&id).await;
    world.status_comment(issue, &id);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_begins_a_second_attempt_that_can_succeed() {
    let world = Plan::silent().start().await;
    let issue = world.issue().await;
    let answer = control(&world, issue, ADA, "@porter retry").await;
    assert!(answer.contains("no task on this issue"), "{answer}");
    let id = world.ask(issue, ADA, "@porter mock").await;
    world.working(&id).await;
    let answer = control(&world, issue, ADA, "@porter retry").await;
    assert!(answer.contains("has not ended yet"), "{answer}");
    world.fail(&id).await;
    let first_token = world.token(&id, 1);

    let answer = control(&world, issue, BOB, "@porter retry").await;
    assert!(answer.contains("attempt 2"), "{answer}");
    let task = world.succeed(&id).await;
    assert_eq!((task.status, task.attempt), (Status::Success, 2));
    let body = json!({ "task_id": id, "attempt": 1, "status": "failed" });
    world.call_back("complete", &first_token, &body).await.expect_error(401, "invalid_callback_token");
    world.call_back("progress", &first_token, &body).await.expect_error(401, "invalid_callback_token");

    let answer = control(&world, issue, ADA, "@porter retry").await;
    assert!(answer.contains("succeeded"), "{answer}");
    let comment = world.status_comment(issue, &id);
    assert!(comment.body.contains("attempt 2"), "{}", comment.body);
    world.only_pull();
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_while_another_task_of_the_agent_is_active_is_answered_so() {
    let world = Plan::silent().start().await;
    let issue = world.issue().await;
    let older = world.ask(issue, ADA, "@porter mock").await;
    world.fail(&older).await;
    let newer = world.ask(issue, ADA, "@porter mock").await;
    world.fail(&newer).await;
    world.post(ADA, &format!("/api/tasks/{older}/retry"), &json!({})).await.expect(202);
    world.working(&older).await;
    // The latest task is the newer one; it cannot begin again while the older one is at work.
    let answer = control(&world, issue, ADA, "@porter retry").await;
    assert!(answer.contains("has not ended yet") && answer.contains(older.as_str()), "{answer}");
    world.succeed(&older).await;
    assert_eq!(world.task(&newer).await.attempt, 1, "it was not begun later, either");
    world.status_comment(issue, &older);
    world.status_comment(issue, &newer);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_word_is_owed_no_more_once_it_is_obeyed() {
    use domain::job::{Control, Job, Mention};
    let mut world = Plan::silent().start().await;
    let issue = world.issue().await;
    world.github.set_webhook_url("http://127.0.0.1:9/nobody");
    let comment = comment_of(&world.say(issue, ADA, "@porter help").await);
    let id = world.github.read(|all| all.deliveries().last().map(|last| last.guid.clone()));
    let payload: serde_json::Value =
        serde_json::from_slice(&world.github.payload(&id.unwrap()).unwrap()).unwrap();
    let by = Mention {
        installation: payload["installation"]["id"].as_i64().unwrap(),
        repo_id: payload["repository"]["id"].as_i64().unwrap(),
        owner: "acme".to_owned(),
        name: "greeter".to_owned(),
        issue: i64::try_from(issue).unwrap(),
        comment_id: i64::try_from(comment).unwrap(),
        login: "ada".to_owned(),
        at: world.clock.now().timestamp_millis(),
    };
    // As if Porter were killed between obeying and writing down that it had: the engine is not there to do so.
    world.stop_porter().await;
    let job = Job::Control { by: by.clone(), word: Control::Help };
    let context = world.context_without_engine().await;
    let mut write = context.db.begin().await.unwrap();
    let row = db::jobs::NewJob {
        kind: job.kind(),
        key: job.key(),
        lane: job.lane(),
        rank: job.rank(),
        payload: serde_json::to_string(&job).unwrap(),
    };
    db::jobs::enqueue(&mut write, &[row], world.clock.now()).await.unwrap();
    db::commit(write).await.unwrap();
    control::run(&context, &by, Control::Help).await.unwrap();
    let mut connection = context.db.read().await.unwrap();
    assert!(!db::jobs::is_owed(&mut connection, &job.key()).await.unwrap(), "it would be obeyed twice");
    drop(connection);
    context.db.close().await;
    drop(context);
    world.start_porter().await;
    let answer = world.answer_to(issue, comment).await;
    assert!(answer.contains("Agents"), "{answer}");
    world.close().await;
}
