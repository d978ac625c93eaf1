//! The five commands of the tour.

use ostler::Command;
use std::{fs, io, path::Path, time::Duration};

/// One of them.
pub(crate) struct Stop {
    /// What the tour calls it.
    pub(crate) name: &'static str,
    /// What there is to see.
    pub(crate) about: &'static str,
    pub(crate) command: Command,
}

/// Its place in [`stops`]: the one that is cancelled.
pub(crate) const CANCELLED: usize = 3;

/// The sources that are built; the second is for a machine without a Rust compiler.
const SOURCE: &str = "fn main() {\n    println!(\"Hello from a program made just now\");\n}\n";
const SCRIPT: &str = "#!/bin/sh\necho Hello from a script made just now\n";

const BUILD: &str = r#"echo "Compiling hello.rs"
rustc --edition 2021 -o hello hello.rs 2>rustc.log || {
    echo "No Rust compiler here, so a script has to do"
    cp hello.script hello && chmod +x hello
}
echo "Running ./hello"
./hello
"#;

const CHATTY: &str = r#"i=0
while [ $i -lt 1000 ]; do
    for _ in 1 2 3 4 5 6 7 8 9 10; do i=$((i + 1)); echo "request $i served"; done
    [ $((i % 200)) -eq 0 ] && echo "warning: request $i was slow" >&2
    sleep 0.04
done
"#;

const STUCK: &str = "echo 'Waiting for a lock nobody gives back'\nsleep 600\n";

const SERVER: &str = r#"trap 'echo "SIGTERM: finishing 3 requests"; sleep 0.4; echo "All finished, bye"; exit 0' TERM
echo "Ready for requests"
while :; do sleep 0.1; done
"#;

const WATCH: &str = "echo 'Watching for changes'\nwhile :; do sleep 1; done\n";

/// All of them, as scripts in `dir`, where they also run.
pub(crate) fn stops(dir: &Path) -> io::Result<Vec<Stop>> {
    fs::write(dir.join("hello.rs"), SOURCE)?;
    fs::write(dir.join("hello.script"), SCRIPT)?;
    let stop = |name: &'static str, script: &str, about| {
        let file = format!("{name}.sh");
        fs::write(dir.join(&file), script)?;
        let command = Command::new("sh").arg(file).current_dir(dir);
        Ok::<_, io::Error>(Stop { name, about, command })
    };
    let progress = |stop: Stop| {
        let command = stop.command.progress(Duration::from_millis(500)).progress_max(Duration::from_secs(1));
        Stop { command, ..stop }
    };
    let deadline = |stop: Stop| Stop { command: stop.command.timeout(Duration::from_millis(1_500)), ..stop };
    Ok(vec![
        stop("build", BUILD, "builds a program and runs it")?,
        progress(stop("chatty", CHATTY, "writes a thousand lines")?),
        deadline(stop("stuck", STUCK, "hangs, and has a deadline of 1.5 s")?),
        stop("server", SERVER, "is cancelled after 2 s, and cleans up in its TERM trap")?,
        progress(stop("watch", WATCH, "is left running to the session's end")?),
    ])
}
