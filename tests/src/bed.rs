//! The bed that a test runs on, as `hack/testbed env` describes it.

use std::{collections::BTreeMap, env, path::PathBuf, process::Command};

use kube::{Client, Config, config::Kubeconfig};

/// A running test bed.
#[derive(Clone, Debug)]
pub struct Bed {
    pub name: String,
    variables: BTreeMap<String, String>,
}

impl Bed {
    /// The bed of the environment (inside `hack/testbed exec`), else the one of that name, which must be up.
    pub fn named(name: &str) -> Self {
        if let Ok(here) = env::var("BASCULE_BED") {
            return Self { name: here, variables: env::vars().collect() };
        }
        let output =
            Command::new(root().join("hack/testbed")).args(["env", "--name", name]).output().expect("run hack/testbed env");
        assert!(
            output.status.success(),
            "bed {name} is not up: hack/testbed up --name {name}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let variables = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('=')).map(|(key, value)| {
            let value = value.trim().trim_matches(|quote| quote == '"' || quote == '\'');
            (key.to_owned(), value.to_owned())
        });
        Self { name: name.to_owned(), variables: variables.collect() }
    }

    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).unwrap_or_else(|| panic!("bed {} has no {name}", self.name))
    }

    /// A client with all rights: the user, and the platform team.
    pub async fn admin(&self) -> Client {
        client(self.variable("KUBECONFIG")).await
    }

    /// Kubeconfig with exactly the controller's rights.
    pub fn controller_kubeconfig(&self) -> &str {
        self.variable("BASCULE_KUBECONFIG")
    }

    /// `kubectl`, as the bed's administrator.
    pub fn kubectl(&self, arguments: &[&str], input: Option<&str>) -> (bool, String) {
        let mut command = Command::new("kubectl");
        command.args(arguments).env("KUBECONFIG", self.variable("KUBECONFIG"));
        if let Some(path) = self.variables.get("PATH") {
            let path = path.replace("$PATH", &env::var("PATH").unwrap_or_default());
            command.env("PATH", path);
        }
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().expect("run kubectl");
        if let (Some(input), Some(stdin)) = (input, child.stdin.as_mut()) {
            std::io::Write::write_all(stdin, input.as_bytes()).expect("write to kubectl");
        }
        let output = child.wait_with_output().expect("kubectl ends");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }
}

async fn client(kubeconfig: &str) -> Client {
    // More than one test in a process: only the first installs.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("read the bed's kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
        .await
        .expect("a usable kubeconfig");
    Client::try_from(config).expect("make a client")
}

/// The workspace.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
