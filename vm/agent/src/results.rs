// SPDX-License-Identifier: GPL-2.0-only

//! The result port: frames out, nothing in.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use deferinit_protocol::{FileKind, Message, RESULT_PORT, frame};

use crate::guest::read_line;

/// The open port.
pub(crate) struct Results {
    port: File,
}

impl Results {
    /// Finds the port by its name and opens it.
    pub(crate) fn open() -> Result<Self> {
        let path = find_port()?;
        let port = OpenOptions::new()
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { port })
    }

    /// Sends a message without a payload.
    pub(crate) fn send(&mut self, message: &Message) -> Result<()> {
        self.write_frame(message, &[])
    }

    /// Sends a file's content.
    pub(crate) fn send_bytes(&mut self, file: FileKind, content: &[u8]) -> Result<()> {
        self.write_frame(&Message::File { file }, content)
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
        self.port
            .write_all(&header)
            .and_then(|()| self.port.write_all(payload))
            .context("cannot write to the result port")
    }
}

/// Reads a file of the kernel, in large pieces: some of them, as `events/header_page`, give all they
/// have to the first read and nothing to a second one.
fn read_file(path: &str) -> io::Result<Vec<u8>> {
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

fn find_port() -> Result<PathBuf> {
    let class = "/sys/class/virtio-ports";
    let entries = fs::read_dir(class).with_context(|| format!("cannot list {class}"))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {class}"))?;
        if read_line(entry.path().join("name")).is_ok_and(|name| name == RESULT_PORT) {
            return Ok(PathBuf::from("/dev").join(entry.file_name()));
        }
    }
    bail!("no virtio-serial port is named {RESULT_PORT}")
}
