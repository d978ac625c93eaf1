//! A disk that is soon full, or can only be read.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::path::{Path, PathBuf};

/// Its size.
pub(crate) const BYTES: u64 = 64 << 10;

/// A file system in memory, as long as this lives.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// At a new directory. None without the right to mount, which is said aloud.
    pub(crate) fn mount(at: &Path) -> Option<SmallDisk> {
        std::fs::create_dir(at).unwrap();
        SmallDisk::mount_of(at, BYTES)
    }
    /// At a directory that is there, and of another size.
    pub fn mount_of(at: &Path, bytes: u64) -> Option<SmallDisk> {
        let options = format!("size={bytes},mode=700");
        match mount(Some("none"), at, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())) {
            Ok(()) => Some(SmallDisk(at.to_owned())),
            Err(errno) => {
                eprintln!("SKIPPED: mounting a small disk needs privileges ({errno})");
                None
            }
        }
    }
}

impl SmallDisk {
    /// Writes a file of zeros until nothing more fits.
    pub fn fill(&self, file: &Path) {
        let mut file = std::fs::File::create(file).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    }
    /// Whether nothing can be written to it from now on; nobody has a file open there to write to.
    pub fn read_only(&self, so: bool) {
        let mut flags = MsFlags::MS_REMOUNT;
        flags.set(MsFlags::MS_RDONLY, so);
        mount(None::<&str>, &self.0, None::<&str>, flags, None::<&str>).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Even if a test failed and something still has a file open there.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
