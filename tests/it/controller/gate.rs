//! The minimum: counted by identity, waited for, and kept once reached.

use clusterctl::controller::command::Thresholds;

use super::door::{Door, Setup};
use super::*;
use crate::world::until;

fn need(managers: u32, workers: u32) -> Settings {
    Settings { need: Some(Thresholds { managers, workers }), ..Settings::default() }
}

fn is_waiting(reply: &Value) -> bool {
    (&reply["Status"], &reply["Reason"]) == (&json!("waiting"), &json!("below-minimum"))
}

/// S2-43 to S2-45, S2-59: the same node five times is one node.
#[tokio::test]
async fn one_node_that_registers_five_times_counts_once() {
    let world = World::started(3, need(1, 2)).await;
    for _ in 0..5 {
        let reply = world.ask(&world.hosts[1].registration()).await;
        assert!(is_waiting(&reply), "{reply}");
        assert_eq!(reply["Counts"], json!({"Managers": 1, "Workers": 1, "MinManagers": 1, "MinWorkers": 2}));
        assert_eq!((&reply["SwarmJoinToken"], &reply["GlusterEnabled"]), (&json!(""), &json!(false)), "{reply}");
        assert!(reply["RetryAfterMs"].as_u64().unwrap() > 0);
    }
    let reply = world.ask(&world.hosts[2].registration()).await;
    assert_eq!(reply["Status"], "ready");
    assert_eq!(world.ask(&check_status(&world.hosts[1])).await["Status"], "ready");
}

/// S2-59: a worker too many makes up for no manager that is missing.
#[tokio::test]
async fn both_roles_are_needed() {
    let world = World::started(4, need(2, 1)).await;
    for host in &world.hosts[1..3] {
        assert!(is_waiting(&world.ask(&host.registration()).await));
    }
    let manager = with(world.hosts[3].registration(), json!({"Role": "manager"}));
    assert_eq!(world.ask(&manager).await["Status"], "ready");
}

/// S2-60: who waits is answered when the last one comes, with everything.
#[tokio::test]
async fn held_back_replies_leave_when_the_gate_opens() {
    let world = World::started(4, need(1, 3)).await;
    let waits: Vec<Value> =
        world.hosts[1..3].iter().map(|host| with(host.registration(), json!({"WaitMs": 20_000}))).collect();
    let last = async {
        let held = async || (world.status().await["Counters"]["RepliesHeldBack"] == 2).then_some(());
        until("two wait", held).await;
        world.ask(&world.hosts[3].registration()).await
    };
    let (first, second, last) = tokio::join!(world.ask(&waits[0]), world.ask(&waits[1]), last);
    for reply in [first, second, last] {
        assert_eq!(reply["Status"], "ready", "{reply}");
        assert!(!reply["SwarmJoinToken"].as_str().unwrap().is_empty());
    }
}

/// B9: of all who see at the same moment that the minimum is reached, one puts it on record.
#[tokio::test]
async fn the_gate_goes_on_record_once() {
    let need = Some(Thresholds { managers: 1, workers: 12 });
    let door = Door::open(Setup { need, ..Setup::new(clusterctl::cluster::Admission::Open) }).await;
    let names: Vec<String> = (2..=13).map(|n| format!("h{n}")).collect();
    let registering = |hold: u64| {
        let asks = names.iter().zip(2..).map(|(name, last)| door.register(name, last, json!({"WaitMs": hold})));
        futures_util::future::join_all(asks)
    };
    let before = door.sequence();
    for reply in registering(20_000).await {
        assert_eq!(reply["Status"], "ready", "{reply}");
    }
    assert_eq!(door.sequence(), before + 13, "twelve nodes and the gate");
    for reply in registering(0).await {
        assert_eq!(reply["Status"], "ready", "{reply}");
    }
    assert_eq!(door.sequence(), before + 13);
}

/// S2-59: who waits until the time that it allowed is told that it still has to wait.
#[tokio::test]
async fn a_wait_ends_with_its_time() {
    let world = World::started(2, need(1, 2)).await;
    let reply = world.ask(&with(world.hosts[1].registration(), json!({"WaitMs": 30}))).await;
    assert!(is_waiting(&reply), "{reply}");
}

/// S2-61: once open for a minimum it stays open for it, after a restart and with fewer nodes; more arms it again.
#[tokio::test]
async fn the_gate_latches_together_with_its_thresholds() {
    let mut world = World::started(3, need(1, 2)).await;
    for host in &world.hosts[1..] {
        world.ask(&host.registration()).await;
    }
    let leave = with(check_status(&world.hosts[2]), json!({"Action": "deregister"}));
    world.ask(&leave).await;
    world.restart().await;
    assert_eq!(world.ask(&world.hosts[1].registration()).await["Status"], "ready");
    assert_eq!(world.status().await["Gate"]["State"], "open");
    world.settings.need = Some(Thresholds { managers: 1, workers: 3 });
    world.restart().await;
    assert!(is_waiting(&world.ask(&world.hosts[1].registration()).await));
    world.settings.need = Some(Thresholds { managers: 1, workers: 1 });
    world.restart().await;
    assert_eq!(world.ask(&world.hosts[1].registration()).await["Status"], "ready");
}

/// S2-61: registrations that wait are there after a restart.
#[tokio::test]
async fn those_who_wait_still_count_after_a_restart() {
    let mut world = World::started(3, need(1, 2)).await;
    assert!(is_waiting(&world.ask(&world.hosts[1].registration()).await));
    world.restart().await;
    assert_eq!(world.ask(&world.hosts[2].registration()).await["Status"], "ready");
}

/// S2-61: the same questions are answered alike before and after a restart.
#[tokio::test]
async fn decisions_are_stable() {
    let mut world = World::started(5, Settings::default()).await;
    let requests: Vec<Value> = world.hosts[1..].iter().map(Host::registration).collect();
    for request in &requests {
        world.ask(request).await;
    }
    let mut before = Vec::new();
    for request in &requests {
        before.push(world.ask(request).await);
    }
    let sequence = world.sequence().await;
    world.restart().await;
    for (request, before) in requests.iter().zip(before) {
        let mut after = world.ask(request).await;
        // What the pool is waited for is looked at afresh.
        after["GlusterMessage"] = before["GlusterMessage"].clone();
        assert_eq!(after, before);
    }
    assert_eq!(world.sequence().await, sequence);
}

/// C9, I10: the controller is started anew after each registration of several, each of which is asked twice: nobody
/// counts twice, and who was told `ready` once is never told to wait again.
#[tokio::test]
async fn a_restart_at_every_registration_changes_no_answer() {
    const WORKERS: usize = 4;
    for restart_after in 1..=WORKERS {
        let mut world = World::started(WORKERS + 2, need(1, WORKERS as u32)).await;
        let mut ready = false;
        for n in 1..=WORKERS + 1 {
            let request = world.hosts[n].registration();
            for _ in 0..2 {
                let reply = world.ask(&request).await;
                assert_eq!(reply["Counts"]["Workers"], n, "{restart_after}: {reply}");
                let now = !is_waiting(&reply);
                assert!(now == (n >= WORKERS) && now >= ready, "{restart_after}, {n}: {reply}");
                ready = now;
            }
            if n == restart_after {
                world.restart().await;
                for earlier in &world.hosts[1..=n] {
                    let reply = world.ask(&earlier.registration()).await;
                    assert_eq!(reply["Counts"]["Workers"], n, "{restart_after}: {reply}");
                    assert_eq!(!is_waiting(&reply), ready, "{restart_after}, {n}: {reply}");
                }
            }
        }
    }
}
