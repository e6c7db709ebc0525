// SPDX-License-Identifier: GPL-2.0-only

//! What an event of the module makes of its item, and which events cannot follow each other.
//!
//! In: the fields of one event of the system `test_deferred`. Out: an [`Item`] with that event in it.
//! What contradicts the item's life so far is a message that continues "item 3 of phase main ".
//! Source: `module/item_events.h`. An item is armed, queued once for each attempt where it has a queue, and started;
//! after each start it is retried or ended. It can be cancelled whenever it is not running, and ends without a start if
//! its queue is gone. The order of armed, queued and the others is not checked: they may be recorded on several CPUs.

use deferinit_ftrace::format::FieldError;
use deferinit_ftrace::record::FieldAccess;

use crate::{Armed, Attempt, AttemptEnd, Item, Moment, Queued, Returned};

/// What an item is retried for: a deferred probe, and a work or timer that runs again.
const RETRY_ERRORS: [i64; 2] = [EPROBE_DEFER, EAGAIN];

// `include/linux/errno.h` and `include/uapi/asm-generic/errno*.h`, Linux 7.3.
const EAGAIN: i64 = -11;
const ESHUTDOWN: i64 = -108;
const EPROBE_DEFER: i64 = -517;

/// The largest error number: `MAX_ERRNO`, `include/linux/err.h`, Linux 7.3.
const MAX_ERRNO: i64 = 4095;

/// One event of an item, with the fields that only this event has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Occurrence {
    Armed { delay_ns: u64, delay_jiffies: u64 },
    Queued { expires: u64 },
    Started,
    Retried { attempt: u64, error: i64 },
    Ended { error: i64 },
    Cancelled,
}

impl Occurrence {
    /// Reads an event's own fields; none if the module has no such event.
    pub(crate) fn read(fields: &FieldAccess<'_>) -> Result<Option<Self>, FieldError> {
        Ok(Some(match fields.name() {
            "deferred_item_armed" => Self::Armed {
                delay_ns: fields.unsigned("delay_ns")?,
                delay_jiffies: fields.unsigned("delay_jiffies")?,
            },
            "deferred_item_queued" => Self::Queued {
                expires: fields.unsigned("expires")?,
            },
            "deferred_item_started" => Self::Started,
            "deferred_item_retried" => Self::Retried {
                attempt: fields.unsigned("attempt")?,
                error: fields.signed("error")?,
            },
            "deferred_item_ended" => Self::Ended {
                error: fields.signed("error")?,
            },
            "deferred_item_cancelled" => Self::Cancelled,
            _ => return Ok(None),
        }))
    }
}

/// Whether an error is 0 or a negative errno.
pub(crate) fn is_status(error: i64) -> bool {
    (-MAX_ERRNO..=0).contains(&error)
}

impl Item {
    /// An item without any event.
    pub(crate) fn new(id: u32) -> Self {
        Self {
            id,
            level: None,
            armed: None,
            queued: None,
            attempts: Vec::new(),
            started: None,
            ended: None,
            cancelled: None,
        }
    }

    /// Takes the next event, unless there is no place for it.
    pub(crate) fn take(&mut self, occurrence: Occurrence, moment: Moment) -> Result<(), String> {
        match occurrence {
            Occurrence::Armed {
                delay_ns,
                delay_jiffies,
            } => self.arm(Armed {
                moment,
                delay_ns,
                delay_jiffies,
            }),
            // A queue gets an item once for each attempt, and once more if its delay is modified while it starts.
            Occurrence::Queued { expires } => {
                self.queued.get_or_insert(Queued { moment, expires });
                Ok(())
            }
            Occurrence::Started => self.start(moment),
            Occurrence::Retried { attempt, error } => self.retry(
                attempt,
                Returned {
                    moment,
                    status: error,
                },
            ),
            Occurrence::Ended { error } => self.end(Returned {
                moment,
                status: error,
            }),
            Occurrence::Cancelled => self.cancel(moment),
        }
    }

    /// What is missing in the item's life now that it is over.
    pub(crate) fn omission(&self) -> Option<(Moment, &'static str)> {
        let ran = self.started.or(self.ended.map(|ended| ended.moment));
        // One that was not yet armed can be cancelled by another item.
        ran.filter(|_| self.armed.is_none())
            .map(|moment| (moment, "ran but was never armed"))
    }

    fn running(&mut self) -> Option<&mut Attempt> {
        self.attempts
            .last_mut()
            .filter(|attempt| attempt.end.is_none())
    }

    fn arm(&mut self, armed: Armed) -> Result<(), String> {
        if self.armed.is_some() {
            return Err("is armed a second time".to_owned());
        }
        self.armed = Some(armed);
        Ok(())
    }

    fn start(&mut self, moment: Moment) -> Result<(), String> {
        if self.ended.is_some() {
            return Err("is started after it ended".to_owned());
        }
        if self.cancelled.is_some() {
            return Err("is started after it was cancelled".to_owned());
        }
        let number = self.attempts.len();
        let last_end = match self.attempts.last().copied() {
            None => None,
            Some(Attempt { end: None, .. }) => {
                return Err(format!("is started again while attempt {number} runs"));
            }
            Some(Attempt { end: Some(end), .. }) => Some(end.returned().moment),
        };
        self.attempts.push(Attempt {
            started: moment,
            end: None,
        });
        self.started.get_or_insert(moment);
        if last_end.is_some_and(|end| moment.at < end.at) {
            return Err(format!("is started again before attempt {number} was over"));
        }
        Ok(())
    }

    fn retry(&mut self, attempt: u64, returned: Returned) -> Result<(), String> {
        let number = u64::try_from(self.attempts.len()).unwrap_or(u64::MAX);
        let Some(running) = self.running() else {
            return Err("is retried but does not run".to_owned());
        };
        running.end = Some(AttemptEnd::Retried(returned));
        let status = returned.status;
        if returned.moment.at < running.started.at {
            Err("is retried before it started".to_owned())
        } else if attempt != number {
            Err(format!(
                "is retried after attempt {attempt}, but this is attempt {number}"
            ))
        } else if !RETRY_ERRORS.contains(&status) {
            Err(format!(
                "is retried with error {status}, but only {EPROBE_DEFER} and {EAGAIN} make it so"
            ))
        } else {
            Ok(())
        }
    }

    fn end(&mut self, returned: Returned) -> Result<(), String> {
        if self.ended.is_some() {
            return Err("ended a second time".to_owned());
        }
        if self.cancelled.is_some() {
            return Err("ended after it was cancelled".to_owned());
        }
        self.ended = Some(returned);
        let was_started = !self.attempts.is_empty();
        if !is_status(returned.status) {
            return Err(format!("ended with {}, which is no errno", returned.status));
        }
        match self.running() {
            Some(running) => {
                running.end = Some(AttemptEnd::Ended(returned));
                if returned.moment.at < running.started.at {
                    return Err("ended before it started".to_owned());
                }
                Ok(())
            }
            None if returned.status == ESHUTDOWN => Ok(()),
            None if was_started => Err("ended but was not started again".to_owned()),
            None => Err("ended but never started".to_owned()),
        }
    }

    fn cancel(&mut self, moment: Moment) -> Result<(), String> {
        if self.cancelled.is_some() {
            return Err("was cancelled a second time".to_owned());
        }
        if self.ended.is_some() {
            return Err("was cancelled after it ended".to_owned());
        }
        self.cancelled = Some(moment);
        if self.running().is_some() {
            return Err("was cancelled as pending but runs".to_owned());
        }
        Ok(())
    }
}
