//! T7: strangers use up connections, and honest clients get their answers all the same.

mod controller;
#[path = "../../../benches/exchange/strangers.rs"]
mod strangers;

use super::*;

/// The request that a client sends at once.
const HONEST: &[u8] = br#"{"hostname":"honest"}"#;

/// 3,000 silent connections from many addresses; honest clients are answered, and the oldest silent ones go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_do_not_keep_others_out() {
    let door = Door::open(ListenOptions::default()).await;
    let mut silent = Vec::new();
    for n in 0..3000_u32 {
        let [.., high, low] = (n / 60).to_be_bytes();
        silent.push(door.connect_from([127, 9, high, low + 1]).await);
    }
    for _ in 0..50 {
        let mut stream = door.connect().await;
        stream.write_all(HONEST).await.unwrap();
        assert_eq!(reply(&mut stream).await["Hostname"], "honest");
    }
    let status = door.monitor.status();
    assert!(status.open <= status.max_open, "{status:?}");
    assert!(status.refused["overloaded"] >= 3000 - status.max_open, "{status:?}");
    let first = reply(&mut silent[0]).await;
    assert_eq!((&first["Status"], &first["Reason"]), (&json!("waiting"), &json!("overloaded")));
    assert!(first["RetryAfterMs"].as_u64().unwrap() > 0);
    drop(silent);
    until("all places are free", || door.monitor.status().open == 0).await;
    door.close().await;
}

/// One address only takes its own share, and displaces its own connections.
#[tokio::test]
async fn one_address_has_its_share() {
    let door = Door::open(ListenOptions { per_address: 4, ..ListenOptions::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(door.connect_from([127, 0, 0, 7]).await);
    }
    for stream in &mut silent[..2] {
        assert_eq!(reply(stream).await["Reason"], "overloaded");
    }
    until("four are left", || door.monitor.status().open == 4).await;
    let mut other = door.connect_from([127, 0, 0, 8]).await;
    other.write_all(HONEST).await.unwrap();
    assert_eq!(reply(&mut other).await["Hostname"], "honest");
    silent[5].write_all(HONEST).await.unwrap();
    assert_eq!(reply(&mut silent[5]).await["Hostname"], "honest");
    door.close().await;
}

/// When every place is busy with a request, newcomers are told so.
#[tokio::test]
async fn busy_connections_are_not_displaced() {
    let door = Door::open(ListenOptions { max_connections: 2, ..ListenOptions::default() }).await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut stream = door.connect().await;
        stream.write_all(br#"{"hostname":"busy","action":"hold"}"#).await.unwrap();
        busy.push(stream);
    }
    until("both are asked", || door.echo.waiting.load(Ordering::SeqCst) == 2).await;
    let mut newcomer = door.connect().await;
    assert_eq!(reply(&mut newcomer).await["Reason"], "overloaded");
    door.echo.release.add_permits(2);
    for stream in &mut busy {
        assert_eq!(reply(stream).await["Hostname"], "busy");
    }
    door.close().await;
}

/// Connections that break in the middle of a request leave nothing behind.
#[tokio::test]
async fn resets_leave_nothing_behind() {
    let door = Door::open(ListenOptions::default()).await;
    for _ in 0..200 {
        let mut stream = door.connect().await;
        stream.write_all(b"{\"hostname\":").await.unwrap();
        // Closing with this set sends a reset.
        stream.set_zero_linger().unwrap();
        drop(stream);
    }
    until("all were read", || door.monitor.status().refused.values().sum::<u64>() == 200).await;
    until("all places are free", || door.monitor.status().open == 0).await;
    assert_eq!(door.ask(&named("h1")).await["Hostname"], "h1");
    door.close().await;
}
