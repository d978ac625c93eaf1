//! The tier of containment that a test runs in.

use crate::Ground;
use ostler::{
    Config, Containment, Ostler, StartError,
    testing::{Fault, World, start_with_faults},
};
use std::{
    cell::Cell,
    ops::{Deref, DerefMut},
    path::Path,
};

thread_local! {
    static TIER: Cell<Option<Containment>> = const { Cell::new(None) };
}

/// Tells `a-host` its tier.
pub const TIER_VARIABLE: &str = "A_HOST_TIER";

/// Tiers that this machine should have, by name and with commas between: then their absence is a failure.
pub(crate) const REQUIRE_VARIABLE: &str = "OSTLER_TESTS_REQUIRE";

/// Runs a test with every graph of its thread held to this tier. If the machine has it not, says so and returns, or fails if it
/// should have it.
pub fn within(tier: Containment, name: &str, test: fn()) {
    TIER.set(Some(tier));
    match probe() {
        Ok(()) => test(),
        Err(reason) => {
            let required = std::env::var(REQUIRE_VARIABLE).unwrap_or_default();
            let required = required.split(',').any(|required| required.trim() == tier.to_string());
            assert!(!required, "{tier} is required here, and not to be had: {reason}");
            eprintln!("SKIPPED {name} in {tier:?}: {reason}");
        }
    }
}

/// Starts a graph and ends it: even that leaves nothing.
fn probe() -> Result<(), String> {
    let ground = Ground::take();
    let directory = tempfile::tempdir().unwrap();
    let refused = match Ostler::start(config(directory.path())) {
        Ok(ostler) => ostler.shutdown().wait().map(|_| ()).map_err(|error| error.to_string()),
        Err(StartError::Containment(refused)) => Err(refused.reason),
        Err(other) => panic!("{other}"),
    };
    ground.check(true);
    refused
}

/// The tier that this test runs in; none: what the machine has.
pub fn tier() -> Option<Containment> {
    TIER.get()
}

/// Whether the test runs in this tier.
pub fn has_tier(tier: Containment) -> bool {
    TIER.get() == Some(tier)
}

/// The tier's name, for [`TIER_VARIABLE`].
pub(crate) fn tier_name() -> &'static str {
    match tier() {
        Some(Containment::Cgroup) => "cgroup",
        Some(Containment::Subreaper) => "subreaper",
        Some(Containment::Group) => "group",
        _ => "any",
    }
}

/// What a name stands for.
pub fn tier_of(name: &str) -> Vec<Containment> {
    match name {
        "cgroup" => vec![Containment::Cgroup],
        "subreaper" => vec![Containment::Subreaper],
        "group" => vec![Containment::Group],
        _ => Config::default().containment.into_iter().collect(),
    }
}

/// The settings of a graph, and the panics that a test wants in it.
pub struct Settings {
    /// What any host can set.
    pub config: Config,
    /// Deliveries that shall panic, each once.
    pub faults: Vec<Fault>,
}
impl Settings {
    /// A graph with these settings, on this kernel.
    pub fn start(self, world: Option<&World>) -> Result<Ostler, StartError> {
        start_with_faults(self.config, world, self.faults)
    }
}
impl Deref for Settings {
    type Target = Config;
    fn deref(&self) -> &Config {
        &self.config
    }
}
impl DerefMut for Settings {
    fn deref_mut(&mut self) -> &mut Config {
        &mut self.config
    }
}

/// Settings for this test's tier, with artifacts below this directory.
pub fn config(directory: &Path) -> Config {
    Config::new().artifact_root(directory.join("artifacts")).containment(tier_of(tier_name()))
}
