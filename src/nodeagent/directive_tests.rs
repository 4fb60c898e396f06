use super::*;
use crate::protocol::reply::Reason;

fn digest() -> String {
    "a".repeat(50)
}

fn ready() -> Reply {
    Reply {
        status: Status::Ready,
        swarm_role: "worker".into(),
        swarm_join_token: format!("SWMTKN-1-{}-0123456789abcdefghijklmno", digest()),
        swarm_manager_addr: "10.0.0.1:2377".into(),
        swarm_ca_digest: digest(),
        gluster_enabled: true,
        gluster_volume: "shared".into(),
        gluster_mount: "/mnt/shared".into(),
        gluster_brick: "/data/clusterctl/bricks/shared".into(),
        gluster_ready: true,
        gluster_servers: vec!["10.0.0.1".into()],
        ..Reply::default()
    }
}

fn advertise() -> NodeAddress {
    NodeAddress::parse("10.0.0.2").unwrap()
}

#[test]
fn a_complete_reply_becomes_a_desired_state() {
    let desired = desired(&ready(), advertise()).unwrap();
    let (swarm, storage) = (desired.swarm.unwrap(), desired.storage.unwrap());
    assert_eq!((swarm.role, swarm.advertise), (Role::Worker, advertise()));
    assert!(storage.mountable && storage.brick.is_some());
}

/// G4, G8: which brick must be the volume's, and why storage is not for this host.
#[test]
fn what_is_said_of_the_brick_is_taken_over() {
    let of = |reply: &Reply| desired(reply, advertise()).unwrap().storage.unwrap();
    let own = Reply { node_address: "10.0.0.1".into(), gluster_volume_id: "id".into(), ..ready() };
    assert!(of(&own).brick.unwrap().in_volume);
    assert!(!of(&Reply { gluster_volume_id: String::new(), ..own.clone() }).brick.unwrap().in_volume);
    assert!(!of(&Reply { node_address: "10.0.0.2".into(), ..own.clone() }).brick.unwrap().in_volume);
    assert_eq!(of(&own).refusal, None);
    let refused = Reply { gluster_code: "other-volume".into(), gluster_message: "choose another".into(), ..own };
    let StorageRefusal { code, message } = of(&refused).refusal.unwrap();
    assert_eq!((code.as_str(), message.as_str()), ("other-volume", "choose another"));
}

#[test]
fn while_the_swarm_is_away_only_storage_is_desired() {
    let reply = Reply {
        status: Status::Waiting,
        reason: Some(Reason::SwarmUnavailable),
        swarm_join_token: String::new(),
        ..ready()
    };
    let desired = desired(&reply, advertise()).unwrap();
    assert!(desired.swarm.is_none() && desired.storage.is_some());
}

/// T2, T10: an incomplete or contradictory reply is refused as a whole.
#[test]
fn an_incomplete_ready_is_refused() {
    let broken: [(&str, Reply); 12] = [
        ("OverlayType", Reply { overlay_type: "zerotier".into(), ..ready() }),
        ("OverlayPayload", Reply { overlay_type: "netbird".into(), ..ready() }),
        ("SwarmRole", Reply { swarm_role: String::new(), ..ready() }),
        ("SwarmCaDigest", Reply { swarm_ca_digest: String::new(), ..ready() }),
        ("SwarmJoinToken", Reply { swarm_join_token: "x".into(), ..ready() }),
        ("another Swarm", Reply { swarm_ca_digest: "b".repeat(50), ..ready() }),
        ("SwarmManagerAddr", Reply { swarm_manager_addr: "nowhere".into(), ..ready() }),
        ("GlusterVolume", Reply { gluster_volume: "--help".into(), ..ready() }),
        ("GlusterMount", Reply { gluster_mount: "/etc".into(), ..ready() }),
        ("GlusterBrick", Reply { gluster_brick: "/data/../etc".into(), ..ready() }),
        ("GlusterServers", Reply { gluster_servers: vec!["-x".into()], ..ready() }),
        ("GlusterServers", Reply { gluster_servers: Vec::new(), ..ready() }),
    ];
    for (words, reply) in broken {
        let error = desired(&reply, advertise()).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
}
