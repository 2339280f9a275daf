//! Webhooks that GitHub sent while Porter was down are requested again and processed once (main-spec §5).

use std::time::Duration;

use domain::task::{Status, TaskId};
use porter::tasks::redelivery;

use crate::testkit::{ADA, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_sent_while_porter_was_down_are_processed_once() {
    let mut kit = Plan::silent().start().await;
    let (issue, other) = (kit.issue().await, kit.issue().await);
    kit.stop_porter().await;
    let lost = kit.say(issue, ADA, "@porter mock").await;
    let also = kit.say(other, ADA, "@porter mock").await;
    let nothing = kit.say(other, ADA, "Nobody is spoken to.").await;
    assert_eq!((lost.status, also.status, nothing.status), (None, None, None));
    kit.start_porter().await;
    let arrived = |all: &standin::GithubState| {
        let came =
            |guid: &str| all.deliveries().iter().any(|d| d.guid == guid && d.redelivery && d.succeeded());
        [&lost.guid, &also.guid, &nothing.guid].into_iter().all(|guid| came(guid))
    };
    kit.github.wait_until(arrived, Duration::from_secs(20)).await.expect("the redeliveries");
    for (number, delivery) in [(issue, &lost), (other, &also)] {
        let all = kit.github.deliveries();
        let again = all.iter().find(|d| d.guid == delivery.guid && d.redelivery).unwrap();
        let id = TaskId::parse(again.answer["taskId"].as_str().unwrap()).unwrap();
        assert_eq!(kit.succeed(&id).await.status, Status::Success);
        kit.status_comment(number, &id);
    }
    assert_eq!(
        redelivery::sweep(kit.porter(), None).await.unwrap().asked,
        0,
        "a delivery was requested twice"
    );
    kit.close().await;
}
