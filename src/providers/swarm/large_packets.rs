//! Whether large packets get through to a manager: where they do not, a join looks exactly as if nobody were there.
//!
//! A link whose MTU is larger than what the way carries, and that is never told so, lets connections be made and loses
//! what follows. So this says hello in TLS with more bytes than any packet holds and looks whether anything comes back,
//! be it a refusal. Nothing of this host is shown, and the answer is not looked at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// For the connection: small packets alone.
const CONNECT: Duration = Duration::from_secs(3);
/// For the answer to the hello; it takes some milliseconds, and a lost packet is sent again several times by then.
const ANSWER: Duration = Duration::from_secs(5);
/// 24 names of 250 bytes: three packets of the usual size.
const NAMES: usize = 24;
const NAME_BYTES: usize = 250;

/// Whether the manager at `IP:port` takes a connection and then answers no large hello.
pub(super) async fn are_lost_to(manager: &str) -> bool {
    let Ok(address) = manager.parse::<SocketAddr>() else { return false };
    let Ok(Ok(stream)) = timeout(CONNECT, TcpStream::connect(address)).await else { return false };
    let Ok(config) = config() else { return false };
    let hello = TlsConnector::from(Arc::new(config)).connect(ServerName::IpAddress(address.ip().into()), stream);
    timeout(ANSWER, hello).await.is_err()
}

fn config() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    // Nobody is trusted: the handshake ends with the answer.
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = vec![vec![b'x'; NAME_BYTES]; NAMES];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// N5.
    #[tokio::test]
    async fn who_answers_anything_gets_them() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let manager = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = vec![0; NAMES * NAME_BYTES];
            stream.read_exact(&mut hello).await.unwrap();
            stream.write_all(b"\x15\x03\x03\x00\x02\x02\x28").await.unwrap();
        });
        assert!(!are_lost_to(&manager).await);
    }

    /// N5: nobody there is another trouble.
    #[tokio::test(start_paused = true)]
    async fn who_takes_connections_and_never_answers_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let manager = listener.local_addr().unwrap().to_string();
        let silent = tokio::spawn(async move {
            let accepted = listener.accept().await;
            std::future::pending::<()>().await;
            drop(accepted);
        });
        assert!(are_lost_to(&manager).await);
        silent.abort();
        assert!(silent.await.is_err());
        assert!(!are_lost_to(&manager).await, "nobody listens");
        assert!(!are_lost_to("h1:2377").await, "no address");
    }
}
