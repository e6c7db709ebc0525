// SPDX-License-Identifier: GPL-2.0-only

//! What the receiver of a streamed trace has to say: to stop, and that it has everything.
//!
//! In: single bytes. Where nothing is streamed, nobody listens, and nobody speaks.

use std::io::Read;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use deferinit_protocol::{RECEIVED, STOP};

/// How long the receiver may take to take what is on its way.
const PATIENCE: Duration = Duration::from_secs(60);

/// The receiver, as far as it speaks.
pub(crate) struct Host {
    incoming: Option<Box<dyn Read + Send>>,
    received: Option<Receiver<()>>,
}

impl Host {
    /// One that speaks here.
    pub(crate) fn new(incoming: impl Read + Send + 'static) -> Self {
        Self {
            incoming: Some(Box::new(incoming)),
            received: None,
        }
    }

    /// Listens from now on, in a thread that calls `stop` when it is told to.
    pub(crate) fn listen(&mut self, stop: impl Fn() + Send + 'static) -> Result<()> {
        let mut incoming = self.incoming.take().context("somebody listens already")?;
        let (tell, received) = channel();
        thread::Builder::new()
            .name("listen".to_owned())
            .spawn(move || {
                let mut word = [0];
                // One that is gone says nothing more.
                while incoming.read_exact(&mut word).is_ok() {
                    match word {
                        [STOP] => stop(),
                        [RECEIVED] if tell.send(()).is_ok() => {}
                        _ => return,
                    }
                }
            })
            .context("cannot start the thread that listens to the receiver")?;
        self.received = Some(received);
        Ok(())
    }

    /// Waits until everything was received. Whether it was; no, if nobody listens.
    pub(crate) fn wait(&self) -> bool {
        self.received
            .as_ref()
            .is_some_and(|received| received.recv_timeout(PATIENCE).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn words_are_heard_in_their_order() {
        for (words, stops, is_received) in [
            (&[STOP, RECEIVED][..], 1, true),
            (&[RECEIVED], 0, true),
            (&[STOP], 1, false),
            (&[STOP, b'?', RECEIVED], 1, false),
            (&[], 0, false),
        ] {
            let mut host = Host::new(words);
            let (stop, stopped) = channel();
            host.listen(move || stop.send(()).expect("it is there"))
                .expect("a thread");
            assert_eq!(host.wait(), is_received, "{words:?}");
            assert_eq!(stopped.iter().count(), stops, "{words:?}");
        }
        assert!(!Host::new(&[RECEIVED][..]).wait());
    }
}
