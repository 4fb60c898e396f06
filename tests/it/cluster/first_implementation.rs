//! A host whose agent is the first implementation's: its recorded requests, and what it does with the replies, played
//! by the test with the tools on the host. It ends up in the same Swarm and on the same volume as clusterctl's nodes.

use serde_json::Value;

use super::{BRICK, Cluster, PATIENCE, requests};
use crate::lab::{run, usable, wait_for};

const REGISTER: &str = include_str!("../../fixtures/wire/register.json");
const CHECK_STATUS: &str = include_str!("../../fixtures/wire/check-status.json");
const GLUSTER_READY: &str = include_str!("../../fixtures/wire/gluster-ready.json");
const DEREGISTER: &str = include_str!("../../fixtures/wire/deregister.json");

/// Covers the first implementation's wire form and S2-53 to S2-57.
#[test]
fn lab_a_client_of_the_first_implementation_joins() {
    if !usable("lab_a_client_of_the_first_implementation_joins") {
        return;
    }
    let cluster = Cluster::up("e2e-first", 3);
    cluster.init(&["--enable-glusterfs"]);
    cluster.serve("--admission open --plaintext");
    std::thread::scope(|scope| {
        // At the same moment as the others.
        let others = scope.spawn(|| cluster.join_together(&[1, 2]));
        the_old_agent_joins(&cluster, 3);
        others.join().unwrap();
    });
    cluster.expect_ready(&[1, 2, 3]);
    cluster.expect_three_copies([1, 2, 3]);
    cluster.expect_mounted(3);
    cluster.expect_shared(1, 3);
    cluster.expect_shared(3, 2);
    let row = cluster.row("h3");
    assert_eq!((&row["Client"], &row["Storage"], &row["Swarm"]), (&"legacy".into(), &"brick".into(), &"ready".into()));

    // Asked again, it gets the same answer; thanked for work that it did not do.
    assert_eq!(ask(&cluster, 3, REGISTER)["Status"], "ready");
    assert_eq!(ask(&cluster, 3, GLUSTER_READY)["Status"], "ready");
    assert_eq!(cluster.status()["NodesTotal"], 3);
    // Its brick is in the volume: it stays, with the reason.
    assert_eq!(ask(&cluster, 3, DEREGISTER)["Code"], "holds-brick");
    assert_eq!(cluster.status()["NodesTotal"], 3);
    cluster.nothing_to_do(1);
    requests::garbage_is_answered_and_survived(&cluster);
    requests::administration_is_not_on_the_network(&cluster);
}

/// Sends a recorded request from host `n` in its own name; the old agent leaves its side open and reads one value.
fn ask(cluster: &Cluster, n: u8, recorded: &str) -> Value {
    let address = cluster.lab.host_ip(n).to_string();
    let request = recorded.replace("\"h2\"", &format!("\"h{n}\"")).replace("10.88.0.2", &address);
    let script = "exec 3<>/dev/tcp/h1/7000; cat >&3; cat <&3";
    let output = run(cluster.lab.invocation(n, &["bash", "-c", script]).stdin(request.trim_end())).unwrap();
    assert!(output.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text<'a>(reply: &'a Value, field: &str) -> &'a str {
    reply[field].as_str().unwrap_or_else(|| panic!("no {field} in {reply}"))
}

/// Registers, joins the Swarm, makes the brick's directory, asks until the volume is ready, mounts it.
fn the_old_agent_joins(cluster: &Cluster, n: u8) {
    let mut reply = Value::Null;
    // It knows `ready` and `waiting`, and asks again on the latter.
    wait_for("instructions for the old agent", PATIENCE, || {
        reply = ask(cluster, n, REGISTER);
        assert!(matches!(text(&reply, "Status"), "ready" | "waiting"), "{reply}");
        reply["Status"] == "ready"
    });
    assert_eq!((text(&reply, "SwarmRole"), text(&reply, "OverlayType")), ("worker", ""));
    assert_eq!((&reply["GlusterEnabled"], &reply["GlusterOrchestrator"]), (&true.into(), &false.into()));
    assert_eq!(text(&reply, "GlusterBrick"), BRICK);
    let token = text(&reply, "SwarmJoinToken");
    cluster.lab.ok(n, &["docker", "swarm", "join", "--token", token, text(&reply, "SwarmManagerAddr")]);
    cluster.lab.ok(n, &["mkdir", "-p", text(&reply, "GlusterBrick")]);
    let (volume, mount) = (text(&reply, "GlusterVolume").to_owned(), text(&reply, "GlusterMount").to_owned());

    wait_for("the volume is ready for the old agent", PATIENCE, || {
        reply = ask(cluster, n, CHECK_STATUS);
        assert_eq!(text(&reply, "SwarmJoinToken"), "", "asking lets nobody in");
        reply["GlusterReady"] == true
    });
    cluster.lab.ok(n, &["mkdir", "-p", &mount]);
    cluster.lab.ok(n, &["mount", "-t", "glusterfs", &format!("localhost:/{volume}"), &mount]);
}
