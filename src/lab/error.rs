//! Why a lab command failed, in the words of the part that did.

use std::io;
use std::path::Path;

use super::name::{HostId, LabName};
use super::{cgroups, host, leftovers, lock, network, preflight, processes};
use crate::providers::command::CommandError;

/// Why a lab command failed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error(transparent)]
    Unfit(#[from] preflight::Unfit),
    #[error(transparent)]
    NoHierarchy(#[from] cgroups::NoHierarchy),
    #[error(transparent)]
    Lock(#[from] lock::LockError),
    #[error(transparent)]
    Network(#[from] network::NetworkError),
    #[error(transparent)]
    Start(#[from] host::StartError),
    #[error(transparent)]
    NotReady(#[from] host::NotReady),
    #[error(transparent)]
    Clear(#[from] leftovers::ClearError),
    #[error(transparent)]
    Survivors(#[from] processes::Survivors),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("there is no lab {0}: `clusterctl lab up --name {0}`")]
    NoLab(LabName),
    #[error("lab {name} is up with {hosts} hosts: `clusterctl lab down --name {name}` first")]
    OtherSize { name: LabName, hosts: u8 },
    #[error("lab {lab} has no host {host}, only h1 to h{hosts}")]
    NoHost { lab: LabName, host: HostId, hosts: u8 },
    #[error("host {host} is off: `clusterctl lab start {host} --name {lab}`")]
    Off { lab: LabName, host: HostId },
    #[error("host {0} is on")]
    On(HostId),
    #[error("ended by {0}")]
    Interrupted(&'static str),
    #[error("cannot read or write {path}")]
    Io {
        path: String,
        #[source]
        source: io::Error,
    },
}

/// Names the file that an error is about.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> LabError {
    let path = path.display().to_string();
    move |source| LabError::Io { path, source }
}
