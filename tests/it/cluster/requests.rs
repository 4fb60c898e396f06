//! What arrives on the controller's port and is no request: one error each, and the next client is served.

use super::{Cluster, exchange};

/// Covers S2-50 and T8 on the real port, and that the registered nodes notice nothing.
pub(super) fn garbage_is_answered_and_survived(cluster: &Cluster) {
    let address = cluster.lab.host_ip(1);
    let before = cluster.status()["NodesTotal"].clone();
    let long = format!("{{\"hostname\":\"{}\"}}", "a".repeat(64 * 1024 + 1));
    let cases: [(&str, &[u8], &str); 6] = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: h1\r\n\r\n", "not-json"),
        ("binary", b"\x00\xff\xfe\x80\x01", "not-json"),
        ("64 KiB and more", long.as_bytes(), "request-too-large"),
        ("half a request", b"{\"hostname\":\"h", "incomplete-request"),
        ("another type", b"[1,2,3]", "not-json"),
        ("an unknown action", b"{\"hostname\":\"h9\",\"action\":\"explode\"}", "invalid-request"),
    ];
    std::thread::scope(|scope| {
        for (what, bytes, code) in cases {
            scope.spawn(move || {
                let reply = exchange(address, bytes);
                assert_eq!((&reply["Status"], &reply["Code"]), (&"error".into(), &code.into()), "{what}: {reply}");
                for field in ["Message", "Hint"] {
                    assert!(reply[field].as_str().is_some_and(|text| !text.is_empty()), "{what}: {reply}");
                }
            });
        }
        // An honest client beside them.
        scope.spawn(|| cluster.nothing_to_do(2));
    });
    assert_eq!(cluster.status()["NodesTotal"], before);
    cluster.nothing_to_do(1);
}

/// Who asks for the administration's view on the network does not get it.
pub(super) fn administration_is_not_on_the_network(cluster: &Cluster) {
    for action in ["status", "nodes", "remove"] {
        let request = format!("{{\"action\":\"{action}\",\"hostname\":\"h2\"}}");
        let reply = cluster.send(request.as_bytes());
        assert_eq!(reply["Code"], "not-permitted", "{action}: {reply}");
    }
    assert!(!cluster.row("h2").is_null());
}
