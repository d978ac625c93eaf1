//! How fast log lines without a match are searched: `cargo run --release -p ostler-artifacts --example search_speed`.

use ostler_artifacts::{FindRequest, Pattern, PatternError, Search, find};
use std::{fmt::Write, time::Instant};

const FILE_BYTES: usize = 256 << 20;
const PATTERNS: [&str; 10] = [
    r"error\[E\d{4}\]",
    r"(?i)ready in \d+ ?ms",
    r"listening on .*:(\d+)",
    r"\b(?:PASS|FAIL|panicked at)\b",
    r"^test result: .*$",
    r"^ready",
    r"done$",
    r"(?i)error|warning|fatal|exception",
    r"\d{7,}x",
    r"^[^x]*!$",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut log = String::new();
    for n in 0_u64.. {
        let (micros, address) = (n * 7_919 % 1_000_000, n * 31 % 251);
        writeln!(
            log,
            "2024-05-01T12:00:{:02}.{micros:06}Z  INFO web::m{}: request {n} served in {} us to 10.0.0.{address}",
            n / 10_000 % 60,
            n % 17,
            micros / 11,
        )?;
        if log.len() > FILE_BYTES {
            break;
        }
    }
    let log = log.as_bytes();
    println!(
        "{:>36} {:>8} {:>8} {:>8} {:>8}   MB/s",
        "fed in pieces of", "4 KiB", "64 KiB", "256 KiB", "find()"
    );
    let regexes = PATTERNS.iter().map(|text| Ok((*text, Pattern::regex(text)?)));
    let literal =
        Pattern::literal("Listening on port 3000").map(|pattern| ("Listening on port 3000", pattern));
    let patterns: Vec<_> = std::iter::once(literal).chain(regexes).collect::<Result<_, PatternError>>()?;
    for (name, pattern) in &patterns {
        print!("{name:>36}");
        for piece in [4 << 10, 64 << 10, 256 << 10] {
            let mut search = Search::new(pattern.clone(), 0);
            print!(" {:8.0}", speed(log, || log.chunks(piece).any(|bytes| search.feed(bytes, 0).is_some())));
        }
        let read = |offset: u64, to: &mut [u8]| {
            let rest = &log[log.len().min(offset as usize)..];
            let length = rest.len().min(to.len());
            to[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        };
        let mut page = None;
        let all = speed(log, || page.insert(find(read, pattern, &FindRequest::new().around(2, 2))).is_err());
        println!(" {all:8.0}");
    }
    Ok(())
}

fn speed(log: &[u8], search: impl FnOnce() -> bool) -> f64 {
    let start = Instant::now();
    assert!(!search(), "nothing matches");
    log.len() as f64 / start.elapsed().as_secs_f64() / 1e6
}
