//! Scenes as pictures: one way to draw for every display, from a small display of one colour up.
//!
//! A display of one bit a pixel that is not 128 by 64 gets the colours' brightness, so every
//! scene keeps its shape and its text on it.

mod small;
mod wide;

use embedded_graphics::{
    Drawable,
    geometry::{Point, Size},
    pixelcolor::{Rgb888, RgbColor},
    primitives::{Primitive, PrimitiveStyle, Rectangle},
};

use crate::{
    canvas::Canvas,
    feedback::Shape,
    font::{Block, Pen},
    icons::{self, Icon},
    stage::Scene,
};

/// The sizes for which every scene has a golden image.
pub const SIZES: [(u32, u32); 3] = [(128, 64), (320, 240), (800, 480)];

/// A display lower than this gets the layout of few words.
const SMALL_MAX: u32 = 128;

/// Draws scenes for one display.
pub struct Painter {
    canvas: Canvas,
    pen: Pen,
    is_hard: bool,
}

impl Painter {
    /// For a display of this size; `is_mono` when its pixels are lit or not.
    pub fn new((width, height): (u32, u32), is_mono: bool) -> Self {
        let canvas = Canvas::new(Size::new(width, height));
        Self { canvas, pen: Pen::new(is_mono), is_hard: is_mono }
    }

    /// The picture of a scene.
    pub fn paint(&mut self, scene: &Scene, clock: &str) -> &Canvas {
        if self.size().height <= SMALL_MAX {
            self.paint_small(scene, clock);
        } else {
            self.paint_wide(scene, clock);
        }
        &self.canvas
    }

    fn size(&self) -> Size {
        use embedded_graphics::geometry::OriginDimensions;
        self.canvas.size()
    }

    fn width(&self) -> i32 {
        self.size().width.cast_signed()
    }

    fn height(&self) -> i32 {
        self.size().height.cast_signed()
    }

    fn fill(&mut self, (x, y): (i32, i32), (width, height): (i32, i32), colour: Rgb888) {
        let size = Size::new(width.max(0).cast_unsigned(), height.max(0).cast_unsigned());
        let style = PrimitiveStyle::with_fill(colour);
        let Ok(()) =
            Rectangle::new(Point::new(x, y), size).into_styled(style).draw(&mut self.canvas);
    }

    fn icon(&mut self, icon: Icon, (x, y): (i32, i32), side: i32, colour: Rgb888) {
        let side = side.max(1).cast_unsigned();
        icons::draw(&mut self.canvas, icon, Point::new(x, y), side, colour, self.is_hard);
    }

    /// One line; `y` is its top.
    fn text(&mut self, (x, y): (i32, i32), text: &str, px: u16, colour: Rgb888) {
        let gap = Pen::line_height(px) - Pen::ascent(px);
        let at = Point::new(x, y + gap / 2 + Pen::ascent(px));
        self.pen.write(&mut self.canvas, at, text, px, colour);
    }

    /// One line that ends at `right`.
    fn text_to(&mut self, (right, y): (i32, i32), text: &str, px: u16, colour: Rgb888) {
        let x = right - self.pen.width(text, px);
        self.text((x, y), text, px, colour);
    }

    /// Lines; returns where they end.
    fn block(&mut self, (x, y): (i32, i32), block: &Block, colour: Rgb888) -> i32 {
        let mut top = y;
        for line in &block.lines {
            self.text((x, top), line, block.px, colour);
            top += Pen::line_height(block.px);
        }
        top
    }

    /// The same, centred between two edges.
    fn centred(&mut self, (left, right): (i32, i32), y: i32, block: &Block, colour: Rgb888) -> i32 {
        let mut top = y;
        for line in &block.lines {
            let x = left + (right - left - self.pen.width(line, block.px)) / 2;
            self.text((x, top), line, block.px, colour);
            top += Pen::line_height(block.px);
        }
        top
    }
}

const fn icon_of(shape: Shape) -> Icon {
    match shape {
        Shape::Tick => Icon::Tick,
        Shape::Again => Icon::Again,
        Shape::Cross => Icon::Cross,
        Shape::Closed => Icon::Closed,
    }
}

const BLACK: Rgb888 = Rgb888::BLACK;
const WHITE: Rgb888 = Rgb888::WHITE;
