//! What commands do: the built-in ones, and those a program adds.
//!
//! Owns the names `reboot`, `identify` and `logs`, and the rule that a command nobody handles is rejected, not failed.
//! A program's own handler goes before a built-in one of the same name.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;

use crate::{
    ledger::{CommandStatus, Outcome},
    limits::{COMMAND_RUN_MAX, LOG_LINE_BYTES_MAX, LOG_LINES_KEPT_MAX},
};

/// What a handler gives back: text for the operator, or why not.
pub type CommandResult = Result<String, CommandFailure>;

/// Why a command did not succeed. Any error converts into a failure, so handlers can use `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandFailure {
    status: CommandStatus,
    text: String,
}

impl CommandFailure {
    /// It was tried and did not work.
    #[must_use]
    pub fn failed(text: impl Into<String>) -> Self {
        Self {
            status: CommandStatus::Failed,
            text: text.into(),
        }
    }

    /// It was not tried: the arguments make no sense, or the device will not.
    #[must_use]
    pub fn rejected(text: impl Into<String>) -> Self {
        Self {
            status: CommandStatus::Rejected,
            text: text.into(),
        }
    }
}

impl<E: std::error::Error> From<E> for CommandFailure {
    fn from(error: E) -> Self {
        Self::failed(crate::device::explain(&error))
    }
}

type Running = Pin<Box<dyn Future<Output = CommandResult> + Send>>;
type Handler = Arc<dyn Fn(Value) -> Running + Send + Sync>;

/// Handlers by command name; clones share the handlers.
#[derive(Clone, Default)]
pub struct Commands {
    handlers: HashMap<String, Handler>,
}

impl fmt::Debug for Commands {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.handlers.keys()).finish()
    }
}

impl Commands {
    /// Adds or replaces a handler. It gets the arguments as a JSON object without the id.
    pub fn add<F, Fut>(&mut self, name: impl Into<String>, handler: F)
    where
        F: Fn(Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = CommandResult> + Send + 'static,
    {
        self.handlers
            .insert(name.into(), Arc::new(move |args| Box::pin(handler(args))));
    }

    /// Runs a command, unless its effect could not be noted where the device was told to note it.
    pub(crate) async fn run_if(
        &self,
        noted: bool,
        name: &str,
        args: Value,
        logs: &LogLines,
    ) -> Outcome {
        if noted {
            self.run(name, args, logs).await
        } else {
            Outcome::new(CommandStatus::Failed, "the effects log cannot be written")
        }
    }

    /// Runs a command to its end, at most [`COMMAND_RUN_MAX`].
    pub(crate) async fn run(&self, name: &str, args: Value, logs: &LogLines) -> Outcome {
        let Some(handler) = self.handlers.get(name) else {
            return built_in(name, logs);
        };
        match tokio::time::timeout(COMMAND_RUN_MAX, handler(args)).await {
            Ok(Ok(output)) => Outcome::new(CommandStatus::Succeeded, output),
            Ok(Err(failure)) => Outcome::new(failure.status, failure.text),
            Err(_) => Outcome::new(CommandStatus::Failed, "the command did not end in time"),
        }
    }
}

fn built_in(name: &str, logs: &LogLines) -> Outcome {
    match name {
        // Success is what makes the machine restart the device.
        "reboot" => Outcome::new(CommandStatus::Succeeded, ""),
        "identify" => {
            tracing::info!("identify: here I am");
            Outcome::new(CommandStatus::Succeeded, "")
        }
        "logs" => Outcome::new(CommandStatus::Succeeded, logs.text()),
        _ => Outcome::new(CommandStatus::Rejected, "unknown command"),
    }
}

/// The last lines of the device's own log, for `logs`.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogLines(Arc<Mutex<VecDeque<String>>>);

impl LogLines {
    /// Keeps a line, cut to its bound; the oldest goes.
    pub(crate) fn add(&self, mut line: String) {
        if line.len() > LOG_LINE_BYTES_MAX {
            let end = (0..=LOG_LINE_BYTES_MAX)
                .rev()
                .find(|at| line.is_char_boundary(*at))
                .unwrap_or(0);
            line.truncate(end);
        }
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= LOG_LINES_KEPT_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn own_handlers_go_before_built_in_ones_and_unknown_names_are_rejected() {
        let mut commands = Commands::default();
        commands.add("identify", |args| async move {
            Ok(format!("{} times", args["times"]))
        });
        commands.add("parse", |_| async { Ok("x".parse::<u8>()?.to_string()) });
        let logs = LogLines::default();
        logs.add("hello".to_owned());
        let run = |name: &'static str| commands.run(name, json!({ "times": 2 }), &logs);
        assert_eq!(
            run("identify").await,
            Outcome::new(CommandStatus::Succeeded, "2 times")
        );
        assert_eq!(
            run("logs").await,
            Outcome::new(CommandStatus::Succeeded, "hello")
        );
        assert_eq!(run("parse").await.status, CommandStatus::Failed);
        assert_eq!(run("nonsense").await.status, CommandStatus::Rejected);
    }

    #[test]
    fn log_lines_are_bounded() {
        let logs = LogLines::default();
        for number in 0..200 {
            logs.add(format!("{number} {}", "ü".repeat(LOG_LINE_BYTES_MAX)));
        }
        let text = logs.text();
        assert_eq!(text.lines().count(), LOG_LINES_KEPT_MAX);
        assert!(text.lines().all(|line| line.len() <= LOG_LINE_BYTES_MAX));
    }
}
