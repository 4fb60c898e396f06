use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::cluster::{BrickPath, KeyFingerprint, MountPoint, ProfileName, Role, VolumeName};
use crate::controller::command::{AdmittedNode, Decision, RequestTerms, TokenTerms, Warrant};
use crate::controller::store::Machine;
use crate::protocol::registration::{Addendum, Facts, NodeReport};

mod grants;
mod tables;

fn at(second: u64) -> Timestamp {
    Timestamp::from_second(1_767_323_045 + i64::try_from(second).unwrap()).unwrap()
}

fn storage_record() -> StorageRecord {
    StorageRecord {
        volume: VolumeName::parse("shared").unwrap(),
        brick: BrickPath::parse("/data/clusterctl/bricks/shared").unwrap(),
        mount: MountPoint::parse("/mnt/shared").unwrap(),
        replica: 3,
        arbiter: false,
        allow_root_brick: false,
    }
}

fn node(name: u8, key: Option<u8>, address: u8, role: Role) -> AdmittedNode {
    let hostname = Hostname::parse(&format!("h{name}")).unwrap();
    AdmittedNode {
        id: key.map_or_else(|| NodeId::of_legacy(&hostname), |key| NodeId::of_public_key(&[key])),
        keyed: key.is_some(),
        hostname,
        address: NodeAddress::parse(&format!("10.0.0.{address}")).unwrap(),
        role,
        facts: Facts { gluster_capable: true, ..Facts::default() },
    }
}

fn register(node: AdmittedNode) -> Command {
    Command::Register { node, at: at(1) }
}

/// How nodes are counted: by identity, not by message (S2-53).
#[test]
fn counts_by_identity() {
    let mut state = ClusterState::default();
    for sequence in 1..=3 {
        state.apply(sequence, &register(node(1, Some(1), 1, Role::Manager)));
    }
    assert_eq!(state.counts(), RoleCounts { managers: 1, workers: 0 });
    assert_eq!(state.apply(4, &register(node(1, Some(1), 1, Role::Manager))), Effect::Unchanged);
    assert_eq!(state.revision(), 1, "an unchanged registration leaves the revision alone");
    // The same key under another name, address and role is the same node.
    state.apply(5, &register(node(2, Some(1), 2, Role::Worker)));
    assert_eq!(state.counts(), RoleCounts { managers: 0, workers: 1 });
    let id = NodeId::of_public_key(&[1]);
    state.apply(6, &Command::Deregister { id, at: at(2) });
    assert_eq!(state.counts(), RoleCounts::default());
}

#[test]
fn names_and_addresses_belong_to_one_node() {
    let mut state = ClusterState::default();
    state.apply(1, &register(node(1, Some(1), 1, Role::Worker)));
    assert!(matches!(
        state.apply(2, &register(node(1, Some(2), 2, Role::Worker))),
        Effect::Conflict(Conflict::Hostname { .. })
    ));
    assert!(matches!(
        state.apply(3, &register(node(3, Some(2), 1, Role::Worker))),
        Effect::Conflict(Conflict::Address { .. })
    ));
    assert!(matches!(state.apply(4, &register(node(1, None, 1, Role::Worker))), Effect::Conflict(_)));
    assert_eq!(state.counts().workers, 1);
}

/// A host moves over from the first implementation's client and keeps its brick.
#[test]
fn a_keyed_node_takes_over_from_a_client_without_a_key() {
    let mut state = ClusterState::default();
    state.apply(1, &Command::ConfigureStorage { storage: Some(storage_record()) });
    state.apply(2, &register(node(1, None, 1, Role::Worker)));
    assert_eq!(state.apply(3, &register(node(1, Some(1), 1, Role::Worker))), Effect::Changed);
    assert_eq!(state.counts().workers, 1);
    let moved = state.node_named(&Hostname::parse("h1").unwrap()).unwrap();
    assert!(moved.keyed && moved.storage == StorageRole::Brick && moved.ordinal == 2);
}

/// S2-75: bricks for hosts with glusterd, clients for the others, nothing for hosts that cannot mount.
#[test]
fn assigns_bricks_and_clients() {
    let mut state = ClusterState::default();
    state.apply(1, &register(node(9, Some(9), 9, Role::Worker)));
    state.apply(2, &Command::ConfigureStorage { storage: Some(storage_record()) });
    for key in 1..=4 {
        state.apply(2 + u64::from(key), &register(node(key, Some(key), key, Role::Worker)));
    }
    let mut client = node(5, Some(5), 5, Role::Worker);
    client.facts.gluster_client_only = true;
    state.apply(7, &register(client));
    let mut none = node(6, Some(6), 6, Role::Worker);
    none.facts.gluster_capable = false;
    state.apply(8, &register(none));
    // The first set is full: a client without a key mounts only.
    state.apply(9, &register(node(7, None, 7, Role::Worker)));
    // One that registered before storage was switched on is given its brick when it comes again.
    state.apply(10, &register(node(9, Some(9), 9, Role::Worker)));
    let storage = |name: u8| state.node_named(&Hostname::parse(&format!("h{name}")).unwrap()).unwrap().storage;
    for name in [1, 2, 3, 4, 9] {
        assert_eq!(storage(name), StorageRole::Brick, "h{name}");
    }
    assert_eq!((storage(5), storage(6), storage(7)), (StorageRole::Client, StorageRole::None, StorageRole::Client));
}

/// Records of the present format, byte for byte: they must stay readable. Those of earlier ones are fixtures.
#[test]
fn writes_the_third_record_format() {
    let command = register(node(1, Some(1), 1, Role::Worker));
    let bytes = ClusterState::encode(&command);
    assert_eq!(ClusterState::decode(&bytes).unwrap(), command);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "03031a6a703272656c7a7569766b6d6b6f3636663235797a757678346d010268310a0000010100000000010014323032362d30312d30325430333a30343a30365a"
    );
    let bricks = vec!["10.0.0.1:/b".to_owned()];
    let intent = StorageIntent { volume: VolumeName::parse("shared").unwrap(), bricks, at: at(1) };
    let intend = ClusterState::encode(&Command::Intend { intent, layout: true });
    assert_eq!((intend[..2].to_vec(), intend.last()), (vec![3, 18], Some(&1)));
    assert!(ClusterState::decode(&[]).is_err());
    assert!(ClusterState::decode(&[99, 0]).unwrap_err().to_string().contains("version 99"));
    assert!(ClusterState::default().load("planet/x", &[2, 0]).unwrap_err().to_string().contains("planet/x"));
}

fn short(n: u8) -> ShortId {
    ShortId::of_bytes([n; 5])
}

fn print(key: u8) -> KeyFingerprint {
    KeyFingerprint::of_public_key(&[key])
}

fn profile(name: &str) -> ProfileName {
    ProfileName::parse(name).unwrap()
}

/// A token for an hour.
fn token(id: u8, role: Role, uses: u32) -> TokenTerms {
    TokenTerms {
        id: short(id),
        digest: [id; 32],
        role,
        profiles: vec![profile("core")],
        node: None,
        uses,
        expires_at: at(3600),
        pin: print(200),
    }
}

fn create(token: TokenTerms, second: u64) -> Command {
    Command::CreateToken { token, at: at(second) }
}

fn admit(node: AdmittedNode, warrant: Warrant, second: u64) -> Command {
    Command::Admit { node, warrant, key: None, at: at(second) }
}

/// The request of the node of [`node`].
fn request(name: u8, key: u8, source: u8) -> RequestTerms {
    let node = node(name, Some(key), name + 1, Role::Worker);
    RequestTerms {
        node_id: node.id,
        hostname: node.hostname,
        address: node.address,
        source: IpAddr::from([10, 0, 1, source]),
        key: Some(print(key)),
        role: None,
        profiles: Vec::new(),
    }
}

fn file(id: u8, request: RequestTerms, second: u64) -> Command {
    Command::FileRequest { id: short(id), request, at: at(second) }
}

fn approve(id: u8, role: Role) -> Command {
    let decision = Decision::Approve { role, profiles: vec![profile("edge")] };
    Command::DecideRequest { id: short(id), decision, at: at(5) }
}

fn reject(id: u8) -> Command {
    Command::DecideRequest { id: short(id), decision: Decision::Reject { reason: "who?".into() }, at: at(5) }
}

/// Commands of small alphabets, so that they meet.
fn command() -> impl Strategy<Value = Command> {
    let key = prop_oneof![Just(None), (0..6_u8).prop_map(Some)];
    prop_oneof![
        6 => (0..6_u8, key, 0..6_u8, role()).prop_map(|(name, key, address, role)| register(node(name, key, address + 1, role))),
        2 => (0..6_u8).prop_map(|key| Command::Deregister { id: NodeId::of_public_key(&[key]), at: at(3) }),
        2 => (0..6_u8, any::<bool>()).prop_map(|(key, mounted)| Command::Report { id: NodeId::of_public_key(&[key]), report: NodeReport { mounted, ..NodeReport::default() } }),
        2 => (0..6_u8, any::<bool>()).prop_map(|(key, refused)| Command::Observe { id: NodeId::of_public_key(&[key]), report: NodeReport::default(), more: Addendum { refused, boot_servers: 3 } }),
        2 => (0..4_u8, any::<bool>()).prop_map(|(brick, layout)| Command::Intend { intent: intent(brick), layout }),
        1 => (0..4_u8).prop_map(|brick| Command::ForgetBricks { bricks: intent(brick).bricks }),
        1 => Just(Command::LayoutSpread),
        1 => Just(Command::ConfigureStorage { storage: Some(storage_record()) }),
        1 => Just(Command::ConfigureStorage { storage: None }),
        1 => Just(Command::LatchGate { thresholds: Thresholds { managers: 1, workers: 2 } }),
        1 => Just(Command::Initialise { cluster_id: "c".into(), at: at(0) }),
        6 => (0..6_u8, 0..6_u8, 0..6_u8, role(), warrant(), 0..5_000_u64).prop_map(|(name, key, address, role, warrant, second)| {
            let command = admit(node(name, Some(key), address + 1, role), warrant, second);
            match command {
                Command::Admit { node, warrant, at, .. } => Command::Admit { node, warrant, key: Some(print(key)), at },
                other => other,
            }
        }),
        2 => (0..6_u8).prop_map(|key| Command::Remove { id: NodeId::of_public_key(&[key]), at: at(4) }),
        1 => (0..6_u8).prop_map(|key| Command::Expel { id: NodeId::of_public_key(&[key]), at: at(4) }),
        1 => (0..6_u8).prop_map(|key| Command::AllowReplacement { id: NodeId::of_public_key(&[key]), at: at(4) }),
        2 => (0..4_u8, role(), 0..3_u32, 0..1_000_000_u64).prop_map(|(id, role, uses, second)| create(token(id, role, uses), second)),
        1 => (0..4_u8).prop_map(|id| Command::RevokeToken { id: short(id), at: at(5) }),
        3 => (0..4_u8, 0..6_u8, 0..6_u8, 0..1_000_000_u64).prop_map(|(id, name, key, second)| file(id, request(name, key, key), second)),
        2 => (0..4_u8, role()).prop_map(|(id, role)| approve(id, role)),
        1 => (0..4_u8).prop_map(reject),
        1 => (0..3_u8, 0..3_u8).prop_map(|(name, key)| Command::CreateAdmin { name: format!("a{name}"), key: print(key), at: at(6) }),
        1 => (0..3_u8).prop_map(|name| Command::RevokeAdmin { name: format!("a{name}"), at: at(7) }),
    ]
}

fn intent(brick: u8) -> StorageIntent {
    let volume = VolumeName::parse("shared").unwrap();
    StorageIntent { volume, bricks: vec![format!("10.0.0.{brick}:/b"), format!("10.0.0.{}:/b", brick + 1)], at: at(1) }
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Manager), Just(Role::Worker)]
}

fn warrant() -> impl Strategy<Value = Warrant> {
    prop_oneof![
        Just(Warrant::Member),
        Just(Warrant::Open),
        Just(Warrant::Local),
        (0..4_u8).prop_map(|id| Warrant::Token(short(id))),
        (0..4_u8).prop_map(|id| Warrant::Request(short(id))),
    ]
}

proptest! {
    /// Stored counts equal a recount; names and addresses are unique; rows rebuild the same state.
    #[test]
    fn invariants_hold_after_any_commands(commands in proptest::collection::vec(command(), 0..60)) {
        let mut state = ClusterState::default();
        let mut rebuilt = ClusterState::default();
        let mut rows = std::collections::BTreeMap::new();
        for (index, command) in commands.iter().enumerate() {
            let before = state.revision();
            let effect = state.apply(index as u64 + 1, command);
            prop_assert_eq!(effect == Effect::Changed, state.revision() > before, "{:?} {:?}", command, effect);
            prop_assert_eq!(&ClusterState::decode(&ClusterState::encode(command)).unwrap(), command);
            for change in state.changes() {
                match change.record {
                    Some(record) => rows.insert(change.key, record),
                    None => rows.remove(&change.key),
                };
            }
        }
        let managers = state.nodes().filter(|node| node.role == Role::Manager).count();
        let workers = state.nodes().filter(|node| node.role == Role::Worker).count();
        prop_assert_eq!((state.counts().managers as usize, state.counts().workers as usize), (managers, workers));
        let names: BTreeSet<_> = state.nodes().map(|node| node.hostname.clone()).collect();
        let addresses: BTreeSet<_> = state.nodes().map(|node| node.address).collect();
        prop_assert_eq!((names.len(), addresses.len()), (managers + workers, managers + workers));
        for (key, record) in &rows {
            rebuilt.load(key, record).unwrap();
        }
        prop_assert!(rebuilt.nodes().eq(state.nodes()));
        prop_assert_eq!(rebuilt.counts(), state.counts());
        prop_assert_eq!(rebuilt.revision(), state.revision());
        prop_assert_eq!(rebuilt.latch(), state.latch());
        prop_assert_eq!((rebuilt.intents(), rebuilt.layout_due()), (state.intents(), state.layout_due()));
        prop_assert!(rebuilt.tokens().eq(state.tokens()) && rebuilt.requests().eq(state.requests()));
        prop_assert!(rebuilt.tombstones().eq(state.tombstones()) && rebuilt.admins().eq(state.admins()));
        for node in state.nodes() {
            prop_assert!(node.granted.covers(node.role), "nobody is more than was granted");
            let expelled = commands.iter().any(|command| matches!(command, Command::Expel { id, .. } if *id == node.id));
            prop_assert!(state.member(&node.id).is_some() || expelled, "nobody is both a member and removed");
        }
        for request in state.requests() {
            prop_assert_eq!(state.request_like(&request.terms), Some(request), "an asker has one request");
            prop_assert_eq!(rebuilt.request_like(&request.terms), Some(request));
        }
        for token in state.tokens() {
            prop_assert!(token.terms.uses == 0 || token.used <= token.terms.uses, "no more uses than there are");
        }
    }
}
