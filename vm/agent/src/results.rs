// SPDX-License-Identifier: GPL-2.0-only

//! Where results go: frames out; in, at most the word to stop.
//!
//! It is shared by the threads that send, a frame at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use deferinit_protocol::{FileKind, Message, RESULT_PORT, frame};

use crate::guest::read_line;

/// The open port, or another way to the receiver.
#[derive(Clone)]
pub(crate) struct Results {
    out: Arc<Mutex<Box<dyn Write + Send>>>,
}

impl Results {
    /// Results that go there.
    pub(crate) fn new(out: impl Write + Send + 'static) -> Self {
        Self {
            out: Arc::new(Mutex::new(Box::new(out))),
        }
    }

    /// Finds the port by its name and opens it; the file is for what comes in.
    pub(crate) fn open() -> Result<(Self, File)> {
        let port = open_port(&find_port(RESULT_PORT)?)?;
        let incoming = port
            .try_clone()
            .context("cannot open the result port twice")?;
        Ok((Self::new(port), incoming))
    }

    /// Sends a message without a payload.
    pub(crate) fn send(&mut self, message: &Message) -> Result<()> {
        self.write_frame(message, &[])
    }

    /// Sends a file's content.
    pub(crate) fn send_bytes(&mut self, file: FileKind, content: &[u8]) -> Result<()> {
        self.write_frame(&Message::File { file }, content)
    }

    /// Sends sub-buffers of a trace that is streamed.
    pub(crate) fn send_sub_buffers(&mut self, cpu: u32, sub_buffers: &[u8]) -> Result<()> {
        self.write_frame(&Message::SubBuffers { cpu }, sub_buffers)
    }

    /// Sends a file of the guest.
    pub(crate) fn send_file(&mut self, file: FileKind, path: &str) -> Result<()> {
        let content = read_file(path).with_context(|| format!("cannot read {path}"))?;
        self.send_bytes(file, &content)
    }

    fn write_frame(&mut self, message: &Message, payload: &[u8]) -> Result<()> {
        let mut header = Vec::new();
        frame::encode_header(message, payload.len() as u64, &mut header)
            .with_context(|| format!("cannot encode {message:?}"))?;
        // A thread that died while it held this has left half a frame, which the receiver sees.
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(&header)
            .and_then(|()| out.write_all(payload))
            .and_then(|()| out.flush())
            .context("cannot send the results")
    }
}

/// Reads a file of the kernel, in large pieces: some of them, as `events/header_page`, give all they
/// have to the first read and nothing to a second one.
pub(crate) fn read_file(path: &str) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut content = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            return Ok(content);
        }
        content.extend(piece.iter().take(length));
    }
}

/// Opens a port.
pub(crate) fn open_port(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

/// The device of the virtio-serial port with this name.
pub(crate) fn find_port(wanted: &str) -> Result<PathBuf> {
    let class = "/sys/class/virtio-ports";
    let entries = fs::read_dir(class).with_context(|| format!("cannot list {class}"))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {class}"))?;
        if read_line(entry.path().join("name")).is_ok_and(|name| name == wanted) {
            return Ok(PathBuf::from("/dev").join(entry.file_name()));
        }
    }
    bail!("no virtio-serial port is named {wanted}")
}
