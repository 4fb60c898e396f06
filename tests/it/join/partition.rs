//! A host that takes itself for a member while the Swarm's managers have lost it.

use super::*;
use crate::world::{until, until_so};

/// N8, R4: it is given time, then that is said; the host stays what it is. Heard again, all is well.
#[tokio::test]
async fn a_host_that_the_managers_have_lost_says_so() {
    let world = converged(3, 3).await;
    let host = &world.hosts[1];
    host.engine.set_connected(false);
    let down = async || world.status().await["Nodes"].to_string().contains(r#""Swarm":"down""#).then_some(());
    until("the managers have lost it", down).await;
    let before = host.mutations();
    let error = host.join(None, Duration::from_secs(3)).await.unwrap_err();
    assert!(matches!(error, JoinError::Partitioned { .. }), "{error:?}");
    assert_eq!(host.mutations(), before, "nothing was left, nothing was mounted again");
    let status = world.status().await.to_string();
    assert!(status.contains("to them it is down"), "{status}");

    let calls = host.engine.calls();
    let waiting = tokio::spawn({
        let host = host.clone();
        async move { join(&host).await }
    });
    until_so("the join has looked at the host", || host.engine.calls() > calls + 1).await;
    host.engine.set_connected(true);
    assert_eq!(names(&waiting.await.unwrap().unwrap().done), Vec::<&str>::new());
    world.check_invariants().await;
    assert_at_rest(&world).await;
}
