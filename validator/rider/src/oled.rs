//! A small OLED of one colour on I2C, at address 3C, by the crate ssd1306.

use std::path::Path;

use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_hal::i2c::I2c;
use linux_embedded_hal::I2cdev;
use ssd1306::{
    I2CDisplayInterface, Ssd1306,
    mode::BufferedGraphicsMode,
    mode::DisplayConfig as _,
    prelude::{DisplayRotation, DisplaySize128x64, I2CInterface},
};

use crate::{
    draw::Painter,
    panel::{Display, DriverError},
    stage::Scene,
};

/// See the module's documentation.
pub(crate) struct Oled<I> {
    chip: Ssd1306<I2CInterface<I>, DisplaySize128x64, BufferedGraphicsMode<DisplaySize128x64>>,
    painter: Painter,
}

impl Oled<I2cdev> {
    /// On a bus such as `/dev/i2c-1`.
    pub(crate) fn open(bus: &Path) -> Result<Self, DriverError> {
        let device = I2cdev::new(bus).map_err(|e| DriverError::new(bus.display(), e))?;
        Self::start(device)
    }
}

impl<I: I2c> Oled<I> {
    fn start(bus: I) -> Result<Self, DriverError> {
        let interface = I2CDisplayInterface::new(bus);
        let size = DisplaySize128x64;
        let mut chip =
            Ssd1306::new(interface, size, DisplayRotation::Rotate0).into_buffered_graphics_mode();
        chip.init().map_err(no_answer)?;
        Ok(Self { chip, painter: Painter::new((128, 64), true) })
    }
}

fn no_answer(error: impl std::fmt::Debug) -> DriverError {
    DriverError(format!("no OLED answers at 3C: {error:?}"))
}

impl<I: I2c> Display for Oled<I> {
    fn show(&mut self, scene: &Scene, clock: &str) -> Result<(), DriverError> {
        self.chip.clear_buffer();
        let canvas = self.painter.paint(scene, clock);
        for (y, row) in (0..).zip(canvas.rows()) {
            for (x, colour) in (0..).zip(row) {
                self.chip.set_pixel(x, y, *colour == Rgb888::WHITE);
            }
        }
        self.chip.flush().map_err(no_answer)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc, sync::Arc};

    use embedded_hal::i2c::{ErrorKind, ErrorType, Operation};
    use model::TapRole;
    use texts::Language;

    use super::*;
    use crate::{Feedback, Idle};

    /// What an SSD1306 remembers: eight pages of 128 bytes, a bit for a pixel.
    struct Chip {
        memory: [[u8; 128]; 8],
        columns: (u8, u8),
        pages: (u8, u8),
        at: (u8, u8),
        is_there: bool,
    }

    #[derive(Clone)]
    struct Bus(Rc<RefCell<Chip>>);

    impl Chip {
        /// A stream of commands; those with arguments that matter here are columns and pages.
        fn commands(&mut self, bytes: &[u8]) {
            match *bytes {
                [0x21, from, to, ref rest @ ..] => {
                    (self.columns, self.at.0) = ((from, to), from);
                    self.commands(rest);
                }
                [0x22, from, to, ref rest @ ..] => {
                    (self.pages, self.at.1) = ((from, to), from);
                    self.commands(rest);
                }
                // Set-up with one argument: clock, multiplex, offset, charge pump and so on.
                [
                    0x20 | 0x81 | 0x8d | 0xa8 | 0xd3 | 0xd5 | 0xd9 | 0xda | 0xdb,
                    _,
                    ref rest @ ..,
                ]
                | [_, ref rest @ ..] => self.commands(rest),
                [] => {}
            }
        }

        fn data(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.memory[usize::from(self.at.1)][usize::from(self.at.0)] = *byte;
                self.at.0 += 1;
                if self.at.0 > self.columns.1 {
                    self.at = (self.columns.0, self.at.1 + 1);
                    if self.at.1 > self.pages.1 {
                        self.at.1 = self.pages.0;
                    }
                }
            }
        }
    }

    impl ErrorType for Bus {
        type Error = ErrorKind;
    }

    impl I2c for Bus {
        fn transaction(&mut self, address: u8, all: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
            let mut chip = self.0.borrow_mut();
            if address != 0x3c || !chip.is_there {
                return Err(ErrorKind::Other);
            }
            for operation in all {
                match operation {
                    Operation::Write([0x00, commands @ ..]) => chip.commands(commands),
                    Operation::Write([0x40, data @ ..]) => chip.data(data),
                    Operation::Write(_) | Operation::Read(_) => return Err(ErrorKind::Other),
                }
            }
            Ok(())
        }
    }

    fn bus(is_there: bool) -> Bus {
        let (columns, pages) = ((0, 127), (0, 7));
        let chip = Chip { memory: [[0xa5; 128]; 8], columns, pages, at: (0, 0), is_there };
        Bus(Rc::new(RefCell::new(chip)))
    }

    #[test]
    fn the_memory_of_an_oled_holds_just_what_was_drawn() {
        let bus = bus(true);
        let mut oled = Oled::start(bus.clone()).unwrap();
        let mut painter = Painter::new((128, 64), true);
        let idle = Idle::new(Language::Korean, TapRole::Entry, "새벽항".into(), None);
        let closed = Feedback::closed(Language::English);
        for scene in [Scene::Idle(Arc::new(idle)), Scene::Closed(Arc::new(closed))] {
            oled.show(&scene, "08:24").unwrap();
            let drawn = painter.paint(&scene, "08:24");
            let chip = bus.0.borrow();
            for (y, row) in drawn.rows().enumerate() {
                for (x, colour) in row.iter().enumerate() {
                    let lit = chip.memory[y / 8][x] >> (y % 8) & 1 == 1;
                    assert_eq!(lit, *colour == Rgb888::WHITE, "at {x}, {y}");
                }
            }
        }
    }

    #[test]
    fn an_oled_whose_cable_is_out_is_an_error_that_says_so() {
        let absent = Oled::start(bus(false)).err().unwrap().to_string();
        assert!(absent.starts_with("no OLED answers at 3C"), "{absent}");
        let bus = bus(true);
        let mut oled = Oled::start(bus.clone()).unwrap();
        bus.0.borrow_mut().is_there = false;
        let closed = Scene::Closed(Arc::new(Feedback::closed(Language::English)));
        assert!(oled.show(&closed, "08:24").is_err());
        let nowhere = Oled::open(Path::new("/nowhere/i2c-9")).err().unwrap().to_string();
        assert!(nowhere.starts_with("/nowhere/i2c-9: "), "{nowhere}");
    }
}
