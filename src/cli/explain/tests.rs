//! Whose hints an error gets: a host that joins and an administrator can do different things about the same one.

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::pki::ChainError;

fn address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 7000))
}

fn tls(source: TlsClientError) -> ClientError {
    ClientError::Tls { address: address(), source }
}

fn no_connection() -> ClientError {
    ClientError::Connect { address: address(), source: std::io::ErrorKind::ConnectionRefused.into() }
}

fn errors() -> [(ClientError, Exit, &'static str); 4] {
    [
        (tls(TlsClientError::Chain(ChainError::NoAuthority)), Exit::Auth, "other-authority"),
        (tls(TlsClientError::OldVersion), Exit::Incompatible, "tls-version"),
        (tls(TlsClientError::ClearText), Exit::InvalidInput, "not-a-controller"),
        (no_connection(), Exit::Waiting, "controller-unreachable"),
    ]
}

#[test]
fn administrators_are_not_told_to_join() {
    for (error, exit, reason) in errors() {
        let failure = remote(RemoteError::Client(error));
        assert_eq!((failure.exit(), &failure.to_json()["reason"]), (exit, &reason.into()));
        let shown = failure.report();
        assert!(!shown.contains("join") && !shown.contains("--master"), "{shown}");
        assert!(reason == "tls-version" || shown.contains("--controller"), "{shown}");
    }
}

/// The same errors of a join keep their exit codes, and its hints.
#[test]
fn hosts_are_told_how_to_join() {
    for (error, exit, reason) in errors() {
        let failure = conversation(ConversationError::Unreachable(error));
        assert_eq!((failure.exit(), &failure.to_json()["reason"]), (exit, &reason.into()));
        assert!(!failure.report().contains("--controller"), "{}", failure.report());
    }
    let shown = unreachable(tls(TlsClientError::Chain(ChainError::NoAuthority))).report();
    assert!(shown.contains("/var/lib/clusterctl/node/authorities") && shown.contains("new token"), "{shown}");
}

#[test]
fn who_waits_for_an_approval_is_told_how_it_is_given() {
    let ended = |reason: &str| {
        let error = ConversationError::TimedOut {
            reason: reason.to_owned(),
            message: "m".to_owned(),
            after: Duration::from_secs(1),
        };
        let failure = conversation(error);
        assert_eq!((failure.exit(), &failure.to_json()["reason"]), (Exit::Waiting, &reason.into()));
        failure.report()
    };
    let shown = ended("pending-approval");
    assert!(shown.contains("clusterctl request approve ID") && !shown.contains("--timeout"), "{shown}");
    assert!(ended("below-minimum").contains("--timeout"));
}
