//! Displays of many colours. Everything is measured in a unit of a forty-eighth of the height.

use embedded_graphics::pixelcolor::Rgb888;
use model::TapRole;
use validation::PassageClass;

use super::{BLACK, Painter, WHITE, icon_of};
use crate::{
    feedback::{CapBar, Choice, Feedback, Figure},
    font::{Block, Pen},
    icons::Icon,
    stage::{Idle, Scene},
};

// Each with its text has a contrast of 7 to 1 or more.
const GREEN: Rgb888 = Rgb888::new(0, 92, 41);
const AMBER: Rgb888 = Rgb888::new(255, 179, 0);
const RED: Rgb888 = Rgb888::new(170, 0, 26);
const NAVY: Rgb888 = Rgb888::new(10, 31, 68);
const SKY: Rgb888 = Rgb888::new(120, 200, 255);
const GREY: Rgb888 = Rgb888::new(150, 156, 164);
const DARK: Rgb888 = Rgb888::new(38, 42, 48);

impl Painter {
    /// So many tenths of the unit, in pixels.
    fn u(&self, tenths: i32) -> i32 {
        self.height() * tenths / 480
    }

    /// Sizes of type, in tenths of the unit.
    fn sizes<const N: usize>(&self, tenths: [i32; N]) -> [u16; N] {
        tenths.map(|tenths| u16::try_from(self.u(tenths)).unwrap_or(8).max(8))
    }

    pub(super) fn paint_wide(&mut self, scene: &Scene, clock: &str) {
        match scene {
            Scene::Idle(idle) => self.wide_idle(idle, clock),
            Scene::Choice(choice) => self.wide_choice(choice),
            Scene::Answer(feedback) if feedback.class != PassageClass::E => {
                self.wide_answer(feedback);
            }
            Scene::Answer(feedback) | Scene::Closed(feedback) => self.wide_closed(feedback),
        }
    }

    fn wide_idle(&mut self, idle: &Idle, clock: &str) {
        let (width, height, margin) = (self.width(), self.height(), self.u(25));
        self.fill((0, 0), (width, height), NAVY);
        // Where, and what time it is.
        let bar = self.u(95);
        self.fill((0, 0), (width, bar), BLACK);
        let [clock_px] = self.sizes([55]);
        let clock_width = self.pen.width(clock, clock_px);
        let clock_y = (bar - Pen::line_height(clock_px)) / 2;
        self.text_to((width - margin, clock_y), clock, clock_px, WHITE);
        let room = width - clock_width - 3 * margin;
        let place = self.where_it_is(idle, room);
        let mut y = (bar - place.iter().map(Block::height).sum::<i32>()) / 2;
        for block in &place {
            y = self.block((margin, y), block, WHITE);
        }
        // Which way, and what to do.
        let icon = match idle.role {
            TapRole::Board => Icon::Card,
            TapRole::Entry => Icon::In,
            TapRole::Exit => Icon::Out,
        };
        let foot = self.u(100);
        let side = self.u(210);
        let middle = (bar + height - foot) / 2;
        self.icon(icon, (self.u(40), middle - side / 2), side, SKY);
        let left = self.u(40) + side + self.u(40);
        let sizes = self.sizes([130, 110, 95, 85, 70, 60]);
        let room = width - left - margin;
        // Rather one line than the largest letters.
        let direction = self.pen.find_fit(&idle.direction, &sizes[..4], room, 1);
        let direction = direction.unwrap_or_else(|| self.pen.fit(&idle.direction, &sizes, room, 2));
        self.block((left, middle - direction.height() / 2), &direction, WHITE);
        self.fill((0, height - foot), (width, foot), SKY);
        let sizes = self.sizes([60, 52, 45, 40]);
        let hint = self.pen.fit(&idle.hint, &sizes, width - 2 * margin, 1);
        let y = height - foot + (foot - hint.height()) / 2;
        self.centred((margin, width - margin), y, &hint, BLACK);
    }

    /// Route and place on one line, or on two.
    fn where_it_is(&self, idle: &Idle, room: i32) -> Vec<Block> {
        let Some(route) = idle.route.as_ref().filter(|route| **route != idle.place) else {
            return vec![self.pen.fit(&idle.place, &self.sizes([50, 45, 40, 36, 32]), room, 2)];
        };
        let both = format!("{route} · {}", idle.place);
        if let Some(block) = self.pen.find_fit(&both, &self.sizes([50, 45, 40]), room, 1) {
            return vec![block];
        }
        let sizes = self.sizes([38, 34, 30]);
        [route, &idle.place].map(|name| self.pen.fit(name, &sizes, room, 1)).to_vec()
    }

    fn wide_choice(&mut self, choice: &Choice) {
        let (width, height, margin) = (self.width(), self.height(), self.u(25));
        self.fill((0, 0), (width, height), NAVY);
        let sizes = self.sizes([62, 55, 48]);
        let headline = self.pen.fit_few(&choice.headline, &sizes, width - 2 * margin, 2);
        let top = self.block((margin, self.u(25)), &headline, SKY) + self.u(20);
        let total_height = if choice.total.is_some() { self.u(95) } else { 0 };
        let mut y = top;
        for figure in &choice.figures {
            let Some(end) = self.row(figure, y, (margin, height - total_height), WHITE) else {
                break;
            };
            y = end + self.u(8);
        }
        if let Some(total) = &choice.total {
            self.fill((0, height - total_height), (width, total_height), SKY);
            let [px] = self.sizes([60]);
            let y = height - total_height + (total_height - Pen::line_height(px)) / 2;
            self.text((margin, y), &total.label, px, BLACK);
            self.text_to((width - margin, y), &total.value, px, BLACK);
        }
    }

    /// A label on the left and its value on the right; `None` when there is no room above the
    /// `bottom`.
    fn row(
        &mut self,
        figure: &Figure,
        y: i32,
        (left, bottom): (i32, i32),
        colour: Rgb888,
    ) -> Option<i32> {
        let (right, gap) = (self.width() - self.u(25), self.u(20));
        let sizes = self.sizes([50, 44, 38, 33]);
        let label_of = |px: &u16, lines| {
            let room = right - left - self.pen.width(&figure.value, *px) - gap;
            let label = self.pen.find_fit(&figure.label, &[*px], room, lines)?;
            Some((*px, label))
        };
        let label = [1, 2, 3].into_iter().find_map(|n| sizes.iter().find_map(|px| label_of(px, n)));
        let [.., smallest] = sizes;
        let (px, label) =
            label.unwrap_or((smallest, Block { px: smallest, lines: vec![figure.label.clone()] }));
        // A row without a label is one text, on the left.
        if figure.label.is_empty() {
            let value = self.pen.fit_few(&figure.value, &sizes, right - left, 2);
            let fits = y + value.height() <= bottom;
            return fits.then(|| self.block((left, y), &value, colour));
        }
        let height = label.height().max(Pen::line_height(px));
        if y + height > bottom {
            return None;
        }
        self.block((left, y), &label, colour);
        self.text_to((right, y), &figure.value, px, colour);
        Some(y + height)
    }

    fn wide_answer(&mut self, feedback: &Feedback) {
        let (width, height) = (self.width(), self.height());
        let (ground, ink) = match feedback.class {
            PassageClass::A | PassageClass::B => (GREEN, WHITE),
            PassageClass::C => (AMBER, BLACK),
            PassageClass::D | PassageClass::E => (RED, WHITE),
        };
        self.fill((0, 0), (width, height), ground);
        let bottom = self.note_band(feedback, height);
        let (left, side) = (self.u(25), self.u(190));
        // Little room, as over a band of two lines: the shape goes with it.
        let side = side.min(bottom - 2 * left);
        self.icon(icon_of(feedback.shape()), (left, left), side, ink);
        if let Some((word, code)) = &feedback.code {
            self.code((left, left + side + self.u(18)), side, (word, code), (ink, ground));
        }
        let column = left + self.u(190) + self.u(28);
        let end = if feedback.class > PassageClass::B {
            self.refused(feedback, (column, bottom), (ground, ink))
        } else {
            self.accepted(feedback, (column, bottom), ink)
        };
        let top = end.max(left + side) + self.u(4);
        let bottom = self.caps(&feedback.caps, (top, bottom));
        self.explain(&feedback.lines, top, bottom, ink);
    }

    /// Headline and amounts; returns where they end.
    fn accepted(&mut self, feedback: &Feedback, (column, bottom): (i32, i32), ink: Rgb888) -> i32 {
        let room = self.width() - column - self.u(25);
        let headline = self.pen.fit(&feedback.headline, &self.sizes([80, 70, 62, 55, 48]), room, 1);
        let mut y = self.block((column, self.u(14)), &headline, ink);
        let mut figures = feedback.figures.iter();
        if let Some(first) = figures.next() {
            y = self.amount(first, (column, y), room, ink);
        }
        for figure in figures {
            let Some(end) = self.row(figure, y, (column, bottom), ink) else { break };
            y = end;
        }
        y
    }

    /// What is wrong, what to do, and amounts; returns where they end.
    fn refused(
        &mut self,
        feedback: &Feedback,
        (column, bottom): (i32, i32),
        (ground, ink): (Rgb888, Rgb888),
    ) -> i32 {
        let room = self.width() - column - self.u(25);
        let (top, pad) = (self.u(18), self.u(10));
        let rows = i32::try_from(feedback.figures.len()).unwrap_or(0) * self.u(50);
        let height = bottom - rows - top - 3 * pad;
        let action = feedback.action.as_deref().unwrap_or_default();
        let sizes = [80, 70, 62, 55, 48, 42, 37, 33];
        // The largest type in which both fit whole, with as few broken lines as that allows.
        let both = [2, 3, 4].into_iter().find_map(|lines| {
            sizes.iter().filter(|tenths| lines > 2 || **tenths >= 55).find_map(|tenths| {
                let [large, small] = self.sizes([*tenths, tenths * 84 / 100]);
                let headline = self.pen.find_fit(&feedback.headline, &[large], room, lines)?;
                let action = self.pen.find_fit(action, &[small], room - 2 * pad, lines)?;
                (headline.height() + action.height() <= height).then_some((headline, action))
            })
        });
        let (headline, action) = both.unwrap_or_else(|| {
            let [px] = self.sizes([33]);
            let headline = self.pen.fit(&feedback.headline, &[px], room, 3);
            (headline, self.pen.fit(action, &[px], room - 2 * pad, 3))
        });
        let mut y = self.block((column, top), &headline, ink) + pad;
        if !action.lines.is_empty() {
            // In the colours turned round, because it is what a rider should read.
            self.fill((column, y), (room, action.height() + pad), ink);
            y = self.block((column + pad, y + pad / 2), &action, ground) + pad;
        }
        for figure in &feedback.figures {
            let Some(end) = self.row(figure, y, (column, bottom), ink) else { break };
            y = end;
        }
        y
    }

    /// What the tap took, larger than anything else.
    fn amount(&mut self, figure: &Figure, (x, y): (i32, i32), room: i32, ink: Rgb888) -> i32 {
        let mut y = y;
        if !figure.label.is_empty() {
            let [px] = self.sizes([38]);
            self.text((x, y), &figure.label, px, ink);
            y += Pen::line_height(px) - self.u(6);
        }
        let sizes = self.sizes([110, 100, 90, 80, 70, 60, 50]);
        let block = self.pen.fit(&figure.value, &sizes, room, 1);
        self.block((x, y), &block, ink) + self.u(4)
    }

    /// Two digits that a rider can read to staff, under the icon.
    fn code(
        &mut self,
        (x, y): (i32, i32),
        side: i32,
        (word, code): (&str, &str),
        (ground, ink): (Rgb888, Rgb888),
    ) {
        let height = self.u(130);
        self.fill((x, y), (side, height), ground);
        let [small, large] = self.sizes([34, 95]);
        let word = Block { px: small, lines: vec![word.to_owned()] };
        let digits = Block { px: large, lines: vec![code.to_owned()] };
        let top = self.centred((x, x + side), y + self.u(4), &word, ink);
        self.centred((x, x + side), top - self.u(16), &digits, ink);
    }

    /// The amber band of class B; returns its upper edge.
    fn note_band(&mut self, feedback: &Feedback, bottom: i32) -> i32 {
        let Some(note) = &feedback.note else { return bottom };
        let (width, margin) = (self.width(), self.u(25));
        let sizes = self.sizes([56, 50, 44, 38]);
        let room = width - 2 * margin;
        let one = self.pen.find_fit(note, &sizes, room, 1);
        let block = one.unwrap_or_else(|| self.pen.fit(note, &self.sizes([44, 38, 34]), room, 2));
        let height = block.height() + self.u(24);
        let top = bottom - height;
        self.fill((0, top), (width, height), AMBER);
        self.centred((margin, width - margin), top + self.u(12), &block, BLACK);
        top
    }

    /// How far the caps have come, as many as there is room for; returns the upper edge.
    fn caps(&mut self, caps: &[CapBar], (top, bottom): (i32, i32)) -> i32 {
        let (margin, bar) = (self.u(25), self.u(14));
        let length = self.width() - 2 * margin;
        let sizes = self.sizes([34, 31, 28]);
        let height = Pen::line_height(sizes[0]) + bar + self.u(12);
        let shown = usize::try_from((bottom - top) / height).unwrap_or(0).min(2);
        let mut edge = bottom;
        // The day stands first and goes last; longer periods stand below it.
        for cap in caps.iter().take(shown).rev() {
            let block = self.pen.fit(&cap.text, &sizes, length, 1);
            let y = edge - self.u(12) - bar;
            self.fill((margin, y), (length, bar), Rgb888::new(0, 50, 22));
            let filled = length * i32::try_from(cap.filled).unwrap_or(0) / 1_000;
            self.fill((margin, y), (filled, bar), WHITE);
            edge = y - block.height();
            self.block((margin, edge), &block, WHITE);
        }
        edge
    }

    /// Why it cost that, as far as there is room.
    fn explain(&mut self, lines: &[String], top: i32, bottom: i32, ink: Rgb888) {
        let margin = self.u(25);
        let room = self.width() - 2 * margin;
        let mut y = top;
        for line in lines {
            let block = self.pen.fit(line, &self.sizes([34, 31, 28]), room, 2);
            if y + block.height() > bottom {
                return;
            }
            y = self.block((margin, y), &block, ink);
        }
    }

    fn wide_closed(&mut self, feedback: &Feedback) {
        let (width, height) = (self.width(), self.height());
        self.fill((0, 0), (width, height), WHITE);
        // Stripes that lean, row by row.
        let stripe = self.u(50).max(1);
        for y in 0..height {
            let mut x = -(y % (2 * stripe));
            while x < width {
                self.fill((x, y), (stripe, 1), GREY);
                x += 2 * stripe;
            }
        }
        let inset = self.u(45);
        self.fill((inset, inset), (width - 2 * inset, height - 2 * inset), WHITE);
        let (side, top) = (self.u(135), self.u(58));
        self.icon(icon_of(feedback.shape()), ((width - side) / 2, top), side, DARK);
        let edges = (inset + self.u(20), width - inset - self.u(20));
        let room = edges.1 - edges.0;
        let top = top + side + self.u(8);
        let room_below = height - inset - self.u(8) - top;
        let action = feedback.action.as_deref().unwrap_or_default();
        let both = [66, 58, 50, 44, 40, 36, 32].iter().find_map(|tenths| {
            let [large, small] = self.sizes([*tenths, tenths * 80 / 100]);
            let headline = self.pen.find_fit(&feedback.headline, &[large], room, 2)?;
            let action = self.pen.find_fit(action, &[small], room, 2)?;
            (headline.height() + action.height() <= room_below).then_some((headline, action))
        });
        let Some((headline, action)) = both else { return };
        let spare = room_below - headline.height() - action.height();
        let y = self.centred(edges, top + spare / 2, &headline, DARK);
        self.centred(edges, y, &action, DARK);
    }
}
