//! Text on a canvas: one outline font with Latin and Hangul, in any size (fonts/README.md).

use std::collections::BTreeMap;

use ab_glyph::{Font, FontRef, ScaleFont, point};
use embedded_graphics::{geometry::Point, pixelcolor::Rgb888};

use crate::canvas::Canvas;

static FONT: &[u8] = include_bytes!("../fonts/NotoSansKR-Bold-subset.otf");

/// Glyphs kept as pixels. A screen has some hundred; names of stops bring more over a day.
const KEPT_MAX: usize = 1_024;

/// A glyph as pixels.
struct Drawn {
    /// From the pen, on the baseline.
    left: i32,
    top: i32,
    width: usize,
    /// 255 = covered.
    coverage: Vec<u8>,
}

/// Draws text, and remembers the pixels of what it drew.
pub struct Pen {
    font: FontRef<'static>,
    kept: BTreeMap<(char, u16), Drawn>,
    /// A display of one bit knows no half-lit pixel.
    is_hard: bool,
}

impl Pen {
    /// For displays of many colours, or of black and white.
    pub fn new(is_hard: bool) -> Self {
        let font = FontRef::try_from_slice(FONT).expect("the font that is compiled in is one");
        Self { font, kept: BTreeMap::new(), is_hard }
    }

    /// Whether there is an outline for a character.
    pub fn knows(&self, letter: char) -> bool {
        self.font.glyph_id(letter).0 != 0
    }

    /// How wide a text is.
    pub fn width(&self, text: &str, px: u16) -> i32 {
        text.chars().map(|letter| self.advance(letter, px)).sum()
    }

    /// The height of capital letters and syllables: what stands above the baseline.
    pub fn ascent(px: u16) -> i32 {
        i32::from(px) * 78 / 100
    }

    /// From baseline to baseline.
    pub fn line_height(px: u16) -> i32 {
        i32::from(px) * 118 / 100
    }

    #[expect(clippy::float_arithmetic, reason = "the outlines of a font are in floating point")]
    #[expect(clippy::cast_possible_truncation, reason = "a glyph is some hundred pixels wide")]
    fn advance(&self, letter: char, px: u16) -> i32 {
        let scaled = self.font.as_scaled(scale(&self.font, px));
        (scaled.h_advance(scaled.glyph_id(letter)) + 0.5) as i32
    }

    /// Writes a text from a point on its baseline to the right.
    pub fn write(&mut self, canvas: &mut Canvas, at: Point, text: &str, px: u16, colour: Rgb888) {
        let mut x = at.x;
        for letter in text.chars() {
            let drawn = self.drawn(letter, px);
            let width = drawn.width.max(1);
            for (row, y) in drawn.coverage.chunks(width).zip(at.y + drawn.top..) {
                for (coverage, column) in row.iter().zip(x + drawn.left..) {
                    canvas.blend(Point::new(column, y), colour, *coverage);
                }
            }
            x += self.advance(letter, px);
        }
    }

    fn drawn(&mut self, letter: char, px: u16) -> &Drawn {
        if self.kept.len() >= KEPT_MAX {
            self.kept.clear();
        }
        let (font, is_hard) = (&self.font, self.is_hard);
        self.kept.entry((letter, px)).or_insert_with(|| outline(font, letter, px, is_hard))
    }

    /// Breaks a text into lines, at spaces where it can.
    pub fn wrap(&self, text: &str, px: u16, width: i32) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let mut line = String::new();
        for word in text.split_whitespace() {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if self.width(&longer, px) <= width {
                line = longer;
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            for letter in word.chars() {
                if !line.is_empty() && self.width(&line, px) + self.advance(letter, px) > width {
                    lines.push(std::mem::take(&mut line));
                }
                line.push(letter);
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
        lines
    }

    /// The largest of these sizes in which a text takes at most so many lines, no word broken;
    /// `None` when it fits in none of them.
    pub fn find_fit(
        &self,
        text: &str,
        sizes: &[u16],
        width: i32,
        lines_max: usize,
    ) -> Option<Block> {
        let block = |px: u16| Block { px, lines: self.wrap(text, px, width) };
        let is_whole = |px| text.split_whitespace().all(|word| self.width(word, px) <= width);
        let sizes = sizes.iter().copied();
        let whole = sizes.filter(|px| is_whole(*px)).map(block);
        whole.into_iter().find(|block| block.lines.len() <= lines_max)
    }

    /// On as few lines as these sizes allow, at most so many; then as large as that allows. In the
    /// smallest size the text is cut short if it must be.
    pub fn fit_few(&self, text: &str, sizes: &[u16], width: i32, lines_max: usize) -> Block {
        let few = (1..=lines_max).find_map(|lines| self.find_fit(text, sizes, width, lines));
        few.unwrap_or_else(|| self.fit(text, sizes, width, lines_max))
    }

    /// In the largest size that allows so many lines; in the smallest size the text is cut short if
    /// it must be.
    pub fn fit(&self, text: &str, sizes: &[u16], width: i32, lines_max: usize) -> Block {
        if let Some(block) = self.find_fit(text, sizes, width, lines_max) {
            return block;
        }
        let px = sizes.last().copied().unwrap_or(8);
        let mut lines = self.wrap(text, px, width);
        if lines.len() > lines_max {
            lines.truncate(lines_max);
            if let Some(line) = lines.last_mut() {
                while !line.is_empty() && self.width(&format!("{line}…"), px) > width {
                    line.pop();
                }
                line.push('…');
            }
        }
        Block { px, lines }
    }
}

/// Lines in one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The size.
    pub px: u16,
    /// From the top.
    pub lines: Vec<String>,
}

impl Block {
    /// From the top of the first line to the bottom of the last.
    pub fn height(&self) -> i32 {
        i32::try_from(self.lines.len()).unwrap_or(0) * Pen::line_height(self.px)
    }
}

/// So that `px` is the size of the em square, as type is measured.
#[expect(clippy::float_arithmetic, reason = "the outlines of a font are in floating point")]
fn scale(font: &FontRef<'_>, px: u16) -> f32 {
    let units = font.units_per_em().unwrap_or(1_000.0);
    f32::from(px) * font.height_unscaled() / units
}

#[expect(clippy::float_arithmetic, reason = "the outlines of a font are in floating point")]
#[expect(clippy::cast_possible_truncation, reason = "a glyph is some hundred pixels wide")]
#[expect(clippy::cast_sign_loss, reason = "coverage is not negative")]
fn outline(font: &FontRef<'_>, letter: char, px: u16, is_hard: bool) -> Drawn {
    let glyph = font.glyph_id(letter).with_scale_and_position(scale(font, px), point(0.0, 0.0));
    let Some(outlined) = font.outline_glyph(glyph) else {
        return Drawn { left: 0, top: 0, width: 0, coverage: Vec::new() };
    };
    let bounds = outlined.px_bounds();
    let (width, height) = (bounds.width() as usize, bounds.height() as usize);
    let mut coverage = vec![0; width * height];
    outlined.draw(|x, y, part| {
        if let Some(pixel) = coverage.get_mut(y as usize * width + x as usize) {
            *pixel = if is_hard {
                if part >= 0.45 { u8::MAX } else { 0 }
            } else {
                (part.clamp(0.0, 1.0) * 255.0 + 0.5) as u8
            };
        }
    });
    Drawn { left: bounds.min.x as i32, top: bounds.min.y as i32, width, coverage }
}
