//! A controller of a test's own: the production binary with the rights of the chart's service account, limited to one namespace,
//! so that a test can stop, kill and start it while others run.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::json;

use crate::Bed;

/// The process of a controller, if it runs: shared with whoever may have to kill it at an exact moment.
#[derive(Clone, Debug, Default)]
pub struct Process(Arc<Mutex<Option<Child>>>);

impl Process {
    /// SIGKILL, as the kernel does it to a process that eats too much.
    pub fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// It has ended by itself.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child().as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub struct Controller {
    kubeconfig: String,
    namespace: String,
    arguments: Vec<String>,
    address: SocketAddr,
    log: PathBuf,
    binary: PathBuf,
    variables: Vec<(String, String)>,
    process: Process,
}

impl Controller {
    /// Starts one for `namespace` and waits until it has read everything.
    pub async fn start(bed: &Bed, namespace: &str, arguments: &[&str]) -> Self {
        let mut controller = Self::new(bed, namespace, arguments, Process::default());
        controller.run().await;
        controller
    }

    /// One that reaches its API server only through `url`, which knows the way on and has the rights. It is not started yet.
    pub fn through(bed: &Bed, namespace: &str, url: &str, process: Process) -> Self {
        let mut controller = Self::new(bed, namespace, &[], process);
        let file = controller.log.with_extension("kubeconfig");
        fs::write(&file, kubeconfig(url)).expect("write a kubeconfig");
        controller.kubeconfig = file.to_string_lossy().into_owned();
        controller
    }

    fn new(bed: &Bed, namespace: &str, arguments: &[&str], process: Process) -> Self {
        let folder = crate::bed::root().join("target/e2e-logs");
        fs::create_dir_all(&folder).expect("make a folder for logs");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("find a free port");
        let controller = Self {
            kubeconfig: bed.controller_kubeconfig().to_owned(),
            namespace: namespace.to_owned(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            address,
            log: folder.join(format!("{}-{namespace}.log", bed.name)),
            binary: binary(),
            variables: Vec::new(),
            process,
        };
        let _ = fs::remove_file(&controller.log);
        controller
    }

    /// Starts the process, and does not wait until it is ready.
    pub fn launch(&mut self) {
        assert!(self.process.child().is_none(), "it runs already");
        let log = || OpenOptions::new().create(true).append(true).open(&self.log).expect("open the log");
        let child = Command::new(&self.binary)
            .args(["--namespace", &self.namespace, "--listen", &self.address.to_string(), "--log-format", "text"])
            .args(&self.arguments)
            // The only one for its namespace; a test about several says otherwise in its arguments.
            .env("BASCULE_LEADER_ELECT", "false")
            .env("KUBECONFIG", &self.kubeconfig)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .spawn()
            .expect("start the controller");
        *self.process.child() = Some(child);
    }

    /// Starts the process again.
    pub async fn run(&mut self) {
        self.launch();
        for _ in 0..600 {
            if self.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return;
            }
            if let Some(status) = self.process.ended() {
                panic!("the controller ended with {status}:\n{}", self.log_text());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the controller is not ready after 30 s:\n{}", self.log_text());
    }

    /// SIGKILL, as the kernel does it to a process that eats too much.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM; gives its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let mut child = self.process.child().take()?;
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        child.wait().ok()?.code()
    }

    pub async fn restart(&mut self) {
        self.kill();
        self.run().await;
    }

    /// The same with these variables, and these arguments besides its own.
    pub async fn restart_with(&mut self, variables: &[(&str, &str)], arguments: &[&str]) {
        self.variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self.restart().await;
    }

    /// Another build in its place, after a clean end.
    pub async fn replace(&mut self, binary: PathBuf) {
        self.stop();
        self.binary = binary;
        self.run().await;
    }

    /// Where it answers HTTP, for whoever scrapes it.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// For whoever must see it end.
    pub fn process(&self) -> Process {
        self.process.clone()
    }

    pub fn log_text(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = File::open(&self.log) {
            let _ = file.read_to_string(&mut text);
        }
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// An answer of its own HTTP server, headers included.
    pub fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: controller\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- controller of {} ---\n{}", self.namespace, self.log_text());
        }
    }
}

/// For whoever reaches the API server only at `url`.
pub fn kubeconfig(url: &str) -> String {
    let name = "proxy";
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": url}}],
        "users": [{"name": name, "user": {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    });
    config.to_string()
}

/// The one of an earlier commit: `hack/previous` builds it.
pub fn previous() -> PathBuf {
    let path = crate::bed::root().join("target/previous/bascule-controller");
    assert!(path.is_file(), "build it first: hack/previous");
    path
}

/// Beside the test's own binary, in `target/<profile>`; `BASCULE_CONTROLLER_BIN` names another.
pub fn binary() -> PathBuf {
    if let Ok(path) = env::var("BASCULE_CONTROLLER_BIN") {
        return path.into();
    }
    let here = env::current_exe().expect("know where we are");
    let profile = here.ancestors().find(|folder| folder.join("bascule-controller").is_file());
    profile.expect("build it first: cargo build -p bascule-controller").join("bascule-controller")
}
