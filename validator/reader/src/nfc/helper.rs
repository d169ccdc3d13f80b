//! The program `tapline-nfc`: answers requests on its input until that ends.
//!
//! The input is read on a thread of its own, so that the death of the program that started it is
//! noticed also while the C library hangs.

use std::{
    io::{self, IsTerminal, Read, Write},
    process::{self, ExitCode},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{
    driver::{self, Driver},
    protocol::{Reply, Request, Strange, next_request},
};

/// Field off and power down take libnfc less.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// sysexits: called wrongly.
const EX_USAGE: u8 = 64;
/// sysexits: what came in makes no sense.
const EX_DATAERR: u8 = 65;

/// A request with its number, or something that is none.
type Heard = Result<(u32, Request), Strange>;

/// Runs the program.
pub fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("--version") {
        let version = env!("CARGO_PKG_VERSION");
        let told = writeln!(io::stdout(), "tapline-nfc {version}, libnfc {}", driver::version());
        return if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if argument.is_some() || io::stdin().is_terminal() {
        let _ = writeln!(
            io::stderr(),
            "tapline-nfc: drives a reader by libnfc for the program that starts it; name it in \
             [reader] helper, with kind = \"libnfc\""
        );
        return ExitCode::from(EX_USAGE);
    }
    let (tell, requests) = mpsc::channel();
    thread::spawn(move || {
        listen(&tell);
        drop(tell);
        end_soon();
    });
    ExitCode::from(serve(&requests))
}

/// Until the input ends, or makes no sense.
fn listen(tell: &mpsc::Sender<Heard>) {
    let (mut received, mut bytes) = (Vec::new(), [0; 1_024]);
    loop {
        match io::stdin().lock().read(&mut bytes) {
            Ok(0) => return,
            Ok(read) => received.extend(&bytes[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
        while let Some(heard) = next_request(&mut received).transpose() {
            let last = heard.is_err();
            if tell.send(heard).is_err() || last {
                return;
            }
        }
    }
}

/// The other thread closes the reader and ends the program, unless it hangs.
#[expect(clippy::disallowed_methods, reason = "a blocking program of its own")]
fn end_soon() {
    thread::sleep(CLOSE_MAX);
    process::exit(0);
}

/// The exit code.
fn serve(requests: &mpsc::Receiver<Heard>) -> u8 {
    let mut out = io::stdout().lock();
    let mut say = |frame: Vec<u8>| out.write_all(&frame).and_then(|()| out.flush());
    let mut driver = Driver::default();
    let mut reply = Reply::Hello(driver::version()).encode(0);
    // A starter that no longer listens is gone.
    while say(reply).is_ok() {
        reply = match requests.recv() {
            Ok(Ok((number, request))) => driver.handle(request).encode(number),
            Ok(Err(Strange)) => return EX_DATAERR,
            Err(_) => return 0,
        };
    }
    0
}
