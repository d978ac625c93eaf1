//! What the example hosts share: where they run, on real processes or, with `--scripted`, in a world in which the same programs are scripted.

use ostler::{
    Config, Ostler,
    testing::{Program, Reaction, World},
};
use std::time::Duration;

const SCRIPTS: [(&str, &str); 3] = [
    ("build", "echo compiling; sleep 0.1; echo 'warning: unused variable'; echo done"),
    (
        "server",
        "exec python3 -u -c 'import socket; s = socket.create_server((\"127.0.0.1\", 0)); print(\"ready\"); s.accept()'",
    ),
    ("setup", "printf 'Continue? [y/N] '; read answer; echo you said $answer"),
];

/// The command of a name: its script under `sh`, or its name in a scripted world.
pub(crate) fn command(name: &str) -> ostler::Command {
    match scripted() {
        true => ostler::Command::new(name),
        false => {
            let script = SCRIPTS.iter().find(|(of, _)| *of == name).map_or("", |(_, script)| script);
            ostler::Command::new("sh").args(["-c", script])
        }
    }
}

fn scripted() -> bool {
    std::env::args().any(|argument| argument == "--scripted")
}

/// A graph on real processes, or in the scripted world.
pub(crate) fn start() -> Result<Ostler, ostler::StartError> {
    let ms = Duration::from_millis;
    if !scripted() {
        return Ostler::start(Config::new());
    }
    let world = World::new();
    let build =
        Program::new().stdout_at(ms(0), "compiling\n").stdout_at(ms(100), "warning: unused variable\ndone\n");
    world.program("build", build.exits_at(ms(100), 0));
    world.program("server", Program::new().stdout_at(ms(200), "ready\n").listens_at(ms(200), 3000));
    let answers = |line: &str| Reaction::says(format!("you said {line}\n")).exits(0);
    world.program("setup", Program::new().prompts_at(ms(50), "Continue? [y/N] ").on_line(answers));
    Ostler::scripted(Config::new(), &world)
}
