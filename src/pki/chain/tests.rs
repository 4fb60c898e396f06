//! The verdicts, over certificates that honest and dishonest sides make.

use std::slice::from_ref;

use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, PublicKeyData, SanType};
use rustls::pki_types::pem::PemObject;

use super::*;
use crate::cluster::{NodeId, Role, Validity};
use crate::pki::issue::SigningAuthority;
use crate::pki::lifetime::{CERTIFICATE_LIFE, Lifetime};
use crate::pki::names::{controller_uri, server_name, uri_of};

const CLUSTER: &str = "c1";

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// A CA whose key also an attacker's tools can use.
struct Ca {
    authority: SigningAuthority,
    key: KeyPair,
    der: CertificateDer<'static>,
}

impl Ca {
    fn new() -> Self {
        let (key, certificate) = SigningAuthority::make(CLUSTER, now()).unwrap();
        Self {
            authority: SigningAuthority::read(&key, &certificate).unwrap(),
            key: KeyPair::from_pem(&key).unwrap(),
            der: CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap(),
        }
    }

    fn pin(&self) -> KeyFingerprint {
        self.authority.fingerprint
    }

    fn server(&self) -> CertificateDer<'static> {
        self.authority.server_certificate(CLUSTER, now()).unwrap().0.cert[0].clone()
    }

    /// A certificate with names and purposes of one's choice, signed by this CA's key.
    fn sign(
        &self,
        key: &impl PublicKeyData,
        names: &[SanType],
        usage: ExtendedKeyUsagePurpose,
    ) -> CertificateDer<'static> {
        let mut issuer = CertificateParams::default();
        issuer.distinguished_name = rcgen::DistinguishedName::new();
        issuer.distinguished_name.push(DnType::OrganizationName, "clusterctl");
        issuer.distinguished_name.push(DnType::CommonName, self.pin().to_string());
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        params.extended_key_usages = vec![usage];
        params.signed_by(key, &Issuer::new(issuer, &self.key)).unwrap().der().clone()
    }

    fn node(&self, key: &KeyPair, role: Role) -> CertificateDer<'static> {
        let key = ProvenKey::new(key.subject_public_key_info());
        let subject = Subject::Node { id: key.node_id.clone(), role };
        let issued = self.authority.certify(&key, CLUSTER, &subject, now()).unwrap();
        CertificateDer::from_pem_slice(issued.pem.as_bytes()).unwrap()
    }

    fn signed(&self, read: &EndEntityCert<'_>) -> bool {
        is_client_of(read, self.authority.anchor())
    }

    /// What a client proves to a controller that trusts this CA alone.
    fn judge(&self, certificate: &CertificateDer<'_>, cluster_id: &str) -> Option<Proof> {
        judge_client(certificate, cluster_id, now(), |read| self.signed(read).then_some(SignedBy::Active))
    }
}

fn pinned(pins: &[&Ca]) -> Trust {
    Trust::Pinned(pins.iter().map(|ca| ca.pin()).collect())
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

#[test]
fn the_pinned_controller_is_taken() {
    let (ca, other) = (Ca::new(), Ca::new());
    let presented = Presented { authority: ca.pin(), lifetime: Lifetime::beginning(now(), CERTIFICATE_LIFE) };
    for trust in [pinned(&[&ca]), pinned(&[&other, &ca]), Trust::FirstUse] {
        assert_eq!(judge_server(&ca.server(), from_ref(&ca.der), &trust), Ok(presented));
    }
    // What else comes along does not matter.
    let chain = [other.der.clone(), CertificateDer::from(vec![1, 2, 3]), ca.der.clone()];
    assert_eq!(judge_server(&ca.server(), &chain, &pinned(&[&ca])), Ok(presented));
}

/// T2: another CA, whatever it brings along, is not the pinned one, and the error names both.
#[test]
fn another_authority_is_refused() {
    let (ca, other) = (Ca::new(), Ca::new());
    let pinned = pinned(&[&ca]);
    let refused = |leaf: &CertificateDer<'_>, chain: &[CertificateDer<'_>], found: Option<KeyFingerprint>| {
        let error = judge_server(leaf, chain, &pinned).unwrap_err();
        assert_eq!(error, ChainError::OtherAuthority { pinned: vec![ca.pin()], found });
        let text = error.to_string();
        assert!(text.contains(&ca.pin().to_string()), "{text}");
        assert!(found.is_none_or(|found| text.contains(&found.to_string())), "{text}");
    };
    refused(&other.server(), from_ref(&other.der), Some(other.pin()));
    // The pinned CA's certificate is public: an attacker can send it along, before or after its own, or alone.
    refused(&other.server(), &[ca.der.clone(), other.der.clone()], Some(other.pin()));
    refused(&other.server(), &[other.der.clone(), ca.der.clone()], Some(other.pin()));
    refused(&other.server(), from_ref(&ca.der), None);
    refused(&other.server(), &[], None);
    // The same names as the pinned one has, under the other key.
    let names = [dns(&server_name(ca.pin())), uri(&controller_uri(CLUSTER))];
    let key = KeyPair::generate().unwrap();
    let twin = other.sign(&key, &names, ExtendedKeyUsagePurpose::ServerAuth);
    refused(&twin, &[ca.der.clone(), other.der.clone()], Some(other.pin()));
    // A CA certificate with the pinned CA's name and the attacker's key.
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "clusterctl");
    params.distinguished_name.push(DnType::CommonName, ca.pin().to_string());
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let forged = rcgen::CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = names.to_vec();
    let leaf = leaf.signed_by(&key, &forged).unwrap();
    let found = fingerprint_of(forged.der());
    refused(leaf.der(), &[ca.der.clone(), forged.der().clone()], found);
    // Itself.
    refused(&ca.der, from_ref(&ca.der), None);
}

/// T2: a certificate of the pinned CA that is not the controller's makes nobody the controller.
#[test]
fn certificates_for_something_else_are_refused() {
    let ca = Ca::new();
    let key = KeyPair::generate().unwrap();
    let other_purpose = Err(ChainError::OtherPurpose { authority: ca.pin() });
    let node = ca.node(&key, Role::Manager);
    assert_eq!(judge_server(&node, from_ref(&ca.der), &pinned(&[&ca])), other_purpose);
    assert_eq!(judge_server(&node, from_ref(&ca.der), &Trust::FirstUse), other_purpose);
    let nameless = ca.sign(&key, &[uri(&controller_uri(CLUSTER))], ExtendedKeyUsagePurpose::ServerAuth);
    assert_eq!(judge_server(&nameless, from_ref(&ca.der), &pinned(&[&ca])), other_purpose);
    // A node's key signs nothing, although the pinned CA has certified it.
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let id = NodeId::of_public_key(&key.subject_public_key_info());
    params.distinguished_name.push(DnType::CommonName, id.as_str());
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = vec![dns(&server_name(ca.pin()))];
    let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &Issuer::new(params, &key)).unwrap();
    assert!(matches!(
        judge_server(leaf.der(), &[node, ca.der.clone()], &pinned(&[&ca])),
        Err(ChainError::OtherAuthority { .. })
    ));
    assert!(matches!(judge_server(&vec![0; 9].into(), &[], &Trust::FirstUse), Err(ChainError::Unreadable(_))));
    assert_eq!(judge_server(&ca.server(), &[], &Trust::FirstUse), Err(ChainError::NoAuthority));
}

#[test]
fn clients_prove_what_they_hold() {
    let (ca, old, other) = (Ca::new(), Ca::new(), Ca::new());
    let key = KeyPair::generate().unwrap();
    let proven = ProvenKey::new(key.subject_public_key_info());
    let signer = |read: &EndEntityCert<'_>| {
        let old = || old.signed(read).then_some(SignedBy::Replaced);
        ca.signed(read).then_some(SignedBy::Active).or_else(old)
    };
    let judge =
        |certificate: &CertificateDer<'_>, at: Timestamp| judge_client(certificate, CLUSTER, at, signer).unwrap();
    let subject = Subject::Node { id: proven.node_id.clone(), role: Role::Worker };
    let certified = |validity| Proof::Certified { key: proven.clone(), subject: subject.clone(), validity };
    let certificate = ca.node(&key, Role::Worker);
    assert_eq!(judge(&certificate, now()), certified(Validity::Valid));
    let late = now() + SignedDuration::from_hours(300 * 24);
    assert_eq!(judge(&certificate, late), certified(Validity::RenewalDue));
    let limit = now() + CERTIFICATE_LIFE;
    let over = limit + SignedDuration::from_secs(1);
    assert_eq!(judge(&certificate, over), certified(Validity::Outside { limit }));
    assert_eq!(judge(&old.node(&key, Role::Worker), now()), certified(Validity::RenewalDue));
    // The key, and nothing else.
    let only_key = Proof::Key(proven.clone());
    let own = CertificateParams::default().self_signed(&key).unwrap();
    assert_eq!(judge(own.der(), now()), only_key);
    assert_eq!(judge(&other.node(&key, Role::Worker), now()), only_key);
    assert_eq!(ca.judge(&certificate, "c2"), Some(only_key));
    assert_eq!(ca.judge(&vec![0; 9].into(), CLUSTER), None);
}

/// T6: a certificate counts for the node whose key it is, in exactly the form that is issued.
#[test]
fn certificates_do_not_make_one_somebody_else() {
    let ca = Ca::new();
    let key = KeyPair::generate().unwrap();
    let proven = ProvenKey::new(key.subject_public_key_info());
    let name = |id: &NodeId| uri(&uri_of(CLUSTER, &Subject::Node { id: id.clone(), role: Role::Manager }));
    let victim = NodeId::of_public_key(b"victim");
    let admin = uri(&uri_of(CLUSTER, &Subject::Admin { name: "ada".into() }));
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    for (names, usage) in [
        (vec![name(&victim)], client.clone()),
        (vec![name(&proven.node_id), admin.clone()], client.clone()),
        (vec![dns("h1")], client.clone()),
        (vec![], client.clone()),
        (vec![uri(&controller_uri(CLUSTER))], client.clone()),
        (vec![name(&proven.node_id)], ExtendedKeyUsagePurpose::ServerAuth),
        (vec![admin.clone()], ExtendedKeyUsagePurpose::ServerAuth),
    ] {
        let certificate = ca.sign(&key, &names, usage);
        let proof = ca.judge(&certificate, CLUSTER);
        assert_eq!(proof, Some(Proof::Key(proven.clone())), "{names:?}");
    }
    let certificate = ca.sign(&key, &[admin], client);
    let Some(Proof::Certified { subject, .. }) = ca.judge(&certificate, CLUSTER) else {
        panic!("an administrator's certificate is for whatever key it was issued")
    };
    assert_eq!(subject, Subject::Admin { name: "ada".into() });
    // Self-signed with the right name: anybody can make one.
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![name(&proven.node_id)];
    let own = params.self_signed(&key).unwrap();
    assert_eq!(ca.judge(own.der(), CLUSTER), Some(Proof::Key(proven)));
}
