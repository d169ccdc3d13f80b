//! One run of the helper: started, spoken with, and always ended and reaped.

use std::{
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::protocol::{Reply, Request, next_reply};
use crate::ReaderError;

/// The program's name, and of its package and feature.
const NAME: &str = "tapline-nfc";
/// Starting a small program takes milliseconds; a machine that boots is slower.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// The helper itself ends within two seconds.
const CLOSE_LIMIT: Duration = Duration::from_secs(4);
/// A killed program that does not end hangs in the kernel: nobody waits for that.
const REAP_LIMIT: Duration = Duration::from_secs(1);
/// Askers that went away while the helper was busy; each may cost the next one its time.
const DROPPED_MAX: u32 = 16;

/// Why a run of the helper is over.
#[derive(Debug)]
pub(super) enum Over {
    /// It ended by itself.
    Ended(String),
    /// It did not answer in time, and was killed.
    Hung,
    /// It said something that the protocol does not know, and was killed.
    Strange,
}

/// A running helper.
pub(super) struct Process {
    pub(super) program: PathBuf,
    /// libnfc's version.
    pub(super) libnfc: String,
    child: Child,
    requests: ChildStdin,
    replies: ChildStdout,
    received: Vec<u8>,
    /// Of the newest request.
    number: u32,
    /// Of the newest reply.
    answered: u32,
}

impl Process {
    /// Starts the configured program, or the one found, and lets it introduce itself.
    pub(super) async fn start(configured: Option<&Path>) -> Result<Self, ReaderError> {
        let program = find(configured)?;
        let unstarted = |source| ReaderError::HelperStart { program: program.clone(), source };
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A terminal's Ctrl-C is for the program that ends the helper in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(unstarted)?;
        let (Some(requests), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(unstarted(std::io::Error::other("no pipes to it")));
        };
        let mut process = Self {
            program,
            libnfc: String::new(),
            child,
            requests,
            replies,
            received: Vec::new(),
            number: 0,
            answered: 0,
        };
        let hello = timeout(HELLO_LIMIT, process.reply()).await;
        if let Ok(Ok((0, Reply::Hello(libnfc)))) = hello {
            process.libnfc = libnfc;
            return Ok(process);
        }
        let program = process.program.clone();
        let how = match hello {
            Ok(Err(Over::Ended(how))) => format!("it {how}"),
            Ok(Ok(_) | Err(Over::Strange | Over::Hung)) => "it says something else".into(),
            Err(_) => "it says nothing".into(),
        };
        process.kill().await;
        Err(ReaderError::HelperStrange { program, how })
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// A request and its reply. After an error this run is over. May be dropped at any await: the
    /// reply then comes before the next one's, and is passed over.
    pub(super) async fn ask(&mut self, request: &Request, limit: Duration) -> Result<Reply, Over> {
        let outstanding = self.number.wrapping_sub(self.answered).min(DROPPED_MAX);
        self.number = self.number.wrapping_add(1);
        let number = self.number;
        let answer = async {
            // Shorter than what a pipe takes at once: sent whole, or not at all.
            let sent = self.requests.write_all(&request.encode(number)).await;
            loop {
                match self.reply().await? {
                    (of, reply) if of == number && sent.is_ok() => return Ok(reply),
                    (of, _) if of.wrapping_sub(number) > u32::MAX / 2 => {}
                    _ => return Err(Over::Strange),
                }
            }
        };
        let over = match timeout(limit * (outstanding + 1), answer).await {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(over)) => over,
            Err(_) => Over::Hung,
        };
        self.kill().await;
        Err(over)
    }

    async fn reply(&mut self) -> Result<(u32, Reply), Over> {
        loop {
            match next_reply(&mut self.received) {
                Ok(Some((number, reply))) => {
                    self.answered = number;
                    return Ok((number, reply));
                }
                Ok(None) => {}
                Err(_) => return Err(Over::Strange),
            }
            match self.replies.read_buf(&mut self.received).await {
                Ok(0) | Err(_) => return Err(Over::Ended(self.last_words().await)),
                Ok(_) => {}
            }
        }
    }

    /// How it ended, once its output has.
    async fn last_words(&mut self) -> String {
        match timeout(REAP_LIMIT, self.child.wait()).await {
            Ok(Ok(status)) => how(status),
            Ok(Err(_)) | Err(_) => "closed its output".into(),
        }
    }

    async fn kill(&mut self) {
        // It may have ended by itself; what counts is that it is reaped.
        let _ = self.child.start_kill();
        let _ = timeout(REAP_LIMIT, self.child.wait()).await;
    }

    /// Returns once the reader is closed and free for others.
    pub(super) async fn close(self) {
        let Self { mut child, requests, replies, .. } = self;
        drop((requests, replies));
        if timeout(CLOSE_LIMIT, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }
}

fn how(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(6), _) => "ended by signal 6: the C library called abort()".into(),
        (Some(signal), _) => format!("ended by signal {signal}"),
        (None, Some(code)) => format!("ended with exit code {code}"),
        (None, None) => "ended".into(),
    }
}

/// The configured program; else the one beside this program; else the first in PATH.
fn find(configured: Option<&Path>) -> Result<PathBuf, ReaderError> {
    let candidates = match configured {
        Some(program) => vec![program.to_path_buf()],
        None => places(),
    };
    match candidates.iter().find(|program| program.is_file()) {
        Some(program) => Ok(program.clone()),
        None => Err(ReaderError::HelperMissing { looked: candidates }),
    }
}

fn places() -> Vec<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside.into_iter().chain(std::env::split_paths(&path)).map(|dir| dir.join(NAME)).collect()
}
