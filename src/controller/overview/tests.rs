use super::*;
use crate::cluster::{Hostname, NodeAddress, Role};
use crate::controller::command::{AdmittedNode, Command};
use crate::controller::store::Machine;
use crate::protocol::registration::{Facts, NodeReport};

fn state(nodes: u32) -> ClusterState {
    let mut state = ClusterState::default();
    let at = Timestamp::from_second(1_767_323_045).unwrap();
    for n in 0..nodes {
        let [_, _, high, low] = n.to_be_bytes();
        let node = AdmittedNode {
            id: NodeId::of_public_key(&n.to_be_bytes()),
            keyed: true,
            hostname: Hostname::parse(&format!("h{n}")).unwrap(),
            address: NodeAddress::parse(&format!("10.0.{high}.{low}")).unwrap(),
            role: Role::Worker,
            facts: Facts::default(),
        };
        let id = node.id.clone();
        let report = NodeReport { finding: "the volume is not mounted; ".repeat(8), ..NodeReport::default() };
        for (step, command) in [Command::Register { node, at }, Command::Report { id, report }].iter().enumerate() {
            state.apply(u64::from(n) * 2 + step as u64 + 1, command);
        }
    }
    state
}

/// However many nodes there are, each page is short enough to be read, and all are shown.
#[test]
fn pages_of_nodes_can_be_read() {
    let state = state(900);
    let (view, seen) = (StorageView::default(), HashMap::new());
    let around = Surroundings { members: &Members::default(), view: &view, seen: &seen };
    let (mut after, mut shown, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let page = nodes(&state, &after, 0, around);
        assert!(page.to_string().len() < MAX_RESPONSE - 16 * 1024);
        shown.extend(page["Nodes"].as_array().unwrap().iter().map(|row| row["NodeId"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(next) = page["After"].as_str() else { break };
        next.clone_into(&mut after);
    }
    let all: Vec<String> = state.nodes().map(|node| node.id.to_string()).collect();
    assert_eq!((shown, pages > 1), (all, true));
}

/// N10: a role that was changed with Docker's own commands is said, with the commands for either way out; a node that the
/// managers have lost, or that is not in the Swarm, is as it was.
#[test]
fn a_role_that_the_swarm_has_otherwise_is_a_finding() {
    let mut state = state(1);
    let id = NodeId::of_public_key(&0_u32.to_be_bytes());
    state.apply(9, &Command::Report { id: id.clone(), report: NodeReport::default() });
    let view = StorageView::default();
    let row = |state: &ClusterState, members: &[Member]| {
        let around = Surroundings { members: &Members::of(members), view: &view, seen: &HashMap::new() };
        nodes(state, "", 0, around)["Nodes"][0].clone()
    };
    let member = |role, state: &str| Member {
        swarm_node_id: "x".to_owned(),
        hostname: "h0".to_owned(),
        role,
        state: state.to_owned(),
        availability: "active".to_owned(),
        address: "10.0.0.0".to_owned(),
        leader: false,
        reachability: None,
        updated_at: None,
    };
    for members in [&[][..], &[member(Role::Worker, "ready")], &[member(Role::Manager, "down")]] {
        assert_eq!(row(&state, members)["Finding"], "", "{members:?}");
    }
    let promoted = row(&state, &[member(Role::Manager, "ready")]);
    assert_eq!(promoted["Status"], "degraded");
    let finding = promoted["Finding"].as_str().unwrap();
    assert!(finding.contains("docker node demote h0") && finding.contains("--role manager --node h0"), "{finding}");
    state.apply(10, &Command::Expel { id, at: Timestamp::UNIX_EPOCH });
    let leaving = row(&state, &[member(Role::Manager, "ready")]);
    assert_eq!(leaving["Status"], "removing");
    assert!(leaving["Finding"].as_str().unwrap().contains("clusterctl node remove h0"), "{leaving}");
}

/// The state of the cluster comes with the first of them, and says how many there are.
#[test]
fn the_state_of_a_large_cluster_can_be_read() {
    let state = state(900);
    let view = StorageView::default();
    let seen = HashMap::new();
    let around = Surroundings { members: &Members::default(), view: &view, seen: &seen };
    let swarm = SwarmView::Trouble { reason: crate::protocol::reply::Reason::SwarmUnavailable, message: String::new() };
    let store = StoreStatus::default();
    let value = status(&state, None, &swarm, around, &store);
    assert!(value.to_string().len() < MAX_RESPONSE - 16 * 1024);
    let rows = value["Nodes"].as_array().unwrap().len();
    assert!((20..=STATUS_ROWS).contains(&rows), "{rows}");
    assert_eq!(value["NodesTotal"], 900);
}
