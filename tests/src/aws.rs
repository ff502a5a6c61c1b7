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
        Self::at(&std::env::var("AWS_ENDPOINT_URL_SSM").expect("AWS_ENDPOINT_URL_SSM: bring the bed up with --aws"))
    }

    /// Another one.
    pub fn at(url: &str) -> Self {
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
        self.call("ssm", &format!("AmazonSSM.{operation}"), body).await
    }

    /// A queue of this name; gives its address.
    pub async fn queue(&self, name: &str) -> String {
        let answer = self.call("sqs", "AmazonSQS.CreateQueue", &json!({"QueueName": name})).await;
        answer["QueueUrl"].as_str().unwrap_or_else(|| panic!("CreateQueue: {answer}")).to_owned()
    }

    /// What EventBridge does: it puts a text into the queue.
    pub async fn send(&self, queue: &str, body: &str) {
        let answer = self.call("sqs", "AmazonSQS.SendMessage", &json!({"QueueUrl": queue, "MessageBody": body})).await;
        assert!(answer["MessageId"].is_string(), "SendMessage: {answer}");
    }

    /// Messages that nobody has taken away yet.
    pub async fn waiting(&self, queue: &str) -> u64 {
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let body = json!({"QueueUrl": queue, "AttributeNames": names});
        let answer = self.call("sqs", "AmazonSQS.GetQueueAttributes", &body).await;
        let count = |name: &str| answer["Attributes"][name].as_str().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        names.into_iter().map(count).sum()
    }

    /// What a pipeline does with the `aws` command. Gives what it prints.
    pub async fn cli(&self, arguments: &[&str]) -> Value {
        let url = format!("http://{}", self.address);
        let output = tokio::process::Command::new("aws")
            .args(["--endpoint-url", &url, "--output", "json"])
            .args(arguments)
            .output()
            .await
            .expect("the aws command: run this inside hack/testbed exec");
        assert!(output.status.success(), "aws {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// Whether somebody with these variables is allowed to; what else may go wrong does not count.
    pub async fn may(&self, credentials: &[(String, String)], arguments: &[&str]) -> bool {
        let url = format!("http://{}", self.address);
        let mut command = tokio::process::Command::new("aws");
        command.args(["--endpoint-url", &url, "--output", "json"]).args(arguments).envs(credentials.iter().cloned());
        let output = command.output().await.expect("the aws command: run this inside hack/testbed exec");
        !String::from_utf8_lossy(&output.stderr).contains("AccessDenied")
    }

    async fn call(&self, service: &str, target: &str, body: &Value) -> Value {
        let body = body.to_string();
        let kind = if service == "sqs" { "1.0" } else { "1.1" };
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-amz-json-{kind}\r\nX-Amz-Target: {target}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0\r\n\
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
    /// The key of a secret parameter is disabled.
    Key,
    /// 500, with a body that is not one of AWS.
    Broken,
    /// 200, and the body ends in the middle.
    Cut,
    /// 200, with an empty answer.
    Half,
    /// 503, as AWS says it.
    Unavailable,
    /// It takes so many milliseconds.
    Slow(u64),
    /// So many requests a second, and the others are throttled.
    Rate(u32),
}

#[derive(Debug, Default)]
struct State {
    trouble: Trouble,
    /// What is still in trouble: so many requests; None: all.
    left: Option<u64>,
    /// Only operations that begin like this.
    only: &'static str,
    /// Requests that were let through in this second.
    second: Option<(tokio::time::Instant, u32)>,
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
        let mut state = lock(&self.state);
        (state.trouble, state.left, state.only) = (trouble, None, "");
    }

    /// Only for operations that begin like this, and for so many of them.
    pub fn fails(&self, trouble: Trouble, only: &'static str, times: Option<u64>) {
        let mut state = lock(&self.state);
        (state.trouble, state.left, state.only) = (trouble, times, only);
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

impl State {
    /// What becomes of this request.
    fn meets(&mut self, operation: &str) -> Trouble {
        *self.counts.entry(operation.to_owned()).or_default() += 1;
        if !operation.starts_with(self.only) || self.left == Some(0) {
            return Trouble::None;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        let Trouble::Rate(most) = self.trouble else { return self.trouble };
        let now = tokio::time::Instant::now();
        let (began, count) = self.second.filter(|(began, _)| now - *began < Duration::from_secs(1)).unwrap_or((now, 0));
        self.second = Some((began, count + 1));
        if count < most { Trouble::None } else { self.trouble }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn carry(mut stream: TcpStream, state: &Mutex<State>, emulator: &str) -> std::io::Result<()> {
    let request = read_request(&mut stream).await?;
    let head = String::from_utf8_lossy(&request);
    let target = head.lines().find_map(|line| line.to_ascii_lowercase().starts_with("x-amz-target:").then(|| line.to_owned()));
    // S3 has no such header: there it is the method.
    let method = head.split(' ').next().unwrap_or_default();
    let operation = target.as_deref().and_then(|line| line.rsplit('.').next()).unwrap_or(method).trim().to_owned();
    let trouble = lock(state).meets(&operation);
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
        Trouble::Slow(millis) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            let mut onward = TcpStream::connect(emulator).await?;
            onward.write_all(&request).await?;
            tokio::io::copy(&mut onward, &mut stream).await?;
            return Ok(());
        }
        Trouble::Reset => return Ok(()),
        Trouble::Silent => tokio::time::sleep(Duration::from_secs(120)).await,
        Trouble::Throttled | Trouble::Rate(_) => {
            let body = json!({"__type": "ThrottlingException", "message": "Rate exceeded"}).to_string();
            stream.write_all(say("400 Bad Request", json, &body).as_bytes()).await?;
        }
        Trouble::Denied => {
            let message = "User: arn:aws:iam::123456789012:role/bascule is not authorized to perform: ssm:GetParameters";
            let body = json!({"__type": "AccessDeniedException", "Message": message}).to_string();
            stream.write_all(say("400 Bad Request", json, &body).as_bytes()).await?;
        }
        Trouble::Key => {
            let message =
                "arn:aws:kms:us-east-1:123456789012:key/1 is disabled. (Service: AWSKMS; Error Code: DisabledException)";
            let body = json!({"__type": "InvalidKeyId", "message": message}).to_string();
            stream.write_all(say("400 Bad Request", json, &body).as_bytes()).await?;
        }
        Trouble::Unavailable => {
            let body = json!({"__type": "ServiceUnavailable", "message": "try again"}).to_string();
            stream.write_all(say("503 Service Unavailable", json, &body).as_bytes()).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_meets_whom_it_is_meant_for_and_ends() {
        let mut state = State { trouble: Trouble::Throttled, left: Some(2), only: "Get", ..State::default() };
        let met = ["PutParameter", "GetParameters", "GetParameters", "GetParameters"].map(|operation| state.meets(operation));
        assert_eq!(met, [Trouble::None, Trouble::Throttled, Trouble::Throttled, Trouble::None]);
        assert_eq!(state.counts["GetParameters"], 3);
    }

    #[test]
    fn a_rate_lets_so_many_through() {
        let mut state = State { trouble: Trouble::Rate(3), ..State::default() };
        let through = (0..10).filter(|_| state.meets("GetParameters") == Trouble::None).count();
        assert_eq!(through, 3);
    }
}
