//! `acpcap`: see the library for what it does.

/// A capture of many sessions is many small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    acpcap::cli::run(std::env::args_os()).into()
}
