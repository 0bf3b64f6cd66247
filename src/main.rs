//! `acpcap`: see the library for what it does.

fn main() -> std::process::ExitCode {
    acpcap::cli::run(std::env::args_os()).into()
}
