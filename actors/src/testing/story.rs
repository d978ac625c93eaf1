//! What happened in a world, for a person and for a snapshot.

use super::World;
use crate::{config::TraceTo, graph::trace::narrate};
use std::{fmt::Write, time::Duration};

impl World {
    /// What has happened so far, in words, message by message, as [`narrate`] tells it: for a snapshot, or for whoever wonders. Of a host that
    /// has crashed and came back, one life after the other, each below a line `life 2`.
    ///
    /// It is the same on every run, to the byte, for what one thread or one task does, one after the other or several at once (`join!`, `select!`), calls
    /// that are dropped included. What may differ is what the
    /// time outside decides: threads beside each other or a timer of tokio's. [`Ostler::sleep`](crate::Ostler::sleep) is a timer of the world's.
    ///
    /// Of a life whose [`Config::trace`](crate::Config) goes to a file, it says only to which. It holds 64 MiB of each life, then it says what is missing.
    ///
    /// ```
    /// # use ostler::{Command, Config, Ostler, testing::{Program, World}}; use std::time::Duration;
    /// let world = World::new();
    /// world.program("true", Program::new().exits_at(Duration::from_millis(3), 0));
    /// let ostler = Ostler::scripted(Config::new(), &world)?;
    /// let session = ostler.open_session_as("chat").wait()?;
    /// session.launch(Command::new("true")).wait()?.result().wait()?;
    /// assert!(world.story().contains("3 ms  kernel → process/1: Exited exit 0"));      // or insta::assert_snapshot!(world.story())
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn story(&self) -> String {
        // An answer leaves the graph while the last messages of its cascade may still be on their way.
        self.advance(Duration::ZERO);
        let mut story = String::new();
        for (number, to) in (1..).zip(self.traces()) {
            // Writing into a String does not fail.
            if number > 1 {
                let _ = writeln!(story, "life {number}");
            }
            match to {
                TraceTo::Memory(log) => story.push_str(&narrate(&log.text())),
                TraceTo::File(path) => drop(writeln!(story, "(its trace is in {})", path.display())),
                TraceTo::Off => {}
            }
        }
        story
    }
}
