//! How the program is linked.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[expect(clippy::disallowed_methods, reason = "this is how cargo tells a build script its target")]
    let target = |key| var(key).unwrap_or_default();
    // A static program that can be loaded anywhere carries the places of all its pointers. Packed, they are a tenth of
    // the size; glibc reads them since 2.36, and other linkers than those for Linux do not know the word.
    if target("CARGO_CFG_TARGET_ENV") == "gnu" && target("CARGO_CFG_TARGET_ARCH") == "x86_64" {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
