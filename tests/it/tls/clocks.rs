//! Clocks that do not go together: the exchange takes place, and the error names the difference.

use clusterctl::nodeagent::client::ClientError;

use super::*;

async fn asked_at(door: &Door, local: Timestamp) -> Result<Answer, ClientError> {
    ask(door.address, door.pin(), Node::new().shows(), &SetClock::at(local)).await
}

#[tokio::test]
async fn wrong_clocks_are_named() {
    let door = Door::open().await;
    asked_at(&door, start() + SignedDuration::from_secs(290)).await.unwrap();
    for (local, words) in [
        (start() - days(3 * 365 + 12), "3 years and 12 days behind the controller's"),
        (start() + days(365) * 2, "2 years ahead of the controller's"),
        (start() + SignedDuration::from_secs(301), "5 minutes and 1 second ahead of the controller's"),
    ] {
        let error = asked_at(&door, local).await.unwrap_err();
        assert!(matches!(error, ClientError::Clock { .. }), "{error:?}");
        let text = chain(&error);
        assert!(text.contains(words), "{text}");
        assert!(error.is_final());
    }
    // The node is blamed where the controller's certificate fits the controller's time alone.
    let text = chain(&asked_at(&door, start() - days(3 * 365)).await.unwrap_err());
    assert!(text.contains("it is this host's that is wrong"), "{text}");
    door.close().await;
}

/// A controller that is years off gives itself new certificates; the node tells that the clocks differ.
#[tokio::test]
async fn a_controller_with_a_wrong_clock_is_named() {
    let door = Door::open().await;
    door.clock.set(start() + days(365) * 5);
    let text = chain(&asked_at(&door, start()).await.unwrap_err());
    assert!(text.contains("5 years behind the controller's"), "{text}");
    door.close().await;
}
