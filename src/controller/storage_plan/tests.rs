//! The rules that save data, one test each.

use super::*;
use crate::cluster::{MountPoint, VolumeName};

const PATH: &str = "/data/clusterctl/bricks/shared";

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn record(replica: u32, arbiter: bool) -> StorageRecord {
    StorageRecord {
        volume: VolumeName::parse("shared").unwrap(),
        brick: BrickPath::parse(PATH).unwrap(),
        mount: MountPoint::parse("/mnt/shared").unwrap(),
        replica,
        arbiter,
        allow_root_brick: false,
    }
}

fn address(n: u8) -> NodeAddress {
    NodeAddress::parse(&format!("10.0.0.{n}")).unwrap()
}

fn candidate(n: u8) -> Candidate {
    Candidate {
        hostname: Hostname::parse(&format!("h{n}")).unwrap(),
        address: address(n),
        prepared: true,
        mark: String::new(),
        registered_at: now(),
        reach: Reach::Assumed,
        refused: false,
    }
}

fn wanted(bricks: u8) -> Wanted {
    Wanted {
        volume: record(3, false),
        candidates: (1..=bricks).map(candidate).collect(),
        allowed: (1..=bricks).map(|n| address(n).to_string()).collect(),
        by_network: false,
        settle: SignedDuration::from_secs(5),
        prepared_since: None,
        intents: Vec::new(),
        apart: None,
        layout_due: false,
        served_before: false,
    }
}

fn brick(n: u8) -> Brick {
    Brick { host: format!("10.0.0.{n}"), path: PATH.into() }
}

fn pool(hosts: u8) -> PoolView {
    let peer = |n: u8| Peer {
        uuid: n.to_string(),
        hostname: format!("10.0.0.{n}"),
        connected: true,
        state: 3,
        state_text: "Peer in Cluster".into(),
    };
    PoolView { peers: (1..=hosts).map(peer).collect(), ..PoolView::default() }
}

fn volume(bricks: &[u8], replica: u32, allowed: u8) -> Volume {
    let allow = (1..=allowed).map(|n| format!("10.0.0.{n}")).collect::<Vec<_>>().join(",");
    Volume {
        name: "shared".into(),
        id: "id".into(),
        status: VolumeStatus::Started,
        replica,
        arbiter: 0,
        bricks: bricks.iter().map(|n| brick(*n)).collect(),
        options: [("auth.allow".to_owned(), allow)].into(),
    }
}

fn serving(bricks: &[u8], replica: u32, allowed: u8) -> PoolView {
    let volume = volume(bricks, replica, allowed);
    let online = volume
        .bricks
        .iter()
        .map(|brick| BrickStatus { brick: brick.clone(), online: true, used_percent: Some(10) })
        .collect();
    PoolView { volume: Some(volume), bricks: online, ..pool(9) }
}

fn later() -> Timestamp {
    now() + SignedDuration::from_secs(60)
}

/// T13: with the whole set there, nothing is waited for: create, close to strangers, start.
#[test]
fn a_whole_set_is_created_closed_and_started_at_once() {
    let plan = plan(&wanted(3), &pool(3), now());
    let [StorageStep::Create(new), StorageStep::Allow { value }, StorageStep::Start { force: false }] = &plan.steps[..]
    else {
        panic!("{plan:?}")
    };
    assert_eq!((new.replica, new.bricks.len(), new.force), (3, 3, false));
    assert_eq!(value, "10.0.0.1,10.0.0.2,10.0.0.3");
    assert!(plan.waits.is_empty() && !plan.mountable);
}

/// Never replica 2: two bricks wait, and then start with one.
#[test]
fn fewer_bricks_than_a_set_wait_and_then_start_with_one() {
    for bricks in [1, 2] {
        let early = plan(&wanted(bricks), &pool(bricks), now());
        assert!(early.steps.is_empty(), "{early:?}");
        assert!(matches!(early.waits[..], [StorageWait::Settling { .. }]));
        assert_eq!(wake_at(&early), Some(now() + SignedDuration::from_secs(5)));
        let late = plan(&wanted(bricks), &pool(bricks), later());
        let StorageStep::Create(new) = &late.steps[0] else { panic!("{late:?}") };
        assert_eq!((new.replica, new.bricks.len()), (1, 1));
    }
}

/// Nodes that waited for a minimum registered long before they are told to prepare their bricks.
#[test]
fn the_moment_for_a_whole_set_begins_with_the_first_ready_brick() {
    let waited = Wanted { prepared_since: Some(later()), ..wanted(2) };
    let early = plan(&waited, &pool(2), later());
    assert!(early.steps.is_empty(), "{early:?}");
    assert_eq!(wake_at(&early), Some(later() + SignedDuration::from_secs(5)));
}

/// Arbiter volumes are made with three bricks at once, never grown into.
#[test]
fn an_arbiter_volume_waits_for_its_whole_set() {
    let two = Wanted { volume: record(3, true), ..wanted(2) };
    let waiting = plan(&two, &pool(2), later());
    assert!(waiting.steps.is_empty() && matches!(waiting.waits[..], [StorageWait::IncompleteSet { .. }]));
    let three = Wanted { volume: record(3, true), ..wanted(3) };
    let StorageStep::Create(new) = &plan(&three, &pool(3), now()).steps[0] else { panic!("a create") };
    assert_eq!((new.replica, new.arbiter), (3, 1));
}

#[test]
fn hosts_outside_the_pool_are_probed_before_their_bricks_are_ready() {
    let mut wanted = wanted(3);
    wanted.candidates[2].prepared = false;
    let plan = plan(&wanted, &pool(1), now());
    assert_eq!(plan.steps, [StorageStep::Probe(address(2)), StorageStep::Probe(address(3))]);
    assert!(plan.waits.contains(&StorageWait::Unprepared(vec![Hostname::parse("h3").unwrap()])));
}

#[test]
fn a_peer_that_is_not_connected_is_waited_for() {
    let mut view = pool(3);
    view.peers[1].connected = false;
    let plan = plan(&wanted(3), &view, now());
    assert!(plan.steps.is_empty() && matches!(plan.waits[..], [StorageWait::PeersNotConnected(_)]));
}

/// A node that died before its brick was ready does not hold up the others.
#[test]
fn a_brick_that_is_never_ready_loses_its_turn() {
    let mut wanted = wanted(4);
    wanted.candidates[0].prepared = false;
    // At first its turn is kept: it may be about to be ready, and probing others in its place costs time.
    let early = plan(&wanted, &pool(4), now());
    assert!(early.steps.is_empty() && matches!(early.waits[0], StorageWait::Settling { have: 2, .. }));
    let StorageStep::Create(new) = &plan(&wanted, &pool(4), later()).steps[0] else { panic!("a create") };
    assert_eq!(new.bricks, [brick(2), brick(3), brick(4)]);
}

/// With nothing prepared there is no moment to wake up at: a report will wake the loop.
#[test]
fn unprepared_bricks_are_waited_for_without_a_clock() {
    let mut wanted = wanted(2);
    wanted.candidates.iter_mut().for_each(|candidate| candidate.prepared = false);
    let plan = plan(&wanted, &pool(2), later());
    assert!(plan.steps.is_empty() && matches!(plan.waits[..], [StorageWait::Unprepared(_)]));
    assert_eq!(wake_at(&plan), None);
}

/// A half-made create is healed only where the record says that it was ours.
#[test]
fn marked_bricks_are_cleaned_only_by_intent() {
    let mut marked = wanted(3);
    marked.candidates[1].mark = "dead-beef".into();
    let stuck = plan(&marked, &pool(3), now());
    assert!(stuck.steps.is_empty() && stuck.reset.is_empty());
    // Also where another change was tried since.
    marked.intents = vec![intent(&[2, 3]), intent(&[7])];
    let healing = plan(&marked, &pool(3), now());
    assert_eq!((healing.steps, healing.reset), (vec![], vec![address(2)]));
    // Somebody has made a volume on it since.
    let taken = PoolView { volume_ids: vec!["dead-beef".into()], ..pool(3) };
    assert_eq!(plan(&marked, &taken, now()).reset, []);
}

#[test]
fn a_created_volume_is_closed_to_strangers_before_it_starts() {
    let created = Volume { status: VolumeStatus::Created, options: Default::default(), ..volume(&[1, 2, 3], 3, 0) };
    let view = PoolView { volume: Some(created), ..pool(3) };
    let steps = plan(&wanted(3), &view, now()).steps;
    assert!(matches!(steps[..], [StorageStep::Allow { .. }, StorageStep::Start { force: false }]), "{steps:?}");
}

#[test]
fn a_volume_that_was_stopped_by_hand_stays_stopped() {
    let stopped = Volume { status: VolumeStatus::Stopped, ..volume(&[1, 2, 3], 3, 3) };
    let plan = plan(&wanted(3), &PoolView { volume: Some(stopped), ..pool(3) }, now());
    assert!(plan.steps.is_empty() && plan.waits == [StorageWait::StoppedByOperator]);
}

#[test]
fn a_volume_with_bricks_in_other_places_is_left_alone() {
    let mut view = serving(&[1, 2, 3], 3, 3);
    let other = Brick { host: "10.0.0.3".into(), path: "/srv/other".into() };
    view.volume.as_mut().unwrap().bricks[2] = other.clone();
    let plan = plan(&wanted(3), &view, now());
    assert!(plan.steps.is_empty() && !plan.mountable);
    assert_eq!(plan.waits, [StorageWait::OtherVolume { found: vec![other.to_string()] }]);
}

/// A brick host that was removed from the record, or came back under another address, stops nobody's storage.
#[test]
fn a_brick_on_an_unregistered_host_is_a_finding_and_no_stop() {
    let plan = plan(&wanted(8), &serving(&[1, 2, 9], 3, 3), later());
    assert!(plan.mountable);
    assert!(matches!(plan.steps[..], [StorageStep::Allow { .. }]), "{:?}", plan.steps);
    assert_eq!(plan.waits, [StorageWait::UnregisteredBricks(vec![brick(9).to_string()])]);
}

/// A host that died after its brick was ready gives its turn to one that answers.
#[test]
fn an_unreachable_host_loses_its_turn() {
    let mut four = wanted(4);
    four.candidates[1].reach = Reach::Unreachable;
    let StorageStep::Create(new) = &plan(&four, &pool(4), later()).steps[0] else { panic!("a create") };
    assert_eq!(new.bricks, [brick(1), brick(3), brick(4)]);
    let mut seven = wanted(7);
    seven.candidates[3].reach = Reach::Unreachable;
    let grown = plan(&seven, &serving(&[1, 2, 3], 3, 7), later());
    assert!(
        matches!(&grown.steps[..], [StorageStep::AddBricks { bricks, .. }] if bricks[..] == [brick(5), brick(6), brick(7)])
    );
}

/// A volume begins with a brick that is ready, also where its host could not be reached a moment ago.
#[test]
fn a_volume_never_begins_with_a_brick_that_is_not_ready() {
    let mut two = wanted(2);
    two.candidates[0].prepared = false;
    two.candidates[1].reach = Reach::Unreachable;
    let plan = plan(&two, &pool(2), later());
    let StorageStep::Create(new) = &plan.steps[0] else { panic!("{plan:?}") };
    assert_eq!(new.bricks, [brick(2)]);
}

/// A newcomer is let in even while another one's host cannot be probed.
#[test]
fn the_access_list_comes_before_probes() {
    let mut view = serving(&[1, 2, 3], 3, 3);
    view.peers.truncate(3);
    let steps = plan(&wanted(6), &view, later()).steps;
    assert!(
        matches!(
            steps[..],
            [StorageStep::Allow { .. }, StorageStep::Probe(_), StorageStep::Probe(_), StorageStep::Probe(_)]
        ),
        "{steps:?}"
    );
}

/// S2-73, growth: one brick, then straight to replica 3, then sets of three.
#[test]
fn grows_in_whole_sets_only() {
    let grows = |candidates: u8, view: &PoolView| -> Option<usize> {
        let plan = plan(&wanted(candidates), view, later());
        plan.steps.iter().find_map(|step| match step {
            StorageStep::AddBricks { replica: 3, bricks, .. } => Some(bricks.len()),
            _ => None,
        })
    };
    assert_eq!(grows(2, &serving(&[1], 1, 2)), None);
    assert_eq!(grows(3, &serving(&[1], 1, 3)), Some(2));
    assert_eq!(grows(4, &serving(&[1, 2, 3], 3, 4)), None);
    assert_eq!(grows(5, &serving(&[1, 2, 3], 3, 5)), None);
    assert_eq!(grows(6, &serving(&[1, 2, 3], 3, 6)), Some(3));
}

/// S2-74, T13: a node is let in before it mounts, and goes when it has left.
#[test]
fn the_access_list_follows_the_registered_nodes() {
    let plan_for = |allowed: u8| plan(&wanted(3), &serving(&[1, 2, 3], 3, allowed), now());
    assert_eq!(plan_for(3).steps, []);
    for have in [2, 4] {
        assert_eq!(plan_for(have).steps, [StorageStep::Allow { value: "10.0.0.1,10.0.0.2,10.0.0.3".into() }]);
    }
}

#[test]
fn the_first_mount_waits_for_every_brick_and_later_ones_for_a_quorum() {
    let mut view = serving(&[1, 2, 3], 3, 3);
    view.bricks[2].online = false;
    view.peers[2].connected = false;
    let first = plan(&wanted(3), &view, now());
    assert!(!first.mountable && first.steps.is_empty() && matches!(first.waits[..], [StorageWait::BricksOffline(_)]));
    let again = plan(&Wanted { served_before: true, ..wanted(3) }, &view, now());
    assert!(again.mountable);
    view.bricks[1].online = false;
    assert!(!plan(&Wanted { served_before: true, ..wanted(3) }, &view, now()).mountable);
}

#[test]
fn a_dead_brick_process_on_a_live_host_is_restarted() {
    let mut view = serving(&[1, 2, 3], 3, 3);
    view.bricks[0].online = false;
    assert_eq!(plan(&wanted(3), &view, now()).steps, [StorageStep::Start { force: true }]);
}

fn intent(bricks: &[u8]) -> StorageIntent {
    let bricks = bricks.iter().map(|n| brick(*n).to_string()).collect();
    StorageIntent { volume: VolumeName::parse("shared").unwrap(), bricks, at: now() }
}

/// Of a change that was tried before another one, what is not in the volume stays on record.
#[test]
fn bricks_that_are_in_the_volume_need_no_record() {
    let wanted = Wanted { intents: vec![intent(&[1, 7]), intent(&[8])], ..wanted(3) };
    let steps = plan(&wanted, &serving(&[1, 2, 3], 3, 3), now()).steps;
    assert_eq!(steps, [StorageStep::ForgetBricks(vec![brick(1).to_string()])]);
}

/// J12: a controller that died after it had added a set spreads the layout when it is back; one that died before adds it.
#[test]
fn directories_are_spread_over_sets_that_were_added() {
    let due = |candidates| Wanted { layout_due: true, ..wanted(candidates) };
    let two_sets = serving(&[1, 2, 3, 4, 5, 6], 3, 6);
    assert_eq!(plan(&due(6), &two_sets, now()).steps, [StorageStep::FixLayout]);
    assert_eq!(plan(&wanted(6), &two_sets, now()).steps, []);
    assert!(matches!(plan(&due(6), &serving(&[1, 2, 3], 3, 6), now()).steps[..], [StorageStep::AddBricks { .. }]));
    assert_eq!(plan(&due(3), &serving(&[1, 2, 3], 3, 3), now()).steps, []);
    let mut one_is_down = two_sets;
    one_is_down.bricks[0].online = false;
    one_is_down.peers[0].connected = false;
    assert_eq!(plan(&due(6), &one_is_down, now()).steps, []);
}

/// T13: who belongs to another Swarm or pool is not let at the volume and gets no brick of it; whose brick is in it keeps
/// both.
#[test]
fn a_host_that_belongs_to_something_else_is_not_served() {
    let refused = |wanted: &mut Wanted, n: u8| {
        wanted.candidates[usize::from(n) - 1].refused = true;
        wanted.allowed.remove(&address(n).to_string());
    };
    let mut four = wanted(4);
    refused(&mut four, 2);
    let StorageStep::Create(new) = &plan(&four, &pool(4), now()).steps[0] else { panic!("a create") };
    assert_eq!(new.bricks, [brick(1), brick(3), brick(4)]);
    let inside = plan(&four, &serving(&[1, 2, 3], 3, 4), now());
    assert_eq!((inside.steps, inside.waits), (vec![], vec![]));
    refused(&mut four, 4);
    let steps = plan(&four, &serving(&[1, 2, 3], 3, 4), now()).steps;
    assert_eq!(steps, [StorageStep::Allow { value: "10.0.0.1,10.0.0.2,10.0.0.3".into() }]);
    let mut six = wanted(6);
    refused(&mut six, 5);
    assert!(
        !plan(&six, &serving(&[1, 2, 3], 3, 6), now())
            .steps
            .iter()
            .any(|step| matches!(step, StorageStep::AddBricks { .. }))
    );
}

/// G2, G17: a server that will not be in our pool is passed over at once, its host is told why, and it is asked again.
#[test]
fn a_server_of_another_pool_is_passed_over() {
    for (why, code) in [(Declined::OtherPool, "foreign-pool"), (Declined::OldVersion, "old-glusterfs")] {
        let mut four = wanted(4);
        four.candidates[1].reach = Reach::Declined { why, ask_again: false };
        let mut view = pool(4);
        view.peers.remove(1);
        let made = plan(&four, &view, now());
        let StorageStep::Create(new) = &made.steps[0] else { panic!("a create") };
        assert_eq!(new.bricks, [brick(1), brick(3), brick(4)]);
        assert_eq!(made.refusals[&address(2)].code, code);
        assert!(made.waits[0].to_string().contains("h2 (10.0.0.2)"), "{}", made.waits[0]);
        four.candidates[1].reach = Reach::Declined { why, ask_again: true };
        assert_eq!(plan(&four, &view, now()).steps.last(), Some(&StorageStep::Probe(address(2))));
    }
}

/// G3, G4: a rejected server is passed over, and its host is told GlusterFS's way out; nothing is wiped.
#[test]
fn a_rejected_server_is_passed_over() {
    let mut view = serving(&[1, 2, 3], 3, 7);
    view.peers[3] = Peer { state: 6, state_text: "Peer Rejected".into(), ..view.peers[3].clone() };
    let grown = plan(&wanted(7), &view, later());
    assert!(
        matches!(&grown.steps[..], [StorageStep::AddBricks { bricks, .. }] if bricks[..] == [brick(5), brick(6), brick(7)]),
        "{grown:?}"
    );
    assert_eq!(grown.refusals[&address(4)].code, "peer-rejected");
    assert!(grown.refusals[&address(4)].message.contains("Cksums"));
    view.identities.insert("10.0.0.4".into(), "another".into());
    let renewed = &plan(&wanted(7), &view, later()).refusals[&address(4)];
    assert!(renewed.code == "reinstalled-peer" && renewed.message.contains("`UUID=4`"), "{renewed:?}");
}

/// J11: a handshake that does not come to its end is named, with what helps.
#[test]
fn a_handshake_that_stopped_is_named() {
    let mut view = pool(3);
    view.peers[1] = Peer { state: 4, state_text: "Accepted peer request".into(), ..view.peers[1].clone() };
    let mut three = wanted(3);
    let said = |three: &Wanted| plan(three, &view, now()).waits[0].to_string();
    assert!(said(&three).ends_with("10.0.0.2 (Accepted peer request)"), "{}", said(&three));
    three.candidates[1].reach = Reach::Halfway;
    assert!(said(&three).contains("`systemctl restart glusterd` there"), "{}", said(&three));
    let apart = Wanted { apart: Some(Apart::ForLong), ..wanted(3) };
    assert!(plan(&apart, &pool(3), now()).waits[0].to_string().contains("`systemctl restart glusterd`"));
}

/// G8: storage is for nobody while another volume has its name.
#[test]
fn a_volume_of_another_shape_is_refused_to_all() {
    let two_copies = plan(&wanted(3), &serving(&[1, 2], 2, 3), now());
    assert!(two_copies.steps.is_empty());
    let refused = two_copies.refused.unwrap();
    assert!(refused.code == "other-volume" && refused.message.contains(&brick(2).to_string()), "{refused:?}");
}

/// G18.
#[test]
fn bricks_that_are_nearly_full_are_named() {
    let mut view = serving(&[1, 2, 3], 3, 3);
    view.bricks[1].used_percent = Some(91);
    let warned = plan(&wanted(3), &view, now());
    assert!(warned.mountable && warned.steps.is_empty());
    assert_eq!(warned.waits, [StorageWait::BricksFull(vec![brick(2).to_string()])]);
    view.bricks[1].used_percent = Some(90);
    assert_eq!(plan(&wanted(3), &view, now()).waits, []);
}

/// A first try with one host leaves its mark there, a second one with another host succeeds: the first brick is cleaned
/// all the same.
#[test]
fn what_an_earlier_try_left_behind_is_cleaned() {
    let intent =
        |n: u8| StorageIntent { volume: record(3, false).volume, bricks: vec![brick(n).to_string()], at: now() };
    let mut wanted = Wanted { intents: vec![intent(3)], ..wanted(3) };
    wanted.candidates[2].mark = "of-the-first-try".to_owned();
    let bricks = vec![BrickStatus { brick: brick(1), online: true, used_percent: None }];
    let view = PoolView { volume: Some(volume(&[1], 1, 3)), bricks, ..pool(3) };
    assert_eq!(plan(&wanted, &view, now()).reset, [address(3)]);
    // The volume's own mark is that of a brick that is being added.
    wanted.candidates[2].mark = "id".to_owned();
    wanted.candidates.remove(1);
    assert_eq!(plan(&wanted, &view, now()).reset, []);
}
