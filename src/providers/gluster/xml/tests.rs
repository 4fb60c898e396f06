//! The parsers over recorded answers of GlusterFS 10.3. Covers S2-18, S2-73, S2-75.

use super::*;

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/gluster/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn asked(host: Option<&str>) -> Asked<'_> {
    Asked { command: "gluster x", host, deadline: Duration::from_secs(1) }
}

fn refused(name: &str, host: Option<&str>) -> GlusterError {
    done(&fixture(name), asked(host)).unwrap_err()
}

/// Covers FAULTS G5: only a connected server in state 3 is one to make volumes on.
#[test]
fn reads_pools() {
    let alone = peers(&fixture("pool_list_alone.xml"), asked(None)).unwrap();
    assert_eq!(alone.len(), 1);
    assert!(alone[0].usable() && alone[0].hostname == "localhost");

    let three = peers(&fixture("pool_list_three.xml"), asked(None)).unwrap();
    let names: Vec<&str> = three.iter().map(|peer| peer.hostname.as_str()).collect();
    assert_eq!(names, ["10.203.77.12", "10.203.77.13", "localhost"]);
    assert!(three.iter().all(Peer::usable));
    assert_eq!((three[0].state, three[0].state_text.as_str()), (3, "Peer in Cluster"));

    // The server that probed is known to the others by what its address resolves to, not by address.
    let from_b = peers(&fixture("pool_list_three_from_b.xml"), asked(None)).unwrap();
    assert_eq!(from_b[0].hostname, "hands-h1");

    let down = peers(&fixture("pool_list_peer_down.xml"), asked(None)).unwrap();
    let usable: Vec<bool> = down.iter().map(Peer::usable).collect();
    assert_eq!(usable, [true, false, true]);

    let rejected = peers(&fixture("pool_list_rejected.xml"), asked(None)).unwrap();
    assert!(rejected[1].connected && !rejected[1].usable());
    assert_eq!((rejected[1].state, rejected[1].state_text.as_str()), (6, "Peer Rejected"));
}

#[test]
fn reads_repeated_host_names() {
    let xml = "<cliOutput><opRet>0</opRet><peerStatus><peer><uuid>u</uuid><hostname>a</hostname><connected>1</connected>\
        <hostname>b</hostname><state>3</state></peer></peerStatus></cliOutput>";
    assert_eq!(peers(xml.as_bytes(), asked(None)).unwrap()[0].hostname, "a");
}

#[test]
fn reads_volumes() {
    let read = |file: &str, name: &str| volume(&fixture(file), name, asked(None)).unwrap().unwrap();
    let single = read("info_single_created.xml", "single");
    assert_eq!((single.status, single.replica, single.arbiter), (VolumeStatus::Created, 1, 0));
    assert_eq!(single.bricks, [Brick { host: "10.203.77.11".into(), path: "/data/s/single".into() }]);
    assert_eq!(single.id, "0a0773bc-d3f2-432b-bb78-03e8564d2981");

    let shared = read("info_r3.xml", "shared");
    assert_eq!((shared.status, shared.replica, shared.arbiter), (VolumeStatus::Started, 3, 0));
    assert_eq!(
        shared.bricks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.203.77.11:/data/b/shared", "10.203.77.12:/data/b/shared", "10.203.77.13:/data/b/shared"]
    );
    assert_eq!(shared.options["nfs.disable"], "on");

    let arbiter = read("info_arb.xml", "arb");
    assert_eq!((arbiter.replica, arbiter.arbiter, arbiter.bricks.len()), (3, 1, 3));
    let sets = read("info_dist_rep.xml", "shared");
    assert_eq!((sets.replica, sets.bricks.len()), (3, 6));
    let allowed = read("info_auth.xml", "shared");
    assert_eq!(allowed.options["auth.allow"], "10.203.77.11,10.203.77.12,10.203.77.13");
}

#[test]
fn a_missing_volume_is_none() {
    assert_eq!(volume(&fixture("volume_info_missing.xml"), "shared", asked(None)).unwrap(), None);
    assert_eq!(volume(&fixture("info_r3.xml"), "other", asked(None)).unwrap(), None);
}

#[test]
fn reads_brick_processes_and_leaves_daemons_out() {
    let online = |file: &str| {
        let bricks = brick_status(&fixture(file), asked(None)).unwrap();
        bricks.iter().map(|status| (status.brick.to_string(), status.online)).collect::<Vec<_>>()
    };
    assert_eq!(online("status_single.xml"), [("10.203.77.11:/data/s/single".to_owned(), true)]);
    assert_eq!(online("status_r3.xml").iter().filter(|(_, up)| *up).count(), 3);
    assert_eq!(online("status_with_tasks.xml").len(), 6);
    let dead = online("status_brick_dead.xml");
    assert_eq!(
        dead.iter().filter(|(_, up)| !up).map(|(brick, _)| brick.as_str()).collect::<Vec<_>>(),
        ["10.203.77.12:/data/b/shared"]
    );
    assert!(online("status_peer_down.xml").iter().all(|(brick, _)| !brick.starts_with("10.203.77.13")));
    let error = brick_status(&fixture("status_not_started.xml"), asked(None)).unwrap_err();
    assert!(error.to_string().contains("is not started"), "{error}");
}

/// Covers FAULTS G18.
#[test]
fn reads_how_full_bricks_are() {
    let bricks = brick_status(&fixture("status_detail.xml"), asked(None)).unwrap();
    assert_eq!(
        bricks.iter().map(|brick| (brick.online, brick.used_percent)).collect::<Vec<_>>(),
        [(true, Some(12)); 2]
    );
    assert_eq!(bricks[1].brick.to_string(), "10.88.1.12:/data/b/v");
    // Without details nobody says.
    assert_eq!(brick_status(&fixture("status_r3.xml"), asked(None)).unwrap()[0].used_percent, None);
    for (total, free, used) in
        [("100", "9", Some(91)), ("1000", "99", Some(91)), ("0", "0", Some(0)), ("", "1", None), ("1", "2", None)]
    {
        assert_eq!(used_percent(total, free), used, "{total} {free}");
    }
}

/// Covers FAULTS G17.
#[test]
fn reads_the_pools_levels() {
    let read = |option| level(&fixture("op_version.xml"), option, asked(None));
    assert_eq!(read("cluster.op-version").unwrap(), 100_000);
    assert!(matches!(read("cluster.max-op-version"), Err(GlusterError::Unreadable { .. })));
}

#[test]
fn reads_the_names_of_volumes() {
    assert_eq!(volume_names(&fixture("volume_list.xml"), asked(None)).unwrap(), ["v"]);
    assert_eq!(
        volume_ids(&fixture("info_single_created.xml"), asked(None)).unwrap(),
        ["0a0773bc-d3f2-432b-bb78-03e8564d2981"]
    );
    assert_eq!(volume_names(&fixture("volume_list_none.xml"), asked(None)).unwrap(), Vec::<String>::new());
}

#[test]
fn done_is_done() {
    for name in [
        "probe_ok.xml",
        "probe_again.xml",
        "probe_self.xml",
        "create_single.xml",
        "create_r3.xml",
        "start_single.xml",
        "add_brick_replica.xml",
        "set_auth.xml",
        "fix_layout.xml",
    ] {
        assert!(done(&fixture(name), asked(None)).is_ok(), "{name}");
    }
    assert!(started(&fixture("start_again.xml"), asked(None)).is_ok());
    assert!(started(&fixture("volume_start_missing.xml"), asked(None)).is_err());
}

/// Covers FAULTS G1, G2, G7, G9.
#[test]
fn refusals_are_told_apart() {
    let unreachable = |name: &str, probed: Option<&str>, expected: &str| match refused(name, probed) {
        GlusterError::PeerUnreachable { host, .. } => assert_eq!(host, expected, "{name}"),
        other => panic!("{name}: {other:?}"),
    };
    unreachable("probe_unreachable.xml", Some("10.203.77.99"), "10.203.77.99");
    unreachable("create_peer_down.xml", None, "10.203.77.13");
    unreachable("add_brick_peer_down.xml", None, "10.203.77.13");
    unreachable("create_non_peer.xml", None, "10.203.77.14");
    assert!(
        matches!(refused("probe_foreign.xml", Some("10.203.77.12")), GlusterError::ForeignPool { host } if host == "10.203.77.12")
    );
    assert!(matches!(refused("another_transaction.xml", None), GlusterError::Busy));
    assert!(matches!(refused("create_exists.xml", None), GlusterError::VolumeExists(name) if name == "single"));
    assert!(matches!(refused("create_root.xml", None), GlusterError::BrickOnRoot { .. }));
    for name in ["create_brick_in_use.xml", "create_part_of.xml", "create_orphan_remote.xml", "add_brick_orphan.xml"] {
        assert!(matches!(refused(name, None), GlusterError::BrickInUse { .. }), "{name}");
    }
    for name in [
        "add_brick_again.xml",
        "create_missing_parent.xml",
        "create_same_host.xml",
        "fix_layout_single.xml",
        "set_bad_option.xml",
        "volume_status_missing.xml",
    ] {
        assert!(matches!(refused(name, None), GlusterError::Refused { .. }), "{name}");
    }
    assert!(matches!(refused("daemon_down.txt", None), GlusterError::DaemonDown));
    assert!(matches!(refused("request_timed_out.txt", None), GlusterError::TimedOut { .. }));
    assert!(matches!(refused("probe_help.txt", None), GlusterError::Unreadable { .. }));
}

#[test]
fn rubbish_is_unreadable_and_never_a_panic() {
    for text in [
        "",
        "<",
        "<cliOutput>",
        "<cliOutput/>",
        "<a><opRet>x</opRet></a>",
        "\u{0}",
        "<cliOutput><opRet>0</opRet></cliOutput>",
    ] {
        assert!(peers(text.as_bytes(), asked(None)).is_err(), "{text:?}");
        assert!(volume(text.as_bytes(), "v", asked(None)).is_err(), "{text:?}");
    }
    let whole = fixture("status_r3.xml");
    for cut in 0..whole.len() {
        drop(brick_status(&whole[..cut], asked(None)));
    }
}
