//! Any bytes as what the `gluster` tool printed: read or refused without a panic, and the readers agree on whether the
//! tool refused. Run with `packaging/fuzz`.

#![no_main]

use std::time::Duration;

use clusterctl::providers::gluster::xml::{self, Asked};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let asked =
        Asked { command: "gluster volume info shared", host: Some("10.0.0.2"), deadline: Duration::from_secs(1) };
    let done = xml::done(bytes, asked).is_ok();
    // A volume that is started already, or that is not there, is no refusal to those who ask for it.
    assert!(!done || xml::started(bytes, asked).is_ok());
    for read in [xml::peers(bytes, asked).is_ok(), xml::brick_status(bytes, asked).is_ok()] {
        assert!(done || !read);
    }
    if let Ok(Some(volume)) = xml::volume(bytes, "shared", asked) {
        assert_eq!(volume.name, "shared");
    }
});
