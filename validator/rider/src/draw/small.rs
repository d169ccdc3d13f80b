//! 128 by 64 pixels of one colour: a shape, a code or an amount, and few words.

use model::TapRole;
use texts::parts;
use validation::PassageClass;

use super::{BLACK, Painter, WHITE, icon_of};
use crate::{
    feedback::{Choice, Feedback},
    font::{Block, Pen},
    icons::Icon,
    stage::{Idle, Scene},
};

/// The icon's side, where nothing asks for more room.
const ICON: i32 = 40;
/// Where text begins beside it.
const COLUMN: i32 = ICON + 4;
/// Smaller type cannot be read on such a display, least of all Hangul.
const SMALLEST: u16 = 13;
/// What a foot of several lines leaves of the display at least.
const HEAD_MIN: i32 = 18;

impl Painter {
    pub(super) fn paint_small(&mut self, scene: &Scene, clock: &str) {
        let (width, height) = (self.width(), self.height());
        self.fill((0, 0), (width, height), BLACK);
        match scene {
            Scene::Idle(idle) => self.small_idle(idle, clock),
            Scene::Choice(choice) => self.small_choice(choice),
            Scene::Answer(feedback) | Scene::Closed(feedback) => {
                if feedback.class > PassageClass::B {
                    self.small_refused(feedback);
                } else {
                    self.small_accepted(feedback);
                }
            }
        }
    }

    fn small_idle(&mut self, idle: &Idle, clock: &str) {
        let (width, height) = (self.width(), self.height());
        let room = width - COLUMN - 2;
        let one = self.pen.find_fit(&idle.direction, &[24, 20, 17], room, 1);
        let direction =
            one.unwrap_or_else(|| self.pen.fit(&idle.direction, &[17, 15, SMALLEST], room, 2));
        self.block((COLUMN + 2, 18), &direction, WHITE);
        let name = idle.route.as_ref().unwrap_or(&idle.place);
        let names = [idle.route.as_ref().map(|route| format!("{route} · {}", idle.place))];
        let names = names.iter().flatten().chain([name]);
        // The clock beside the name, or below where there is room.
        let clock_px = SMALLEST;
        let beside = width - self.pen.width(clock, clock_px) - 4;
        let find = |painter: &Self, room| {
            names.clone().find_map(|name| painter.pen.find_fit(name, &[15, SMALLEST], room, 1))
        };
        let (place, clock_y) = match (find(self, beside), find(self, width)) {
            (Some(place), _) => (place, 0),
            (None, Some(place)) if direction.lines.len() == 1 => {
                (place, height - Pen::line_height(clock_px))
            }
            (None, _) => (self.pen.fit(name, &[SMALLEST], beside, 1), 0),
        };
        self.block((0, 0), &place, WHITE);
        self.text_to((width, clock_y), clock, clock_px, WHITE);
        let icon = match idle.role {
            TapRole::Board => Icon::Card,
            TapRole::Entry => Icon::In,
            TapRole::Exit => Icon::Out,
        };
        self.icon(icon, (0, height - ICON - 3), ICON, WHITE);
    }

    fn small_choice(&mut self, choice: &Choice) {
        let width = self.width();
        let shown = choice.total.as_ref().or(choice.figures.first());
        let headline = self.pen.fit(&choice.headline, &[15, SMALLEST], width, 2);
        let y = self.block((0, 0), &headline, WHITE);
        let Some(figure) = shown else { return };
        let value = self.pen.fit(&figure.value, &[24, 20, 17], width, 1);
        let y = y.min(self.height() - value.height());
        self.block((0, y), &value, WHITE);
    }

    /// Beside the shape and the code: what is wrong and what to do, or only the latter.
    fn small_refused(&mut self, feedback: &Feedback) {
        let (width, height) = (self.width(), self.height());
        let room = width - COLUMN;
        self.icon(icon_of(feedback.shape()), (0, 0), ICON, WHITE);
        if let Some((_, code)) = &feedback.code {
            let block = Block { px: 20, lines: vec![code.clone()] };
            self.centred((0, ICON), ICON + 1, &block, WHITE);
        }
        let sizes = [17, 15, 14, SMALLEST];
        let Some(action) = &feedback.action else {
            let headline = sizes.iter().find_map(|px| {
                let block = self.pen.find_fit(&feedback.headline, &[*px], room, 4)?;
                (block.height() <= height).then_some(block)
            });
            let headline =
                headline.unwrap_or_else(|| self.pen.fit(&feedback.headline, &[SMALLEST], room, 4));
            self.block((COLUMN, 0), &headline, WHITE);
            return;
        };
        let both = sizes.iter().find_map(|px| {
            let headline = self.pen.find_fit(&feedback.headline, &[*px], room, 3)?;
            let action = self.pen.find_fit(action, &[*px], room - 2, 3)?;
            (headline.height() + action.height() <= height).then_some((headline, action))
        });
        let (headline, action) = match both {
            Some((headline, action)) => (Some(headline), action),
            None => (None, self.pen.fit(action, &[20, 17, 15, SMALLEST], room - 2, 3)),
        };
        if let Some(headline) = &headline {
            self.block((COLUMN, 0), headline, WHITE);
        }
        let top = height - action.height();
        self.fill((COLUMN, top), (room, action.height()), WHITE);
        self.block((COLUMN + 2, top), &action, BLACK);
    }

    /// The amount beside the shape; at the foot the note, or the balance.
    fn small_accepted(&mut self, feedback: &Feedback) {
        let (width, height) = (self.width(), self.height());
        let balance = feedback.figures.get(1);
        let balance = balance.map(|figure| format!("{} {}", figure.label, figure.value));
        let text = feedback.note.as_ref().or(balance.as_ref()).unwrap_or(&feedback.headline).trim();
        let sizes = [17, 15, SMALLEST];
        // The whole note, else what it says before its colon.
        let foot = [text, parts(text).0].into_iter().find_map(|text| {
            [1, 2, 3].into_iter().find_map(|lines| {
                let block = self.pen.find_fit(text, &sizes, width, lines)?;
                (block.height() <= height - HEAD_MIN).then_some(block)
            })
        });
        let foot = foot.unwrap_or_else(|| self.pen.fit(text, &[SMALLEST], width, 3));
        let top = height - foot.height();
        let ink = if feedback.note.is_some() {
            self.fill((0, top), (width, foot.height()), WHITE);
            BLACK
        } else {
            WHITE
        };
        self.centred((0, width), top, &foot, ink);
        let side = ICON.min(top);
        self.icon(icon_of(feedback.shape()), (0, (top - side) / 2), side, WHITE);
        let Some(first) = feedback.figures.first() else { return };
        let (column, mut lines) = (side + 4, Vec::new());
        for text in [&first.value, &feedback.headline] {
            let sizes: &[u16] =
                if lines.is_empty() { &[26, 22, 17, 15, SMALLEST] } else { &[15, SMALLEST] };
            let fits = |px: &&u16| Pen::line_height(**px) <= top + 2 || **px == SMALLEST;
            let sizes: Vec<u16> = sizes.iter().filter(fits).copied().collect();
            let block = self.pen.fit(text, &sizes, width - column, 1);
            let used: i32 = lines.iter().map(Block::height).sum();
            if lines.is_empty() || used + block.height() <= top + 2 {
                lines.push(block);
            }
        }
        let used: i32 = lines.iter().map(Block::height).sum();
        let mut y = ((top - used) / 2).max(0);
        for block in lines {
            y = self.block((column, y), &block, WHITE);
        }
    }
}
