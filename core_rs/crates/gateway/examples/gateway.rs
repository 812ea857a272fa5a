//! The gateway without Python: `cargo run -p nexkey-gateway --example gateway -- config.json`.
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        return ExitCode::from(2);
    };
    let Ok(config) = std::fs::read(path) else {
        return ExitCode::from(2);
    };
    match nexkey_gateway::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
