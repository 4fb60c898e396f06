//! Any text as an admission token: refused without a panic, or read so that it reads back. Run with `packaging/fuzz`.

#![no_main]

use clusterctl::cluster::JoinToken;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(token) = JoinToken::parse(text) else { return };
    let again = token.reveal();
    assert!(again.eq_ignore_ascii_case(text.trim()), "{again}");
    let back = JoinToken::parse(&again).map(|back| (back.pin, back.id, back.secret.digest()));
    assert_eq!(back, Ok((token.pin, token.id, token.secret.digest())));
});
