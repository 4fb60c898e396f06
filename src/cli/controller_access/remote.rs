//! One exchange with a controller on another host, as an administrator: TLS with the cluster's CA pinned and the
//! administrator's certificate shown. Never in clear text.

use serde_json::Value;

use crate::cli::admin_file::AdminFile;
use crate::config::MasterAddress;
use crate::protocol::registration::RawRequest;

/// Why the controller elsewhere did not answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum RemoteError {
    /// Nothing was sent.
    #[error("this version cannot speak TLS to the controller at {controller} as the administrator `{name}`")]
    NoTls { controller: MasterAddress, name: String },
}

/// Asks the controller at `controller` as the administrator of `admin`.
///
/// # Errors
/// See [`RemoteError`].
pub(super) async fn ask(
    controller: &MasterAddress,
    admin: &AdminFile,
    _request: &RawRequest,
) -> Result<Value, RemoteError> {
    Err(RemoteError::NoTls { controller: controller.clone(), name: admin.name.clone() })
}
