//! A validator whose debit key is in a PKCS#11 token that leaves and comes back: the real program
//! with `SoftHSM`, its reader on a pseudo-terminal.

#![expect(clippy::unwrap_used, reason = "a token that cannot be set up is a failed test")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use card::{Key, KeyRole, KeySet, KeyVersion, apdu::cmd};
use reader::{Activation, Picc};

use crate::{
    broker::now,
    issuing::on,
    processes::{DEPOT, Gate, PATIENCE, POSTS, Reader, SharedCard, Yard, said},
};

const REVENUE: u16 = 2;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A `SoftHSM` of its own with one token that holds the debit key.
///
/// Without its folder a key in use cannot sign any more: the module looks at the file each time.
#[derive(Clone)]
struct Token {
    at: PathBuf,
}

impl Token {
    fn make(at: &Path) -> Self {
        let token = Self { at: at.to_owned() };
        fs::create_dir(token.folder()).unwrap();
        let place = token.folder();
        let text =
            format!("directories.tokendir = {}\nobjectstore.backend = file\n", place.display());
        fs::write(token.conf(), text).unwrap();
        custody::write_private(&at.join("pin"), b"4711\n").unwrap();
        token.init("4711");
        let keys = KeySet::from_root(&Key([7; 16]));
        token.import(KeyVersion(1), keys.master(KeyRole::Debit, KeyVersion(1)).unwrap());
        token
    }

    fn init(&self, pin: &str) {
        let init = ["--init-token", "--free", "--label", "tapline", "--so-pin", "0815", "--pin"];
        let mut make = Command::new("softhsm2-util");
        said(&make.args(init).arg(pin).env("SOFTHSM2_CONF", self.conf()).output().unwrap());
    }

    fn folder(&self) -> PathBuf {
        self.at.join("tokens")
    }

    fn conf(&self) -> PathBuf {
        self.at.join("softhsm2.conf")
    }

    /// As configurations name it.
    fn named(&self) -> String {
        let pin = self.at.join("pin").display().to_string();
        let token = format!("module = \"{MODULE}\", token = \"tapline\", pin = \"{pin}\"");
        format!("card = {{ pkcs11 = {{ {token} }} }}")
    }

    /// Puts a version of the debit key into it, by the depot's own command.
    fn import(&self, version: KeyVersion, master: &Key) {
        let config = self.at.join("ceremony.toml");
        fs::write(&config, format!("depot = \"north\"\n[keys]\n{}\n", self.named())).unwrap();
        let mut import = Command::new(DEPOT);
        import.args(["keys", "import", "debit", &version.to_string(), "--config"]).arg(&config);
        import.env("SOFTHSM2_CONF", self.conf()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut import = import.spawn().unwrap();
        let digits = depot_server::config::to_hex(&master.0);
        writeln!(import.stdin.take().unwrap(), "{digits}").unwrap();
        said(&import.wait_with_output().unwrap());
    }

    fn is_pulled(&self) -> bool {
        self.at.join("away").exists()
    }

    fn pull(&self) {
        fs::rename(self.folder(), self.at.join("away")).unwrap();
        fs::create_dir(self.folder()).unwrap();
    }

    fn put_back(&self) {
        fs::remove_dir(self.folder()).unwrap();
        fs::rename(self.at.join("away"), self.folder()).unwrap();
    }
}

/// Starts the gate again with the token in place of its key file.
fn move_key_into(token: &Token, gate: &mut Gate) {
    gate.process.stop();
    let config = token.at.join(format!("{}.toml", gate.post.id));
    let text = fs::read_to_string(&config).unwrap();
    let plain = format!("card = \"{}/card.key\"", token.at.display());
    assert!(text.contains(&plain), "{text}");
    fs::write(&config, text.replace(&plain, &token.named())).unwrap();
    fs::remove_file(token.at.join("card.key")).unwrap();
    gate.process.set_variable("SOFTHSM2_CONF", &token.conf());
    gate.process.start();
}

/// A bus whose key is in a token, three cards, and the rider's end.
fn bus() -> (Yard, Token, Reader) {
    let mut yard = Yard::open(&POSTS[..1], 3, &[]);
    let token = Token::make(yard.folder());
    let gate = &mut yard.gates[0];
    move_key_into(&token, gate);
    let reader = gate.take_reader();
    (yard, token, reader)
}

fn balance(card: &SharedCard) -> i32 {
    card.lock().unwrap().contents().unwrap().balance
}

/// Waits until its health page says this.
async fn healthy(gate: &Gate, words: &str) {
    let deadline = now() + PATIENCE;
    loop {
        let page = gate.page("/health").unwrap_or_default();
        if page.contains(words) {
            return;
        }
        assert!(now() < deadline, "{page}\nwants {words}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Told twice: the staff why, the rider what to do.
async fn out_of_service(reader: &mut Reader, card: &SharedCard, why: &str) {
    out_of_service_at(reader, Arc::clone(card), why).await;
}

async fn out_of_service_at(reader: &mut Reader, medium: impl Picc + 'static, why: &str) {
    let first = reader.tap(medium).await;
    assert!(first.starts_with("E out of service: ") && first.contains(why), "{first}");
    told_to_go_elsewhere(&reader.answer(PATIENCE).await.expect("an answer in time"));
}

fn told_to_go_elsewhere(answer: &str) {
    assert_eq!(answer, "E code 90; Out of service: use another reader");
}

const MISSING: &str = "the token tapline is not there";

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_whose_token_is_pulled_charges_nobody_says_why_and_comes_back_by_itself() {
    let (mut yard, token, mut reader) = bus();
    let cards = yard.cards.clone();
    assert!(reader.tap(Arc::clone(&cards[0])).await.contains("accepted, charge 1.50"));
    healthy(&yard.gates[0], "200 OK").await;

    token.pull();
    out_of_service(&mut reader, &cards[1], MISSING).await;
    told_to_go_elsewhere(&reader.tap(Arc::clone(&cards[2])).await);
    assert_eq!([&cards[1], &cards[2]].map(balance), [50_000, 50_000], "nobody is charged");
    let gate = &yard.gates[0];
    let health = gate.page("/health").unwrap();
    assert!(health.starts_with("HTTP/1.1 503") && health.contains(MISSING), "{health}");
    assert!(gate.page("/metrics").unwrap().contains("\ntapline_in_service 0\n"));
    // Looked for twice and more meanwhile: it is said once, not every two seconds.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let log = gate.process.logged();
    assert_eq!(log.matches(MISSING).count(), 1, "{log}");

    token.put_back();
    healthy(gate, "200 OK").await;
    assert!(gate.page("/metrics").unwrap().contains("\ntapline_in_service 1\n"));
    assert!(gate.process.logged().contains("the card keys are back"));
    for card in &cards[1..] {
        let answer = reader.tap(Arc::clone(card)).await;
        assert!(answer.contains("accepted, charge 1.50"), "{answer}");
    }
    assert_eq!(cards.iter().map(balance).collect::<Vec<_>>(), [49_850; 3]);
    yard.drained().await;
    assert_eq!(on(yard.folder(), REVENUE), 3 * 150, "each ride is in the books, once");
}

/// A card during whose tap the token is pulled: before the answer to this command.
struct Pulling {
    card: SharedCard,
    command: u8,
    token: Token,
}

impl Picc for Pulling {
    fn activation(&self) -> Activation {
        self.card.activation()
    }

    fn transceive(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        if apdu[1] == self.command && !self.token.is_pulled() {
            self.token.pull();
        }
        self.card.transceive(apdu)
    }

    fn field_off(&mut self) {
        self.card.field_off();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_pulled_during_a_tap_ends_it_uncharged_or_lets_it_finish_but_never_half() {
    let (mut yard, token, mut reader) = bus();
    let cards = yard.cards.clone();
    let pulling =
        |n: usize, command| Pulling { card: Arc::clone(&cards[n]), command, token: token.clone() };
    // The key was derived before: the tap needs the token no more.
    let answer = reader.tap(pulling(0, cmd::COMMIT_TRANSACTION)).await;
    assert!(answer.contains("accepted, charge 1.50"), "{answer}");
    assert_eq!(balance(&cards[0]), 49_850);
    out_of_service(&mut reader, &cards[1], MISSING).await;
    token.put_back();
    healthy(&yard.gates[0], "200 OK").await;

    // Version 2 is current and the cards have version 1: the token is asked again during the tap.
    yard.gates[0].process.stop();
    token.import(KeyVersion(2), &Key([9; 16]));
    yard.gates[0].process.start();
    assert!(reader.tap(Arc::clone(&cards[1])).await.contains("accepted, charge 1.50"));
    out_of_service_at(&mut reader, pulling(2, cmd::GET_KEY_VERSION), MISSING).await;
    assert_eq!(balance(&cards[2]), 50_000, "not charged");
    token.put_back();
    healthy(&yard.gates[0], "200 OK").await;
    assert!(reader.tap(Arc::clone(&cards[2])).await.contains("accepted, charge 1.50"));
    yard.drained().await;
    assert_eq!(on(yard.folder(), REVENUE), 3 * 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_token_that_does_not_open_is_named_in_place_of_the_missing_one() {
    let (yard, token, mut reader) = bus();
    let cards = yard.cards.clone();
    assert!(reader.tap(Arc::clone(&cards[0])).await.contains("accepted, charge 1.50"));
    token.pull();
    out_of_service(&mut reader, &cards[1], MISSING).await;
    token.init("0000");
    healthy(&yard.gates[0], "refused the PIN in").await;
    let answer = reader.answer(PATIENCE).await.expect("the staff is told what is wrong now");
    assert!(answer.starts_with("E out of service: ") && answer.contains("refused the PIN"));
    assert_eq!(balance(&cards[1]), 50_000);
}
