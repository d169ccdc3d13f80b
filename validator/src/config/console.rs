//! `[console]` of the configuration file: where a driver's console may choose companions.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What a Unix socket's address can hold, with room for the name that it is made under.
const PATH_MAX: usize = 100;

/// `[console]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Console {
    /// The Unix socket of `docs/validator.md`, mode 0660; absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
}

impl Console {
    /// Why the path cannot be right.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let path = self.socket.as_deref()?;
        if !path.is_absolute() || path.file_name().is_none() {
            return Some("must be a full path, such as /run/tapline/console.sock");
        }
        let long = |path: &Path| path.as_os_str().len() > PATH_MAX;
        long(path).then_some("is too long for a socket: use at most 100 bytes")
    }
}
