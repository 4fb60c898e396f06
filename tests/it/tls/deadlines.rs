//! T7: who is slow in the handshake, or after it, is dropped at the one deadline for all of it.

use std::time::Instant;

use clusterctl::pki;
use clusterctl::protocol::exchange::Limits;

use super::*;

const DEADLINE: Duration = Duration::from_millis(300);

async fn impatient(receive: Duration) -> Door {
    let limits = Limits { receive, ..Limits::default() };
    Door::open_with(ListenOptions { limits, ..ListenOptions::default() }).await
}

/// Sends these bytes one by one, slowly, until the other side ends it; how long that took and what it said.
async fn trickle(mut stream: TcpStream, bytes: Vec<u8>) -> (Duration, Vec<u8>) {
    let start = Instant::now();
    let (mut reading, mut writing) = stream.split();
    let said = async {
        let mut said = Vec::new();
        // A reset is an end as well.
        within(reading.read_to_end(&mut said)).await.ok();
        said
    };
    let sending = async {
        for byte in bytes {
            if writing.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::future::pending().await
    };
    let said = tokio::select! {
        said = said => said,
        () = sending => unreachable!("it goes on"),
    };
    (start.elapsed(), said)
}

#[tokio::test]
async fn slow_handshakes_are_dropped() {
    let door = impatient(DEADLINE).await;
    let hello = client_hello().await;
    // Nothing at all, half of it, all of it and then nothing, one byte after the other.
    let mut silent = door.connect().await;
    let mut half = door.connect().await;
    half.write_all(&hello[..hello.len() / 2]).await.unwrap();
    let mut unfinished = door.connect().await;
    unfinished.write_all(&hello).await.unwrap();
    let slow = tokio::spawn(trickle(door.connect().await, hello.clone()));
    assert_eq!(rest(&mut silent).await, b"", "nothing is said in clear text");
    assert_eq!(rest(&mut half).await, b"");
    assert_eq!(rest(&mut unfinished).await[0], 0x16, "the controller's part of the handshake");
    let (took, said) = within(slow).await.unwrap();
    assert_eq!(said, b"");
    assert!(took >= DEADLINE.mul_f64(0.9) && took < DEADLINE * 10, "{took:?}");
    until("all are gone", || door.monitor.status().open == 0).await;
    let status = door.monitor.status();
    assert_eq!((status.refused["request-timeout"], status.refused["tls-handshake-timeout"]), (1, 3));
    assert_eq!(status.limits["receive-deadline"], 4);
    assert_eq!((status.handshakes, status.answered), (0, 0));
    door.close().await;
}

/// The handshake gives no new deadline for the request.
#[tokio::test]
async fn slow_requests_after_a_handshake_are_told() {
    let receive = Duration::from_secs(1);
    let door = impatient(receive).await;
    let start = Instant::now();
    let stream = door.connect().await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    // Much of the time passes before the handshake.
    tokio::time::sleep(receive.mul_f64(0.7)).await;
    let (mut stream, _) = pki::connect(stream, &door.pin(), &Node::new().shows(), deadline).await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(&mut stream);
    let told = async {
        let mut bytes = Vec::new();
        within(reading.read_to_end(&mut bytes)).await.unwrap();
        serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()
    };
    let sending = async {
        writing.write_all(b"{\"hostname\":\"").await.unwrap();
        while writing.write_all(b"x").await.is_ok() && writing.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        told = told => assert_eq!(told["Code"], "incomplete-request", "over TLS it can be told why"),
        () = sending => unreachable!(),
    }
    let took = start.elapsed();
    assert!(took >= receive.mul_f64(0.9) && took < receive.mul_f64(1.6), "one deadline for both: {took:?}");
    door.close().await;
}

/// Many who never finish their handshake do not keep a node out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_handshakes_keep_nobody_out() {
    let options = ListenOptions { max_connections: 50, per_address: 50, ..ListenOptions::default() };
    let door = Door::open_with(options).await;
    let hello = client_hello().await;
    let mut open = Vec::new();
    for n in 0..200 {
        let mut stream = door.connect().await;
        stream.write_all(&hello[..n % hello.len()]).await.unwrap();
        open.push(stream);
    }
    for _ in 0..10 {
        door.ask(&Node::new(), door.pin()).await.unwrap();
    }
    let status = door.monitor.status();
    assert!(status.limits["connections-per-address"] >= 150, "{status:?}");
    assert_eq!(status.answered, 10);
    assert_eq!(rest(&mut open[0]).await, b"", "those that had to go are told nothing in clear text");
    drop(open);
    until("all places are free", || door.monitor.status().open == 0).await;
    door.close().await;
}

/// A request of a handshake that breaks off in every place leaves nothing behind.
#[tokio::test]
async fn broken_handshakes_leave_nothing_behind() {
    let door = Door::open().await;
    let hello = client_hello().await;
    for end in (0..hello.len()).step_by(97).chain([hello.len()]) {
        let mut stream = door.connect().await;
        stream.write_all(&hello[..end]).await.unwrap();
        stream.shutdown().await.unwrap();
        drop(stream);
    }
    until("all places are free", || door.monitor.status().open == 0 && door.monitor.status().accepted > 10).await;
    // Rubbish in a record of the handshake.
    let mut stream = door.connect().await;
    stream.write_all(&[0x16, 3, 1, 0, 4, 1, 0, 0, 99]).await.unwrap();
    stream.write_all(&[0x55; 512]).await.unwrap();
    let said = rest(&mut stream).await;
    assert!(said.first().is_none_or(|first| *first == 0x15), "an alert at most: {said:?}");
    door.ask(&Node::new(), door.pin()).await.unwrap();
    door.close().await;
}
