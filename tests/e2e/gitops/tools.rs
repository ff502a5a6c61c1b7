//! The tools, each as it writes: their own programs where they have one, else a small program around their own library.
//!
//! In: manifests. Out: what the tool said. Never here: what is expected of it.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use bascule_tests::{Bed, Stage, bed::root};
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// `kubectl apply`.
    Kubectl,
    /// `kubectl apply --server-side --force-conflicts`.
    KubectlServerSide,
    /// `kubectl apply -k`.
    Kustomize,
    /// kustomize-controller's library, with its options.
    Flux,
    /// Argo CD's engine.
    Argo,
    /// The same with `ServerSideApply=true` and server-side diff.
    ArgoServerSide,
    Helm3,
    /// It applies on the server by default.
    Helm4,
}

impl Tool {
    /// Writes these, as if they were what the repository says now.
    pub(crate) fn apply(self, stage: &Stage, manifests: &[Value]) -> String {
        let (done, text) = self.try_apply(stage, manifests, &[]);
        assert!(done, "{self:?}: {text}");
        text
    }

    pub(crate) fn try_apply(self, stage: &Stage, manifests: &[Value], arguments: &[&str]) -> (bool, String) {
        let text = documents(manifests);
        let namespace = stage.namespace.as_str();
        let (program, mut words): (PathBuf, Vec<String>) = match self {
            Self::Kubectl => ("kubectl".into(), words(&["apply", "-f", "-"])),
            Self::KubectlServerSide => ("kubectl".into(), words(&["apply", "--server-side", "--force-conflicts", "-f", "-"])),
            Self::Kustomize => {
                let files = [("all.yaml", text.as_str()), ("kustomization.yaml", "resources: [all.yaml]\n")];
                ("kubectl".into(), words(&["apply", "-k", &folder(stage, &files)]))
            }
            Self::Flux => (built("flux"), vec![]),
            Self::Argo => (built("argo"), words(&["-apply"])),
            Self::ArgoServerSide => (built("argo"), words(&["-apply", "-server-side"])),
            Self::Helm3 | Self::Helm4 => {
                let chart = "{apiVersion: v2, name: web, version: 0.1.0}\n";
                let folder = folder(stage, &[("Chart.yaml", chart), ("templates/all.yaml", &text)]);
                (self.helm(), words(&["upgrade", "--install", "web", &folder, "--namespace", namespace]))
            }
        };
        words.extend(arguments.iter().map(|word| (*word).to_owned()));
        // Flux and Argo CD read what they need from standard input too.
        run(&stage.bed, &program, &words, &text)
    }

    /// Other words for Helm.
    pub(crate) fn helm_says(self, stage: &Stage, arguments: &[&str]) -> String {
        let mut words = words(arguments);
        words.extend(["--namespace".to_owned(), stage.namespace.clone()]);
        let (done, text) = run(&stage.bed, &self.helm(), &words, "");
        assert!(done, "{self:?} {arguments:?}: {text}");
        text
    }

    fn helm(self) -> PathBuf {
        if self == Self::Helm4 { built("helm") } else { "helm".into() }
    }

    /// What the tool says about differences between these and the cluster, without writing; nothing: there are none, or it does not ask.
    pub(crate) fn differences(self, stage: &Stage, manifests: &[Value]) -> String {
        let text = documents(manifests);
        let (program, arguments): (PathBuf, &[&str]) = match self {
            Self::Argo => (built("argo"), &[]),
            Self::ArgoServerSide => (built("argo"), &["-server-side"]),
            Self::Kubectl | Self::Kustomize => ("kubectl".into(), &["diff", "-f", "-"]),
            Self::KubectlServerSide => ("kubectl".into(), &["diff", "--server-side", "--force-conflicts", "-f", "-"]),
            Self::Flux | Self::Helm3 | Self::Helm4 => return String::new(),
        };
        let (done, text) = run(&stage.bed, &program, &words(arguments), &text);
        if program.ends_with("argo") {
            assert!(done, "{self:?}: {text}");
            return if text.contains("OutOfSync") { text } else { String::new() };
        }
        // It ends with 1 where there is a difference, and shows also what is nobody's.
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with(['+', '-'])).collect();
        assert!(done || !lines.is_empty(), "{self:?}: {text}");
        lines.concat()
    }
}

/// What kstatus and Argo CD say of these objects.
pub(crate) fn verdicts(bed: &Bed, objects: &str) -> Vec<Value> {
    let script = root().join("docs/gitops/argo-cd-health.lua");
    let (done, text) = run(bed, &built("health"), &words(&["-lua", script.to_str().unwrap()]), objects);
    assert!(done, "{text}");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// A folder with these files, of this stage alone.
pub(crate) fn folder(stage: &Stage, files: &[(&str, &str)]) -> String {
    let folder = root().join("target/gitops").join(&stage.namespace);
    for (name, text) in files {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Also the first begins with a line, so that nobody takes the whole for JSON.
pub(crate) fn documents(manifests: &[Value]) -> String {
    manifests.iter().flat_map(|manifest| ["---\n".to_owned(), manifest.to_string(), "\n".to_owned()]).collect()
}

/// As the bed's administrator.
pub(crate) fn run(bed: &Bed, program: &Path, arguments: &[String], input: &str) -> (bool, String) {
    let path = bed.variable("PATH").replace("$PATH", &std::env::var("PATH").unwrap_or_default());
    // The folder of the bed comes first there; the name alone would be looked up on our own PATH.
    let found = path.split(':').map(|folder| Path::new(folder).join(program)).find(|path| path.is_file());
    let mut child = Command::new(found.as_deref().unwrap_or(program))
        .args(arguments)
        .env("PATH", &path)
        .env("KUBECONFIG", bed.variable("KUBECONFIG"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    // One that does not read ends all the same.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

/// Programs of `hack/bed/cmd/health`, built once.
fn built(name: &str) -> PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    let folder = DONE.get_or_init(|| {
        let (sources, target) = (root().join("hack/bed/cmd/health"), root().join("target/gitops/bin"));
        fs::create_dir_all(&target).unwrap();
        let target = target.canonicalize().unwrap();
        for (at, packages) in [(&sources, &[".", "./flux", "helm.sh/helm/v4/cmd/helm"][..]), (&sources.join("argo"), &["."])] {
            let mut go = Command::new("go");
            let output = go
                .args(["build", "-o"])
                .arg(format!("{}/", target.display()))
                .args(packages)
                .env("CGO_ENABLED", "0")
                .current_dir(at)
                .output();
            let output = output.expect("run go");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        target
    });
    folder.join(name)
}
