//! The tour, as a newcomer sees it.

use crate::window::*;
use unicode_width::UnicodeWidthStr;

/// Its commands, in their order.
const NAMES: [&str; 5] = ["build", "chatty", "stuck", "server", "watch"];

/// The tour as it stands in the window when it has ended: what there was to see, once, and three lines that work.
fn is_right(window: &Window, tour: &Ran, columns: usize) {
    assert_eq!(tour.code, 0, "{}", tour.text());
    tour.fits();
    for heading in ["Five commands at once", "The inbox, as", "What the actors said", "What to try next"] {
        tour.one(heading);
    }
    for name in NAMES {
        // The plan has it, and what is left of the live part.
        tour.one(&format!("  {name} "));
        let rows = tour.lines.iter().filter(|line| {
            line.get(2..).is_some_and(|line| line.contains(&format!(" {name} ")) && line.contains(" line"))
        });
        let rows: Vec<_> = rows.filter(|line| !line.contains("thousand")).collect();
        assert_eq!(rows.len(), 1, "{name}: {rows:?} in\n{}", tour.text());
    }
    assert!(!tour.text().contains('⠋') && !tour.text().contains("Ctrl-C ends it"), "{}", tour.text());
    the_last_lines_work(window, tour, columns);
}

/// The last three lines are commands; they are pasted.
fn the_last_lines_work(window: &Window, tour: &Ran, columns: usize) {
    let last = &tour.lines[tour.lines.len() - 3..];
    for (line, says) in last.iter().zip(["ostler: completed, exit 0", "hto-", "ostler: would write"]) {
        assert!(line.starts_with("  ostler ") && line.contains(" # ") == (columns > 40), "{line:?}");
        let ran = window.runs(&format!("eval '{}'", line.trim()));
        assert_eq!(ran.code, 0, "{}", ran.text());
        assert!(ran.lines.iter().any(|line| line.starts_with(says)), "{line}: {}", ran.text());
    }
}

#[test]
fn it_is_right_in_every_size() {
    for (columns, rows) in SIZES {
        let Some(window) = Window::open(columns, rows) else { return };
        is_right(&window, &window.runs("ostler demo"), columns);
    }
}

/// All of its rows, once, in so many columns.
fn is_live(window: &Window, columns: usize) {
    let all = |screen: &Vec<String>| {
        let once = |name: &str| {
            screen
                .iter()
                .filter(|line| {
                    line.starts_with("  ")
                        && line.contains(&format!(" {name} "))
                        && line.contains(" line")
                        && !line.contains("thousand")
                })
                .count()
                == 1
        };
        // The heading is cut last: a picture for a wider terminal has no line like it.
        NAMES.iter().all(|name| once(name))
            && screen.iter().all(|line| line.width() < columns)
            && screen[0].starts_with("Five")
    };
    window.waits(|| Some(window.screen()).filter(all), || window.screen().join("\n"));
}

#[test]
fn it_is_right_when_it_is_resized_while_it_runs() {
    let Some(mut window) = Window::open(80, 24) else { return };
    window.types("clear; ostler demo; echo code $?");
    window.sees("Ctrl-C ends it");
    for (columns, rows) in [(40, 10), (200, 50), (33, 9), (80, 24)] {
        window.resize(columns, rows);
        is_live(&window, columns);
    }
    is_right(&window, &window.ends(), 80);
}

#[test]
fn a_terminal_that_can_do_less_gets_a_line_for_each_thing_that_happens() {
    for (columns, rows) in [(80, 24), (40, 10)] {
        for before in ["TERM=dumb", "env -u TERM", "env -u TERM CI=true"] {
            let Some(window) = Window::open(columns, rows) else { return };
            let tour = window.runs(&format!("{before} ostler demo"));
            assert_eq!(tour.code, 0);
            tour.fits();
            for text in ["  build ", "  chatty "] {
                assert!(tour.lines.iter().filter(|line| line.contains(text)).count() >= 3, "{}", tour.text());
            }
            assert!(!window.coloured().contains('\u{1b}'), "{:?}", window.coloured());
            the_last_lines_work(&window, &tour, columns);
        }
    }
}

#[test]
fn without_colour_and_without_utf_8() {
    let Some(window) = Window::open(80, 24) else { return };
    let tour = window.runs("NO_COLOR=1 ostler demo");
    assert!(!window.coloured().contains('\u{1b}'), "{:?}", window.coloured());
    is_right(&window, &tour, 80);
    let tour = window.runs("LC_ALL=C ostler demo");
    assert!(tour.text().is_ascii(), "{}", tour.text());
    assert!(
        tour.text().contains("  + build ") && tour.text().contains(" -> kernel: Signal terminate"),
        "{}",
        tour.text()
    );
    is_right(&window, &tour, 80);
}

#[test]
fn piped_it_is_plain_text() {
    let Some(window) = Window::open(40, 10) else { return };
    let ran = window.runs("ostler demo > tour");
    assert_eq!((ran.code, ran.lines.len()), (0, 0), "{}", ran.text());
    let tour = std::fs::read_to_string(window.path("tour")).unwrap();
    assert!(!tour.contains(['\u{1b}', '\r']), "{tour}");
    assert_eq!(tour.matches("finished; the result is in the inbox").count(), 3, "{tour}");
    assert!(
        tour.trim_end().lines().rev().take(3).all(|line| line.contains("ostler ") && line.contains(" # ")),
        "{tour}"
    );
}

#[test]
fn it_can_be_left_and_stopped_and_the_terminal_is_as_before() {
    let Some(window) = Window::open(80, 24) else { return };
    window.types("clear; before=$(stty -g); ostler demo; echo code $?; test \"$before\" = \"$(stty -g)\" && echo as before");
    window.sees("Ctrl-C ends it");
    window.key("C-z");
    window.sees_line(|line| line.contains("Stopped"));
    assert!(!window.screen().iter().any(|line| line.starts_with("Ctrl-C")), "its screen is left");
    window.types("clear; fg; echo code $?");
    window.sees("Ctrl-C ends it");
    window.key("C-c");
    let ran = window.ends();
    assert_eq!(ran.code, 130, "{}", ran.text());
    assert!(!ran.text().contains("The inbox") && ran.text().contains(" watch "), "{}", ran.text());
    window.is_left_alone();
}
