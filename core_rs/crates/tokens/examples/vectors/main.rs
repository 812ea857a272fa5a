//! Writes `tests/vectors/*.json` from fixed seeds: `cargo run -p nexkey-tokens --example vectors`. What stands in them is said in `cases`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a generator that fails has to stop"
)]

mod cases;

fn main() {
    for (path, text) in cases::files() {
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
