//! Any bytes as a request: found, decoded and checked without a panic, and the framer and the decoder agree on what an
//! object is. Run with `packaging/fuzz`.

#![no_main]

use clusterctl::protocol::exchange::{Bad, Framer, MAX_REQUEST, Progress};
use clusterctl::protocol::registration::RawRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = Framer::new(MAX_REQUEST).push(bytes);
    let mut pieces = Framer::new(MAX_REQUEST);
    let mut last = Progress::NeedMore;
    for piece in bytes.chunks(3) {
        last = pieces.push(piece);
    }
    assert_eq!(whole, last);
    match whole {
        Progress::Complete { start, end } => {
            if let Ok(request) = serde_json::from_slice::<RawRequest>(&bytes[start..end]) {
                drop(request.check());
            }
        }
        // The decoder skips what it does not know without counting its levels.
        Progress::Bad(Bad::TooDeep) => {}
        Progress::NeedMore | Progress::Bad(_) if bytes.len() <= MAX_REQUEST => {
            assert!(serde_json::from_slice::<RawRequest>(bytes).is_err());
        }
        Progress::NeedMore | Progress::Bad(_) => {}
    }
});
