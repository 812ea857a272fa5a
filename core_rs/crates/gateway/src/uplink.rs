//! What locks say, on its way to the api: receipts and reports, in order, in batches. The organization and the lock are those of
//! the connection's token, whatever the frame claims. A lost batch is no loss: a lock repeats a report until it hears `stored`.
use std::sync::Arc;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::identity::SubjectKey;
use crate::metrics::{Metrics, count};

/// Messages that may wait for Redis, per thread.
pub const UPLINK_MESSAGES_MAX: usize = 4_096;
const BATCH_MESSAGES_MAX: usize = 128;
/// Reports that nobody waits for; the worker reads them.
const REPORTS_KEY: &str = "nk:reports";
const REPORTS_LENGTH: u64 = 100_000;

/// A word of a lock.
pub enum Uplink {
    /// It has the command.
    Received {
        lock: SubjectKey,
        command: String,
        reply_to: Arc<str>,
    },
    /// It signed what happened. Without `reply_to` nobody waits.
    Report {
        lock: SubjectKey,
        number: u64,
        command: Option<String>,
        report: String,
        reply_to: Option<Arc<str>>,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToProcess<'a> {
    Received {
        org: &'a str,
        lock: &'a str,
        command: &'a str,
    },
    Report {
        org: &'a str,
        lock: &'a str,
        number: u64,
        command: Option<&'a str>,
        report: &'a str,
    },
}

/// Sends what comes in, until the bus fails.
///
/// # Errors
/// Those of Redis; the batch under way is lost then.
pub async fn run(
    connection: &mut MultiplexedConnection,
    uplinks: &mut mpsc::Receiver<Uplink>,
    metrics: &Metrics,
) -> RedisResult<()> {
    let mut batch = Vec::with_capacity(BATCH_MESSAGES_MAX);
    while uplinks.recv_many(&mut batch, BATCH_MESSAGES_MAX).await > 0 {
        let unheard = publish(connection, &batch, metrics).await?;
        store(connection, &unheard, metrics).await?;
        batch.clear();
    }
    Ok(())
}

/// Publishes what a process waits for; answers with the reports that nobody heard.
async fn publish<'a>(
    connection: &mut MultiplexedConnection,
    batch: &'a [Uplink],
    metrics: &Metrics,
) -> RedisResult<Vec<&'a Uplink>> {
    let mut pipeline = redis::pipe();
    let mut sent = Vec::with_capacity(batch.len());
    for uplink in batch {
        let waited_for = for_process(uplink);
        sent.push(waited_for.is_some());
        if let Some((channel, text)) = waited_for {
            pipeline.publish(channel, text);
        }
    }
    let heard: Vec<i64> = if pipeline.is_empty() {
        Vec::new()
    } else {
        pipeline.query_async(connection).await?
    };
    let mut heard = heard.into_iter();
    let mut unheard = Vec::new();
    for (uplink, sent) in batch.iter().zip(sent) {
        let listeners = if sent { heard.next().unwrap_or(0) } else { 0 };
        if matches!(uplink, Uplink::Report { .. }) {
            if listeners > 0 {
                count(&metrics.reports_forwarded);
            } else {
                unheard.push(uplink);
            }
        }
    }
    Ok(unheard)
}

async fn store(
    connection: &mut MultiplexedConnection,
    reports: &[&Uplink],
    metrics: &Metrics,
) -> RedisResult<()> {
    let mut pipeline = redis::pipe();
    for uplink in reports {
        if let Uplink::Report { lock, report, .. } = uplink {
            pipeline
                .cmd("XADD")
                .arg(REPORTS_KEY)
                .arg("MAXLEN")
                .arg("~")
                .arg(REPORTS_LENGTH)
                .arg("*");
            pipeline
                .arg("org")
                .arg(&*lock.organization)
                .arg("lock")
                .arg(&*lock.subject)
                .arg("report")
                .arg(report)
                .ignore();
            count(&metrics.reports_stored);
        }
    }
    if pipeline.is_empty() {
        Ok(())
    } else {
        pipeline.query_async(connection).await
    }
}

fn for_process(uplink: &Uplink) -> Option<(String, String)> {
    let (reply_to, frame) = match uplink {
        Uplink::Received {
            lock,
            command,
            reply_to,
        } => (
            reply_to,
            ToProcess::Received {
                org: &lock.organization,
                lock: &lock.subject,
                command,
            },
        ),
        Uplink::Report {
            lock,
            number,
            command,
            report,
            reply_to,
        } => {
            let (org, lock, command) = (&*lock.organization, &*lock.subject, command.as_deref());
            (
                reply_to.as_ref()?,
                ToProcess::Report {
                    org,
                    lock,
                    number: *number,
                    command,
                    report,
                },
            )
        }
    };
    Some((
        format!("nk:process:{reply_to}"),
        serde_json::to_string(&frame).ok()?,
    ))
}
