//! A pseudo-terminal under a path of the caller's choice: the far end of a line, for simulators
//! and tests. Dropping it unplugs the line.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{OptionalActions, tcgetattr, tcsetattr},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe::{Receiver, Sender},
};

/// See the module's documentation.
#[derive(Debug)]
pub struct Terminal {
    path: PathBuf,
    /// The terminal's other end: kept open, or reading would fail between two hosts.
    _slave: OwnedFd,
    to_host: Sender,
    from_host: Receiver,
}

impl Terminal {
    /// Makes one and publishes it as a symbolic link. Call within a tokio runtime.
    pub fn plug(path: &Path) -> io::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
        let mut settings = tcgetattr(&slave)?;
        settings.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &settings)?;
        let flags = rustix::fs::fcntl_getfl(&master)?;
        rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK)?;
        let fresh = path.with_extension("new");
        let _ = fs::remove_file(&fresh);
        std::os::unix::fs::symlink(name.to_string_lossy().as_ref(), &fresh)?;
        fs::rename(&fresh, path)?;
        // The runtime knows pipes, not terminals; all it does with one is read, write and poll.
        let to_host = Sender::from_owned_fd_unchecked(master.try_clone()?)?;
        let from_host = Receiver::from_owned_fd_unchecked(master)?;
        Ok(Self { path: path.to_path_buf(), _slave: slave, to_host, from_host })
    }

    /// Says something to the host.
    pub async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to_host.write_all(bytes).await
    }

    /// What the host says, at least one byte.
    pub async fn hear(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = [0; 256];
        let count = self.from_host.read(&mut bytes).await?;
        Ok(bytes[..count].to_vec())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
