//! The inputs to begin with: one small file each, under `corpus/<target>/`, committed.
//!
//! In: a folder. Out: its files in the order of their names, so that a seed means the same everywhere.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// One input and what it is called.
#[derive(Clone, Debug)]
pub struct Seed {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// The committed corpus of this crate.
pub fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Where a failing input is kept, as cargo-fuzz does it.
pub fn artifacts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts")
}

pub fn load(folder: &Path) -> io::Result<Vec<Seed>> {
    let mut seeds = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            seeds.push(Seed { name, bytes: fs::read(&path)? });
        }
    }
    seeds.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(seeds)
}
