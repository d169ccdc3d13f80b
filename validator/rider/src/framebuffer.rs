//! A framebuffer of the kernel, by its file and its folder in sysfs: no ioctl, no mapping, no
//! unsafe code. What the screen shows is what was written to the file.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
};

use embedded_graphics::pixelcolor::{Rgb888, RgbColor};

use crate::{
    canvas::Canvas,
    draw::Painter,
    panel::{Display, DriverError},
    stage::Scene,
};

/// What sysfs says of a framebuffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Pixels in a row.
    pub(crate) width: u32,
    /// Rows.
    pub(crate) height: u32,
    /// Bytes of a row in the file.
    pub(crate) stride: u32,
    /// How a pixel is written.
    pub(crate) format: Format,
}

/// How a pixel is written, lowest byte first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Five, six and five bits.
    Rgb565,
    /// Blue, green, red, nothing.
    Xrgb8888,
}

impl Format {
    const fn bytes(self) -> u32 {
        match self {
            Self::Rgb565 => 2,
            Self::Xrgb8888 => 4,
        }
    }

    fn write(self, colour: Rgb888, row: &mut Vec<u8>) {
        match self {
            Self::Rgb565 => {
                let (r, g, b) = (u16::from(colour.r()), u16::from(colour.g()), colour.b());
                let word = (r >> 3) << 11 | (g >> 2) << 5 | u16::from(b >> 3);
                row.extend(word.to_le_bytes());
            }
            Self::Xrgb8888 => row.extend([colour.b(), colour.g(), colour.r(), 0]),
        }
    }
}

impl Geometry {
    /// From the folder of a framebuffer, `/sys/class/graphics/fb0`.
    pub(crate) fn read(folder: &Path) -> Result<Self, DriverError> {
        let numbers = |name: &str| -> Result<Vec<u32>, DriverError> {
            let path = folder.join(name);
            let text =
                fs::read_to_string(&path).map_err(|e| DriverError::new(path.display(), e))?;
            let numbers: Result<Vec<u32>, _> = text.trim().split(',').map(str::parse).collect();
            numbers.map_err(|e| DriverError::new(path.display(), e))
        };
        let one = |name: &str| {
            let numbers = numbers(name)?;
            let what = folder.join(name);
            numbers.first().copied().ok_or_else(|| DriverError::new(what.display(), "is empty"))
        };
        let [width, height] = numbers("virtual_size")?[..] else {
            let what = folder.join("virtual_size");
            return Err(DriverError::new(what.display(), "is not two numbers"));
        };
        let format = match one("bits_per_pixel")? {
            16 => Format::Rgb565,
            32 => Format::Xrgb8888,
            bits => {
                let text = format!("{bits} bits a pixel cannot be drawn: set 16 or 32");
                return Err(DriverError::new(folder.display(), text));
            }
        };
        let stride = one("stride")?;
        let sides = 32..=1_920;
        if !sides.contains(&width) || !sides.contains(&height) || stride < width * format.bytes() {
            let text = format!("{width} by {height} pixels, {stride} bytes a row, cannot be drawn");
            return Err(DriverError::new(folder.display(), text));
        }
        Ok(Self { width, height, stride, format })
    }
}

/// See the module's documentation.
pub(crate) struct Framebuffer {
    file: File,
    geometry: Geometry,
    painter: Painter,
    /// Rows as they were written last; a row that has not changed is not written again.
    rows: Vec<Vec<u8>>,
}

impl Framebuffer {
    /// Opens a framebuffer. A smaller size than its own stands in its upper left corner: some
    /// framebuffers are larger than what is seen of them.
    pub(crate) fn open(
        device: &Path,
        folder: &Path,
        size: (Option<u32>, Option<u32>),
    ) -> Result<Self, DriverError> {
        let mut geometry = Geometry::read(folder)?;
        geometry.width = size.0.unwrap_or(u32::MAX).min(geometry.width);
        geometry.height = size.1.unwrap_or(u32::MAX).min(geometry.height);
        let file = OpenOptions::new().write(true).open(device);
        let file = file.map_err(|e| DriverError::new(device.display(), e))?;
        let painter = Painter::new((geometry.width, geometry.height), false);
        Ok(Self { file, geometry, painter, rows: Vec::new() })
    }

    fn write(&mut self, canvas: &Canvas) -> Result<(), DriverError> {
        let Geometry { stride, format, .. } = self.geometry;
        for (y, row) in canvas.rows().enumerate() {
            let mut bytes = Vec::with_capacity(row.len() * 4);
            for colour in row {
                format.write(*colour, &mut bytes);
            }
            if self.rows.get(y) == Some(&bytes) {
                continue;
            }
            let at = u64::try_from(y).unwrap_or(0) * u64::from(stride);
            self.file
                .write_all_at(&bytes, at)
                .map_err(|e| DriverError::new("the framebuffer cannot be written", e))?;
            match self.rows.get_mut(y) {
                Some(known) => *known = bytes,
                None => self.rows.push(bytes),
            }
        }
        Ok(())
    }
}

impl Display for Framebuffer {
    fn show(&mut self, scene: &Scene, clock: &str) -> Result<(), DriverError> {
        let canvas = self.painter.paint(scene, clock).clone();
        self.write(&canvas)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use embedded_graphics::geometry::OriginDimensions;
    use model::TapRole;
    use texts::Language;

    use super::*;
    use crate::{Feedback, Idle};

    fn device(bits: &str, stride: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("virtual_size", "320,240\n");
        write("bits_per_pixel", bits);
        write("stride", &format!("{stride}\n"));
        write("fb0", "");
        folder
    }

    fn scenes() -> [Scene; 2] {
        let idle = Idle::new(Language::Korean, TapRole::Exit, "새벽항".into(), None);
        let closed = Feedback::closed(Language::Korean);
        [Scene::Idle(Arc::new(idle)), Scene::Closed(Arc::new(closed))]
    }

    /// What a screen would show of the file.
    fn seen(folder: &Path, geometry: Geometry) -> Vec<Rgb888> {
        let bytes = fs::read(folder.join("fb0")).unwrap();
        let stride = usize::try_from(geometry.stride).unwrap();
        let used = usize::try_from(geometry.width * geometry.format.bytes()).unwrap();
        let pixel = |bytes: &[u8]| match *bytes {
            [b, g, r, _] => Rgb888::new(r, g, b),
            [low, high] => {
                let word = u16::from_le_bytes([low, high]);
                let wide =
                    |bits: u16, have: u32| u8::try_from(u32::from(bits) << (8 - have)).unwrap();
                Rgb888::new(wide(word >> 11, 5), wide(word >> 5 & 63, 6), wide(word & 31, 5))
            }
            _ => unreachable!("pixels have two or four bytes"),
        };
        let size = usize::try_from(geometry.format.bytes()).unwrap();
        let rows = bytes.chunks(stride);
        rows.flat_map(|row| row[..used].chunks(size).map(pixel).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn a_framebuffer_shows_what_was_drawn_in_both_formats_and_rows_may_be_padded() {
        for (bits, stride) in [("32\n", 1_280), ("32\n", 1_536), ("16\n", 640), ("16\n", 704)] {
            let folder = device(bits, stride);
            let geometry = Geometry::read(folder.path()).unwrap();
            let path = folder.path().join("fb0");
            let mut display = Framebuffer::open(&path, folder.path(), (None, None)).unwrap();
            let mut painter = Painter::new((320, 240), false);
            for scene in scenes() {
                display.show(&scene, "08:24").unwrap();
                let drawn = painter.paint(&scene, "08:24");
                assert_eq!(drawn.size().width, 320);
                let coarse = |c: &Rgb888| match geometry.format {
                    Format::Xrgb8888 => *c,
                    Format::Rgb565 => Rgb888::new(c.r() & 0xf8, c.g() & 0xfc, c.b() & 0xf8),
                };
                let drawn: Vec<Rgb888> = drawn.pixels().iter().map(coarse).collect();
                assert!(seen(folder.path(), geometry) == drawn, "{bits:?} {stride}");
            }
        }
    }

    #[test]
    fn a_framebuffer_that_is_not_there_or_of_an_odd_kind_is_named() {
        let says = |folder: &Path| {
            let error = Framebuffer::open(&folder.join("fb0"), folder, (None, None)).err().unwrap();
            error.to_string().replace(&folder.display().to_string(), "FB")
        };
        let nowhere = tempfile::tempdir().unwrap();
        assert!(says(nowhere.path()).starts_with("FB/virtual_size: No such file"));
        let odd = device("8\n", 320);
        assert_eq!(says(odd.path()), "FB: 8 bits a pixel cannot be drawn: set 16 or 32");
        let short = device("32\n", 640);
        let text = "FB: 320 by 240 pixels, 640 bytes a row, cannot be drawn";
        assert_eq!(says(short.path()), text);
        let gone = device("32\n", 1_280);
        fs::remove_file(gone.path().join("fb0")).unwrap();
        assert!(says(gone.path()).starts_with("FB/fb0: No such file"));
    }
}
