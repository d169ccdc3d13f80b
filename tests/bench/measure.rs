//! Clocks, quantiles and lines of print. All arithmetic is on whole numbers.

use std::{fmt, time::Duration};

use depot_server::clock::Stopwatch;
use rustix::time::{ClockId, clock_gettime};

/// What one piece of work took, many times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// Does the work and keeps how long it took.
    pub(crate) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let watch = Stopwatch::start();
        let result = work();
        self.push(watch.elapsed());
        result
    }

    pub(crate) fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(crate) fn sum(&self) -> Duration {
        self.0.iter().sum()
    }

    pub(crate) fn p50(&self) -> Duration {
        self.quantile(500)
    }

    pub(crate) fn p99(&self) -> Duration {
        self.quantile(990)
    }

    pub(crate) fn max(&self) -> Duration {
        self.quantile(1000)
    }

    /// Nearest rank.
    fn quantile(&self, per_mille: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {}, p99 {}, max {} ({})",
            short(self.p50()),
            short(self.p99()),
            short(self.max()),
            self.0.len()
        )
    }
}

/// Processor time of this thread: what a core costs, however busy the machine is otherwise.
pub(crate) fn thread_cpu<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = clock(ClockId::ThreadCPUTime);
    let result = work();
    (result, clock(ClockId::ThreadCPUTime).saturating_sub(before))
}

/// Processor time of this thread so far.
pub(crate) fn thread_cpu_so_far() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// Processor time of all threads of this program.
pub(crate) fn process_cpu() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

fn clock(id: ClockId) -> Duration {
    let now = clock_gettime(id);
    let secs = u64::try_from(now.tv_sec).expect("processor time is not negative");
    let nanos = u32::try_from(now.tv_nsec).expect("less than a second");
    Duration::new(secs, nanos)
}

/// The middle of five, so that one disturbance does not count.
pub(crate) fn middle_of_five(mut round: impl FnMut() -> Duration) -> Duration {
    let mut took: Vec<Duration> = (0..5).map(|_| round()).collect();
    took.sort_unstable();
    took[2]
}

/// How many a second.
pub(crate) fn rate(count: u64, took: Duration) -> u64 {
    let nanos = took.as_nanos().max(1);
    u64::try_from(u128::from(count) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

/// `took` for each of `count`.
pub(crate) fn each(took: Duration, count: u64) -> Duration {
    Duration::from_nanos(
        u64::try_from(took.as_nanos() / u128::from(count.max(1))).unwrap_or(u64::MAX),
    )
}

/// `of : to` with two decimals.
pub(crate) fn ratio(of: u128, to: u128) -> String {
    let hundredths = of * 100 / to.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Three or four digits and a unit.
pub(crate) fn short(took: Duration) -> String {
    match took.as_nanos() {
        0..1_000 => format!("{took:?}"),
        1_000..1_000_000 => format!("{took:.1?}"),
        _ => format!("{took:.2?}"),
    }
}

/// Thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = (digits.len() + 2) % 3 + 1;
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at >= first && (at - first).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A headline.
pub(crate) fn headline(text: &str) {
    say(&format!("\n{text}"));
}

/// One figure.
pub(crate) fn line(name: &str, value: &str) {
    say(&format!("  {name:<44} {value}"));
}

#[expect(clippy::print_stdout, reason = "a command line tool")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}
