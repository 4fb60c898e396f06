use proptest::prelude::*;

use super::*;

fn limits() -> Limits {
    Limits::new(&LimitSettings::default())
}

fn address(n: u32) -> IpAddr {
    std::net::Ipv4Addr::from(n).into()
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn id(n: u8) -> ShortId {
    ShortId::of_bytes([n; 5])
}

/// T23: a burst, then the rate, and each node for itself.
#[test]
fn a_node_has_ten_and_then_one_a_second() {
    let mut limits = limits();
    let (node, other) = (NodeId::of_public_key(b"a"), NodeId::of_public_key(b"b"));
    let mut allowed = 0;
    for ms in 0..10_000 {
        allowed += u32::from(limits.node(&node, millis(ms)).is_ok());
    }
    assert_eq!(allowed, 10 + 9);
    assert_eq!(limits.counters().node_requests, 10_000 - 19);
    assert!(limits.node(&other, millis(10_000)).is_ok());
    let too_soon = limits.node(&node, millis(9_999)).unwrap_err();
    assert!(too_soon.retry_after <= Duration::from_secs(1) && !too_soon.retry_after.is_zero(), "{too_soon:?}");
    // Who waits as long as he is told is let through.
    assert!(limits.node(&node, millis(9_999) + too_soon.retry_after + millis(1)).is_ok());
}

#[test]
fn an_address_has_a_hundred_and_then_twenty_a_second() {
    let mut limits = limits();
    let allowed = (0..5_000).filter(|ms| limits.stranger(address(1), millis(*ms)).is_ok()).count();
    assert!((199..=200).contains(&allowed), "{allowed}");
    assert!(limits.stranger(address(2), millis(5_000)).is_ok());
}

/// T5: the twentieth wrong token blocks its id from that address, and nobody else.
#[test]
fn wrong_tokens_block_for_a_minute() {
    let mut limits = limits();
    for n in 0..20 {
        assert!(limits.may_try_token(address(1), &id(1), millis(n)).is_ok(), "{n}");
        limits.token_failed(address(1), &id(1), millis(n));
    }
    let blocked = limits.may_try_token(address(1), &id(1), millis(20)).unwrap_err();
    assert_eq!((blocked.limit, blocked.log), (Limit::TokenFailures, Some(1)));
    assert!(blocked.retry_after > Duration::from_secs(59));
    assert!(limits.may_try_token(address(1), &id(2), millis(20)).is_ok(), "another token behind the same router");
    assert!(limits.may_try_token(address(2), &id(1), millis(20)).is_ok(), "the token from elsewhere");
    assert!(limits.may_try_token(address(1), &id(1), Duration::from_secs(61)).is_ok());
    assert_eq!((limits.counters().token_failures, limits.counters().blocks), (1, 1));
}

/// T5: who tries many ids is stopped by his address.
#[test]
fn many_ids_do_not_help() {
    let mut limits = limits();
    let mut tried = 0;
    for n in 0..=255 {
        if limits.may_try_token(address(1), &id(n), millis(u64::from(n))).is_ok() {
            tried += 1;
            limits.token_failed(address(1), &id(n), millis(u64::from(n)));
        }
    }
    assert_eq!(tried, 200);
}

#[test]
fn slow_failures_do_not_add_up() {
    let mut limits = limits();
    for n in 0..100 {
        let now = Duration::from_secs(n * 4);
        assert!(limits.may_try_token(address(1), &id(1), now).is_ok());
        limits.token_failed(address(1), &id(1), now);
    }
}

#[test]
fn a_line_for_many() {
    let mut limits = limits();
    let lines: Vec<u64> = (0..25_000)
        .filter_map(|ms| limits.stranger(address(1), millis(ms)).err())
        .filter_map(|too_soon| too_soon.log)
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0], 1);
    assert!(lines[1] > 9_000, "{lines:?}");
}

#[test]
fn one_ipv6_host_is_one_source() {
    let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
    assert_eq!(source("fd00:1:2:3::1"), source("fd00:1:2:3:ffff::2"));
    assert_ne!(source("fd00:1:2:3::1"), source("fd00:1:2:4::1"));
    assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
}

/// However many there are, the tables stay as they are meant to.
#[test]
fn tables_are_bounded() {
    let mut limits = limits();
    let many = u32::try_from(TABLE * 3).unwrap();
    for n in 0..many {
        assert!(limits.stranger(address(n), millis(1)).is_ok());
        limits.token_failed(address(n), &id(1), millis(1));
    }
    for held in [
        limits.requests.buckets.young.len() + limits.requests.buckets.old.len(),
        limits.failures.tallies.young.len() + limits.failures.tallies.old.len(),
        limits.failures_of_address.tallies.young.len() + limits.failures_of_address.tallies.old.len(),
    ] {
        assert!(held <= 2 * TABLE, "{held}");
    }
    // Who asks all the while is not forgotten.
    let node = NodeId::of_public_key(b"a");
    for n in 0..many {
        drop(limits.node(&NodeId::of_public_key(&n.to_be_bytes()), millis(1)));
        if n % 1_000 == 0 {
            drop(limits.node(&node, millis(1)));
        }
    }
    assert!(limits.node(&node, millis(1)).is_err());
}

proptest! {
    /// In no stretch of time does more get through than burst and rate allow, whatever the order of arrivals.
    #[test]
    fn no_stretch_lets_more_through(mut arrivals in proptest::collection::vec(0..20_000_u64, 1..300)) {
        arrivals.sort_unstable();
        let mut buckets = Buckets::new(2, 5);
        let through: Vec<u64> = arrivals.into_iter().filter(|ms| buckets.take((), millis(*ms)).is_ok()).collect();
        for (n, from) in through.iter().enumerate() {
            for (m, to) in through.iter().enumerate().skip(n) {
                let most = 5.0 + 2.0 * (millis(to - from).as_secs_f64()) + 1e-6;
                prop_assert!((m - n + 1) as f64 <= most, "{} in {} ms", m - n + 1, to - from);
            }
        }
    }
}

/// A limit that is held elsewhere is counted each time and said once in ten seconds.
#[test]
fn other_limits_are_counted_and_said_now_and_then() {
    let mut limits = limits();
    let said: Vec<u64> = (0..25).filter_map(|second| limits.reached(Limit::Nodes, millis(second * 1_000))).collect();
    assert_eq!(said, [1, 10, 10]);
    assert_eq!(limits.reached(Limit::Queue, millis(25_000)), Some(1), "each by itself");
    let LimitCounters { nodes, queue, join_requests, .. } = limits.counters();
    assert_eq!((nodes, queue, join_requests), (25, 1, 0));
    assert_eq!(limits.refused("clock-skew", millis(0)), Some(1));
    assert_eq!(limits.refused("clock-skew", millis(1)), None);
    assert_eq!(limits.refused("too-many-nodes", millis(1)), Some(1));
    assert_eq!(limits.refused("clock-skew", millis(10_000)), Some(2));
}
