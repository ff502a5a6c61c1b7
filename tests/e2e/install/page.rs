//! docs/install.md, to be followed to the letter.
//!
//! In: the page. Out: its blocks of `sh`, run one after the other in a folder of their own. Two things are the reader's own business and come from the
//! test: where the registry is, and what `hack/image` packs (a release build takes ten minutes, and the bed's network has no Debian).

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use bascule_tests::{Bed, bed};

/// The line that a reader must change.
const OWN_REGISTRY: &str = "export REGISTRY=registry.example.com/platform";

#[derive(Debug)]
pub struct Page {
    text: String,
    folder: PathBuf,
    registry: String,
}

/// How `hack/image` packs this program, in a network without Debian: from the packages of an image that was built outside.
pub fn of(program: &Path) -> [String; 4] {
    let packages = bed::root().join("target/image/packages").join(arch()).join("files");
    assert!(packages.is_dir(), "build an image first: hack/image --binary {}", program.display());
    ["--binary".into(), program.display().to_string(), "--packages".into(), packages.display().to_string()]
}

fn arch() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

impl Page {
    /// Its folder has the tree's own `charts`, `hack` and `target`, so that a reader's `values.yaml` lies beside them.
    pub fn open(bed: &Bed) -> Self {
        let (root, folder) = (bed::root(), bed::root().join("target/tmp/install"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for name in ["hack", "target"] {
            symlink(root.join(name).canonicalize().unwrap(), folder.join(name)).unwrap();
        }
        let text = fs::read_to_string(root.join("docs/install.md")).unwrap();
        assert!(text.contains(OWN_REGISTRY), "the page lets its reader name a registry");
        let page = Self { text, folder, registry: bed.variable("BASCULE_REGISTRY").to_owned() };
        page.chart(&root.join("charts"));
        page
    }

    /// Whose charts are in the folder: of which version.
    pub fn chart(&self, charts: &Path) {
        let link = self.folder.join("charts");
        let _ = fs::remove_file(&link);
        symlink(charts.canonicalize().unwrap(), link).unwrap();
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    /// Runs what the section says; `program` is what `hack/image` packs. Gives what was printed.
    pub fn follow(&self, section: &str, program: Option<&Path>) -> String {
        let blocks = self.blocks(section);
        assert!(!blocks.is_empty(), "no block in section {section:?}");
        blocks.iter().filter(|block| block.trim() != OWN_REGISTRY).map(|block| self.run(block, program)).collect()
    }

    /// One block of a section.
    pub fn run(&self, block: &str, program: Option<&Path>) -> String {
        let line = |line: &str| match program {
            Some(program) if line == "hack/image" => format!("hack/image {}", of(program).join(" ")),
            _ => line.to_owned(),
        };
        let script: String = block.lines().map(|text| line(text) + "\n").collect();
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &script]).current_dir(&self.folder).env("REGISTRY", &self.registry);
        let output = bash.output().unwrap();
        let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "this block of docs/install.md failed:\n{block}\n---\n{printed}");
        printed
    }

    pub fn blocks(&self, section: &str) -> Vec<String> {
        let mut parts = self.text.split("\n## ").skip(1);
        let body =
            parts.find(|part| part.starts_with(section)).unwrap_or_else(|| panic!("no section {section:?} in docs/install.md"));
        let block = |part: &str| Some(part.split_once("\n```")?.0.to_owned() + "\n");
        body.split("\n```sh\n").skip(1).filter_map(block).collect()
    }
}
