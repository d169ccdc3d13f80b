//! Colour displays on SPI, by the crate mipidsi.

use embedded_graphics::pixelcolor::{Rgb565, Rgb888};
use embedded_hal::{digital::OutputPin, spi::SpiDevice};
use linux_embedded_hal::{
    Delay, SpidevDevice,
    spidev::{SpiModeFlags, SpidevOptions},
};
use mipidsi::{
    Builder, Display as Chip,
    interface::{Interface, InterfaceKind},
    models::{ILI9341Rgb565, Model, ST7789},
    options::{Orientation, Rotation},
};

use crate::{
    draw::Painter,
    gpio::OutputLine,
    panel::{Display, DriverError},
    settings::{DisplayKind, DisplaySettings},
    stage::Scene,
};

/// What both kinds can be driven at.
const SPEED_HZ: u32 = 32_000_000;
/// The kernel takes no longer transfer unless it is told to.
const TRANSFER_MAX: usize = 4_096;

/// A bus with a line that tells data from commands.
pub(crate) struct Bus<S, P> {
    spi: S,
    dc: P,
    buffer: Vec<u8>,
}

impl<S: SpiDevice, P: OutputPin> Bus<S, P> {
    fn write(&mut self, is_data: bool, bytes: &[u8]) -> Result<(), DriverError> {
        let set = if is_data { self.dc.set_high() } else { self.dc.set_low() };
        set.map_err(|e| DriverError(format!("the line dc: {e:?}")))?;
        for part in bytes.chunks(TRANSFER_MAX) {
            self.spi.write(part).map_err(|e| DriverError(format!("the SPI bus: {e:?}")))?;
        }
        Ok(())
    }
}

impl<S: SpiDevice, P: OutputPin> Interface for Bus<S, P> {
    type Word = u8;
    type Error = DriverError;
    const KIND: InterfaceKind = InterfaceKind::Serial4Line;

    fn send_command(&mut self, command: u8, arguments: &[u8]) -> Result<(), DriverError> {
        self.write(false, &[command])?;
        self.write(true, arguments)
    }

    fn send_pixels<const N: usize>(
        &mut self,
        pixels: impl IntoIterator<Item = [u8; N]>,
    ) -> Result<(), DriverError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.extend(pixels.into_iter().flatten());
        let done = self.write(true, &buffer);
        self.buffer = buffer;
        done
    }

    fn send_repeated_pixel<const N: usize>(
        &mut self,
        pixel: [u8; N],
        count: u32,
    ) -> Result<(), DriverError> {
        self.send_pixels((0..count).map(|_| pixel))
    }
}

/// See the module's documentation.
pub(crate) struct Tft<S: SpiDevice, P: OutputPin, M, R: OutputPin>
where
    M: Model<ColorFormat = Rgb565>,
{
    chip: Chip<Bus<S, P>, M, R>,
    painter: Painter,
    size: (u16, u16),
}

/// The display of a configuration, which has been checked.
pub(crate) fn open(settings: &DisplaySettings) -> Result<Box<dyn Display>, DriverError> {
    let device = &settings.device;
    let what = |e: &dyn std::fmt::Display| DriverError::new(device.display(), e);
    let mut spi = SpidevDevice::open(device).map_err(|e| what(&e))?;
    let mut options = SpidevOptions::new();
    options.bits_per_word(8).max_speed_hz(SPEED_HZ).mode(SpiModeFlags::SPI_MODE_0);
    spi.0.configure(&options).map_err(|e| what(&e))?;
    let missing = || DriverError("a display on SPI needs chip, dc and reset".into());
    let chip = settings.chip.as_deref().ok_or_else(missing)?;
    let line = |offset: Option<u32>| OutputLine::open(chip, offset.ok_or_else(missing)?);
    let (dc, reset) = (line(settings.dc)?, line(settings.reset)?);
    let pixels = |side: Option<u32>, usual| {
        side.map_or(usual, |side| u16::try_from(side).unwrap_or(u16::MAX))
    };
    let size = (pixels(settings.width, 320), pixels(settings.height, 240));
    let bus = Bus { spi, dc, buffer: Vec::new() };
    Ok(match settings.kind {
        DisplayKind::Ili9341 => Box::new(Tft::start(ILI9341Rgb565, bus, reset, size, &mut Delay)?),
        DisplayKind::St7789 | DisplayKind::Framebuffer | DisplayKind::Ssd1306 => {
            Box::new(Tft::start(ST7789, bus, reset, size, &mut Delay)?)
        }
    })
}

impl<S: SpiDevice, P: OutputPin, M: Model<ColorFormat = Rgb565>, R: OutputPin> Tft<S, P, M, R> {
    /// The chips stand upright: what is wider than high is turned.
    fn start(
        model: M,
        bus: Bus<S, P>,
        reset: R,
        size: (u16, u16),
        delay: &mut impl embedded_hal::delay::DelayNs,
    ) -> Result<Self, DriverError> {
        let is_wide = size.0 > size.1;
        let (upright, rotation) =
            if is_wide { ((size.1, size.0), Rotation::Deg90) } else { (size, Rotation::Deg0) };
        let chip = Builder::new(model, bus)
            .display_size(upright.0, upright.1)
            .orientation(Orientation::new().rotate(rotation))
            .reset_pin(reset)
            .init(delay)
            .map_err(|e| DriverError(format!("the display cannot be set up: {e:?}")))?;
        let painter = Painter::new((size.0.into(), size.1.into()), false);
        Ok(Self { chip, painter, size })
    }
}

impl<S: SpiDevice, P: OutputPin, M: Model<ColorFormat = Rgb565>, R: OutputPin> Display
    for Tft<S, P, M, R>
{
    fn show(&mut self, scene: &Scene, clock: &str) -> Result<(), DriverError> {
        let pixels: Vec<Rgb888> = self.painter.paint(scene, clock).pixels().to_vec();
        let (right, bottom) = (self.size.0 - 1, self.size.1 - 1);
        self.chip.set_pixels(0, 0, right, bottom, pixels.into_iter().map(Rgb565::from))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, convert::Infallible, rc::Rc, sync::Arc};

    use embedded_graphics::pixelcolor::IntoStorage;
    use embedded_hal::{
        delay::DelayNs,
        digital::ErrorType as PinError,
        spi::{ErrorKind, ErrorType, Operation},
    };
    use model::TapRole;
    use texts::Language;

    use super::*;
    use crate::{Feedback, Idle};

    /// A display's memory behind the commands that set a window and write to it.
    #[derive(Default)]
    struct Glass {
        is_data: bool,
        command: u8,
        arguments: Vec<u8>,
        window: [u16; 4],
        written: Vec<u16>,
        half: Option<u8>,
        is_out: bool,
        resets: Vec<bool>,
    }

    impl Glass {
        fn take(&mut self, byte: u8) {
            if !self.is_data {
                (self.command, self.half) = (byte, None);
                self.arguments.clear();
                return;
            }
            self.arguments.push(byte);
            let pair = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
            match (self.command, self.arguments.len()) {
                (0x2a, 4) => {
                    self.window[0] = pair(&self.arguments[..2]);
                    self.window[1] = pair(&self.arguments[2..]);
                }
                (0x2b, 4) => {
                    self.window[2] = pair(&self.arguments[..2]);
                    self.window[3] = pair(&self.arguments[2..]);
                }
                (0x2c, n) => {
                    if n == 1 {
                        self.written.clear();
                    }
                    match self.half.take() {
                        Some(high) => self.written.push(u16::from_be_bytes([high, byte])),
                        None => self.half = Some(byte),
                    }
                }
                _ => {}
            }
        }
    }

    #[derive(Clone)]
    struct Wire(Rc<RefCell<Glass>>);
    struct Dc(Wire);
    struct Reset(Wire);
    struct NoTime;

    impl ErrorType for Wire {
        type Error = ErrorKind;
    }

    impl SpiDevice for Wire {
        fn transaction(&mut self, all: &mut [Operation<'_, u8>]) -> Result<(), ErrorKind> {
            let mut glass = self.0.borrow_mut();
            if glass.is_out {
                return Err(ErrorKind::Other);
            }
            for operation in all {
                let Operation::Write(bytes) = operation else { return Err(ErrorKind::Other) };
                assert!(bytes.len() <= TRANSFER_MAX, "the kernel would refuse it");
                for byte in *bytes {
                    glass.take(*byte);
                }
            }
            Ok(())
        }
    }

    impl PinError for Dc {
        type Error = Infallible;
    }

    impl OutputPin for Dc {
        fn set_low(&mut self) -> Result<(), Infallible> {
            self.0.0.borrow_mut().is_data = false;
            Ok(())
        }
        fn set_high(&mut self) -> Result<(), Infallible> {
            self.0.0.borrow_mut().is_data = true;
            Ok(())
        }
    }

    impl PinError for Reset {
        type Error = Infallible;
    }

    impl OutputPin for Reset {
        fn set_low(&mut self) -> Result<(), Infallible> {
            self.0.0.borrow_mut().resets.push(false);
            Ok(())
        }
        fn set_high(&mut self) -> Result<(), Infallible> {
            self.0.0.borrow_mut().resets.push(true);
            Ok(())
        }
    }

    impl DelayNs for NoTime {
        fn delay_ns(&mut self, _: u32) {}
    }

    fn check<M: Model<ColorFormat = Rgb565>>(model: M, size: (u16, u16)) {
        let wire = Wire(Rc::default());
        let bus = Bus { spi: wire.clone(), dc: Dc(wire.clone()), buffer: Vec::new() };
        let reset = Reset(wire.clone());
        let mut tft = Tft::start(model, bus, reset, size, &mut NoTime).unwrap();
        assert_eq!(wire.0.borrow().resets, [false, true], "started anew");
        let mut painter = Painter::new((size.0.into(), size.1.into()), false);
        let idle = Idle::new(Language::Korean, TapRole::Entry, "새벽항".into(), None);
        let closed = Feedback::closed(Language::English);
        let scenes = [Scene::Idle(Arc::new(idle)), Scene::Closed(Arc::new(closed))];
        for scene in &scenes {
            tft.show(scene, "08:24").unwrap();
            let drawn = painter.paint(scene, "08:24");
            let drawn: Vec<u16> =
                drawn.pixels().iter().map(|c| Rgb565::from(*c).into_storage()).collect();
            let glass = wire.0.borrow();
            assert_eq!(glass.window, [0, size.0 - 1, 0, size.1 - 1]);
            assert!(glass.written == drawn, "{size:?}: not what was drawn");
        }
        wire.0.borrow_mut().is_out = true;
        let error = tft.show(&scenes[0], "08:24").unwrap_err().to_string();
        assert_eq!(error, "the SPI bus: Other");
    }

    #[test]
    fn the_glass_of_a_display_on_spi_shows_just_what_was_drawn_wide_or_upright() {
        check(ST7789, (320, 240));
        check(ILI9341Rgb565, (320, 240));
        check(ST7789, (240, 320));
    }

    #[test]
    fn a_bus_that_is_not_there_is_named() {
        let settings = DisplaySettings {
            kind: DisplayKind::St7789,
            device: "/nowhere/spidev9.0".into(),
            width: Some(320),
            height: Some(240),
            chip: Some("/dev/gpiochip0".into()),
            dc: Some(25),
            reset: Some(24),
        };
        let error = open(&settings).err().unwrap().to_string();
        assert!(error.starts_with("/nowhere/spidev9.0: "), "{error}");
    }
}
