//! The shapes that tell the classes apart, drawn at four times their size and scaled down, so that
//! their edges are smooth.

use embedded_graphics::primitives::PrimitiveStyleBuilder;
use embedded_graphics::{
    Drawable, Pixel,
    draw_target::DrawTarget,
    geometry::{Angle, OriginDimensions, Point, Size},
    pixelcolor::{BinaryColor, Rgb888},
    primitives::{Arc, Circle, Primitive, PrimitiveStyle, Rectangle, StrokeAlignment, Triangle},
};

use crate::canvas::Canvas;

/// So many times as fine as the display, in each direction.
const FINE: u32 = 4;
/// The drawing library counts in 32 bits, and overflows on larger squares.
const FINE_SIDE_MAX: u32 = 1_000;

/// What can be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icon {
    /// ✓ in a ring.
    Tick,
    /// ↻
    Again,
    /// ✗ in a ring.
    Cross,
    /// ⃠
    Closed,
    /// Into a gate.
    In,
    /// Out of a gate.
    Out,
    /// A card before a reader.
    Card,
}

/// A square of one bit a pixel.
struct Mask {
    side: u32,
    bits: Vec<bool>,
}

impl Mask {
    fn new(side: u32) -> Self {
        Self { side, bits: vec![false; usize::try_from(side * side).unwrap_or(0)] }
    }

    fn index(&self, x: u32, y: u32) -> Option<usize> {
        let inside = x < self.side && y < self.side;
        inside.then(|| usize::try_from(y * self.side + x).ok()).flatten()
    }

    /// How much of a pixel of the canvas is covered.
    fn coverage(&self, x: u32, y: u32, fine: u32) -> u8 {
        let parts = fine * fine;
        let fine = (0..parts).map(|i| (x * fine + i % fine, y * fine + i / fine));
        let lit = fine.filter(|(x, y)| {
            self.index(*x, *y).and_then(|index| self.bits.get(index)).is_some_and(|bit| *bit)
        });
        let lit = u32::try_from(lit.count()).unwrap_or(0);
        u8::try_from(lit * 255 / parts).unwrap_or(u8::MAX)
    }
}

impl OriginDimensions for Mask {
    fn size(&self) -> Size {
        Size::new(self.side, self.side)
    }
}

impl DrawTarget for Mask {
    type Color = BinaryColor;
    type Error = core::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<BinaryColor>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Self::Error> {
        for Pixel(at, colour) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(at.x), u32::try_from(at.y)) else { continue };
            if let Some(bit) = self.index(x, y).and_then(|index| self.bits.get_mut(index)) {
                *bit = colour.is_on();
            }
        }
        Ok(())
    }
}

/// Draws an icon into the square at `corner`. With `is_hard` no pixel is half lit.
pub(crate) fn draw(
    canvas: &mut Canvas,
    icon: Icon,
    corner: Point,
    side: u32,
    colour: Rgb888,
    is_hard: bool,
) {
    let fine = (FINE_SIDE_MAX / side.max(1)).clamp(1, FINE);
    let mut mask = Mask::new(side * fine);
    let plan = Plan { side: (side * fine).cast_signed() };
    plan.draw(icon, &mut mask);
    for y in 0..side {
        for x in 0..side {
            let mut coverage = mask.coverage(x, y, fine);
            if is_hard {
                coverage = if coverage >= 128 { u8::MAX } else { 0 };
            }
            let offset = Point::new(x.cast_signed(), y.cast_signed());
            canvas.blend(corner + offset, colour, coverage);
        }
    }
}

/// Coordinates in hundredths of the side.
struct Plan {
    side: i32,
}

impl Plan {
    fn len(&self, hundredths: i32) -> i32 {
        self.side * hundredths / 100
    }

    fn at(&self, (x, y): (i32, i32)) -> Point {
        Point::new(self.len(x), self.len(y))
    }

    fn stroke(&self, hundredths: i32) -> PrimitiveStyle<BinaryColor> {
        let width = u32::try_from(self.len(hundredths)).unwrap_or(1).max(1);
        PrimitiveStyleBuilder::new()
            .stroke_color(BinaryColor::On)
            .stroke_width(width)
            .stroke_alignment(StrokeAlignment::Center)
            .build()
    }

    fn circle(&self, centre: (i32, i32), diameter: i32) -> Circle {
        let diameter = u32::try_from(self.len(diameter)).unwrap_or(1);
        Circle::with_center(self.at(centre), diameter)
    }

    /// A line with round ends.
    fn line(&self, mask: &mut Mask, from: (i32, i32), to: (i32, i32), width: i32) {
        // As two triangles: the library's own thick lines count in 32 bits and overflow at the
        // size of a large display.
        let (a, b) = (self.at(from), self.at(to));
        let along = b - a;
        let length = (along.x * along.x + along.y * along.y).isqrt().max(1);
        let half = self.len(width) / 2;
        let aside = Point::new(-along.y * half / length, along.x * half / length);
        let fill = PrimitiveStyle::with_fill(BinaryColor::On);
        for corners in [[a + aside, a - aside, b + aside], [a - aside, b + aside, b - aside]] {
            let triangle = Triangle::from_slice(&corners);
            let Ok(()) = triangle.into_styled(fill).draw(mask);
        }
        for end in [from, to] {
            let Ok(()) = self.circle(end, width).into_styled(fill).draw(mask);
        }
    }

    fn triangle(&self, mask: &mut Mask, corners: [(i32, i32); 3]) {
        let [a, b, c] = corners.map(|corner| self.at(corner));
        let fill = PrimitiveStyle::with_fill(BinaryColor::On);
        let Ok(()) = Triangle::new(a, b, c).into_styled(fill).draw(mask);
    }

    fn ring(&self, mask: &mut Mask, width: i32) {
        let ring = self.circle((50, 50), 98 - width);
        let Ok(()) = ring.into_styled(self.stroke(width)).draw(mask);
    }

    /// Part of a circle; degrees from the right, clockwise.
    fn arc(
        &self,
        mask: &mut Mask,
        centre: (i32, i32),
        diameter: i32,
        part: (i32, i32),
        width: i32,
    ) {
        let circle = self.circle(centre, diameter);
        let (start, sweep) = (degrees(part.0), degrees(part.1));
        let Ok(()) =
            Arc::from_circle(circle, start, sweep).into_styled(self.stroke(width)).draw(mask);
    }

    fn frame(&self, mask: &mut Mask, corner: (i32, i32), size: (i32, i32), width: i32) {
        let (w, h) = (self.len(size.0), self.len(size.1));
        let size = Size::new(u32::try_from(w).unwrap_or(0), u32::try_from(h).unwrap_or(0));
        let frame = Rectangle::new(self.at(corner), size);
        let Ok(()) = frame.into_styled(self.stroke(width)).draw(mask);
    }

    fn draw(&self, icon: Icon, mask: &mut Mask) {
        match icon {
            Icon::Tick => {
                self.ring(mask, 8);
                self.line(mask, (27, 53), (43, 69), 13);
                self.line(mask, (43, 69), (73, 35), 13);
            }
            Icon::Cross => {
                self.ring(mask, 8);
                self.line(mask, (32, 32), (68, 68), 13);
                self.line(mask, (68, 32), (32, 68), 13);
            }
            Icon::Again => {
                self.arc(mask, (50, 50), 74, (-30, 300), 12);
                // The head lies on the end of the arc, at 270 degrees: the top, going right.
                self.triangle(mask, [(50, -2), (50, 28), (74, 13)]);
            }
            Icon::Closed => {
                self.ring(mask, 12);
                self.line(mask, (21, 21), (79, 79), 12);
            }
            Icon::In => {
                self.line(mask, (8, 50), (56, 50), 13);
                self.triangle(mask, [(50, 24), (50, 76), (78, 50)]);
                self.line(mask, (90, 12), (90, 88), 9);
            }
            Icon::Out => {
                self.line(mask, (10, 12), (10, 88), 9);
                self.line(mask, (28, 50), (68, 50), 13);
                self.triangle(mask, [(66, 24), (66, 76), (94, 50)]);
            }
            Icon::Card => {
                self.frame(mask, (5, 30), (50, 40), 7);
                self.line(mask, (16, 57), (32, 57), 6);
                for diameter in [42, 66, 90] {
                    self.arc(mask, (50, 50), diameter, (-48, 96), 8);
                }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "degrees of a circle are small")]
fn degrees(degrees: i32) -> Angle {
    Angle::from_degrees(degrees as f32)
}
