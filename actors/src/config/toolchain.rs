//! A host's own word on which tools a directory asks for.

use std::{collections::BTreeMap, ffi::OsString, fmt, path::Path, sync::Arc, time::Duration};

/// How long whoever knows the tools of a directory is waited for: a launch waits with it.
pub const TOOLCHAIN_LIMIT: Duration = Duration::from_secs(2);

/// Variables by name.
pub type Variables = BTreeMap<OsString, OsString>;

/// What a host is asked: see [`Config::toolchain_hook`](crate::Config::toolchain_hook).
#[derive(Clone)]
pub struct ToolchainHook(pub(crate) Arc<Hook>);
pub(crate) type Hook = dyn Fn(&Path, &Variables) -> Result<Option<Variables>, String> + Send + Sync;

impl fmt::Debug for ToolchainHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ToolchainHook")
    }
}
