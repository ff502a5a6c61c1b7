//! SQS: what EventBridge has put into the controller's queue.

use std::time::Duration;

use aws_sdk_sqs::{config::timeout::TimeoutConfig, types::DeleteMessageBatchRequestEntry};

use crate::{Aws, Fault, Scope, fault};

/// So long an empty queue is listened to in one request; AWS takes no more.
pub const WAIT: Duration = Duration::from_secs(20);
/// On top of the wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const AT_MOST: i32 = 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub body: String,
    /// By which it is deleted.
    pub handle: String,
}

impl Aws {
    /// One request, which takes until there is something, or twenty seconds. At most ten.
    pub async fn receive(&self, scope: &Scope, queue: &str) -> Result<Vec<Message>, Fault> {
        let client = self.clients(scope).await.sqs;
        let within = TimeoutConfig::builder().operation_timeout(WAIT + ANSWER_WITHIN).build();
        let seconds = i32::try_from(WAIT.as_secs()).unwrap_or(20);
        let request = client.receive_message().queue_url(queue).max_number_of_messages(AT_MOST).wait_time_seconds(seconds);
        let request = request.customize().config_override(aws_sdk_sqs::config::Builder::new().timeout_config(within));
        let answer = request.send().await.map_err(fault::of)?;
        let read = |it: aws_sdk_sqs::types::Message| Some(Message { body: it.body?, handle: it.receipt_handle? });
        Ok(answer.messages.unwrap_or_default().into_iter().filter_map(read).collect())
    }

    /// One request: at most ten.
    pub async fn delete(&self, scope: &Scope, queue: &str, handles: &[String]) -> Result<(), Fault> {
        let client = self.clients(scope).await.sqs;
        let entries = handles.iter().enumerate().filter_map(|(index, handle)| {
            DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(handle).build().ok()
        });
        let request = client.delete_message_batch().queue_url(queue).set_entries(Some(entries.collect()));
        // What was not deleted comes again, and does no harm.
        request.send().await.map(drop).map_err(fault::of)
    }
}
