//! How much is measured.

pub(crate) struct Sizes {
    pub(crate) rounds: usize,
    pub(crate) spawns: usize,
    pub(crate) flood_mib: u64,
    pub(crate) streams: [usize; 2],
    pub(crate) handles: Vec<usize>,
    pub(crate) cancels: usize,
    pub(crate) entries: usize,
}

impl Sizes {
    pub(crate) fn from_env() -> Sizes {
        match std::env::var_os("OSTLER_BENCH_SMOKE") {
            Some(_) => Sizes {
                rounds: 1,
                spawns: 5,
                flood_mib: 4,
                streams: [2, 4],
                handles: vec![5],
                cancels: 3,
                entries: 100,
            },
            None => Sizes {
                rounds: 5,
                spawns: 200,
                flood_mib: 1_024,
                streams: [8, 64],
                handles: vec![10, 100, 1_000],
                cancels: 50,
                entries: 10_000,
            },
        }
    }
}
