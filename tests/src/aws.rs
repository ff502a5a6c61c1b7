//! AWS as a test has it: what CI does (one `PutParameter`), and a line between controller and emulator that can be in trouble.
//!
//! In: requests of the controller's SDK. Out: the emulator's answers, or trouble; and a count of each operation. One request for each
//! connection, which is what the emulator does too.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The emulator of the bed.
#[derive(Clone, Debug)]
pub struct Emulator {
    address: String,
}

impl Emulator {
    /// From the variables of `hack/testbed env`; the bed must be up with `--aws`.
    pub fn of_bed() -> Self {
        let url = std::env::var("AWS_ENDPOINT_URL_SSM").expect("AWS_ENDPOINT_URL_SSM: bring the bed up with --aws");
        Self { address: url.trim_start_matches("http://").trim_end_matches('/').to_owned() }
    }

    /// What a pipeline does. Gives the new version.
    pub async fn put(&self, name: &str, value: &str) -> i64 {
        let answer = self.ssm("PutParameter", &json!({"Name": name, "Value": value, "Type": "String", "Overwrite": true})).await;
        answer["Version"].as_i64().unwrap_or_else(|| panic!("PutParameter: {answer}"))
    }

    pub async fn delete(&self, name: &str) {
        self.ssm("DeleteParameter", &json!({"Name": name})).await;
    }

    async fn ssm(&self, operation: &str, body: &Value) -> Value {
        let body = body.to_string();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: AmazonSSM.{operation}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/ssm/aws4_request, SignedHeaders=host, Signature=0\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).await.expect("reach the emulator");
        stream.write_all(request.as_bytes()).await.expect("ask the emulator");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("read the emulator's answer");
        let text = String::from_utf8_lossy(&answer);
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or(Value::Null)
    }
}

/// What is the matter with the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trouble {
    #[default]
    None,
    /// Nobody takes the connection's request.
    Reset,
    /// It is taken and never answered.
    Silent,
    Throttled,
    Denied,
    /// 500, with a body that is not one of AWS.
    Broken,
    /// 200, and the body ends in the middle.
    Cut,
    /// 200, with an empty answer.
    Half,
}

#[derive(Debug, Default)]
struct State {
    trouble: Trouble,
    /// Requests by operation.
    counts: BTreeMap<String, u64>,
}

/// A way to the emulator that can be in trouble.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Line {
    pub async fn to(emulator: &Emulator) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, emulator) = (state.clone(), emulator.address.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, emulator) = (shared.clone(), emulator.clone());
                tokio::spawn(async move {
                    // A connection that breaks is what this is about.
                    let _ = carry(stream, &shared, &emulator).await;
                });
            }
        });
        Self { address, state, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn is(&self, trouble: Trouble) {
        lock(&self.state).trouble = trouble;
    }

    /// Requests of this operation so far, whatever became of them.
    pub fn count(&self, operation: &str) -> u64 {
        lock(&self.state).counts.get(operation).copied().unwrap_or(0)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn carry(mut stream: TcpStream, state: &Mutex<State>, emulator: &str) -> std::io::Result<()> {
    let request = read_request(&mut stream).await?;
    let head = String::from_utf8_lossy(&request);
    let target = head.lines().find_map(|line| line.to_ascii_lowercase().starts_with("x-amz-target:").then(|| line.to_owned()));
    let operation = target.as_deref().and_then(|line| line.rsplit('.').next()).unwrap_or("other").trim().to_owned();
    let trouble = {
        let mut state = lock(state);
        *state.counts.entry(operation).or_default() += 1;
        state.trouble
    };
    let say = |code: &str, kind: &str, body: &str| {
        format!("HTTP/1.1 {code}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    };
    let json = "application/x-amz-json-1.1";
    match trouble {
        Trouble::None => {
            let mut onward = TcpStream::connect(emulator).await?;
            onward.write_all(&request).await?;
            tokio::io::copy(&mut onward, &mut stream).await?;
            return Ok(());
        }
        Trouble::Reset => return Ok(()),
        Trouble::Silent => tokio::time::sleep(Duration::from_secs(120)).await,
        Trouble::Throttled => {
            let body = json!({"__type": "ThrottlingException", "message": "Rate exceeded"}).to_string();
            stream.write_all(say("400 Bad Request", json, &body).as_bytes()).await?;
        }
        Trouble::Denied => {
            let message = "User: arn:aws:iam::123456789012:role/bascule is not authorized to perform: ssm:GetParameters";
            let body = json!({"__type": "AccessDeniedException", "Message": message}).to_string();
            stream.write_all(say("400 Bad Request", json, &body).as_bytes()).await?;
        }
        Trouble::Broken => {
            stream.write_all(say("500 Internal Server Error", "text/html", "<html>oops</html>").as_bytes()).await?;
        }
        Trouble::Cut => {
            let whole = say("200 OK", json, &json!({"Parameters": [{"Name": "/x", "Value": "y".repeat(200)}]}).to_string());
            stream.write_all(&whole.as_bytes()[..whole.len() - 100]).await?;
        }
        Trouble::Half => stream.write_all(say("200 OK", json, "{}").as_bytes()).await?,
    }
    stream.shutdown().await
}

/// Head and body, as `Content-Length` says.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut piece = [0; 8192];
    loop {
        let read = stream.read(&mut piece).await?;
        request.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&request);
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok());
            if request.len() >= head.len() + 4 + length.unwrap_or(0) {
                return Ok(request);
            }
        }
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
