//! How much is measured.

pub(crate) struct Sizes {
    /// Turns for each row, after one that does not count.
    pub(crate) rounds: usize,
    pub(crate) spawns: usize,
    /// For one stream; the rows with several streams share a quarter of it.
    pub(crate) flood_mib: u64,
    pub(crate) floods: usize,
    pub(crate) streams: [usize; 2],
    pub(crate) lines: u64,
    pub(crate) handles: Vec<usize>,
    /// Launched and cancelled on top of what is idle.
    pub(crate) batch: usize,
    pub(crate) cancels: usize,
    pub(crate) ended: Vec<usize>,
    pub(crate) sessions: usize,
    pub(crate) entries: usize,
    /// Commands of a dead host, and how many of them had not ended.
    pub(crate) recovered: (u64, u64),
    pub(crate) tick_ms: u64,
    /// Messages of a trace.
    pub(crate) recorded: usize,
}

impl Sizes {
    pub(crate) fn from_env() -> Sizes {
        match std::env::var_os("OSTLER_BENCH_SMOKE") {
            Some(_) => Sizes {
                rounds: 1,
                spawns: 5,
                flood_mib: 4,
                floods: 1,
                streams: [2, 4],
                lines: 100,
                handles: vec![5],
                batch: 2,
                cancels: 3,
                ended: vec![5],
                sessions: 50,
                entries: 100,
                recovered: (50, 5),
                tick_ms: 20,
                recorded: 1_000,
            },
            None => Sizes {
                rounds: 5,
                spawns: 200,
                flood_mib: 4_096,
                floods: 3,
                streams: [8, 64],
                lines: 500_000,
                handles: vec![10, 100, 1_000, 5_000],
                batch: 100,
                cancels: 100,
                ended: vec![10, 100, 1_000],
                sessions: 60_000,
                entries: 10_000,
                recovered: (10_000, 200),
                tick_ms: 250,
                recorded: 100_000,
            },
        }
    }
}
