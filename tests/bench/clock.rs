//! CPU time of this process, where the system tells it, also as criterion's measure: on a busy machine wall time measures
//! the others.
#![allow(dead_code, reason = "each benchmark uses its part")]

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use std::time::Duration;

/// User and system time of all threads; elsewhere than on Unix wall time.
pub struct CpuTime;

#[cfg(unix)]
pub fn now() -> Duration {
    nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID.now().map_or(Duration::ZERO, Duration::from)
}

#[cfg(not(unix))]
#[expect(clippy::disallowed_methods, reason = "a benchmark asks the machine's clock")]
pub fn now() -> Duration {
    use std::time::SystemTime;
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        now()
    }

    fn end(&self, start: Duration) -> Duration {
        now().saturating_sub(start)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
