//! What makes sled's files durable.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The open files that every group of writes is forced through.
#[derive(Debug)]
pub(super) struct Barrier {
    database: File,
    blobs: PathBuf,
    synced: HashSet<OsString>,
}

impl Barrier {
    /// Opens sled's files in `directory` and forces everything in it.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let blobs = directory.join("blobs");
        let database = File::open(directory.join("db"))?;
        let mut barrier = Self { database, blobs, synced: HashSet::new() };
        barrier.pass()?;
        // What an earlier process renamed or made is durable only now.
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                File::open(entry.path())?.sync_all()?;
            }
        }
        File::open(&barrier.blobs)?.sync_all()?;
        sync_directory(directory)?;
        Ok(barrier)
    }

    /// Returns when everything that sled wrote before is durable.
    ///
    /// After an error nothing is known about what is: the kernel reports a failed write once and then forgets it.
    pub(super) fn pass(&mut self) -> io::Result<()> {
        self.sync_blobs()?;
        self.database.sync_data()
    }

    /// Forces new large values, which sled keeps in files of their own and never syncs; before the database that
    /// refers to them.
    fn sync_blobs(&mut self) -> io::Result<()> {
        let mut present = HashSet::new();
        let mut is_new = false;
        for entry in std::fs::read_dir(&self.blobs)? {
            let entry = entry?;
            if !self.synced.contains(&entry.file_name()) {
                File::open(entry.path())?.sync_all()?;
                is_new = true;
            }
            present.insert(entry.file_name());
        }
        self.synced = present;
        if is_new { sync_directory(&self.blobs) } else { Ok(()) }
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
