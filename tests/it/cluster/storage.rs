//! Storage that somebody or something else gets at: hosts that are not registered, servers that hang, are rejected or
//! were installed anew. Asserted is what Gluster's own tools show.

use std::thread;

use super::concurrent::{join_beside, said, wait_until_all_said};
use super::{BRICK, Cluster, Ended, MOUNT, PATIENCE};
use crate::lab::{run, usable, wait_for};

/// h1 is the master, h1 to h3 hold bricks, h4 is registered nowhere, h5 mounts only.
/// Covers T13, T14 and FAULTS G20.
#[test]
fn lab_strangers_cannot_mount() {
    if !usable("lab_strangers_cannot_mount") {
        return;
    }
    let cluster = Cluster::up("e2e-rogue", 5);
    cluster.init(&["--enable-glusterfs"]);
    cluster.serve("");
    cluster.join_together(&[1, 2]);
    a_captured_server_is_refused(&cluster, 3, 4);
    cluster.join(3, &[]).succeeded();
    cluster.expect_three_copies([1, 2, 3]);
    a_stranger_cannot_mount(&cluster, 4);
    a_client_is_no_server_of_the_pool(&cluster, 5);
    a_stranger_cannot_mount(&cluster, 4);
    an_address_that_was_given_up_opens_nothing(&cluster, 5, 4);
}

/// Tries in host `n` to mount the volume from the master and to read and write it; returns what it could read.
fn try_to_mount(cluster: &Cluster, n: u8) -> String {
    let script = r#"
        mkdir -p /mnt/tried
        timeout 60 mount -t glusterfs "$0:/shared" /mnt/tried >/dev/null 2>&1
        timeout 20 cat /mnt/tried/secret 2>/dev/null
        timeout 20 touch "/mnt/tried/written-by-$(hostname)" 2>/dev/null
        umount -l /mnt/tried 2>/dev/null
        exit 0"#;
    let master = cluster.lab.host_ip(1).to_string();
    let tried: Ended =
        run(cluster.lab.invocation(n, &["sh", "-c", script, &master]).deadline(PATIENCE)).unwrap().into();
    tried.succeeded().stdout
}

/// Covers T13: who is not registered cannot mount; who is can, in the very same way.
fn a_stranger_cannot_mount(cluster: &Cluster, n: u8) {
    cluster.write_shared(1, "secret", "not for everybody");
    assert_eq!(try_to_mount(cluster, 2), "not for everybody");
    assert_eq!(try_to_mount(cluster, n), "", "h{n} could read the volume");
    wait_for("what h2 wrote", PATIENCE, || cluster.lab.exec(1, &["test", "-e", "/mnt/shared/written-by-h2"]).success());
    let written = format!("{MOUNT}/written-by-h{n}");
    assert!(!cluster.lab.exec(1, &["test", "-e", &written]).success(), "h{n} could write to the volume");
}

/// Covers T14: a stranger's glusterd has taken the host's into its pool before it joins. It is refused, left as it is,
/// and not let at the volume.
fn a_captured_server_is_refused(cluster: &Cluster, n: u8, stranger: u8) {
    let address = cluster.lab.host_ip(n).to_string();
    cluster.lab.ok(stranger, &["gluster", "--mode=script", "peer", "probe", &address]);
    let peers = || cluster.lab.ok(n, &["gluster", "--mode=script", "peer", "status"]);
    wait_for("the stranger has it", PATIENCE, || peers().contains("Peer in Cluster (Connected)"));
    let before = peers();
    let by = cluster.lab.host_ip(stranger).to_string();
    cluster.join(n, &[]).refused(14, &["another storage pool", "gluster peer detach", "reason=foreign-pool"]);
    assert!(before.contains(&by) || before.contains(&format!("h{stranger}")), "{before}");
    assert_eq!(peers(), before);
    wait_for("the access list without it", PATIENCE, || !cluster.volume_info().contains(&address));
    cluster.lab.ok(stranger, &["gluster", "--mode=script", "peer", "detach", &address]);
    wait_for("the server is alone", PATIENCE, || peers().contains("Number of Peers: 0"));
}

/// Covers FAULTS G20: a host without glusterd mounts, and the pool is that of the bricks.
fn a_client_is_no_server_of_the_pool(cluster: &Cluster, n: u8) {
    cluster.lab.ok(n, &["systemctl", "stop", "glusterd.service"]);
    cluster.lab.ok(n, &["mv", "/usr/sbin/glusterd", "/usr/sbin/glusterd.off"]);
    cluster.join(n, &[]).succeeded();
    cluster.expect_mounted(n);
    cluster.expect_shared(n, 1);
    let pool = cluster.lab.ok(1, &["gluster", "--mode=script", "pool", "list"]);
    // A line of headings, and one for each server.
    assert_eq!(pool.lines().count(), 4, "{pool}");
    assert!(!pool.contains(&cluster.lab.host_ip(n).to_string()), "{pool}");
    cluster.nothing_to_do(n);
}

/// Covers T13: a registered host moves to another address; the access list follows it, and whoever takes the old one
/// gets nothing with it.
fn an_address_that_was_given_up_opens_nothing(cluster: &Cluster, n: u8, stranger: u8) {
    let old = cluster.lab.host_ip(n);
    let [a, b, c, _] = old.octets();
    let new = format!("{a}.{b}.{c}.250");
    // In this order: with the first address of a network its further ones go.
    let readdress = |host: u8, from: &str, to: &str| {
        let script = r#"
            set -- $(ip -o -4 addr show | awk -v "ip=$0" '{ split($4, a, "/"); if (a[1] == ip) print $2, a[2] }') "$1"
            ip addr del "$0/$2" dev "$1" && ip addr add "$3/$2" dev "$1""#;
        cluster.lab.ok(host, &["sh", "-c", script, from, to]);
    };
    readdress(n, &old.to_string(), &new);
    cluster.join(n, &["--ip", &new]).succeeded();
    wait_for("the access list with the new address alone", PATIENCE, || {
        let info = cluster.volume_info();
        info.contains(&new) && !info.contains(&old.to_string())
    });
    cluster.write_shared(n, "from-the-new-address", "kept");
    assert_eq!(try_to_mount(cluster, n), "not for everybody");
    readdress(stranger, &cluster.lab.host_ip(stranger).to_string(), &old.to_string());
    a_stranger_cannot_mount(cluster, stranger);
}

/// h1 is the master; h4 comes when something is wrong. Covers FAULTS G1, G6, G7 and G12.
#[test]
fn lab_servers_that_do_not_answer_are_waited_for() {
    if !usable("lab_servers_that_do_not_answer_are_waited_for") {
        return;
    }
    let cluster = three_copies("e2e-servers");
    a_glusterd_that_is_down_is_waited_for(&cluster, 4);
    a_newcomer_leaves(&cluster, 4);
    a_server_that_hangs_holds_up_newcomers_only(&cluster, 3, 4);
    a_newcomer_leaves(&cluster, 4);
    other_transactions_are_waited_out(&cluster, 2, 4);
    a_mount_that_hangs_is_replaced(&cluster, 2);
}

/// The same hosts, and servers that the pool turns away. Covers FAULTS G3, G4 and G14.
#[test]
fn lab_servers_that_are_turned_away_are_named() {
    if !usable("lab_servers_that_are_turned_away_are_named") {
        return;
    }
    let cluster = three_copies("e2e-rejected");
    a_rejected_server_holds_up_nobody(&cluster, 3, 4);
    a_server_that_was_installed_anew_is_named(&cluster, 2);
    the_mount_comes_back_before_docker(&cluster, 2);
}

/// Three hosts with bricks, the master among them, and a fourth one that is nothing yet.
fn three_copies(name: &str) -> Cluster {
    let cluster = Cluster::up(name, 4);
    cluster.init(&["--enable-glusterfs"]);
    cluster.serve("--admission open");
    cluster.join_together(&[1, 2, 3]);
    cluster.expect_three_copies([1, 2, 3]);
    cluster
}

fn a_newcomer_leaves(cluster: &Cluster, n: u8) {
    cluster.clusterctl(n, &["node", "leave"]).succeeded();
    let address = cluster.lab.host_ip(n).to_string();
    wait_for("the access list without it", PATIENCE, || !cluster.volume_info().contains(&address));
    wait_until_at_rest(cluster);
}

/// Nothing is being changed: a server that was away during a change takes over the others' configuration.
fn wait_until_at_rest(cluster: &Cluster) {
    wait_for("nothing is to be seen to", PATIENCE, || cluster.status()["Volume"]["State"] == "usable");
}

fn glusterd(cluster: &Cluster, n: u8, what: &str) {
    cluster.lab.ok(n, &["systemctl", what, "glusterd.service"]);
}

/// Covers FAULTS G1: with glusterd down on the master's host a newcomer waits, is told what helps, and goes on by itself.
fn a_glusterd_that_is_down_is_waited_for(cluster: &Cluster, n: u8) {
    glusterd(cluster, 1, "stop");
    let join = cluster.join(n, &["--timeout", "6s"]);
    assert_eq!(join.code, Some(10), "{join:?}");
    assert!(
        join.stderr.contains("`systemctl start glusterd`") && join.stderr.contains("reason=storage-degraded"),
        "{join:?}"
    );
    // Who is on the access list needs no change.
    cluster.lab.ok(2, &["umount", MOUNT]);
    cluster.join(2, &[]).succeeded().did(&["mount `shared`"]);
    thread::scope(|scope| {
        let join = scope.spawn(join_beside(cluster, n, ""));
        wait_until_all_said(cluster, &[n], "`systemctl start glusterd`");
        glusterd(cluster, 1, "start");
        join.join().unwrap().succeeded();
    });
    cluster.expect_mounted(n);
    wait_for("every brick online", PATIENCE, || cluster.bricks_online() == 3);
}

/// Covers FAULTS G7: a stopped glusterd blocks the access list. Who is on it mounts; who is not waits and is told why.
fn a_server_that_hangs_holds_up_newcomers_only(cluster: &Cluster, hung: u8, n: u8) {
    let signal = |signal: &str| {
        cluster
            .lab
            .ok(hung, &["systemctl", "kill", "--kill-who=main", &format!("--signal={signal}"), "glusterd.service"]);
    };
    signal("STOP");
    thread::scope(|scope| {
        let join = scope.spawn(join_beside(cluster, n, ""));
        wait_until_all_said(cluster, &[n], "a peer may hang");
        assert_eq!(cluster.status()["Volume"]["State"], "degraded");
        cluster.lab.ok(2, &["umount", MOUNT]);
        cluster.join(2, &[]).succeeded().did(&["mount `shared`"]);
        assert!(!join.is_finished(), "{}", said(cluster, n));
        signal("CONT");
        join.join().unwrap().succeeded();
    });
    cluster.expect_mounted(n);
    wait_until_at_rest(cluster);
}

/// Covers FAULTS G6: somebody else changes the volume all the time.
fn other_transactions_are_waited_out(cluster: &Cluster, other: u8, n: u8) {
    let script = "i=0; while [ $i -lt 60 ]; do gluster --mode=script volume set shared diagnostics.brick-log-level INFO; i=$((i+1)); done >/dev/null 2>&1; exit 0";
    thread::scope(|scope| {
        let busy =
            scope.spawn(|| run(cluster.lab.invocation(other, &["sh", "-c", script]).deadline(PATIENCE)).unwrap());
        cluster.join(n, &[]).succeeded();
        busy.join().unwrap();
    });
    cluster.expect_mounted(n);
}

/// Covers FAULTS G12: a client that is stopped answers nothing; its mount is taken away and made again.
fn a_mount_that_hangs_is_replaced(cluster: &Cluster, n: u8) {
    let pids = cluster.lab.ok(n, &["pgrep", "-f", "glusterfs.* /mnt/shared$"]);
    let signal = |signal: &str| {
        let words: Vec<&str> = ["kill", signal].into_iter().chain(pids.lines()).collect();
        cluster.lab.exec(n, &words)
    };
    assert!(signal("-STOP").success());
    cluster.join(n, &[]).succeeded().did(&["take away the dead mount", "mount `shared`"]);
    signal("-KILL");
    cluster.expect_shared(n, 1);
    cluster.nothing_to_do(n);
}

/// Host `n` is refused by storage with that code and those words, once the controller has looked.
fn refused_once_seen(cluster: &Cluster, n: u8, code: &str, words: &[&str]) {
    wait_for(&format!("the controller sees it: {code}"), PATIENCE, || {
        cluster.join(n, &["--timeout", "5s"]).code == Some(14)
    });
    let reason = format!("reason={code}");
    let words: Vec<&str> = words.iter().copied().chain([reason.as_str()]).collect();
    cluster.join(n, &[]).refused(14, &words);
}

/// A server that knows nothing any more probes one of the pool, is given the pool's configuration, and starts again
/// with it. One that starts again before it has all of it does not come up.
fn taken_in_again(cluster: &Cluster, n: u8) {
    cluster.lab.ok(n, &["gluster", "--mode=script", "peer", "probe", &cluster.lab.host_ip(1).to_string()]);
    let given = "cd /var/lib/glusterd && [ $(ls peers | wc -l) = 2 ] && [ $(ls vols/shared/bricks | wc -l) = 3 ] && \
                 [ -s vols/shared/cksum ] && gluster --mode=script volume info shared";
    wait_for("the pool's configuration", PATIENCE, || cluster.lab.exec(n, &["sh", "-c", given]).success());
    wait_for("it starts again", PATIENCE, || {
        cluster.lab.exec(n, &["systemctl", "restart", "glusterd.service"]).success()
    });
}

fn in_the_pool(cluster: &Cluster, n: u8) {
    let address = cluster.lab.host_ip(n).to_string();
    let usable = |pool: String| {
        let mut peers = pool.split("<peer>").filter(|peer| peer.contains(&address));
        peers.any(|peer| peer.contains("<state>3</state>") && peer.contains("<connected>1</connected>"))
    };
    wait_for(&format!("h{n} is in the pool"), PATIENCE, || {
        usable(cluster.lab.exec(1, &["gluster", "--xml", "--mode=script", "pool", "list"]).stdout_text().to_owned())
    });
    wait_for("every brick online", PATIENCE, || cluster.bricks_online() == 3);
}

/// Covers FAULTS G3: the volume is written down differently on one server, and so is its checksum. Its host is refused and told GlusterFS's way out,
/// nothing of it is wiped, others join; and the way out is one.
fn a_rejected_server_holds_up_nobody(cluster: &Cluster, n: u8, newcomer: u8) {
    wait_until_at_rest(cluster);
    glusterd(cluster, n, "stop");
    cluster.lab.ok(n, &["sh", "-c", "echo diagnostics.client-log-level=DEBUG >>/var/lib/glusterd/vols/shared/info"]);
    glusterd(cluster, n, "start");
    let list = || cluster.lab.exec(1, &["gluster", "--mode=script", "peer", "status"]).stdout_text().to_owned();
    wait_for("the server is rejected", PATIENCE, || list().contains("Peer Rejected"));
    refused_once_seen(cluster, n, "peer-rejected", &["Cksums", "glusterd.info"]);
    cluster.join(newcomer, &[]).succeeded();
    cluster.expect_mounted(newcomer);
    assert!(cluster.lab.exec(n, &["test", "-e", "/var/lib/glusterd/vols/shared/cksum"]).success());

    glusterd(cluster, n, "stop");
    let aside = "mkdir /root/aside && cd /var/lib/glusterd && for f in *; do [ $f = glusterd.info ] || mv $f /root/aside/; done";
    cluster.lab.ok(n, &["sh", "-c", aside]);
    glusterd(cluster, n, "start");
    taken_in_again(cluster, n);
    in_the_pool(cluster, n);
    cluster.expect_healed();
    // The controller answers by what it saw last, and looks again when a host joins again.
    wait_for(&format!("h{n} is let in again"), PATIENCE, || cluster.join(n, &[]).code == Some(0));
    cluster.nothing_to_do(n);
}

/// Covers FAULTS G4: `/var/lib/glusterd` is gone, and GlusterFS is somebody else. It is named with the identity to give
/// it back, and that helps.
fn a_server_that_was_installed_anew_is_named(cluster: &Cluster, n: u8) {
    let identity = |of: &str| cluster.lab.ok(n, &["sh", "-c", &format!("sed -n s/^UUID=//p {of}")]);
    let before = identity("/var/lib/glusterd/glusterd.info");
    glusterd(cluster, n, "stop");
    cluster.lab.ok(n, &["sh", "-c", "rm -rf /var/lib/glusterd/*"]);
    glusterd(cluster, n, "start");
    let give_back = format!("UUID={before}");
    refused_once_seen(cluster, n, "reinstalled-peer", &["installed anew", &give_back]);
    assert_ne!(identity("/var/lib/glusterd/glusterd.info"), before);

    glusterd(cluster, n, "stop");
    cluster.lab.ok(n, &["sed", "-i", &format!("s/^UUID=.*/{give_back}/"), "/var/lib/glusterd/glusterd.info"]);
    glusterd(cluster, n, "start");
    taken_in_again(cluster, n);
    in_the_pool(cluster, n);
    cluster.expect_healed();
    // The controller answers by what it saw last, and looks again when a host joins again.
    wait_for(&format!("h{n} is let in again"), PATIENCE, || cluster.join(n, &[]).code == Some(0));
    cluster.nothing_to_do(n);
}

/// Covers FAULTS G14: after a power cut the mount is tried before Docker starts, and Docker asks for it whenever it does.
fn the_mount_comes_back_before_docker(cluster: &Cluster, n: u8) {
    cluster.lab.kill(n);
    cluster.lab.start(n);
    wait_for("the volume is mounted by itself", PATIENCE, || cluster.mounted(n).starts_with("fuse.glusterfs "));
    let show = |property: &str, unit: &str| cluster.lab.ok(n, &["systemctl", "show", "--value", "-p", property, unit]);
    wait_for("Docker is up", PATIENCE, || show("ActiveState", "docker.service") == "active");
    for property in ["Wants", "After"] {
        let units = show(property, "docker.service");
        assert!(units.split(' ').any(|unit| unit == "mnt-shared.mount"), "{property}: {units}");
    }
    let mounted: u64 = show("ActiveEnterTimestampMonotonic", "mnt-shared.mount").parse().unwrap();
    let docker: u64 = show("ExecMainStartTimestampMonotonic", "docker.service").parse().unwrap();
    assert!(mounted > 0 && mounted < docker, "the mount at {mounted} us, Docker at {docker} us");
    cluster.expect_ready(&[1, 2, 3, 4]);
}

/// Covers FAULTS G10: a server of the first set dies while the volume is being created. Whatever that leaves, the hosts
/// that wait and, at the latest, join again, end with one volume and its mark on every brick.
#[test]
fn lab_an_interrupted_create_heals() {
    if !usable("lab_an_interrupted_create_heals") {
        return;
    }
    for victim in [3, 1] {
        let cluster = Cluster::up("e2e-create", 3);
        cluster.init(&["--enable-glusterfs"]);
        cluster.serve("");
        let cluster = &cluster;
        thread::scope(|scope| {
            let joins: Vec<_> = [1, 2, 3].map(|n| scope.spawn(move || cluster.join(n, &["--timeout", "90s"]))).into();
            let created =
                "until journalctl -o cat -u clusterctl-master | grep -q 'creating the volume'; do sleep 0.02; done";
            cluster.lab.ok(1, &["sh", "-c", created]);
            cluster.lab.ok(victim, &["systemctl", "kill", "--signal=KILL", "glusterd.service"]);
            glusterd(cluster, victim, "start");
            // How they end is not what this is about.
            joins.into_iter().for_each(|join| drop(join.join().unwrap()));
        });
        for n in 1..=3 {
            wait_for(&format!("h{n} joins"), PATIENCE, || cluster.join(n, &["--timeout", "60s"]).code == Some(0));
        }
        cluster.expect_three_copies([1, 2, 3]);
        let mark = |n: u8| {
            cluster.lab.ok(
                n,
                &[
                    "getfattr",
                    "-n",
                    "trusted.glusterfs.volume-id",
                    "-e",
                    "hex",
                    "--only-values",
                    "--absolute-names",
                    BRICK,
                ],
            )
        };
        assert!(mark(1) == mark(2) && mark(2) == mark(3), "the marks differ");
        for n in 1..=3 {
            cluster.expect_mounted(n);
        }
    }
}

/// One host on which something else is where the volume or the brick shall be. Covers FAULTS G8 and
/// G18.
#[test]
fn lab_what_is_there_already_is_left_alone() {
    if !usable("lab_what_is_there_already_is_left_alone") {
        return;
    }
    let cluster = Cluster::up("e2e-taken", 1);
    let by_hand = format!("{}:/data/by-hand", cluster.lab.host_ip(1));
    cluster.lab.ok(1, &["gluster", "--mode=script", "volume", "create", "shared", &by_hand, "force"]);
    cluster.init(&["--enable-glusterfs"]);
    cluster.serve("");
    a_volume_of_the_same_name_is_left_alone(&cluster, &by_hand);
    a_full_file_system_gets_no_brick(&cluster);
}

/// Covers FAULTS G8.
fn a_volume_of_the_same_name_is_left_alone(cluster: &Cluster, by_hand: &str) {
    let before = cluster.volume_info();
    refused_once_seen(cluster, 1, "other-volume", &[by_hand, "--volume"]);
    assert_eq!(cluster.volume_info(), before);
    assert_eq!(cluster.mounted(1), "");
    cluster.lab.ok(1, &["gluster", "--mode=script", "volume", "delete", "shared"]);
}

/// Covers FAULTS G18.
fn a_full_file_system_gets_no_brick(cluster: &Cluster) {
    cluster.lab.ok(1, &["sh", "-c", "mkdir -p /data/clusterctl && mount -t tmpfs -o size=32m small /data/clusterctl"]);
    cluster.lab.ok(1, &["sh", "-c", "head -c 30M /dev/zero >/data/clusterctl/much"]);
    wait_for("the controller lets go of the other volume", PATIENCE, || {
        cluster.join(1, &["--timeout", "5s"]).code == Some(17)
    });
    cluster.join(1, &[]).refused(17, &[BRICK, "% full", "reason=brick-full"]);
    assert!(!cluster.lab.exec(1, &["test", "-e", BRICK]).success(), "a brick was made");
    cluster.lab.ok(1, &["rm", "/data/clusterctl/much"]);
    cluster.join(1, &[]).succeeded();
    // Now it fills up under the volume.
    cluster.lab.ok(1, &["sh", "-c", "head -c 30M /dev/zero >/data/clusterctl/much"]);
    wait_for("the status names the full brick", PATIENCE, || {
        cluster.join(1, &["--timeout", "5s"]);
        cluster.status()["Volume"]["Message"].as_str().is_some_and(|text| text.contains("% full"))
    });
}
