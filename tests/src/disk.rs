//! A disk of a test's own, whose power can be cut.
//!
//! A file system in a file on a loop device. `xfs_io -x -c shutdown` stops it
//! at once, for ext4 as for xfs: what was not made durable is gone, as after a
//! power cut. (The loop device has no volatile cache of its own: a real disk
//! may lose more.)

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::program::{needs_root, run, tool};

/// Which file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// ext4, data=ordered.
    Ext4,
    /// xfs.
    Xfs,
}

/// A mounted file system, unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    mounted: bool,
    directory: TempDir,
}

impl Disk {
    /// Makes and mounts one. xfs wants at least 300 MiB.
    ///
    /// # Errors
    /// When this is not root, a tool is missing, or the machine has no loop devices.
    pub fn new(file_system: FileSystem, mebibytes: u64) -> Result<Self> {
        needs_root("a disk whose power can be cut")?;
        tool("xfs_io", "apt-get install xfsprogs")?;
        let directory = TempDir::new().context("make a directory for the disk")?;
        let mut disk = Self { mounted: false, directory };
        let file = std::fs::File::create(disk.image()).context("make the disk's file")?;
        file.set_len(mebibytes << 20).context("size the disk's file")?;
        std::fs::create_dir(disk.path()).context("make the mount point")?;
        let mut make = match file_system {
            FileSystem::Ext4 => {
                let mut command = Command::new(tool("mkfs.ext4", "apt-get install e2fsprogs")?);
                // No reserved blocks: full is full, for root too.
                command.args(["-q", "-F", "-m", "0"]);
                command
            }
            FileSystem::Xfs => {
                let mut command = Command::new(tool("mkfs.xfs", "apt-get install xfsprogs")?);
                command.args(["-q", "-f"]);
                command
            }
        };
        run(make.arg(disk.image()))?.ok()?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    /// The power goes: from now on every write fails, and what was not durable is lost.
    ///
    /// # Errors
    /// When the file system does not take the order.
    pub fn cut(&self) -> Result<()> {
        run(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(self.path()))?.ok().map(|_| ())
    }

    /// The power is back: unmounted and mounted again, which replays the journal. Whoever had files open on it
    /// must have ended.
    ///
    /// # Errors
    /// When somebody still has a file open, or the file system does not mount.
    pub fn back(&mut self) -> Result<()> {
        self.unmount()?;
        self.mount()
    }

    fn mount(&mut self) -> Result<()> {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.path()))?
            .ok()
            .context("mount a loop device; the machine must have one")?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<()> {
        run(Command::new("umount").arg(self.path()))?.ok()?;
        self.mounted = false;
        Ok(())
    }

    /// Fills it to the last byte with a file that [`Disk::make_room`] removes.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn fill(&self) -> Result<()> {
        use std::io::Write;
        let mut file = std::fs::File::create(self.ballast()).context("make the file that fills the disk")?;
        for size in [1 << 20, 1 << 12, 1] {
            let chunk = vec![0; size];
            while file.write_all(&chunk).is_ok() {}
        }
        let _ = file.sync_all(); // a full disk may say so again
        Ok(())
    }

    /// Frees what [`Disk::fill`] took.
    ///
    /// # Errors
    /// When the disk was not filled.
    pub fn make_room(&self) -> Result<()> {
        std::fs::remove_file(self.ballast()).context("remove the file that fills the disk")?;
        // ext4 gives blocks again once the transaction that freed them is in its journal.
        std::fs::File::open(self.path()).and_then(|root| root.sync_all()).context("flush the disk")
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted && self.unmount().is_err() {
            // Somebody still has a file open; the mount goes with the last of them.
            let _ = run(Command::new("umount").arg("--lazy").arg(self.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;

    fn cut_keeps_only_what_is_durable(file_system: FileSystem) {
        let mut disk = Disk::new(file_system, 320).unwrap();
        let (kept, lost) = (disk.path().join("kept"), disk.path().join("lost"));
        let mut file = File::create(&kept).unwrap();
        file.write_all(b"durable").unwrap();
        file.sync_all().unwrap();
        File::open(disk.path()).unwrap().sync_all().unwrap();
        std::fs::write(&lost, vec![7; 1 << 20]).unwrap();
        drop(file);

        disk.cut().unwrap();
        assert!(std::fs::write(disk.path().join("more"), b"x").is_err());
        disk.back().unwrap();

        assert_eq!(std::fs::read(&kept).unwrap(), b"durable");
        // The positive control: this harness finds what was never flushed.
        assert_ne!(std::fs::read(&lost).unwrap_or_default(), vec![7; 1 << 20]);
    }

    #[test]
    fn a_power_cut_on_ext4_keeps_only_what_is_durable() {
        cut_keeps_only_what_is_durable(FileSystem::Ext4);
    }

    #[test]
    fn a_power_cut_on_xfs_keeps_only_what_is_durable() {
        cut_keeps_only_what_is_durable(FileSystem::Xfs);
    }

    #[test]
    fn a_filled_disk_takes_nothing_until_room_is_made() {
        let disk = Disk::new(FileSystem::Ext4, 24).unwrap();
        let file = disk.path().join("one");

        disk.fill().unwrap();
        assert!(std::fs::write(&file, vec![1; 8192]).is_err());
        disk.make_room().unwrap();

        std::fs::write(&file, vec![1; 8192]).unwrap();
    }
}
