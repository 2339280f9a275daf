//! What GitHub sent while Porter was down is asked for again and done once (contract §5).

use std::time::Duration;

use domain::task::{Status, TaskId};
use porter::tasks::redelivery;

use crate::world::{ADA, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_while_porter_was_down_is_processed_once() {
    let mut world = Plan::silent().start().await;
    let (issue, other) = (world.issue().await, world.issue().await);
    world.stop_porter().await;
    let lost = world.say(issue, ADA, "@porter mock").await;
    let also = world.say(other, ADA, "@porter mock").await;
    let nothing = world.say(other, ADA, "Nobody is spoken to.").await;
    assert_eq!((lost.status, also.status, nothing.status), (None, None, None));
    world.start_porter().await;
    let arrived = |all: &standin::World| {
        let came =
            |guid: &str| all.deliveries().iter().any(|d| d.guid == guid && d.redelivery && d.succeeded());
        [&lost.guid, &also.guid, &nothing.guid].into_iter().all(|guid| came(guid))
    };
    world.github.wait_until(arrived, Duration::from_secs(20)).await.expect("they come again");
    for (number, delivery) in [(issue, &lost), (other, &also)] {
        let all = world.github.deliveries();
        let again = all.iter().find(|d| d.guid == delivery.guid && d.redelivery).unwrap();
        let id = TaskId::parse(again.answer["taskId"].as_str().unwrap()).unwrap();
        assert_eq!(world.succeed(&id).await.status, Status::Success);
        world.status_comment(number, &id);
    }
    assert_eq!(redelivery::sweep(world.porter(), None).await.unwrap().asked, 0, "nothing is asked for twice");
    world.close().await;
}
