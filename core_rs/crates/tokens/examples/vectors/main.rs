//! Writes `tests/vectors/*.json` from fixed seeds: `cargo run -p nexkey-tokens --example vectors`. What stands in them is said in `cases`.
#![allow(
    clippy::too_many_lines,
    clippy::type_complexity,
    clippy::excessive_precision,
    clippy::similar_names,
    clippy::needless_pass_by_value,
    clippy::redundant_closure_for_method_calls,
    clippy::semicolon_if_nothing_returned,
    clippy::uninlined_format_args
)] // tables of cases read better whole
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
