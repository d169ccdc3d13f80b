//! How a validator's device is, by work that it did: the real programs tell the depot.

use std::{fs, process::Command, time::Duration};

use gate::Turnstile;
use line::Terminal;
use tokio::{task::block_in_place, time::sleep};

use crate::{
    broker::{now, pause},
    demo::{get, log_in},
    processes::{PATIENCE, POSTS, VALIDATOR, Yard, said},
};

fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(now() < deadline, "{what}");
        pause(Duration::from_millis(100));
    }
}

/// The validator's page, as an operator who is logged in sees it.
struct Page {
    address: String,
    cookie: String,
}

impl Page {
    fn open(yard: &Yard) -> Self {
        let link = said(&yard.depot_server(&["user", "add"], &["ana"]));
        let token = link.trim().split_once("/login").expect("a login link").1;
        let site = format!("http://127.0.0.1:{}", yard.pages);
        let cookie = log_in(&format!("{site}/login{token}"));
        Self { address: format!("{site}/fleet/v000001"), cookie }
    }

    fn until(&self, words: &str) -> String {
        until(words, || {
            let page = get(&self.address, &self.cookie);
            page.contains(words).then_some(page)
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_tests_itself_and_says_how_its_device_is_and_why_it_does_not_serve() {
    let mut yard = block_in_place(|| Yard::open(&POSTS[..1], 1, &[]));
    let mut reader = yard.gates[0].take_reader();
    let answer = reader.tap(yard.cards[0].clone()).await;
    assert!(answer.starts_with('A'), "{answer}");
    block_in_place(|| {
        let metrics = until("it tests itself", || {
            let page = yard.gates[0].page("/metrics")?;
            page.contains("tapline_device_well 1").then_some(page)
        });
        let tested = metrics.lines().find(|l| l.starts_with("tapline_self_test_duration_seconds "));
        let took: f64 = tested.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        assert!(took > 0.0, "{tested:?}");
        assert!(
            metrics.contains("tapline_taps_total{outcome=\"committed\"} 1"),
            "only the rider's"
        );

        let shown = Page::open(&yard).until("<dt>Self-test</dt><dd>passed");
        for words in ["<dt>Started</dt>", "<dt>Free</dt>", "<dt>Last card read</dt>"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
    });
    // The reader is unplugged: the depot hears why nobody is served.
    drop(reader);
    block_in_place(|| {
        let shown = Page::open(&yard).until("Takes no taps: ");
        assert!(shown.contains("reader at "), "{shown}");
        assert!(!shown.contains("see its own log"), "{shown}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn selftest_does_once_what_a_tap_needs_and_fails_where_riders_would_be_refused() {
    let mut yard = block_in_place(|| Yard::install(&POSTS[..1], 1));
    let reader = yard.gates[0].take_reader();
    let config = yard.folder().join("v000001.toml");
    let selftest = || {
        block_in_place(|| {
            Command::new(VALIDATOR).arg("selftest").arg("--config").arg(&config).output().unwrap()
        })
    };
    let told = said(&selftest());
    for words in ["ok   rules   20 taps", "ok   disk    50 durable writes", "ok   reader  PN532"] {
        assert!(told.contains(words), "{told}");
    }
    assert!(yard.gates[0].state().read_dir().unwrap().next().is_none(), "nothing is left behind");
    drop(reader);
    let output = selftest();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("BAD  reader") && told.contains("ok   rules"), "{told}");
}

/// Devices that are not there.
const BLIND: &str = r#"[rider.display]
kind = "framebuffer"
device = "/nowhere/fb0"
[rider.leds]
chip = "/nowhere/gpiochip0"
green = 17
[rider.buzzer]
kind = "pwm"
chip = "/nowhere/pwmchip0"
line = 0
"#;

/// What a receiver says all the time.
async fn say_all_the_time(mut receiver: Terminal, line: String) {
    loop {
        receiver.say(line.as_bytes()).await.unwrap();
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_and_selftest_name_each_device_that_fails_and_say_what_to_look_at() {
    let mut yard = block_in_place(|| Yard::install(&POSTS[..1], 1));
    let _reader = yard.gates[0].take_reader();
    let at = |name: &str| yard.folder().join(name);
    let text = fs::read_to_string(at("v000001.toml")).unwrap();
    let devices = format!(
        r#"[gate]
kind = "frames"
port = {:?}
[gnss]
port = {:?}
[scanner]
port = {:?}
[tickets]
keys = ["d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"]
"#,
        at("gate"),
        at("gnss"),
        at("scanner"),
    );
    fs::write(at("devices.toml"), format!("{text}{devices}")).unwrap();
    fs::write(at("blind.toml"), format!("{text}{devices}{BLIND}")).unwrap();
    let ask = |command: &str, config: &str| {
        block_in_place(|| {
            let config = at(config);
            let asked = Command::new(VALIDATOR).arg(command).arg("--config").arg(config).output();
            let asked = asked.unwrap();
            (asked.status.code(), String::from_utf8(asked.stdout).unwrap())
        })
    };
    let (code, told) = ask("doctor", "devices.toml");
    for words in ["BAD  gate     ", "BAD  gnss     ", "BAD  scanner  ", "ok   rider    no devices"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert_eq!(code, Some(1), "{told}");

    let _turnstile = Turnstile::plug(&at("gate")).unwrap();
    let _scanner = Terminal::plug(&at("scanner")).unwrap();
    let receiver = Terminal::plug(&at("gnss")).unwrap();
    let no_sky = "$GPRMC,083559.00,V,,,,,,,261126,,,N*7F\r\n".to_owned();
    let receiver = tokio::spawn(say_all_the_time(receiver, no_sky));
    let (code, told) = ask("doctor", "devices.toml");
    for words in
        ["answers, and is shut", "warn gnss     ", "give its antenna the sky", "scanner opens"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert_eq!(code, Some(0), "nothing is BAD: {told}");
    receiver.abort();

    let (code, told) = ask("doctor", "blind.toml");
    for (device, advice) in [("display", "group video"), ("leds", "group gpio"), ("buzzer", "PWM")]
    {
        let line = told.lines().find(|line| line.starts_with(&format!("BAD  {device}")));
        let names = |line: &str| line.contains("/nowhere/") && line.contains(advice);
        assert!(line.is_some_and(names), "{told}");
    }
    assert_eq!(code, Some(1), "{told}");
    let (code, told) = ask("selftest", "blind.toml");
    assert!(told.contains("ok   gate    does as it is told, and is shut"), "{told}");
    for device in ["display", "leds", "buzzer"] {
        assert!(told.contains(&format!("BAD  {device:<7} ")), "{told}");
    }
    assert_eq!(code, Some(1), "{told}");
}
