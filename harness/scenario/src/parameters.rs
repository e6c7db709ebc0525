// SPDX-License-Identifier: GPL-2.0-only

//! Writes a workload as the module parameters of `test_deferred`.
//!
//! In: a validated [`Workload`]. Out: `name=value` pairs for `finit_module`, without blanks and quotes, because every
//! name in a workload is without them.
//! Source: the parameters of `module/test_deferred_main.rs`.

use crate::{
    Action, Arrangement, CallDelay, Defer, Nanos, OwnQueue, PlannedItem, Queue, Shape, Start,
    Uniform, Work, Workload,
};

type Parameters = Vec<(&'static str, String)>;

impl Workload {
    /// The parameters that make `test_deferred` do this: those that differ from the module's defaults, and always
    /// `items` and `mode`, or `plan`.
    #[must_use]
    pub fn module_parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = match &self.shape {
            Shape::Uniform(uniform) => uniform_parameters(uniform),
            Shape::Plan(_) => Vec::new(),
        };
        if self.start != Start::Load {
            parameters.push(("start", self.start.as_str().to_owned()));
        }
        if !self.queues.is_empty() {
            parameters.push(("queues", joined(&self.queues, ";", own_queue)));
        }
        if !self.delays.is_empty() {
            parameters.push(("delays", joined(&self.delays, ";", call_delay)));
        }
        if let Some(fault) = self.fault {
            parameters.push(("fault", fault.as_str().to_owned()));
        }
        if let Shape::Plan(items) = &self.shape {
            parameters.push(("plan", joined(items, ";", planned_item)));
        }
        parameters
    }
}

fn uniform_parameters(uniform: &Uniform) -> Parameters {
    let mut parameters = vec![
        ("items", uniform.items.to_string()),
        ("mode", uniform.each.mode.as_str().to_owned()),
    ];
    if uniform.arrangement != Arrangement::Parallel {
        parameters.push(("arrangement", uniform.arrangement.as_str().to_owned()));
    }
    if uniform.step != Nanos(0) {
        parameters.push(("step_ns", uniform.step.0.to_string()));
    }
    parameters.extend(work_parameters(&uniform.each));
    parameters
}

/// What differs from a default in how an item runs, but for its mode.
fn work_parameters(work: &Work) -> Parameters {
    let Work {
        mode: _,
        delay,
        body,
        queue,
        cpu,
        runs,
        defer,
        async_probe,
    } = work;
    let given = [
        (*delay != Nanos(0)).then(|| ("delay_ns", delay.0.to_string())),
        (!body.is_empty()).then(|| ("body", joined(body, "/", action))),
        (*queue != Queue::SystemPercpu).then(|| ("queue", queue.as_str().to_owned())),
        cpu.map(|cpu| ("cpu", cpu.to_string())),
        (*runs != 1).then(|| ("runs", runs.to_string())),
        match defer {
            Defer::Times(0) => None,
            Defer::Times(times) => Some(("defer", times.to_string())),
            Defer::Forever => Some(("defer", "forever".to_owned())),
        },
        async_probe.then(|| ("async_probe", "1".to_owned())),
    ];
    given.into_iter().flatten().collect()
}

fn planned_item(item: &PlannedItem) -> String {
    let mut keys = vec![("mode", item.work.mode.as_str().to_owned())];
    keys.extend(work_parameters(&item.work));
    if !item.after.is_empty() {
        keys.push(("after", item.after.join("+")));
    }
    if !item.suppliers.is_empty() {
        keys.push(("supplier", item.suppliers.join("+")));
    }
    if let Some(level) = item.level {
        keys.push(("level", level.as_str().to_owned()));
    }
    let keys = joined(&keys, ",", |(key, value)| format!("{key}={value}"));
    format!("{}:{keys}", item.name)
}

fn call_delay(delay: &CallDelay) -> String {
    let call = delay.call.unwrap_or(0);
    format!("{}:{call}:{}", delay.function, delay.delay.0)
}

fn own_queue(queue: &OwnQueue) -> String {
    let mut attributes: Vec<String> = queue
        .flags
        .iter()
        .map(|flag| flag.as_str().replace('-', "_"))
        .collect();
    if queue.max_active != 0 {
        attributes.push(format!("max_active={}", queue.max_active));
    }
    if let Some(scope) = queue.affinity_scope {
        attributes.push(format!("affinity={}", scope.as_str().replace('-', "_")));
    }
    if attributes.is_empty() {
        return queue.name.clone();
    }
    format!("{}:{}", queue.name, attributes.join(","))
}

fn action(action: &Action) -> String {
    let name = action.as_str();
    match action {
        Action::Wait | Action::Print | Action::Hang => name.to_owned(),
        Action::Spin(duration) | Action::Sleep(duration) => format!("{name}:{}", duration.0),
        Action::Alloc(size) => format!("{name}:{}", size.0),
        Action::Fail(error) => format!("{name}:{}", error.number()),
        Action::Lock(target)
        | Action::Complete(target)
        | Action::Cancel(target)
        | Action::Flush(target)
        | Action::Destroy(target) => format!("{name}:{target}"),
        Action::Modify { item, delay } => format!("{name}:{item}:{}", delay.0),
    }
}

fn joined<T>(parts: &[T], separator: &str, text: impl Fn(&T) -> String) -> String {
    let texts: Vec<String> = parts.iter().map(text).collect();
    texts.join(separator)
}
