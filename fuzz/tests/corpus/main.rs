//! Each target is given its corpus, as it is and changed at random: for a moment as one test among others, for longer by hand.
//!
//! ```text
//! OSTLER_FUZZ_SECONDS=60 OSTLER_TESTS_SEED=1 cargo test -p ostler-fuzz --test corpus trace -- --nocapture
//! OSTLER_FUZZ_INPUT=target/tmp/fuzz/trace-1f3a cargo test -p ostler-fuzz --test corpus trace
//! ```
//!
//! * in: the files of `corpus/TARGET`
//! * out: an input that breaks a promise, takes too long or takes too much memory, as a file, and how to give it again
//! * keeps: the same seed gives the same inputs, whatever the time
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is its verdict")]

mod mutate;

use mutate::Mutator;
use ostler_fuzz::{TARGETS, Target};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::{
    alloc::System,
    env, fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How long each target runs as one test among others, beside its corpus.
const TIME: Duration = Duration::from_millis(700);
/// An input that takes so long, unoptimised and on a machine that has other work, never ends.
const INPUT_LIMIT: Duration = Duration::from_secs(60);
/// Largest input that is made up.
const INPUT_MAX_BYTES: usize = 16 << 10;

/// Allocations are counted for the whole process: one target at a time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Where inputs are kept: that of the moment, and each that broke something.
fn kept(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    fs::create_dir_all(&dir).unwrap();
    dir.join(name)
}

fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no corpus", target.name);
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Gives an input. An abort, or an end from outside, leaves it in a file too.
fn give(target: &Target, bytes: &[u8], now: &Path) -> Result<usize, String> {
    fs::write(now, bytes).unwrap();
    let (done, ended) = mpsc::channel::<()>();
    let (name, path) = (target.name, now.to_owned());
    let watch = move || {
        if ended.recv_timeout(INPUT_LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            let (seconds, path) = (INPUT_LIMIT.as_secs(), path.display());
            eprintln!("{name} takes more than {seconds} s; OSTLER_FUZZ_INPUT={path} gives it again");
            std::process::abort();
        }
    };
    let watch = std::thread::spawn(watch);
    let region = Region::new(ALLOCATOR);
    let run = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    let allocated = region.change().bytes_allocated;
    drop(done);
    watch.join().unwrap();
    let (beside, each) = target.allocates;
    let most = beside + each * bytes.len();
    match run {
        Err(_) => Err("a promise does not hold".to_owned()),
        Ok(()) if allocated > most => {
            Err(format!("{allocated} bytes were allocated for {} bytes: more than {most}", bytes.len()))
        }
        Ok(()) => Ok(allocated),
    }
}

fn feed(target: &Target) {
    let _turn = turn();
    let now = kept(&format!("{}.now-{}", target.name, std::process::id()));
    let mut most = (0, 0);
    let mut one = |bytes: &[u8], from: &str| match give(target, bytes, &now) {
        Ok(allocated) if allocated > most.0 => {
            most = (allocated, bytes.len());
            fs::rename(&now, kept(&format!("{}.most", target.name))).unwrap();
        }
        Ok(_) => {}
        Err(why) => {
            let path = kept(&format!("{}-{:016x}", target.name, mutate::digits(bytes)));
            fs::rename(&now, &path).unwrap();
            panic!(
                "{why}: {from}\nOSTLER_FUZZ_INPUT={} cargo test -p ostler-fuzz --test corpus {} gives it again",
                path.display(),
                target.name
            );
        }
    };
    if let Ok(path) = env::var("OSTLER_FUZZ_INPUT") {
        // Tests run in the folder of their package, and who gives a path stands above it.
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path);
        one(&fs::read(&path).unwrap(), &path.display().to_string());
        let _ = fs::remove_file(&now);
        return eprintln!("{} bytes were allocated for {}", most.0, most.1);
    }
    let corpus = corpus(target);
    for (path, bytes) in &corpus {
        one(bytes, &path.display().to_string());
    }
    let seed = number("OSTLER_TESTS_SEED").unwrap_or(1);
    let time = number("OSTLER_FUZZ_SECONDS").map_or(TIME, Duration::from_secs);
    let mut mutator = Mutator::new(seed, corpus.into_iter().map(|(_, bytes)| bytes).collect());
    let (began, mut count) = (Instant::now(), 0_u64);
    while began.elapsed() < time {
        one(&mutator.next(INPUT_MAX_BYTES), &format!("input {count} of seed {seed}"));
        count += 1;
    }
    let _ = fs::remove_file(&now);
    let (allocated, bytes) = most;
    eprintln!(
        "{}: {count} inputs of seed {seed}; most allocated: {allocated} bytes for {bytes}",
        target.name
    );
}

macro_rules! targets {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            feed(TARGETS.iter().find(|target| target.name == stringify!($name)).unwrap());
        })*
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}
targets!(trace, replay, pattern, clean, files, journal, control, keeper, helper, mcp);

#[test]
fn each_target_is_fed() {
    assert_eq!(TARGETS.map(|target| target.name), NAMES);
    for name in NAMES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz_targets/{name}.rs"));
        assert!(fs::read_to_string(path).unwrap().contains(&format!("ostler_fuzz::{name}::run")));
    }
}

#[test]
fn what_is_broken_is_seen_and_kept() {
    let _turn = turn();
    let now = kept("broken");
    let panics = Target { name: "broken", run: |_| panic!("on purpose"), allocates: (0, 0) };
    assert_eq!(give(&panics, b"x", &now).unwrap_err(), "a promise does not hold");
    assert_eq!(fs::read(&now).unwrap(), b"x");
    let greedy = |_: &[u8]| drop(std::hint::black_box(vec![1_u8; 10_000]));
    let greedy = Target { name: "greedy", run: greedy, allocates: (1_000, 10) };
    assert!(give(&greedy, b"x", &now).unwrap_err().contains("more than 1010"));
    fs::remove_file(now).unwrap();
}

#[test]
fn the_same_seed_gives_the_same_inputs() {
    let inputs = |seed| {
        let mut mutator = Mutator::new(seed, vec![b"{\"a\": 1}\n".to_vec(), b"b=2\n".to_vec()]);
        (0..100).map(|_| mutator.next(INPUT_MAX_BYTES)).collect::<Vec<_>>()
    };
    assert!(inputs(3) == inputs(3) && inputs(3) != inputs(4));
}
