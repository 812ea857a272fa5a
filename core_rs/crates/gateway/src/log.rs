//! What operators read on standard error: one JSON line per change of the gateway's own state.
//! Only fixed words and numbers go in, so no token, key or address can get into a log.
use std::io::Write as _;

use crate::clock;

/// Writes a line. A failing standard error is nobody's concern here.
pub fn line(event: &'static str, number: u64) {
    let text = format!(
        "{{\"at_ms\":{},\"component\":\"gateway\",\"event\":\"{event}\",\"number\":{number}}}\n",
        clock::now_ms()
    );
    let _ = std::io::stderr().write_all(text.as_bytes());
}
