//! A picture in memory, on which everything is drawn before a display gets it.

use embedded_graphics::{
    Pixel,
    draw_target::DrawTarget,
    geometry::{OriginDimensions, Point, Size},
    pixelcolor::{Rgb888, RgbColor},
    primitives::Rectangle,
};

/// Pixels, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canvas {
    size: Size,
    pixels: Vec<Rgb888>,
}

impl Canvas {
    /// All black.
    pub fn new(size: Size) -> Self {
        let area = usize::try_from(size.width * size.height).unwrap_or(0);
        Self { size, pixels: vec![Rgb888::BLACK; area] }
    }

    /// Row by row.
    pub fn pixels(&self) -> &[Rgb888] {
        &self.pixels
    }

    /// The rows.
    pub fn rows(&self) -> impl Iterator<Item = &[Rgb888]> {
        self.pixels.chunks(usize::try_from(self.size.width).unwrap_or(1).max(1))
    }

    /// Row by row, as red, green and blue.
    pub fn rgb(&self) -> Vec<Vec<[u8; 3]>> {
        let row = |row: &[Rgb888]| row.iter().map(|c| [c.r(), c.g(), c.b()]).collect();
        self.rows().map(row).collect()
    }

    fn index(&self, at: Point) -> Option<usize> {
        let (x, y) = (u32::try_from(at.x).ok()?, u32::try_from(at.y).ok()?);
        let inside = x < self.size.width && y < self.size.height;
        inside.then(|| usize::try_from(y * self.size.width + x).ok()).flatten()
    }

    /// Lays a colour over a pixel; 255 covers it.
    pub fn blend(&mut self, at: Point, colour: Rgb888, coverage: u8) {
        let Some(index) = self.index(at) else { return };
        let Some(pixel) = self.pixels.get_mut(index) else { return };
        let mix = |under: u8, over: u8| {
            let (under, over, part) = (u32::from(under), u32::from(over), u32::from(coverage));
            u8::try_from((under * (255 - part) + over * part + 127) / 255).unwrap_or(u8::MAX)
        };
        *pixel = Rgb888::new(
            mix(pixel.r(), colour.r()),
            mix(pixel.g(), colour.g()),
            mix(pixel.b(), colour.b()),
        );
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        self.size
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = core::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Self::Error> {
        for Pixel(at, colour) in pixels {
            if let Some(pixel) = self.index(at).and_then(|index| self.pixels.get_mut(index)) {
                *pixel = colour;
            }
        }
        Ok(())
    }

    fn fill_solid(&mut self, area: &Rectangle, colour: Rgb888) -> Result<(), Self::Error> {
        let area = area.intersection(&Rectangle::new(Point::zero(), self.size));
        let Some(corner) = area.bottom_right() else { return Ok(()) };
        for y in area.top_left.y..=corner.y {
            let ends = [Point::new(area.top_left.x, y), Point::new(corner.x, y)];
            if let [Some(first), Some(last)] = ends.map(|end| self.index(end))
                && let Some(row) = self.pixels.get_mut(first..=last)
            {
                row.fill(colour);
            }
        }
        Ok(())
    }
}
