//! Certificates and TLS: the cluster's CA, the controller's side of a connection and the node's.
//!
//! Whom a certificate makes somebody is decided here ([`Proof`](crate::cluster::Proof)); what somebody may do is for
//! the controller's state. Nothing cryptographic is written here: rcgen makes certificates, webpki judges them, rustls
//! speaks TLS, all on aws-lc-rs.
//!
//! The surprising part is how a CA is replaced. Nothing is signed across: while two CAs are trusted, the client says in
//! its server name which one it pins, and the server shows its certificate of that one.

pub mod authority;
mod certificate;
pub mod chain;
pub mod client;
pub mod credentials;
mod issue;
pub mod lifetime;
pub mod names;
pub mod presented;
mod provider;
pub mod server;

pub use authority::{Authority, AuthorityError};
pub use certificate::authorities_in;
pub use chain::{ChainError, Trust};
pub use client::{TlsClientError, connect};
pub use credentials::{ClientIdentity, CredentialsError};
pub use issue::{IssueError, Issued};
pub use lifetime::Lifetime;
pub use presented::{ClockError, Presented};
pub use server::ServerTls;
