// SPDX-License-Identifier: GPL-2.0-only

//! Reads and decompresses the trace of every CPU of a trace.dat, a thread each, and does nothing with it: the limit that
//! a reader of the file can come to. `cargo xtask bench` measures it beside the readers.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a program for measurements, not the library"
)]

use std::os::unix::fs::FileExt;
use std::thread;

use deferinit_ftrace::capture::Blocks;
use deferinit_ftrace::trace_dat::{Opening, Source, TraceFile};

struct Opened(std::fs::File);

impl Source for Opened {
    fn size(&self) -> u64 {
        self.0.metadata().map_or(0, |metadata| metadata.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read_at(into, offset)
    }
}

fn main() {
    let path = std::env::args().nth(1).expect("the path of a trace.dat");
    let source = Opened(std::fs::File::open(path).expect("it can be opened"));
    let file = TraceFile::open(&source, Opening::Strict).expect("it is a trace.dat");
    let bytes: usize = thread::scope(|scope| {
        let readers: Vec<_> = file
            .buffers()
            .iter()
            .flat_map(|buffer| buffer.cpus.iter().map(move |cpu| (buffer, cpu)))
            .map(|(buffer, cpu)| {
                let mut blocks = file.blocks(&source, buffer, cpu);
                scope.spawn(move || {
                    let (mut block, mut bytes) = (Vec::new(), 0);
                    while blocks.next_block(&mut block).expect("it is whole") {
                        bytes += block.len();
                    }
                    bytes
                })
            })
            .collect();
        readers
            .into_iter()
            .map(|reader| reader.join().expect("it does not panic"))
            .sum()
    });
    println!("{bytes} bytes of sub-buffers");
}
