//! A full disk: everything answered with 2xx is stored, everything else is answered with 5xx and delivered again.

use super::machines::Conduct;
use super::porter::get;
use super::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_a_full_disk_cannot_store_are_rejected_and_redelivered_and_none_accepted_is_lost() {
    let (mut stage, first) = Stage::small(Conduct::Reports).await;
    let mut asked = vec![first];
    for number in 1..60 {
        asked.push(stage.ask_about(&format!("Greet everybody, {number}"), Conduct::Reports).await);
    }
    let free = stage.porter.clone();
    // No file may exceed 512 KiB (1024 blocks of 512 bytes). Writes beyond it fail instead of killing the process.
    stage.porter.before = "trap \'\' XFSZ; ulimit -f 1024;".to_owned();
    let mut porter = stage.porter.start_ready().await;
    let (mut accepted, mut refused) = (0, 0);
    for asked in &asked {
        let delivery = stage.speak(asked).await;
        match delivery.status {
            Some(202) => accepted += 1,
            Some(503) => refused += 1,
            other => panic!("expected 202 or 503, seen {other:?}: {}", delivery.answer),
        }
    }
    assert!(
        accepted > 0 && refused > 0,
        "expected a full disk, seen {accepted} accepted and {refused} rejected"
    );
    assert!(get(&format!("{}/healthz", stage.porter.url)).await.is_ok(), "Porter is alive");
    porter.kill();
    stage.porter = free;
    let porter = stage.porter.start_ready().await;
    stage.settle(&porter, &asked).await;
    stage.close(porter, &asked).await;
}
