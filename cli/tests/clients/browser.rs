//! The page that `ostler trace --as html` makes, in a browser, of as many records as a day's work has.

use crate::place::Place;
use ostler::{
    Command, Config, Ostler, TraceTo,
    testing::{Program, World},
};
use std::{fs, path::Path, time::Duration};

/// A page of so many opens in under 2 s.
const RECORDS: usize = 10_000;
/// What must come out as text.
const HOSTILE: &str = "</script><script>window.pwned=1</script><!--";

/// A trace of a scripted world; how many commands it has.
fn record(trace: &Path) -> usize {
    let world = World::new();
    let ms = Duration::from_millis;
    let says = "<img src=x onerror=window.pwned=1>\n";
    world.program("make", Program::new().stdout_at(ms(40), says).exits_at(ms(90), 0));
    world.program("stuck", Program::new());
    let config = Config::new().trace(TraceTo::File(trace.to_owned()));
    let ostler = Ostler::scripted(config, &world).unwrap();
    let session = ostler.open_session_as("s").wait().unwrap();
    let mut commands = 0;
    // Each of them has 30 at least.
    while commands * 30 < RECORDS {
        let make =
            session.launch(Command::new("make").arg(HOSTILE).arg(commands.to_string())).wait().unwrap();
        let stuck = session.launch(Command::new("stuck").timeout(ms(300)).progress(ms(50))).wait().unwrap();
        make.result().wait().unwrap();
        stuck.result().wait().unwrap();
        commands += 2;
    }
    ostler.shutdown().wait().unwrap();
    commands
}

#[test]
fn the_page_of_a_trace_opens_in_time_shows_causes_and_takes_nothing_for_markup() {
    let (Some(place), Some(_node)) = (Place::of("browser"), Place::of("node")) else { return };
    let (trace, page) = (place.path("trace.jsonl"), place.path("trace.html"));
    let commands = record(&trace);
    let records = fs::read_to_string(&trace).unwrap().lines().count() - 1;
    assert!(records >= RECORDS, "{records}");
    let mut made = place.command(env!("CARGO_BIN_EXE_ostler"));
    made.arg("trace").arg(&trace).args(["--as", "html", "--out"]).arg(&page);
    let made = place.run(made);
    assert!(made.success && made.stderr.is_empty(), "{made:?}");

    let scripts = place.scripts("browser");
    std::os::unix::fs::symlink(place.client("node_modules"), scripts.join("node_modules")).unwrap();
    let mut command = place.command(place.node());
    command.arg(scripts.join("page.mjs")).arg("browser").arg(&page);
    command.args([records.to_string(), commands.to_string()]);
    let ended = place.run(command);
    let last = ended.stdout.lines().last();
    assert!(
        ended.success && last == Some("browser all"),
        "it has checked:\n{}it says:\n{}",
        ended.stdout,
        ended.stderr
    );
}
