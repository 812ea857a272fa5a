//! The golden vectors: for each message the valid kinds and every invalid kind, with the code that is expected. The codes are written by hand, never computed.
//! Bytes are hex, tokens are text, times are milliseconds.

mod access_token;
mod command;
mod device_assertion;
mod forge;
mod lock_script;
mod report;
mod sealed;
mod time;

use std::path::PathBuf;

use serde_json::Value;

/// 2026-11-23T08:00:00Z: the present of every vector.
pub const NOW_MS: i64 = 1_795_420_800_000;

/// Every file with its text.
pub fn files() -> Vec<(PathBuf, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/vectors");
    let file = |name: &str, document: Value| {
        let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
        (folder.join(name), text)
    };
    vec![
        file("access_token.json", access_token::document()),
        file("device_assertion.json", device_assertion::document()),
        file("command.json", command::document()),
        file("time.json", time::document()),
        file("report.json", report::document()),
        file("sealed.json", sealed::document()),
    ]
}
