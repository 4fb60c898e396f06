//! What holds whatever is asked, in whatever order.

use proptest::prelude::*;

use super::*;

/// A registration of a stranger or of a node, on TLS or in clear text, with a token that is made up or with none.
#[derive(Debug, Clone)]
struct Attempt {
    /// Whose key is shown; `None`: clear text.
    key: Option<u8>,
    claims: Option<u8>,
    name: u8,
    address: u8,
    source: u8,
    role: Option<Role>,
    token: Option<(u8, u8)>,
    certified: Option<Role>,
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let role = || prop_oneof![Just(None), Just(Some(Role::Worker)), Just(Some(Role::Manager))];
    let some = |n: u8| proptest::option::of(0..n);
    (some(6), some(6), 0..6_u8, 1..7_u8, 1..7_u8, role(), proptest::option::of((0..4_u8, any::<u8>())), role())
        .prop_map(|(key, claims, name, address, source, role, token, certified)| Attempt {
            key,
            claims,
            name,
            address,
            source,
            role,
            token,
            certified,
        })
}

fn name(n: u8) -> String {
    format!("h{n}")
}

impl Attempt {
    fn registration(&self) -> Registration {
        // The ids of tokens are no secret, and everybody may make up what belongs to them.
        let token =
            self.token.map(|(id, guess)| PresentedToken { id: ShortId::of_bytes([id; 5]), digest: [guess; 32] });
        Registration {
            who: Identity { node_id: self.claims.map(|n| key(&name(n)).node_id), hostname: host(&name(self.name)) },
            role: self.role,
            token,
            ..registration("x", self.address)
        }
    }

    fn proof(&self) -> Option<Proof> {
        let name = name(self.key?);
        Some(self.certified.map_or_else(|| proof(&name), |role| certified(&name, role, Validity::Valid)))
    }
}

proptest! {
    /// T1, T6: without a valid token or an approval nobody unknown comes in, and nobody becomes more than was granted.
    #[test]
    fn nobody_comes_in_uninvited(
        attempts in proptest::collection::vec((attempt(), any::<bool>()), 1..40),
        approve_mode: bool,
    ) {
        let mode = if approve_mode { Admission::Approve } else { Admission::Token };
        let mut cluster = Cluster::default();
        cluster.token(0, Role::Manager);
        cluster.token(1, Role::Worker);
        cluster.member("h0", 1, Role::Manager);
        cluster.member("h1", 2, Role::Worker);
        let members: Vec<NodeId> = cluster.state.nodes().map(|node| node.id.clone()).collect();
        for (attempt, removes) in attempts {
            let (registration, proof) = (attempt.registration(), attempt.proof());
            let source = [10, 0, 0, attempt.source].into();
            let caller = proof.as_ref().map_or(Caller::Clear(source), |proof| Caller::Tls(source, proof));
            let verdict = cluster.register(mode, &registration, caller);
            if let Verdict::Admit { node, warrant, .. } = &verdict {
                prop_assert_eq!(warrant, &Warrant::Member, "{:?}", attempt);
                prop_assert_eq!(Some(&node.id), proof.as_ref().and_then(Proof::key).map(|key| &key.node_id));
            }
            for node in cluster.state.nodes() {
                prop_assert!(members.contains(&node.id), "{:?} let in {:?}", attempt, node);
                prop_assert!(node.role == Role::Worker || node.id == members_manager(), "{:?} raised {:?}", attempt, node);
            }
            if removes {
                cluster.apply(&Command::Remove { id: key("h1").node_id, at: now() });
            }
        }
    }

    /// The judgement and the state agree: whom admission lets in, the state takes in, if nothing came between.
    #[test]
    fn the_state_takes_in_whom_admission_lets_in(
        steps in proptest::collection::vec((attempt(), 0..6_u8), 1..40),
        mode in prop_oneof![Just(Admission::Token), Just(Admission::Approve), Just(Admission::Open)],
    ) {
        let mut cluster = Cluster::default();
        let tokens = [cluster.token(0, Role::Manager), cluster.token(1, Role::Worker)];
        for (attempt, luck) in steps {
            let mut registration = attempt.registration();
            if let Some(token) = tokens.get(usize::from(luck)) {
                registration.token = presented(token);
            }
            let proof = attempt.proof();
            let source = [10, 0, 0, attempt.address].into();
            let caller = proof.as_ref().map_or(Caller::Clear(source), |proof| Caller::Tls(source, proof));
            // It panics if the state refuses.
            let verdict = cluster.register(mode, &registration, caller);
            if let (Verdict::Pending { request, .. }, 3..) = (&verdict, luck) {
                let id = cluster.state.request_like(request).unwrap().id.clone();
                let role = if luck == 3 { Role::Manager } else { Role::Worker };
                cluster.apply(&Command::DecideRequest { id, decision: approve(role), at: now() });
            }
            // Asked again, the same registration is let in again as a member, and changes nothing.
            if let Verdict::Admit { node, .. } = verdict {
                let again = cluster.judge(mode, &registration, caller);
                prop_assert!(matches!(&again, Verdict::Admit { node: same, .. } if same == &node), "{:?}", again);
                prop_assert!(cluster.state.is_registered_as(&node, proof.as_ref().and_then(Proof::key).map(|key| key.fingerprint)));
            }
        }
    }
}

fn members_manager() -> NodeId {
    key("h0").node_id
}
