#![doc = include_str!("../docs/ARCHITECTURE.md")]

pub mod analysis;
pub mod anyconnect;
pub mod capture;
mod chunks;
pub mod cli;
pub mod decrypt;
pub mod detect;
pub mod dissect;
pub mod error;
pub mod event;
pub mod finding;
pub mod flow;
mod maps;
pub mod packet;
pub mod report;
pub mod session;
pub mod tls;
