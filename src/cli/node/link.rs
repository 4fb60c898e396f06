//! The way to the master, and whom this host takes for it.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use crate::causes::chain;
use crate::cli::{Exit, Failure, this_host};
use crate::clock::SystemClock;
use crate::cluster::{JoinToken, KeyFingerprint};
use crate::config::{MasterAddress, MasterHost, Settings};
use crate::controller::serve::AUTHORITY_DIR;
use crate::ipdetect::interfaces;
use crate::nodeagent::client::Link;
use crate::nodeagent::identity::NodeIdentity;
use crate::nodeagent::keyring::Keyring;
use crate::pki::{Authority, Trust};

/// A token, and whether it was given with this very command or lies in the settings since whenever.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) token: JoinToken,
    pub(super) now: bool,
}

/// The way to `master`, by what this host keeps in `directory`.
///
/// # Errors
/// If what is kept cannot be read or is damaged.
pub(super) fn link(
    settings: &Settings,
    master: MasterAddress,
    directory: &Path,
    identity: &NodeIdentity,
    given: Option<&Given>,
) -> Result<Link, Failure> {
    let unusable = |error| {
        Failure::new(Exit::StorageUnsafe, error)
            .reason("keyring")
            .hint("run as root; a damaged file is made anew by a join with a token, after it was moved away")
    };
    let keyring = Keyring::at(directory);
    let known = keyring.authorities().map_err(unusable)?;
    let certificate = keyring.certificate().map_err(unusable)?;
    // A certificate that cannot be used is asked for again; the key alone says who this is.
    let shown = match certificate.map(|certificate| identity.credentials(Some(&certificate))) {
        Some(Ok(shown)) => Ok(shown),
        Some(Err(error)) => {
            tracing::warn!("this host's certificate is asked for again: {}", chain(&error));
            identity.credentials(None)
        }
        None => identity.credentials(None),
    };
    let shown = shown.map_err(|error| Failure::new(Exit::Bug, error).reason("node-key"))?;
    let pin = given.map(|given| (given.token.pin, given.now));
    let trust = trust(pin, own_authority(settings, &master), known);
    Ok(Link::new(master, trust, shown, Arc::new(SystemClock)).keeping(keyring, identity.clone()))
}

/// Whom to take for the master: whom the token names that was just given; on the master's own host, whose CA lies here;
/// whom this host has met before; whom a token of the settings names; else who answers first.
fn trust(token: Option<(KeyFingerprint, bool)>, own: Option<KeyFingerprint>, known: Vec<KeyFingerprint>) -> Trust {
    match (token, own) {
        (Some((pin, true)), _) => Trust::Pinned(vec![pin]),
        (_, Some(own)) => Trust::Pinned(vec![own]),
        // What was met since knows of a CA that was replaced; the token in the settings does not.
        _ if !known.is_empty() => Trust::Pinned(known),
        (Some((pin, false)), None) => Trust::Pinned(vec![pin]),
        (None, None) => Trust::FirstUse,
    }
}

/// The CA of the controller of this host, if it is the one at `master`.
fn own_authority(settings: &Settings, master: &MasterAddress) -> Option<KeyFingerprint> {
    let MasterHost::Ip(IpAddr::V4(address)) = &master.host else { return None };
    let here = address.is_loopback()
        || interfaces::list().is_ok_and(|host| host.interfaces.iter().any(|found| found.address == *address));
    // One that cannot be read is the controller's to complain about.
    let authority = || Authority::load(&this_host::controller_dir(settings).join(AUTHORITY_DIR)).ok().flatten();
    if here { authority().map(|authority| authority.fingerprint()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_word_counts() {
        let print = |name: &str| KeyFingerprint::of_public_key(name.as_bytes());
        let (token, own, met) = (print("token"), print("own"), print("met"));
        let pinned = |pin| Trust::Pinned(vec![pin]);
        assert_eq!(trust(None, None, Vec::new()), Trust::FirstUse);
        assert_eq!(trust(None, None, vec![met]), pinned(met));
        assert_eq!(trust(Some((token, true)), Some(own), vec![met]), pinned(token));
        assert_eq!(trust(Some((token, false)), None, Vec::new()), pinned(token));
        // The CA may have been replaced since somebody wrote the token into the settings.
        assert_eq!(trust(Some((token, false)), None, vec![met]), pinned(met));
        // On the master's own host nobody has to be met, also after the cluster was made anew.
        assert_eq!(trust(None, Some(own), vec![met]), pinned(own));
        assert_eq!(trust(Some((token, false)), Some(own), Vec::new()), pinned(own));
    }
}
