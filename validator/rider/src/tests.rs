//! What is seen and heard, as pictures and timelines that were agreed on.
//!
//! `UPDATE_EXPECT=1` writes both anew: look at the pictures before they are committed.

use std::{fmt::Write, fs, path::PathBuf, sync::Arc, time::Duration};

use embedded_graphics::{
    Pixel,
    draw_target::DrawTarget,
    geometry::{OriginDimensions, Point},
    pixelcolor::{Rgb888, RgbColor},
};
use embedded_graphics_simulator::{OutputSettings, SimulatorDisplay};
use expect_test::{expect, expect_file};
use fare::{CapPeriod, CapProgress, ProductStep, Step, StepKind};
use model::{Currency, Money, Note, Refusal, RiderClass, TapRole};
use texts::{Language, RiderWord, note_text, refusal_text, rider_word};
use validation::{Loaded, Passage, PassageClass, Verdict};

use crate::{
    Canvas, Choice, Feedback, HERTZ_MAX, HERTZ_MIN, Idle, Lamps, Manner, Painter, Pen, SIZES,
    Scene, Stage, Tone, Volume,
};

fn won(minor: i64) -> Money {
    Money::new(minor, Currency::parse("KRW").unwrap())
}

fn passage(verdict: Verdict) -> Passage {
    Passage {
        verdict,
        charge: won(0),
        balance: None,
        steps: Vec::new(),
        exchanged: None,
        caps: Vec::new(),
        notes: Vec::new(),
        loaded: None,
        missing: None,
        class: None,
    }
}

fn step(kind: StepKind, minor: i64) -> Step {
    Step { kind, rule: "rule".into(), amount: won(minor) }
}

fn flat(language: Language) -> StepKind {
    let (route, product) = match language {
        Language::English => ("Bus 11", "Single ticket"),
        Language::Korean => ("11번 버스", "일반 1회권"),
    };
    StepKind::Flat { route: route.into(), product: product.into() }
}

fn caps(language: Language) -> Vec<CapProgress> {
    let (day, week) = match language {
        Language::English => ("Day cap", "Week cap"),
        Language::Korean => ("하루 상한", "일주일 상한"),
    };
    let cap = |name: &str, period, counted, limit| CapProgress {
        name: name.into(),
        period,
        counted: won(counted),
        limit: won(limit),
    };
    vec![cap(day, CapPeriod::Day, 2_600, 3_500), cap(week, CapPeriod::Week(0), 9_400, 15_000)]
}

fn accepted(language: Language) -> Passage {
    Passage {
        charge: won(1_400),
        balance: Some(won(8_600)),
        steps: vec![step(flat(language), 1_400)],
        caps: caps(language),
        class: Some(RiderClass(0)),
        ..passage(Verdict::Granted)
    }
}

fn with_note(language: Language, note: Note) -> Passage {
    Passage { notes: vec![note], ..accepted(language) }
}

/// Every passage that has a picture: its name, and what it is.
fn passages(language: Language) -> Vec<(&'static str, Passage)> {
    let transfer = StepKind::Transfer { after_s: 1_510, limit_s: 3_600 };
    let transfer = Passage {
        charge: won(0),
        steps: vec![step(flat(language), 1_400), step(transfer, -1_400)],
        ..with_note(language, Note::Transfer)
    };
    let refused = |reason| Passage {
        balance: Some(won(950)),
        missing: (reason == Refusal::InsufficientValue).then(|| won(450)),
        ..passage(Verdict::Refused(reason))
    };
    let concession = Passage { class: Some(RiderClass(1)), ..accepted(language) };
    let pass = step(StepKind::Product(ProductStep::PassPays(7)), -1_400);
    let pass = Passage {
        charge: won(0),
        steps: vec![step(flat(language), 1_400), pass],
        caps: Vec::new(),
        ..accepted(language)
    };
    let child = match language {
        Language::English => "Child",
        Language::Korean => "어린이",
    };
    let group = StepKind::Companions { class: child.into(), riders: 2, each: won(700) };
    let group = Passage {
        charge: won(2_800),
        balance: Some(won(7_200)),
        steps: vec![step(flat(language), 1_400), step(group, 1_400)],
        loaded: Some(Loaded::Value(won(10_000))),
        caps: Vec::new(),
        ..accepted(language)
    };
    vec![
        ("a", accepted(language)),
        ("b-pass", pass),
        ("b-concession", concession),
        ("a-group", group),
        ("b-low", with_note(language, Note::LowBalance)),
        ("b-transfer", transfer),
        ("b-long", with_note(language, Note::EarlierTapFinished)),
        ("c", passage(Verdict::TryAgain(Refusal::Unreadable))),
        ("c-two", passage(Verdict::TryAgain(Refusal::SeveralCards))),
        ("c-long", passage(Verdict::TryAgain(Refusal::TooSlow))),
        ("d", refused(Refusal::InsufficientValue)),
        ("d-hotlisted", refused(Refusal::Hotlisted)),
        ("d-long", refused(Refusal::CurrencyNotTaken)),
        ("e", passage(Verdict::OutOfService)),
    ]
}

fn manner(language: Language) -> Manner {
    Manner { language, role: TapRole::Board, private: false }
}

fn idle(language: Language, role: TapRole) -> Scene {
    let (place, route) = match language {
        Language::English => ("Saebyeok Port", "Bus 11"),
        Language::Korean => ("새벽항", "11번 버스"),
    };
    let route = (role == TapRole::Board).then(|| route.to_owned());
    Scene::Idle(Arc::new(Idle::new(language, role, place.to_owned(), route)))
}

fn scenes(language: Language) -> Vec<(String, Scene)> {
    let answer = |(name, passage): (&str, Passage)| {
        let feedback = Feedback::of(&passage, &manner(language));
        (name.to_owned(), Scene::Answer(Arc::new(feedback)))
    };
    let mut scenes: Vec<_> = passages(language).into_iter().map(answer).collect();
    for role in [TapRole::Board, TapRole::Entry, TapRole::Exit] {
        scenes.push((format!("idle-{role}"), idle(language, role)));
    }
    let classes = match language {
        Language::English => ["Child", "Adult"],
        Language::Korean => ["어린이", "어른"],
    };
    let steps: Vec<Step> = classes
        .into_iter()
        .zip([(2, 700), (1, 1_400)])
        .map(|(class, (riders, each))| {
            let kind = StepKind::Companions { class: class.into(), riders, each: won(each) };
            step(kind, i64::from(riders) * each)
        })
        .collect();
    let choice = Choice::of(&steps, language).unwrap();
    scenes.push(("companions".into(), Scene::Choice(Arc::new(choice))));
    scenes
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/tests").join(format!("{name}.png"))
}

/// Pictures of one size and language in one file, one below the other, three in a row: few files,
/// and a reviewer sees them side by side.
fn sheet(size: (u32, u32), language: Language) -> SimulatorDisplay<Rgb888> {
    const COLUMNS: u32 = 4;
    const GAP: u32 = 4;
    let is_mono = size.1 <= 64;
    let mut scenes = scenes(language);
    if size.1 > 240 {
        // One of each class is enough where a picture is large: the layout is the same.
        let few = ["a", "b-low", "c", "d", "d-long", "e", "idle-board", "companions"];
        scenes.retain(|(name, _)| few.contains(&name.as_str()));
    }
    let rows = u32::try_from(scenes.len()).unwrap().div_ceil(COLUMNS);
    let whole = embedded_graphics::geometry::Size::new(
        COLUMNS * (size.0 + GAP) + GAP,
        rows * (size.1 + GAP) + GAP,
    );
    let mut sheet = SimulatorDisplay::with_default_color(whole, Rgb888::new(90, 90, 90));
    let mut painter = Painter::new(size, is_mono);
    for (place, (name, scene)) in (0..).zip(&scenes) {
        let canvas = painter.paint(scene, "08:24");
        if is_mono {
            assert!(
                canvas.pixels().iter().all(|p| *p == Rgb888::BLACK || *p == Rgb888::WHITE),
                "{name}: a pixel that is half lit"
            );
        }
        let (column, row) = (place % COLUMNS, place / COLUMNS);
        let corner = Point::new(
            (GAP + column * (size.0 + GAP)).cast_signed(),
            (GAP + row * (size.1 + GAP)).cast_signed(),
        );
        copy(canvas, &mut sheet, corner);
    }
    sheet
}

fn copy(canvas: &Canvas, sheet: &mut SimulatorDisplay<Rgb888>, corner: Point) {
    let rows = (0..).zip(canvas.rows());
    let pixels = rows.flat_map(|(y, row)| {
        (0..).zip(row).map(move |(x, colour)| Pixel(corner + Point::new(x, y), *colour))
    });
    sheet.draw_iter(pixels).unwrap();
}

#[test]
fn every_scene_looks_as_agreed_in_every_size_and_language() {
    let mut wrong = Vec::new();
    for size in SIZES {
        for language in Language::ALL {
            let name = format!("{}x{}-{language}", size.0, size.1);
            let sheet = sheet(size, language);
            let path = golden(&name);
            if std::env::var_os("UPDATE_EXPECT").is_some() {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let image = sheet.to_rgb_output_image(&OutputSettings::default());
                image.save_png(&path).unwrap();
            }
            let agreed = SimulatorDisplay::<Rgb888>::load_png(&path)
                .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            if agreed.size() != sheet.size() || agreed.diff(&sheet).is_some() {
                let shown = std::env::temp_dir().join(format!("{name}-now.png"));
                let image = sheet.to_rgb_output_image(&OutputSettings::default());
                image.save_png(&shown).unwrap();
                wrong.push(format!("{name}: see {}", shown.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\nif they are right: UPDATE_EXPECT=1");
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A timeline as a line: when what begins.
fn timeline<T: Copy>(changes: &[(Duration, T)], words: impl Fn(T) -> String) -> String {
    let change = |(at, state): &(Duration, T)| format!("{} {}", at.as_millis(), words(*state));
    changes.iter().map(change).collect::<Vec<_>>().join(", ")
}

fn lamp_words(lamps: Lamps) -> String {
    let words = lamps.words();
    if words.is_empty() { "off".to_owned() } else { words.join("+") }
}

fn tone_words(tone: Option<Tone>) -> String {
    match tone {
        Some(Tone { hertz, percent: 100 }) => format!("{hertz} Hz"),
        Some(Tone { hertz, percent }) => format!("{hertz} Hz at {percent} %"),
        None => "silent".to_owned(),
    }
}

#[test]
fn every_class_is_told_by_its_lamps_and_by_its_rhythm() {
    let mut all = String::new();
    for language in Language::ALL {
        for (name, passage) in passages(language) {
            let feedback = Feedback::of(&passage, &manner(language));
            let hold = feedback.hold;
            let lamps = timeline(&feedback.lamps.changes(hold), lamp_words);
            let sound = timeline(&feedback.sound.changes(hold), tone_words);
            let (class, hold) = (feedback.class.word(), hold.as_millis());
            writeln!(all, "{language} {name}: {class} for {hold} ms").unwrap();
            writeln!(all, "  lamps  {lamps}\n  sound  {sound}").unwrap();
            writeln!(all, "  {} | {:?}", feedback.headline, feedback.action).unwrap();
        }
    }
    expect_file!["tests/timelines.txt"].assert_eq(&all);
}

#[test]
fn no_lamp_blinks_faster_than_thrice_a_second_and_no_tone_is_hard_to_hear() {
    for (name, passage) in passages(Language::English) {
        let feedback = Feedback::of(&passage, &manner(Language::English));
        let minute = Duration::from_secs(60);
        let lit = feedback.lamps.changes(minute);
        assert!(lit.len() <= 3 * 60 * 2, "{name}: {} changes in a minute", lit.len());
        for (_, tone) in feedback.sound.changes(minute) {
            let hertz = tone.map_or(HERTZ_MIN, |tone| tone.hertz);
            assert!((HERTZ_MIN..=HERTZ_MAX).contains(&hertz), "{name}: {hertz} Hz");
        }
        let last = feedback.sound.changes(minute).last().map(|(at, _)| *at).unwrap_or_default();
        assert!(last <= feedback.hold, "{name}: the sound outlasts its picture");
    }
}

#[test]
fn classes_differ_in_shape_and_in_rhythm_and_not_only_in_colour() {
    let feedback = |name: &str| {
        let passages = passages(Language::English);
        let (_, passage) = passages.iter().find(|(n, _)| *n == name).unwrap();
        Feedback::of(passage, &manner(Language::English))
    };
    let rhythm = |feedback: &Feedback| {
        let changes = feedback.sound.changes(ms(5_000));
        changes.iter().map(|(at, tone)| (*at, tone.is_some())).collect::<Vec<_>>()
    };
    let names = ["a", "b-low", "b-concession", "c", "d", "e"];
    for (i, one) in names.iter().enumerate() {
        for other in &names[..i] {
            assert_ne!(rhythm(&feedback(one)), rhythm(&feedback(other)), "{one} and {other}");
        }
    }
    let shapes = ["a", "c", "d", "e"].map(|name| feedback(name).shape());
    for (i, shape) in shapes.iter().enumerate() {
        assert!(!shapes[..i].contains(shape), "{shape:?} stands for two classes");
    }
}

#[test]
fn prv_with_the_privacy_switch_bystanders_learn_no_balance_and_no_category() {
    let language = Language::English;
    let private = Manner { private: true, ..manner(language) };
    let child = Passage { class: Some(RiderClass(1)), ..accepted(language) };
    let told = |passage: &Passage, manner: &Manner| {
        let Feedback { class, note, lamps, sound, .. } = Feedback::of(passage, manner);
        (class, note, lamps, sound)
    };
    let adult = told(&accepted(language), &manner(language));
    let open = told(&child, &manner(language));
    assert_eq!((open.0, open.1.as_deref()), (PassageClass::B, Some("Reduced fare")));
    assert!(open.2 != adult.2 && open.3 != adult.3, "staff sees and hears a concession");
    let pass = passages(language).into_iter().find(|(name, _)| *name == "b-pass").unwrap().1;
    let open = told(&pass, &manner(language));
    assert_eq!((open.0, open.1.as_deref()), (PassageClass::B, Some("Paid by your product")));
    for passage in [&child, &pass] {
        assert_eq!(told(passage, &private), adult, "as everybody's");
    }
    assert!(Feedback::of(&child, &private).lines.is_empty(), "they would name the category");
    for (name, passage) in passages(language) {
        let feedback = Feedback::of(&passage, &private);
        let shown = format!("{:?}", feedback.figures);
        for hidden in ["8,600", "950", "7,200", "450"] {
            assert!(!shown.contains(hidden), "{name}: {shown}");
        }
    }
}

#[test]
fn a_tap_pre_empts_the_answer_before_and_every_answer_makes_way_for_idle() {
    let language = Language::English;
    let at_port = Idle::new(language, TapRole::Board, "Port".into(), Some("Bus 11".into()));
    let mut stage = Stage::new(at_port, language, ms(0));
    let mut told = String::new();
    let look = |stage: &Stage, at: u64, told: &mut String| {
        let (scene, lasts) = stage.scene(ms(at));
        let scene = match &scene {
            Scene::Idle(_) => "idle".to_owned(),
            Scene::Choice(_) => "choice".to_owned(),
            Scene::Answer(feedback) => format!("answer {}", feedback.class.word()),
            Scene::Closed(_) => "closed".to_owned(),
        };
        let lamps = lamp_words(stage.lamps(ms(at)).0);
        let tone = tone_words(stage.tone(ms(at)).0);
        let lasts = lasts.map_or_else(|| "on".to_owned(), |lasts| format!("{}", lasts.as_millis()));
        writeln!(told, "{at}: {scene} ({lasts}), {lamps}, {tone}").unwrap();
    };
    let refused = passage(Verdict::Refused(Refusal::Hotlisted));
    look(&stage, 10, &mut told);
    stage.handle_service(ms(20), true);
    look(&stage, 20, &mut told);
    stage.handle_answer(ms(100), Feedback::of(&accepted(language), &manner(language)));
    look(&stage, 100, &mut told);
    look(&stage, 300, &mut told);
    // Another card, before the first answer has been shown for its time.
    stage.handle_answer(ms(500), Feedback::of(&refused, &manner(language)));
    look(&stage, 500, &mut told);
    // The reader fails: the rider still reads the answer, then everybody that it is closed.
    stage.handle_service(ms(800), false);
    look(&stage, 1_000, &mut told);
    look(&stage, 2_999, &mut told);
    look(&stage, 3_000, &mut told);
    stage.handle_service(ms(4_000), true);
    let steps = [step(flat(language), 1_400)];
    stage.handle_choice(Choice::of(&steps, language));
    look(&stage, 4_100, &mut told);
    stage.handle_choice(Choice::of(&[], language));
    look(&stage, 4_200, &mut told);
    stage.handle_end(ms(5_000));
    look(&stage, 5_000, &mut told);
    expect![[r"
        10: closed (on), white, silent
        20: idle (on), off, silent
        100: answer A (1000), green, 2200 Hz
        300: answer A (800), green, silent
        500: answer D (2500), red, 700 Hz
        1000: answer D (2000), red, 500 Hz
        2999: answer D (1), red, silent
        3000: closed (on), white, silent
        4100: choice (on), off, silent
        4200: idle (on), off, silent
        5000: closed (on), off, silent
    "]]
    .assert_eq(&told);
}

#[test]
fn every_character_that_a_rider_can_read_is_in_the_font() {
    let pen = Pen::new(false);
    let mut texts: Vec<String> = Vec::new();
    for source in
        [include_str!("../../../shared/texts/ko.ftl"), include_str!("../../../shared/texts/en.ftl")]
    {
        texts.extend(source.lines().filter(|line| !line.starts_with('#')).map(str::to_owned));
    }
    for language in Language::ALL {
        texts.extend(Refusal::ALL.map(|refusal| refusal_text(language, refusal)));
        texts.extend(Note::ALL.map(|note| note_text(language, note)));
        texts.extend(RiderWord::ALL.map(|word| rider_word(language, word)));
    }
    texts.push("0123456789,.-+₩€£$원…·→ ×".to_owned());
    let mut missing: Vec<char> =
        texts.iter().flat_map(|text| text.chars()).filter(|c| !pen.knows(*c)).collect();
    missing.sort_unstable();
    missing.dedup();
    assert!(missing.is_empty(), "not in the font: {missing:?}");
    assert!(pen.knows('힝') && !pen.knows('漢'), "the font says what it has");
}

/// WCAG 2: 7 to 1 is the stricter of its two grades.
#[test]
fn text_stands_out_from_its_ground() {
    let linear = |value: u8| {
        let part = f64::from(value) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    };
    let light =
        |c: Rgb888| 0.2126 * linear(c.r()) + 0.7152 * linear(c.g()) + 0.0722 * linear(c.b()) + 0.05;
    for (name, scene) in scenes(Language::English) {
        let mut painter = Painter::new((320, 240), false);
        let canvas = painter.paint(&scene, "08:24");
        let mut colours: Vec<Rgb888> = canvas.pixels().to_vec();
        colours.sort_unstable_by_key(|c| (c.r(), c.g(), c.b()));
        // The two colours that fill most, ground and ink, must be far apart.
        let mut counted: Vec<(usize, Rgb888)> =
            colours.chunk_by(|a, b| a == b).map(|same| (same.len(), same[0])).collect();
        counted.sort_unstable_by_key(|(n, _)| std::cmp::Reverse(*n));
        let ground = light(counted[0].1);
        let best = counted.iter().take(4).map(|(_, ink)| {
            let ink = light(*ink);
            if ink > ground { ink / ground } else { ground / ink }
        });
        let best = best.fold(0.0, f64::max);
        assert!(best >= 7.0, "{name}: {best:.1}");
    }
}

/// A name of a stop may be as long as it likes, in a script that the font has not.
#[test]
fn no_text_is_too_long_or_too_odd_to_draw() {
    for name in [
        "가".repeat(200),
        "W".repeat(200),
        "漢字 ☃ \u{1f600}".into(),
        String::new(),
        "\n\t\u{202e}".into(),
    ] {
        for language in Language::ALL {
            let idle = Idle::new(language, TapRole::Board, name.clone(), Some(name.clone()));
            let mut long = accepted(language);
            long.steps = vec![step(
                StepKind::Flat { route: name.as_str().into(), product: name.as_str().into() },
                i64::MAX,
            )];
            long.charge = won(i64::MAX);
            long.balance = Some(won(i64::MIN));
            let answer = Feedback::of(&long, &manner(language));
            let choice = Choice::of(&long.steps, language).unwrap();
            for size in SIZES.into_iter().chain([(1, 1), (64, 32), (240, 320), (480, 1_920)]) {
                for is_mono in [true, false] {
                    let mut painter = Painter::new(size, is_mono);
                    painter.paint(&Scene::Idle(Arc::new(idle.clone())), "08:24");
                    painter.paint(&Scene::Answer(Arc::new(answer.clone())), "08:24");
                    painter.paint(&Scene::Choice(Arc::new(choice.clone())), "08:24");
                }
            }
        }
    }
}

#[test]
fn nights_are_quiet_and_may_run_past_midnight() {
    let volume = Volume::default();
    let at = |hour: u32| volume.at(hour * 3_600);
    assert_eq!([21, 22, 0, 5, 6, 12].map(at), [100, 50, 50, 50, 100, 100]);
    let none = Volume { night_from_h: 3, night_until_h: 3, ..volume };
    assert_eq!(none.at(3 * 3_600), 100);
    let silent = Volume { night_volume: 0, ..volume };
    let tone = Tone { hertz: 1_000, percent: 40 };
    assert_eq!(silent.of(tone, 0), None);
    assert_eq!(volume.of(tone, 0), Some(Tone { percent: 20, ..tone }));
}
