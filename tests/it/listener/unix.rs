//! The unix socket for local administration.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clusterctl::controller::listener::ListenError;
use tokio::net::UnixStream;

use super::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn at(path: &Path) -> ListenOptions {
    ListenOptions { unix: Some(path.to_owned()), ..ListenOptions::default() }
}

/// The socket is for root and the server's own user, speaks the same protocol, and goes with the listener.
#[tokio::test]
async fn answers_local_administration() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("run/clusterctl.sock");
    let door = Door::open(at(&path)).await;
    assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o755, 0o600));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let answer = exchange::call(&mut stream, &named("here"), &Deadlines::default()).await.unwrap();
    assert_eq!(exchange::decode::<Value>(&answer).unwrap()["Local"], true);
    assert_eq!(door.ask(&named("there")).await["Local"], false);
    door.close().await;
    assert!(!path.exists());
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
}

/// Local administration gets in when strangers hold every place.
#[tokio::test]
async fn is_not_crowded_out() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("clusterctl.sock");
    let door = Door::open(ListenOptions { max_connections: 1, ..at(&path) }).await;
    let mut busy = door.connect().await;
    busy.write_all(br#"{"hostname":"busy","action":"hold"}"#).await.unwrap();
    until("the place is taken", || door.echo.waiting.load(Ordering::SeqCst) == 1).await;
    let mut stream = UnixStream::connect(&path).await.unwrap();
    exchange::call(&mut stream, &named("here"), &Deadlines::default()).await.unwrap();
    door.echo.release.add_permits(1);
    door.close().await;
}

#[tokio::test]
async fn replaces_only_a_socket_that_nobody_answers() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("clusterctl.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let door = Door::open(at(&path)).await;
    assert!(matches!(Listener::bind(&at(&path)).await, Err(ListenError::SocketInUse(_))));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    exchange::call(&mut stream, &named("here"), &Deadlines::default()).await.unwrap();
    door.close().await;
    std::fs::write(&path, "a file").unwrap();
    assert!(matches!(Listener::bind(&at(&path)).await, Err(ListenError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let door = Door::open(ListenOptions::default()).await;
    let error =
        Listener::bind(&ListenOptions { tcp: vec![door.address], ..ListenOptions::default() }).await.unwrap_err();
    assert!(error.to_string().contains(&door.address.to_string()), "{error}");
    door.close().await;
}
