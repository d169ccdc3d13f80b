//! The socket of the driver's console: one JSON line in, one JSON line out, on this machine only.
//!
//! It chooses who rides on the next card and shows the attendant's view, and nothing else. Whoever
//! may open the socket (mode 0660: the validator's own group) may choose; the tariff says whether,
//! the rider's card pays, and the screen shows it before and after. A console that hangs, floods or
//! breaks off harms nobody: lines, connections and waiting are bounded, and no tap waits for it.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use fare::Step;
use model::{Companions, CompanionsError, Money, RiderClass};
use serde::{Deserialize, Serialize};
use texts::{Language, step_text};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
    sync::{
        mpsc::UnboundedSender,
        oneshot::{self, Sender},
    },
};
use validation::TapMachine;

use crate::{
    attendant::{View, Wish},
    clock::Clock,
    tap_loop::{Event, TapLoop},
};

/// A longer line is no choice of companions.
const LINE_MAX: u64 = 1024;
/// A console that says nothing for so long is gone.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// More consoles than a vehicle has.
const CONNECTIONS_MAX: usize = 8;
/// A choice is over after its last millisecond.
const CHOICE_SLACK: Duration = Duration::from_millis(5);
/// How long the command line waits for the daemon.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A line from a console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// So many riders of each category on the next card; nobody takes a choice back; absent only
    /// asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub companions: Option<BTreeMap<String, u8>>,
    /// The attendant's view instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attendant: Option<Wish>,
}

/// The answer to a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// The line changed nothing.
    Error {
        /// What is wrong and what to do.
        error: String,
    },
    /// What is chosen.
    Chosen(Chosen),
    /// The attendant's view.
    Attendant(View),
}

/// Who rides on the next card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// By category; empty when the next card pays for its holder alone.
    pub companions: BTreeMap<String, u8>,
    /// What they cost at this moment, decimal.
    pub amount: String,
    /// ISO 4217.
    pub currency: String,
    /// A line of text for each category, in the riders' language.
    pub steps: Vec<String>,
    /// After that nobody is chosen any more.
    pub seconds_left: u64,
}

/// A line with the way back.
#[derive(Debug)]
pub(crate) struct Asked {
    line: Line,
    answer: Sender<Answer>,
}

impl TapLoop {
    /// Does what a console's line says.
    pub(crate) fn console(&mut self, Asked { line, answer }: Asked) {
        let done = match line.attendant {
            Some(_) if line.companions.is_some() => {
                Err("ask for companions or for the attendant's view, not for both".to_owned())
            }
            Some(wish) => {
                let service = self.service.borrow();
                let around = (&*service, self.whereabouts.shown());
                Ok(Answer::Attendant(self.screen.attendant.answer(wish, around, self.clock)))
            }
            None => choose(&mut self.machine, self.clock, self.language, &line),
        };
        // A console that has gone wants no answer.
        let _ = answer.send(done.unwrap_or_else(|error| Answer::Error { error }));
    }

    /// Shows who rides on the next card; later it is looked at whether the choice is over.
    pub(crate) fn companions(&mut self, steps: &[Step]) {
        self.screen.companions(steps);
        let Some(armed) = self.machine.armed() else { return };
        let over = armed.until.since(self.clock.now()) + CHOICE_SLACK;
        let tell = self.tell.clone();
        tokio::spawn(async move {
            tokio::time::sleep(over).await;
            // A loop that has ended serves nobody.
            drop(tell.send(Event::ChoiceOver));
        });
    }
}

fn choose(
    machine: &mut TapMachine,
    clock: Clock,
    language: Language,
    line: &Line,
) -> Result<Answer, String> {
    let now = clock.now();
    machine.handle_timeout(now);
    if let Some(riders) = &line.companions {
        let companions = companions(machine, riders)?;
        machine.arm(now, companions).map_err(|e| e.to_string())?;
    }
    let context = machine.context();
    let tariff = context.tariffs.get(context.tariff).ok_or("no tariff is in force")?;
    let id = |class: RiderClass| {
        tariff.classes().get(usize::from(class.0)).map(|class| class.id.clone()).unwrap_or_default()
    };
    let armed = machine.armed();
    let steps = armed.map_or(&[][..], |armed| armed.steps.as_slice());
    let amount = steps.iter().map(|step| step.amount.minor()).sum();
    Ok(Answer::Chosen(Chosen {
        companions: armed.map_or_else(BTreeMap::new, |armed| {
            armed.companions.iter().map(|(class, riders)| (id(class), riders)).collect()
        }),
        amount: Money::new(amount, tariff.currency()).decimal(),
        currency: tariff.currency().letters().to_owned(),
        steps: steps.iter().map(|step| step_text(language, step)).collect(),
        seconds_left: armed.map_or(0, |armed| armed.until.since(now).as_secs()),
    }))
}

fn companions(machine: &TapMachine, riders: &BTreeMap<String, u8>) -> Result<Companions, String> {
    let context = machine.context();
    let tariff = context.tariffs.get(context.tariff).ok_or("no tariff is in force")?;
    let terms = tariff.terms().companions.as_ref();
    let terms = terms.ok_or("the tariff takes no companions: it has no section [companions]")?;
    let allowed = |class: &RiderClass| terms.classes.is_empty() || terms.classes.contains(class);
    let known = || {
        let classes = (0..).map(RiderClass).zip(tariff.classes());
        let ids: Vec<&str> =
            classes.filter(|(class, _)| allowed(class)).map(|(_, class)| &*class.id).collect();
        ids.join(", ")
    };
    let class = |id: &str| {
        tariff.class(id).filter(allowed).ok_or_else(|| {
            format!("{id:?} is no rider category of companions: the tariff takes {}", known())
        })
    };
    let counted: Result<Vec<_>, String> =
        riders.iter().map(|(id, count)| Ok((class(id)?, *count))).collect();
    let most = terms.riders_max;
    match Companions::new(counted?) {
        Ok(companions) if companions.riders() <= most => Ok(companions),
        Ok(_) | Err(CompanionsError::TooMany) => {
            Err(format!("too many: the tariff takes at most {most} companions on one card"))
        }
        Err(e @ CompanionsError::UnknownClass(_)) => Err(e.to_string()),
    }
}

/// The socket, made where nobody can connect before its mode is set.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    let mut made = path.as_os_str().to_owned();
    made.push(".new");
    let made = PathBuf::from(made);
    // What a killed validator left; a file that is no socket is not taken away.
    for left in [&made, path] {
        use std::os::unix::fs::FileTypeExt;
        match fs::symlink_metadata(left) {
            Ok(found) if !found.file_type().is_socket() => {
                let text = format!("{} is no socket", left.display());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
            }
            Ok(_) | Err(_) => {}
        }
    }
    let _ = fs::remove_file(&made);
    let listener = UnixListener::bind(&made)?;
    fs::set_permissions(&made, fs::Permissions::from_mode(0o660))?;
    fs::rename(&made, path)?;
    Ok(listener)
}

/// Serves consoles until the tap loop is gone.
pub(crate) async fn run(listener: Option<UnixListener>, tell: UnboundedSender<Event>) {
    let Some(listener) = listener else { return };
    let room = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = tell.closed() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors: no reason to spin.
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        // One too many is hung up on.
        let Ok(permit) = std::sync::Arc::clone(&room).try_acquire_owned() else { continue };
        let tell = tell.clone();
        tokio::spawn(async move {
            if let Err(e) = serve(stream, &tell).await {
                tracing::warn!(error = %e, "console");
            }
            drop(permit);
        });
    }
}

async fn serve(stream: tokio::net::UnixStream, tell: &UnboundedSender<Event>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = tokio::io::BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut read).take(LINE_MAX + 1);
        let got = tokio::time::timeout(IDLE_MAX, limited.read_until(b'\n', &mut line)).await;
        let Ok(got) = got else { return Ok(()) };
        if got? == 0 {
            return Ok(());
        }
        let is_whole = line.ends_with(b"\n");
        let answer = if is_whole || u64::try_from(line.len()).is_ok_and(|len| len <= LINE_MAX) {
            ask(&line, tell).await
        } else {
            Answer::Error { error: format!("a line has at most {LINE_MAX} bytes") }
        };
        let mut text = serde_json::to_string(&answer).map_err(io::Error::other)?;
        text.push('\n');
        write.write_all(text.as_bytes()).await?;
        if !is_whole {
            return Ok(());
        }
    }
}

async fn ask(line: &[u8], tell: &UnboundedSender<Event>) -> Answer {
    let line = match serde_json::from_slice(line) {
        Ok(line) => line,
        Err(e) => {
            let error = format!("{e}: write a line such as {{\"companions\":{{\"child\":2}}}}");
            return Answer::Error { error };
        }
    };
    let (answer, answered) = oneshot::channel();
    let gone = || Answer::Error { error: "the validator is stopping".to_owned() };
    if tell.send(Event::Console(Asked { line, answer })).is_err() {
        return gone();
    }
    answered.await.unwrap_or_else(|_| gone())
}

/// Asks a running validator, for the command line.
pub fn request(socket: &Path, line: &Line) -> io::Result<Answer> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    let mut text = serde_json::to_string(line).map_err(io::Error::other)?;
    text.push('\n');
    (&stream).write_all(text.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer)?;
    serde_json::from_str(&answer).map_err(io::Error::other)
}
