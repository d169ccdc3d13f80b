//! The simulator's screen: the rider's display in half blocks, and beside it lamps, sounds, the
//! explained charge and the cards.

use std::{fmt::Write, time::Duration};

use rider::{Canvas, Lamps, Painter, Scene, Tone};
use texts::{Language, amount_text};

use super::{cards::Deck, seen::Seen};
use crate::{
    config::Config,
    terminal::{cut, wrapped},
};

/// Columns of the text beside the picture.
const SIDE: usize = 70;
/// The same on a terminal of 80 columns: without hints, and with the log under both.
const NARROW: usize = 36;
/// A picture narrower than this shows nothing.
const PICTURE_MIN: usize = 48;
const PICTURE_LEAST: usize = 20;
/// Lines of the log under a picture.
const LOG_ROWS: usize = 3;

/// See the module's documentation.
pub(super) struct View {
    title: String,
    painter: Painter,
    size: (u32, u32),
    painted: Option<Painted>,
}

/// What was painted last, and as what.
struct Painted {
    scene: (Scene, String),
    /// Columns and rows.
    size: (usize, usize),
    lines: Vec<String>,
}

impl View {
    pub(super) fn new(config: &Config, size: (u32, u32)) -> Self {
        let id = config.validator.id;
        let title = format!("Tapline · validator {id}, simulated · nothing leaves this machine");
        Self { title, painter: painter(size), size, painted: None }
    }

    pub(super) fn resize(&mut self, size: (u32, u32)) {
        (self.painter, self.size, self.painted) = (painter(size), size, None);
    }

    /// All lines of the terminal.
    pub(super) fn frame(
        &mut self,
        seen: &Seen,
        deck: &Deck,
        (columns, rows): (usize, usize),
    ) -> Vec<String> {
        let mut frame = vec![format!("\x1b[1m{}", cut(&self.title, columns))];
        if columns >= SIDE + 2 + PICTURE_MIN {
            frame.push(String::new());
            let mut text = self.text(seen, deck, (SIDE, true));
            text.push(String::new());
            text.push("\x1b[1mThe log says\x1b[0m".to_owned());
            text.extend(log(seen, SIDE, LOG_ROWS * 2));
            let room = (columns - SIDE - 2, rows.saturating_sub(3));
            frame.extend(self.beside(seen, room, &text));
        } else if columns >= NARROW + 2 + PICTURE_LEAST {
            let text = self.text(seen, deck, (NARROW, false));
            let log = log(seen, columns, LOG_ROWS);
            let room = (columns - NARROW - 2, rows.saturating_sub(LOG_ROWS + 2).max(1));
            frame.extend(self.beside(seen, room, &text));
            frame.push(String::new());
            frame.extend(log);
        } else {
            // What can be done goes before a picture that may not fit.
            frame.extend(self.text(seen, deck, (columns, false)));
            frame.extend(log(seen, columns, LOG_ROWS));
            let room = rows.saturating_sub(frame.len()).max(1);
            let picture = self.picture(seen, (columns, room));
            frame.extend(picture.into_iter().map(|(_, line)| line));
        }
        frame.truncate(rows.max(1));
        frame
    }

    /// The picture, and text to its right.
    fn beside(&mut self, seen: &Seen, room: (usize, usize), text: &[String]) -> Vec<String> {
        let picture = self.picture(seen, room);
        let width = picture.first().map_or(0, |(width, _)| *width);
        let row = |row: usize| {
            let left = match picture.get(row) {
                Some((_, line)) => line.clone(),
                None => " ".repeat(width),
            };
            let right = text.get(row).map_or("", String::as_str);
            format!("{left}\x1b[0m  {right}")
        };
        (0..picture.len().max(text.len())).map(row).collect()
    }

    /// Lines of half blocks, with their width in columns.
    fn picture(&mut self, seen: &Seen, room: (usize, usize)) -> Vec<(usize, String)> {
        let Some(wanted) = &seen.scene else { return Vec::new() };
        let size = fitted(self.size, room);
        let known = self.painted.take().filter(|p| p.scene == *wanted && p.size == size);
        let painted = self.painted.insert(known.unwrap_or_else(|| Painted {
            scene: wanted.clone(),
            size,
            lines: half_blocks(self.painter.paint(&wanted.0, &wanted.1), size),
        }));
        painted.lines.iter().map(|line| (size.0, line.clone())).collect()
    }

    fn text(&self, seen: &Seen, deck: &Deck, (columns, hints): (usize, bool)) -> Vec<String> {
        let mut text = vec![format!("lamps {}", lamps(seen.lamps))];
        let timelines = match &seen.scene {
            Some((Scene::Answer(feedback) | Scene::Closed(feedback), _)) => [
                lamp_line(&feedback.lamps.changes(feedback.hold)),
                sound_line(&feedback.sound.changes(feedback.hold)),
            ],
            Some((Scene::Idle(_) | Scene::Choice(_), _)) | None => {
                ["dark".to_owned(), "silent".to_owned()]
            }
        };
        let heard = if seen.tone.is_some() { "\x1b[1m♪\x1b[0m" } else { " " };
        text.push(cut(&format!("      {}", timelines[0]), columns));
        text.push(format!("sound{heard}{}", cut(&timelines[1], columns.saturating_sub(6))));
        text.push(String::new());
        let heading = cut("Hold a card to the reader: press its key", columns);
        text.push(format!("\x1b[1m{heading}\x1b[0m"));
        for item in deck.items() {
            let balance = deck.balance(item).map(|money| amount_text(Language::English, money));
            let balance = balance.unwrap_or_default();
            let hint = if hints { item.hint } else { "" };
            let line = format!(" {}  {:<18} {balance:>10}  {hint}", item.key, item.name);
            text.push(cut(&line, columns));
        }
        text.push(String::new());
        let (width, height) = self.size;
        let language = format!(" l language ({})", seen.language);
        let display = format!(" s display ({width}x{height})   q quit");
        if hints {
            text.push(cut(&format!("{language}  {display}"), columns));
        } else {
            text.extend([cut(&language, columns), cut(&display, columns)]);
        }
        text
    }
}

/// The newest line.
fn log(seen: &Seen, columns: usize, rows: usize) -> Vec<String> {
    let lines = seen.lines.back().map(|line| wrapped(line, columns)).unwrap_or_default();
    lines.into_iter().take(rows).collect()
}

fn painter(size: (u32, u32)) -> Painter {
    Painter::new(size, size.1 <= 64)
}

/// The largest picture of the same shape that fits: columns, and rows of two pixels each.
fn fitted((width, height): (u32, u32), (columns, rows): (usize, usize)) -> (usize, usize) {
    let (width, height) =
        (usize::try_from(width).unwrap_or(1), usize::try_from(height).unwrap_or(1));
    let columns = columns.min(width).max(1);
    let by_rows = (rows * 2 * width / height).max(1);
    let columns = columns.min(by_rows);
    let rows = (columns * height / width).div_ceil(2).max(1);
    (columns, rows)
}

/// Two pixels in each cell: the upper half in front, the lower behind it.
fn half_blocks(canvas: &Canvas, (columns, rows): (usize, usize)) -> Vec<String> {
    let pixels = canvas.rgb();
    let (width, height) = (pixels.first().map_or(0, Vec::len), pixels.len());
    let mean = |column: usize, half: usize| {
        let across = column * width / columns..((column + 1) * width).div_ceil(columns);
        let down = half * height / (rows * 2)..((half + 1) * height).div_ceil(rows * 2);
        let mut sum = [0_usize; 3];
        let mut count = 0;
        for row in pixels.get(down).unwrap_or_default() {
            for colour in row.get(across.clone()).unwrap_or_default() {
                for (sum, part) in sum.iter_mut().zip(colour) {
                    *sum += usize::from(*part);
                }
                count += 1;
            }
        }
        sum.map(|sum| sum.checked_div(count).unwrap_or(0))
    };
    let line = |row: usize| {
        let mut line = String::new();
        let mut before = None;
        for column in 0..columns {
            let both = [mean(column, row * 2), mean(column, row * 2 + 1)];
            if before != Some(both) {
                let [[r, g, b], [r2, g2, b2]] = both;
                let _ = write!(line, "\x1b[38;2;{r};{g};{b};48;2;{r2};{g2};{b2}m");
                before = Some(both);
            }
            line.push('▀');
        }
        line
    };
    (0..rows).map(line).collect()
}

fn lamps(lit: Lamps) -> String {
    let lamp = |lit: bool, colour: &str, word: &str| {
        if lit {
            format!("\x1b[38;2;{colour}m●\x1b[0m {word} ")
        } else {
            format!("\x1b[2m○ {word}\x1b[0m ")
        }
    };
    let mut text = lamp(lit.green, "0;200;80", "green");
    text += &lamp(lit.amber, "255;179;0", "amber");
    text += &lamp(lit.red, "255;50;50", "red");
    text + &lamp(lit.white, "255;255;255", "white")
}

fn lamp_line(changes: &[(Duration, Lamps)]) -> String {
    let change = |(at, lamps): &(Duration, Lamps)| {
        let words = lamps.words();
        let words = if words.is_empty() { "off".to_owned() } else { words.join("+") };
        if at.is_zero() { words } else { format!("{} ms {words}", at.as_millis()) }
    };
    changes.iter().map(change).collect::<Vec<_>>().join(", ")
}

/// Beeps with their length, gaps without words.
fn sound_line(changes: &[(Duration, Option<Tone>)]) -> String {
    let mut beeps: Vec<String> = Vec::new();
    for (i, (at, tone)) in changes.iter().enumerate() {
        let Some(tone) = tone else { continue };
        let until = changes.get(i + 1).map_or(*at, |(until, _)| *until);
        let long = until.saturating_sub(*at).as_millis();
        beeps.push(format!("{} Hz {long} ms", tone.hertz));
    }
    match beeps.as_slice() {
        [] => "silent".to_owned(),
        [first, rest @ ..] if !rest.is_empty() && rest.iter().all(|beep| beep == first) => {
            format!("{} × {first}", beeps.len())
        }
        beeps => beeps.join(", "),
    }
}
