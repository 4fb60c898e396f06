//! The CA on disk and over time.

use std::os::unix::fs::PermissionsExt;

use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::pem::PemObject;

use super::*;
use crate::cluster::Validity;
use crate::pki::chain::{Trust, judge_server};

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(days * 24)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn node() -> ProvenKey {
    ProvenKey::new(KeyPair::generate().unwrap().subject_public_key_info())
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[test]
fn is_made_once_and_kept_private() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("authority");
    assert!(Authority::load(&dir).unwrap().is_none());
    let made = Authority::create(&dir, "c1", now()).unwrap();
    assert_eq!((mode(&dir), mode(&dir.join(FILE))), (0o700, 0o600));
    let again = Authority::create(&dir, "c1", now() + days(1)).unwrap();
    assert_eq!((again.fingerprint(), again.bundle_pem(now())), (made.fingerprint(), made.bundle_pem(now())));
    assert_eq!(Authority::load(&dir).unwrap().unwrap().fingerprint(), made.fingerprint());
    let description = made.describe(now());
    assert_eq!(description.active.fingerprint, made.fingerprint());
    assert_eq!(description.active.lifetime.not_after, now() + days(3650));
    assert_eq!((description.previous, description.server_not_after), (None, None));
    let error = Authority::create(&dir, "c2", now()).unwrap_err();
    assert!(matches!(&error, AuthorityError::OtherCluster { found, .. } if found == "c1"), "{error}");
}

#[test]
fn many_that_make_it_at_once_have_the_same() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("authority");
    let all: Vec<KeyFingerprint> = std::thread::scope(|scope| {
        let make = || Authority::create(&dir, "c1", now()).unwrap().fingerprint();
        let made: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        made.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(all.iter().all(|fingerprint| *fingerprint == all[0]));
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "nothing is left beside it");
}

/// A damaged file is named and stays as it is.
#[test]
fn is_never_replaced_for_being_damaged() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    drop(Authority::create(dir, "c1", now()).unwrap());
    let path = dir.join(FILE);
    let whole = std::fs::read_to_string(&path).unwrap();
    let other = {
        let other = tempfile::tempdir().unwrap();
        drop(Authority::create(other.path(), "c1", now()).unwrap());
        let text = std::fs::read_to_string(other.path().join(FILE)).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let mut swapped: serde_json::Value = serde_json::from_str(&whole).unwrap();
    swapped["active"]["key"] = other["active"]["key"].clone();
    for damaged in [String::new(), whole[..whole.len() / 2].to_owned(), "{}".to_owned(), swapped.to_string()] {
        std::fs::write(&path, &damaged).unwrap();
        for outcome in [Authority::load(dir).map(drop), Authority::create(dir, "c1", now()).map(drop)] {
            let error = outcome.unwrap_err();
            assert!(matches!(error, AuthorityError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains(FILE), "{error}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
    }
    std::fs::write(&path, r#"{"version":2,"keys":[]}"#).unwrap();
    assert!(matches!(Authority::load(dir), Err(AuthorityError::Newer { version: 2, .. })));
}

/// The first version of the file, which every later program has to read.
#[test]
fn reads_the_first_version_of_its_file() {
    let scratch = tempfile::tempdir().unwrap();
    let fixture = include_str!("../../../tests/fixtures/authority-v1.json");
    std::fs::write(scratch.path().join(FILE), fixture).unwrap();
    let read = Authority::load(scratch.path()).unwrap().unwrap();
    let description = read.describe(now() + days(1));
    let (previous, until) = description.previous.unwrap();
    assert_eq!((read.cluster_id(), until), ("c1", now() + days(10)));
    insta::assert_snapshot!(description.active.fingerprint, @"dwrqzsmyplt222dyoq5rze6ilmnyqn3or5bchjyqwimkkbpssibq");
    insta::assert_snapshot!(previous.fingerprint, @"sua7wc3lwin664t4vya7tcfcwbhdmggomzoos4lgm6k5wgx76ueq");
}

/// The overlap: both CAs count, each client is shown what it pins, new certificates are of the new one.
#[test]
fn is_replaced_with_an_overlap() {
    let scratch = tempfile::tempdir().unwrap();
    let authority = Authority::create(scratch.path(), "c1", now()).unwrap();
    let (old, node) = (authority.fingerprint(), node());
    let before = authority.issue_node(&node, Role::Worker, now()).unwrap();
    let rotated = authority.rotate(days(10), now()).unwrap();
    let new = authority.fingerprint();
    assert_eq!(rotated, Rotated { active: new, previous: old, trusted_until: now() + days(10) });
    assert_ne!(new, old);
    // What counts is on disk.
    let reloaded = Authority::load(scratch.path()).unwrap().unwrap();
    assert_eq!(mode(&scratch.path().join(FILE)), 0o600);
    for authority in [&authority, &reloaded] {
        let shown = |asked, at| {
            let key = authority.server_certificate(asked, at).unwrap();
            judge_server(&key.cert[0], &key.cert[1..], &Trust::FirstUse).unwrap().authority
        };
        let validity = |issued: &Issued, at| match authority.judge_client(&der(&issued.pem), at) {
            Some(Proof::Certified { validity, .. }) => Some(validity),
            _ => None,
        };
        let during = now() + days(9);
        assert_eq!((shown(Some(old), during), shown(Some(new), during), shown(None, during)), (old, new, new));
        assert_eq!(validity(&before, during), Some(Validity::RenewalDue));
        let renewed = authority.issue_node(&node, Role::Worker, during).unwrap();
        assert_eq!(validity(&renewed, during), Some(Validity::Valid));
        assert_eq!(authority.bundle_pem(during).matches("BEGIN").count(), 2);
        assert_eq!(der(&authority.bundle_pem(during)), authority.server_certificate(None, during).unwrap().cert[1]);
        assert_eq!(authority.describe(during).previous.unwrap().1, now() + days(10));
        let after = now() + days(10);
        assert_eq!((shown(Some(old), after), shown(Some(new), after)), (new, new));
        assert_eq!((validity(&before, after), validity(&renewed, after)), (None, Some(Validity::Valid)));
        assert_eq!(authority.bundle_pem(after).matches("BEGIN").count(), 1);
        assert_eq!(authority.describe(after).previous, None);
    }
    // One at a time; without an overlap everything older ends.
    let error = authority.rotate(days(10), now() + days(1)).unwrap_err();
    assert!(matches!(error, AuthorityError::RotationUnderWay { until } if until == now() + days(10)), "{error}");
    assert_eq!(authority.fingerprint(), new);
    authority.rotate(SignedDuration::ZERO, now() + days(1)).unwrap();
    assert_eq!(authority.describe(now() + days(1)).previous, None);
    assert!(matches!(authority.judge_client(&der(&before.pem), now() + days(1)), Some(Proof::Key(_))));
    authority.rotate(days(1), now() + days(2)).unwrap();
}

/// A replacement that cannot be written is none.
#[test]
fn a_replacement_counts_once_it_is_on_disk() {
    let scratch = tempfile::tempdir().unwrap();
    let authority = Authority::create(scratch.path(), "c1", now()).unwrap();
    let before = (authority.fingerprint(), authority.bundle_pem(now()));
    let path = scratch.path().join(FILE);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(authority.rotate(days(1), now()), Err(AuthorityError::Io { .. })));
    assert_eq!((authority.fingerprint(), authority.bundle_pem(now())), before);
}

/// The controller's own certificate is made once, and again before it ends or when a clock leaves it.
#[test]
fn the_controllers_certificate_renews_itself() {
    let scratch = tempfile::tempdir().unwrap();
    let authority = Authority::create(scratch.path(), "c1", now()).unwrap();
    let at = |at| authority.server_certificate(None, at).unwrap().cert[0].clone();
    let first = at(now());
    assert_eq!(at(now() + days(240)), first);
    assert_eq!(authority.describe(now()).server_not_after, Some(now() + days(365)));
    let second = at(now() + days(244));
    assert_ne!(second, first);
    assert_eq!(authority.describe(now()).server_not_after, Some(now() + days(244 + 365)));
    assert_eq!(at(now() + days(245)), second);
    assert_ne!(at(now()), second, "it has not begun");
    // Shortly before the CA's own end there is nothing better to be had, and afterwards nothing at all.
    let end = now() + days(3650);
    let last = at(end - days(1));
    assert_eq!(at(end), last);
    assert!(matches!(authority.server_certificate(None, end + days(1)), Err(IssueError::AuthorityEnded(_))));
}

#[test]
fn keys_are_not_shown() {
    let scratch = tempfile::tempdir().unwrap();
    let authority = Authority::create(scratch.path(), "c1", now()).unwrap();
    let text = format!("{authority:?}");
    let file: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(scratch.path().join(FILE)).unwrap()).unwrap();
    let key = file["active"]["key"].as_str().unwrap().lines().nth(1).unwrap();
    assert!(!text.contains(key) && !text.contains("PRIVATE"), "{text}");
    assert!(text.contains(&authority.fingerprint().to_string()), "{text}");
}

#[test]
fn administrators_get_certificates_too() {
    let scratch = tempfile::tempdir().unwrap();
    let authority = Authority::create(scratch.path(), "c1", now()).unwrap();
    let key = node();
    let issued = authority.issue_admin(&key, "ada", now()).unwrap();
    let proof = authority.judge_client(&der(&issued.pem), now()).unwrap();
    let subject = Subject::Admin { name: "ada".into() };
    assert_eq!(proof, Proof::Certified { key: key.clone(), subject, validity: Validity::Valid });
    assert!(matches!(authority.issue_admin(&key, "a/b", now()), Err(IssueError::Name(_))));
}
