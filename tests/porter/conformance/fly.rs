//! Porter with machines on Fly, against a strict fake of Fly's API.

use chrono::TimeDelta;
use domain::task::Status;
use serde_json::json;

use crate::fake_fly::{Call, FakeFly, Fault};
use crate::testkit::{ADA, Plan};

const TOKEN: &str = "fm2_a_token_of_acme";

/// Starts a testkit whose machines are on the fake Fly, where no program runs in them.
async fn kit(fly: &FakeFly) -> crate::testkit::Testkit {
    fly.add_app("acme-porter", "acme", TOKEN);
    let plan = Plan::fly(fly).with("PORTER_SHARED_FLY_TOKEN", TOKEN);
    plan.with("PORTER_SHARED_FLY_APP", "acme-porter").start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_conforms_to_flys_description() {
    let fly = FakeFly::start().await;
    let kit = kit(&fly).await;
    for ending in ["success", "failure", "stop", "silence"] {
        let issue = kit.issue().await;
        let id = kit.ask(issue, ADA, "@porter mock go").await;
        let task = kit.working(&id).await;
        match ending {
            "success" => drop(kit.succeed(&id).await),
            "failure" => drop(kit.report_failure(&task).await),
            "stop" => drop(kit.post(ADA, &format!("/api/tasks/{id}/stop"), &json!(null)).await.expect(202)),
            _ => {
                kit.clock.advance(TimeDelta::minutes(20));
                porter::tasks::watch::look(kit.porter()).await.expect("a look");
            }
        }
        let task = kit.ended(&id).await;
        assert_eq!(task.status == Status::Success, ending == "success", "{ending}: {task:#?}");
        porter::tasks::watch::reap(kit.porter()).await.expect("a reap");
        kit.status_comment(issue, &id);
    }
    assert_eq!(fly.violations(), Vec::<String>::new());
    assert!(fly.living().is_empty(), "expected no running machine, seen {}", fly.living().len());
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_fly_token_does_not_prevent_the_revocation_of_the_github_token() {
    let fly = FakeFly::start().await;
    let kit = kit(&fly).await;
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock go").await;
    kit.working(&id).await;
    fly.next(1, Call::List, Fault::Status(401));
    kit.post(ADA, &format!("/api/tasks/{id}/stop"), &json!(null)).await.expect(202);
    assert_eq!(kit.ended(&id).await.status, Status::Failed);
    assert_eq!(fly.living().len(), 1, "the machine could not be destroyed");
    let live: Vec<_> = kit.github.issued_tokens().into_iter().filter(|token| token.is_live).collect();
    assert!(
        live.iter().all(|token| token.permissions.contains_key("issues")),
        "expected no valid worker token, seen {live:?}"
    );
    kit.status_comment(issue, &id);
    porter::tasks::watch::reap(kit.porter()).await.expect("a reap with a valid token");
    assert_eq!(fly.living().len(), 0);
    kit.close().await;
}
