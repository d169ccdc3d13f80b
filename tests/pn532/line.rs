//! The pseudo-terminal that the chip sits behind, under a path of the caller's choice.
//!
//! One end of the terminal is kept open here, or its other end would fail between two hosts. The
//! mark of exclusive use is wiped whenever a host speaks: a host that was killed leaves it behind,
//! which a real port would forget.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reader::Picc;
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{OptionalActions, ioctl_tiocnxcl, tcgetattr, tcsetattr},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe::{Receiver, Sender},
    task::JoinHandle,
    time::sleep,
};

use super::{Chip, Fault, chip::Reaction};

/// Between two bytes of a line that is split: longer than a byte at 9600 baud takes.
const SPLIT_PAUSE: Duration = Duration::from_millis(1);

/// A chip on a terminal.
pub struct Emulator {
    path: PathBuf,
    chip: Arc<Mutex<Chip>>,
    line: Option<JoinHandle<io::Result<()>>>,
}

impl Emulator {
    /// Makes a terminal and publishes it as a symbolic link under `path`, where nothing may be but
    /// the link of a program that has ended.
    pub fn start(path: &Path) -> io::Result<Self> {
        // A link to nothing is what a killed emulator leaves.
        if path.exists() || path.symlink_metadata().is_ok_and(|there| !there.is_symlink()) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut emulator = Self { path: path.to_path_buf(), chip: Arc::default(), line: None };
        emulator.plug()?;
        Ok(emulator)
    }

    /// The chip and its field.
    pub fn chip(&self) -> MutexGuard<'_, Chip> {
        self.chip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a medium into the field.
    pub fn place(&self, medium: impl Picc + 'static) {
        self.chip().place(medium);
    }

    /// Makes something go wrong.
    pub fn fault(&self, fault: Fault) {
        self.chip().fault(fault);
    }

    /// Where the host finds the reader.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the line is there.
    pub fn is_plugged(&self) -> bool {
        self.line.as_ref().is_some_and(|line| !line.is_finished())
    }

    /// Takes the line away, and the chip's power with it.
    pub async fn unplug(&mut self) {
        if let Some(line) = self.line.take() {
            line.abort();
            // Only its end matters: its descriptors are closed then.
            let _ = line.await;
        }
        let _ = fs::remove_file(&self.path);
        self.chip().power_cycle();
    }

    /// Brings the line back under the same path. Call within a tokio runtime.
    pub fn plug(&mut self) -> io::Result<()> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave = rustix::fs::open(
            name.as_c_str(),
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut settings = tcgetattr(&slave)?;
        settings.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &settings)?;
        let flags = rustix::fs::fcntl_getfl(&master)?;
        rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK)?;

        let fresh = self.path.with_extension("new");
        let _ = fs::remove_file(&fresh);
        std::os::unix::fs::symlink(name.to_string_lossy().as_ref(), &fresh)?;
        fs::rename(&fresh, &self.path)?;
        self.chip().power_cycle();
        // The runtime knows pipes, not terminals; all it does with one is read, write and poll.
        let to_host = Sender::from_owned_fd_unchecked(master.try_clone()?)?;
        let from_host = Receiver::from_owned_fd_unchecked(master)?;
        let line = Line { slave, chip: Arc::clone(&self.chip) };
        let path = self.path.clone();
        self.line = Some(tokio::spawn(async move {
            let ended = line.serve(from_host, to_host).await;
            let _ = fs::remove_file(path);
            ended
        }));
        Ok(())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.abort();
        }
        let _ = fs::remove_file(&self.path);
    }
}

struct Line {
    slave: OwnedFd,
    chip: Arc<Mutex<Chip>>,
}

impl Line {
    /// Serves hosts until the line is unplugged.
    async fn serve(self, mut from_host: Receiver, mut to_host: Sender) -> io::Result<()> {
        let mut bytes = read(&mut from_host).await?;
        loop {
            let reaction = self.react(&bytes)?;
            // A host that speaks again does not want the answer to what it said before.
            bytes = tokio::select! {
                biased;
                more = read(&mut from_host) => more?,
                done = self.say(&reaction, &mut to_host) => {
                    done?;
                    if reaction.unplug {
                        self.chip().power_cycle();
                        return Ok(());
                    }
                    read(&mut from_host).await?
                }
            };
        }
    }

    fn react(&self, bytes: &[u8]) -> io::Result<Reaction> {
        ioctl_tiocnxcl(&self.slave)?;
        let host_baud = tcgetattr(&self.slave)?.output_speed();
        Ok(self.chip().handle(bytes, host_baud))
    }

    fn chip(&self) -> MutexGuard<'_, Chip> {
        self.chip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn say(&self, reaction: &Reaction, to_host: &mut Sender) -> io::Result<()> {
        let split = self.chip().is_split();
        for (index, frame) in reaction.frames.iter().enumerate() {
            if index > 0 && reaction.unplug {
                break;
            }
            if index > 0 && !reaction.delay.is_zero() {
                sleep(reaction.delay).await;
            }
            for piece in frame.chunks(if split { 1 } else { frame.len() }) {
                to_host.write_all(piece).await?;
                if split {
                    sleep(SPLIT_PAUSE).await;
                }
            }
        }
        Ok(())
    }
}

async fn read(from_host: &mut Receiver) -> io::Result<Vec<u8>> {
    let mut bytes = [0; 600];
    let read = from_host.read(&mut bytes).await?;
    Ok(bytes[..read].to_vec())
}
