//! One exchange with a controller on another host, as an administrator: TLS with the cluster's CA pinned and the
//! administrator's certificate shown. Never in clear text.

use std::sync::Arc;

use serde_json::Value;

use crate::cli::admin_file::AdminFile;
use crate::clock::SystemClock;
use crate::config::MasterAddress;
use crate::nodeagent::client::{self, ClientError, Link};
use crate::pki::{ClientIdentity, CredentialsError, Trust, authorities_in};
use crate::protocol::registration::RawRequest;

/// Why the controller elsewhere did not answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum RemoteError {
    /// Nothing was contacted.
    #[error("the credentials of the administrator `{name}` cannot be used")]
    Credentials {
        name: String,
        #[source]
        source: CredentialsError,
    },
    /// Nothing was contacted: without a CA, anybody who answers would be believed.
    #[error("the file of the administrator `{name}` names no CA")]
    NoAuthority { name: String },
    #[error("the controller cannot be asked")]
    Client(#[from] ClientError),
}

/// Asks the controller at `controller` as the administrator of `admin`.
///
/// # Errors
/// See [`RemoteError`].
pub(super) async fn ask(
    controller: &MasterAddress,
    admin: &AdminFile,
    request: &RawRequest,
) -> Result<Value, RemoteError> {
    let unusable = |source| RemoteError::Credentials { name: admin.name.clone(), source };
    let identity = ClientIdentity::from_pem(&admin.private_key, &admin.certificate).map_err(unusable)?;
    let authorities = authorities_in(&admin.authorities);
    if authorities.is_empty() {
        return Err(RemoteError::NoAuthority { name: admin.name.clone() });
    }
    let link = Link::new(controller.clone(), Trust::Pinned(authorities), identity, Arc::new(SystemClock));
    Ok(client::ask_value(&link, request).await?)
}
