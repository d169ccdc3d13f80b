//! A gate behind Modbus: the client against the same library's server, over a line that loses,
//! adds and splits bytes.

use std::{
    future::{Ready, ready},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use line::{SerialStream, Terminal};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
    time::sleep,
};
use tokio_modbus::{
    ExceptionCode, Request, Response, SlaveRequest,
    server::{Service, rtu::Server},
};

use super::{PATIENCE, Rig};
use crate::{GateConfig, GateEvent, GateKind, Registers, Token, Told};

const MAP: Registers = Registers {
    unit: 7,
    open_coil: 3,
    passed_input: 10,
    other_way_input: Some(11),
    tailgate_bit: Some(20),
    forced_bit: Some(21),
    blocked_bit: Some(22),
    fault_bit: Some(23),
    emergency_bit: Some(24),
};

/// The gate's registers, as somebody who walks through it changes them.
#[derive(Default)]
struct Board {
    open: bool,
    passed: u16,
    other_way: u16,
    bits: [bool; 5],
    /// Every so many bytes to the host one is lost, or one is added.
    lose_every: usize,
    noise_every: usize,
    split: bool,
}

#[derive(Clone, Default)]
struct Simulator(Arc<Mutex<Board>>);

impl Simulator {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap()
    }

    /// Puts it on a line under this path.
    fn plug(&self, path: &Path) -> JoinHandle<()> {
        let (server, near) = SerialStream::pair().unwrap();
        let terminal = Terminal::plug(path).unwrap();
        let board = self.clone();
        tokio::spawn(async move {
            let serve = Server::new(server).serve_forever(board.clone());
            tokio::select! {
                ended = serve => ended.unwrap(),
                () = bridge(terminal, near, board) => {}
            }
        })
    }
}

impl Service for Simulator {
    type Request = SlaveRequest<'static>;
    type Response = Option<Response>;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Option<Response>, ExceptionCode>>;

    #[expect(clippy::wildcard_enum_match_arm, reason = "a gate knows few of a library's requests")]
    fn call(&self, SlaveRequest { slave, request }: Self::Request) -> Self::Future {
        if slave != MAP.unit {
            return ready(Ok(None));
        }
        let mut board = self.board();
        ready(match request {
            Request::ReadInputRegisters(10, 1) => {
                Ok(Some(Response::ReadInputRegisters(vec![board.passed])))
            }
            Request::ReadInputRegisters(11, 1) => {
                Ok(Some(Response::ReadInputRegisters(vec![board.other_way])))
            }
            Request::ReadDiscreteInputs(at @ 20..=24, 1) => {
                let bit = board.bits[usize::from(at - 20)];
                Ok(Some(Response::ReadDiscreteInputs(vec![bit])))
            }
            Request::WriteSingleCoil(3, on) => {
                board.open = on;
                Ok(Some(Response::WriteSingleCoil(3, on)))
            }
            _ => Err(ExceptionCode::IllegalDataAddress),
        })
    }
}

async fn bridge(mut host: Terminal, mut gate: SerialStream, board: Simulator) {
    let (mut said, mut bytes) = (0, [0; 256]);
    loop {
        tokio::select! {
            heard = host.hear() => {
                let Ok(heard) = heard else { return };
                gate.write_all(&heard).await.unwrap();
            }
            read = gate.read(&mut bytes) => {
                for byte in &bytes[..read.unwrap()] {
                    said += 1;
                    let (lose, noise, split) = {
                        let board = board.board();
                        let every = |n: usize| n != 0 && said % n == 0;
                        (every(board.lose_every), every(board.noise_every), board.split)
                    };
                    if noise {
                        host.say(&[0x5A]).await.unwrap();
                    }
                    if !lose {
                        host.say(&[*byte]).await.unwrap();
                    }
                    if split {
                        sleep(Duration::from_millis(1)).await;
                    }
                }
            }
        }
    }
}

fn config(port: PathBuf) -> GateConfig {
    GateConfig { port: Some(port), registers: Some(MAP), ..GateConfig::of(GateKind::Modbus) }
}

async fn until(mut holds: impl FnMut() -> bool) {
    let holds = async {
        while !holds() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, holds).await.expect("it comes to hold");
}

#[tokio::test]
async fn a_counter_tells_of_passages_and_bits_of_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("gate");
    let simulator = Simulator::default();
    simulator.board().passed = u16::MAX;
    let _line = simulator.plug(&port);
    let mut rig = Rig::start(&config(port));
    rig.ready().await;
    rig.authorize(1, 10_000);
    until(|| simulator.board().open).await;
    simulator.board().passed = 0;
    assert_eq!(rig.event().await, GateEvent::Passed(Token(1)), "the counter begins anew");
    until(|| !simulator.board().open).await;
    rig.authorize(2, 300);
    assert_eq!(rig.event().await, GateEvent::TimedOut(Token(2)));
    assert!(!simulator.board().open);
    simulator.board().other_way = 1;
    assert_eq!(rig.event().await, GateEvent::Forced);
    for (bit, event) in [
        (0, GateEvent::Tailgate),
        (1, GateEvent::Forced),
        (2, GateEvent::Blocked),
        (3, GateEvent::Fault(0)),
        (4, GateEvent::Emergency(true)),
    ] {
        simulator.board().bits[bit] = true;
        assert_eq!(rig.event().await, event);
    }
    simulator.board().bits = [false; 5];
    assert_eq!(rig.event().await, GateEvent::Emergency(false), "the others end in silence");
    simulator.board().passed = 40_000;
    rig.authorize(3, 300);
    assert_eq!(rig.event().await, GateEvent::TimedOut(Token(3)), "a leap is no passage");
}

#[tokio::test]
async fn lost_added_and_split_bytes_make_no_passage_and_lose_none() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("gate");
    let simulator = Simulator::default();
    let _line = simulator.plug(&port);
    let mut rig = Rig::start(&config(port));
    rig.ready().await;
    for (token, lose_every, noise_every, split) in
        [(1, 101, 0, false), (2, 0, 37, false), (3, 0, 0, true), (4, 211, 97, true)]
    {
        {
            let mut board = simulator.board();
            (board.lose_every, board.noise_every, board.split) = (lose_every, noise_every, split);
        }
        rig.authorize(token, 30_000);
        until(|| simulator.board().open).await;
        simulator.board().passed += 1;
        assert_eq!(rig.event().await, GateEvent::Passed(Token(token)));
        until(|| !simulator.board().open).await;
    }
}

#[tokio::test]
async fn a_passage_while_the_line_was_away_is_not_counted_for_anybody() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("gate");
    let simulator = Simulator::default();
    let line = simulator.plug(&port);
    let mut rig = Rig::start(&config(port.clone()));
    rig.ready().await;
    rig.authorize(1, 60_000);
    until(|| simulator.board().open).await;
    line.abort();
    assert!(line.await.is_err());
    assert_eq!(rig.event().await, GateEvent::Unseen(Token(1)));
    assert!(matches!(rig.told().await, Told::Lost(_)));
    simulator.board().passed += 1;
    let _line = simulator.plug(&port);
    rig.ready().await;
    rig.authorize(2, 300);
    assert_eq!(rig.event().await, GateEvent::TimedOut(Token(2)));
}
